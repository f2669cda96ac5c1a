"""Tells refusals of a server apart. A refused connection has no error code, so that only the text can tell."""

import re

_PASSING = ("starting up", "shutting down", "recovery", "too many", "reserved", "terminating")


def stays(said: str) -> bool:
    """Whether a server has refused us, or libpq a parameter of the URL, for a reason that does not pass by itself."""
    refused = "FATAL" in said or "pool_mode" in said or re.search(r"invalid \w+ value", said) is not None
    return refused and not _passes(said)


def passes(said: str) -> bool:
    """Whether a server has refused us for a reason that may pass: it starts, or has no session to spare."""
    return "FATAL" in said and _passes(said)


def _passes(said: str) -> bool:
    return any(word in said for word in _PASSING)
