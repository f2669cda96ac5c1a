"""What a process takes from the store at a time: messages, or outgoing items."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Take:
    """Asks for at most ``limit`` rows that are due at ``now``, for ``owner``; none of a key or lane in ``busy``."""

    owner: str
    limit: int
    now: float
    """In the store's own time."""
    busy: Sequence[str]
