"""Whether an arrival ended well, by its verdict."""

from typing import Literal

Outcome = Literal["good", "refused", "failed"]

_FAILED = ("5", "dead", "not ")
_REFUSED = ("4", "rejected", "deferred", "next in", "client left", "resting", "kept for", "closed, 1006")
"""How verdicts begin that are not what somebody hoped for."""


def outcome(verdict: str, error: str) -> Outcome:
    """Return ``failed`` if a handler or a server did, ``refused`` if it did not end as its sender hoped."""
    if error or verdict.startswith(_FAILED):
        return "failed"
    return "refused" if verdict.startswith(_REFUSED) else "good"
