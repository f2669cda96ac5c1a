"""Searches with a regular expression in bounded time, whatever the expression and the text are.

``re`` holds the interpreter while it searches, but checks for signals every few thousand steps, so a timer of the
process's CPU time can interrupt it. This works in the main thread, where the daemon's event loop runs. In other
threads, and while the program uses SIGVTALRM itself, a search is not bounded.
"""

import re
import signal
import threading
import time
from types import FrameType

SECONDS = 0.05
"""CPU seconds that one search may take: thousands of times as long as an ordinary search."""
SECONDS_WARY = 0.005
WARY = 1.0
"""For ``WARY`` seconds after a search was stopped, the limit is ``SECONDS_WARY``: a sender of one such text can send a
thousand."""


class TookTooLong(Exception):
    """The search was stopped after its CPU time, so it is unknown whether the text matches."""


class _Timer:
    """Takes SIGVTALRM for a search, if nothing else uses it."""

    def __init__(self) -> None:
        self._running = False
        self._seconds = SECONDS
        self._wary_until = 0.0

    def search(self, pattern: "re.Pattern[str]", text: str, *, anchored: bool = False) -> "re.Match[str] | None":
        if threading.get_ident() != threading.main_thread().ident or not self._prepared():
            return pattern.search(text)
        self._seconds = SECONDS_WARY if time.monotonic() < self._wary_until else SECONDS
        try:
            self._running = True
            signal.setitimer(signal.ITIMER_VIRTUAL, self._seconds)
            # Tried position by position: within one search, re restarts its count of steps at each position.
            found = (pattern.match(text, begin) for begin in range(len(text) + 1))
            return pattern.search(text) if anchored else next(filter(None, found), None)
        finally:
            self._running = False
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)

    def _prepared(self) -> bool:
        """Whether SIGVTALRM is ours. It is checked each time: a profiler, which uses the same signal, may start or
        stop."""
        handler = signal.getsignal(signal.SIGVTALRM)
        if handler == signal.SIG_DFL:
            signal.signal(signal.SIGVTALRM, self._ring)
            signal.siginterrupt(signal.SIGVTALRM, False)
            return True
        return handler == self._ring

    def _ring(self, number: int, frame: FrameType | None) -> None:
        if self._running:  # otherwise the signal came just after the search
            self._running = False
            self._wary_until = time.monotonic() + WARY
            raise TookTooLong(f"{1000 * self._seconds:g} ms of CPU")


_timer = _Timer()
search = _timer.search
"""``pattern.search(text)`` in bounded time; ``anchored`` if it can match only at the beginning. Raises TookTooLong."""
