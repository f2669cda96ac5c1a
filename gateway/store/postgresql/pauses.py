"""Pauses between attempts to connect to a server that has no place, or is not there."""

import random

FIRST = 0.1


class Pauses:
    """Seconds: each is about twice the one before, up to ``longest``. Many processes do not come at the same moment."""

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._most = 0.0

    def next(self) -> float:
        self._most = min(max(FIRST, self._most * 2), self._longest)
        return random.uniform(self._most / 2, self._most)  # noqa: S311 - no secret

    def end(self) -> None:
        """The server has let us in."""
        self._most = 0.0
