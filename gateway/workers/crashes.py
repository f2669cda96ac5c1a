"""When the successor of a worker that has died may start, and when no more are started."""

import time
from collections.abc import Callable

SHORT = 10.0
"""Seconds. A worker that ends sooner than that has not shown that it can serve."""
MOST = 5
"""Times in a row that a worker ends so soon; then the gateway stops."""
PAUSES = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Seconds before the next start, by how many have ended so soon."""


class Crashes:
    """Counts workers that end soon after they start. One that has served for longer sets the count back.

    Workers that ran beside one another count once: what ended one of them may have ended all. So the number of tries
    does not depend on the number of workers.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._in_a_row = 0
        self._counted = 0.0
        """When the last one ended that counts."""

    def note(self, started: float) -> None:
        """A worker has ended that was started at that time (monotonic)."""
        ended = self._now()
        if ended - started >= SHORT:
            self._in_a_row = 0
        elif started >= self._counted:
            self._in_a_row += 1
            self._counted = ended

    @property
    def pause(self) -> float:
        """Seconds to wait before the next start."""
        return PAUSES[min(self._in_a_row, len(PAUSES) - 1)] if self._in_a_row > 1 else 0.0

    @property
    def is_loop(self) -> bool:
        """Whether starting another one is in vain."""
        return self._in_a_row >= MOST
