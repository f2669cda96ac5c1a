"""Ours beside its peers, in one run: each script prints a table and, as its last line, the ratio(s)."""
