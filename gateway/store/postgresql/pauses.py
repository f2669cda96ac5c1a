"""Pauses between attempts to connect to a server that does not run, or has no session to spare."""

import random

FIRST = 0.1


class Pauses:
    """Each pause is about twice the one before, up to ``longest`` seconds. They are random, so that processes do not
    all connect at the same moment."""

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._most = 0.0

    def next(self) -> float:
        self._most = min(max(FIRST, self._most * 2), self._longest)
        return random.uniform(self._most / 2, self._most)  # noqa: S311 - no secret

    def end(self) -> None:
        """Begin again with a short pause: a session was opened."""
        self._most = 0.0
