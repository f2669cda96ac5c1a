"""The email scope."""
