"""The mqtt scope."""
