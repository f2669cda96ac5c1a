"""A module that fails while it is imported."""

LIMIT = int("three")
