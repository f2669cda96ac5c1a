"""Whether IDLE is worth trying, across connections. Pure."""

IDLE_FAILURES = 3
"""Failed IDLEs in a row after which the folder is polled."""
IDLE_AGAIN = 3600.0
"""Seconds of polling before IDLE is tried again."""


class IdleHealth:
    """The IDLEs of one folder."""

    def __init__(self) -> None:
        self._failures = 0
        self._again = 0.0

    def usable(self, now: float) -> bool:
        return self._failures < IDLE_FAILURES or now >= self._again

    def worked(self) -> None:
        self._failures = 0

    def failed(self, now: float) -> None:
        self._failures += 1
        self._again = now + IDLE_AGAIN
