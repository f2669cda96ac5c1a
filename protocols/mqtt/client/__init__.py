"""The client of an existing broker."""
