"""A search with a regular expression that ends in time, whatever the expression and the text are.

``re`` holds the interpreter while it searches, but looks for signals every few thousand steps. So a timer of the
process's CPU time interrupts it. This works in the main thread, where the daemon's event loop runs; elsewhere, and
while the program uses SIGVTALRM itself, a search is not bounded.
"""

import re
import signal
import threading
import time
from types import FrameType

SECONDS = 0.05
"""CPU time that one search may take: thousands of times what an ordinary one takes."""
SECONDS_WARY = 0.005
WARY = 1.0
"""The same for as many seconds after one was stopped: who can send one such text can send a thousand."""


class TookTooLong(Exception):
    """The search was stopped after that much CPU time: nobody knows whether the text matches."""


class _Timer:
    """SIGVTALRM is ours where a search needs it and nobody else has it."""

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
            # One after the other: within a search, re counts the steps towards its next look anew at each beginning.
            found = (pattern.match(text, begin) for begin in range(len(text) + 1))
            return pattern.search(text) if anchored else next(filter(None, found), None)
        finally:
            self._running = False
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)

    def _prepared(self) -> bool:
        """Looked at each time: the program may begin or end a profiler, which has the same signal, at any time."""
        handler = signal.getsignal(signal.SIGVTALRM)
        if handler == signal.SIG_DFL:
            signal.signal(signal.SIGVTALRM, self._ring)
            signal.siginterrupt(signal.SIGVTALRM, False)
            return True
        return handler == self._ring

    def _ring(self, number: int, frame: FrameType | None) -> None:
        if self._running:  # else it came just after the search
            self._running = False
            self._wary_until = time.monotonic() + WARY
            raise TookTooLong(f"{1000 * self._seconds:g} ms of CPU")


_timer = _Timer()
search = _timer.search
"""``pattern.search(text)``; ``anchored``: it can match at the beginning alone. Raises TookTooLong."""
