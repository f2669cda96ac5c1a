"""What a server says when it lets nobody in. A refused connection has no code, so the words have to tell."""

import re

_PASSING = ("starting up", "shutting down", "recovery", "too many", "reserved", "terminating")


def stays(said: str) -> bool:
    """Whether a server has refused us, or libpq a parameter of the URL, and will until somebody changes something."""
    refused = "FATAL" in said or "pool_mode" in said or re.search(r"invalid \w+ value", said) is not None
    return refused and not _passes(said)


def passes(said: str) -> bool:
    """Whether a server has refused us, and may let us in a moment later: it starts, or has no session to spare."""
    return "FATAL" in said and _passes(said)


def _passes(said: str) -> bool:
    return any(word in said for word in _PASSING)
