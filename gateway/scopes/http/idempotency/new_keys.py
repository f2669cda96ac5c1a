"""Counts the keys that a process has taken, so that clients cannot fill the store. Pure."""

from collections import deque

_PARTS = 24
"""Parts of the time for which a key is kept. The oldest is forgotten as a whole."""


class NewKeys:
    """At most ``most`` within ``seconds``."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._part = seconds / _PARTS
        self._counts: deque[tuple[int, int]] = deque()
        """The number of a part, and how many keys came in it."""
        self._sum = 0

    def are_used_up(self, now: float) -> bool:
        """Whether there may be no further one."""
        while self._counts and self._counts[0][0] <= now // self._part - _PARTS:
            self._sum -= self._counts.popleft()[1]
        return self._sum >= self._most

    def add(self, now: float) -> None:
        """Count one."""
        part = int(now // self._part)
        count = self._counts.pop()[1] if self._counts and self._counts[-1][0] == part else 0
        self._counts.append((part, count + 1))
        self._sum += 1
