"""Watches, from a thread of its own, the event loop and the pool of threads, and reports where they are blocked.
It also keeps the source of what is imported.

A handler that blocks the loop stops every protocol, and handlers that never return use up the pool; both are mistakes
that are seen nowhere else. Each is one line when it begins, with the place in the code, and one when it is over.
"""

import asyncio
import logging
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from types import FrameType

from gateway.frames import is_own, short
from gateway.histogram import Histogram
from gateway.runtime.sources import Sources
from gateway.threads import thread_pool

logger = logging.getLogger(__name__)

INTERVAL = 0.5
"""Seconds between two checks."""
DELAYS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
loop_delay = Histogram(DELAYS)
"""Seconds that the event loop of this process took to begin what another thread asked of it, at each check."""


class _Beat:
    """One thing that should respond: ``ask`` returns a future, or None if there is nothing to ask."""

    def __init__(
        self, ask: "Callable[[], Future[None] | None]", limit: float, stuck: Callable[[], str], on: str
    ) -> None:
        self._ask = ask
        self._limit = limit
        self._stuck = stuck
        self._on = on
        self._answer: Future[None] | None = None
        self._asked = 0.0
        self._told = False

    def look(self) -> None:
        """Ask again if there was an answer; log once if there has been none for too long."""
        waited = time.monotonic() - self._asked
        if self._answer is not None and not self._answer.done():
            if waited >= self._limit and not self._told:
                self._told = True
                logger.warning("%s", self._stuck())
            return
        if self._told:
            logger.warning("%s, after %.1f s", self._on, waited)
        self._told = False
        self._asked = time.monotonic()
        self._answer = self._ask()


class Watch:
    """Watches ``loop``, which runs in this thread, until it is closed, and the threads of the installed gateway."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, blocked: float = 1.0, exhausted: float = 5.0) -> None:
        self._loop = loop
        self._thread = threading.get_ident()
        self._beats = (
            _Beat(self._ask_loop, blocked, self._where_the_loop_is, "the event loop goes on"),
            _Beat(_ask_threads, exhausted, _where_the_threads_are, "a thread is free again"),
            Sources(),
        )

    def start(self) -> None:
        threading.Thread(target=self._run, name="watch", daemon=True).start()

    def _run(self) -> None:
        while not self._loop.is_closed():
            for beat in self._beats:
                try:
                    beat.look()
                except RuntimeError:  # the loop or the pool has just been closed
                    continue
            time.sleep(INTERVAL)

    def _ask_loop(self) -> "Future[None]":
        answer: Future[None] = Future()
        self._loop.call_soon_threadsafe(_answer, answer, time.monotonic())
        return answer

    def _where_the_loop_is(self) -> str:
        place = _place(sys._current_frames().get(self._thread))
        return (
            f"the event loop is blocked, and every protocol with it, at {place}; move what blocks into a sync consumer"
        )


def _answer(answer: "Future[None]", asked: float) -> None:
    loop_delay.observe(time.monotonic() - asked)
    answer.set_result(None)


def _ask_threads() -> "Future[None] | None":
    return thread_pool.get().probe()


def _where_the_threads_are() -> str:
    frames = sys._current_frames()
    pool = thread_pool.get()
    places = Counter(_place(frames.get(thread.ident or 0)) for thread in pool.threads())
    listed = ", ".join(f"{number} at {place}" for place, number in places.most_common(3))
    return f"all {pool.size} threads are busy, and sync handlers wait for one: {listed}; raise threads in the file"


def _place(frame: FrameType | None) -> str:
    """Return the innermost line of the user's own code, or of any code."""
    innermost = frame
    while frame is not None and not is_own(frame.f_code.co_filename):
        frame = frame.f_back
    found = frame or innermost
    return f"{short(found.f_code.co_filename)}:{found.f_lineno}" if found is not None else "an unknown place"
