"""Keeps lines of the log from coming too often."""

import time

QUIET = 10.0
"""Seconds between two lines about the same thing."""
MOST = 1000
"""Things that are remembered for that."""


class Told:
    """Remembers what was logged lately, and how often it has happened since."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, int]] = {}

    def due(self, what: str) -> int:
        """Note that ``what`` has happened. Return 0 if that was told lately; else how often it has happened since."""
        now = time.monotonic()
        told, times = self._last.get(what, (-QUIET, 0))
        is_due = now - told >= QUIET
        if len(self._last) >= MOST:
            self._last.clear()
        self._last[what] = (now, 0) if is_due else (told, times + 1)
        return times + 1 if is_due else 0


def since(times: int) -> str:
    """Say how often something has happened since it was told last."""
    return f" ({times} since the last such line)" if times > 1 else ""
