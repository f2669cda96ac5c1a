"""The time limit of a handler. A handler that exceeds it is cancelled; on a thread, where it cannot be, it goes on."""

import asyncio
from typing import Any

from gateway.threads import Calls, current_calls
from protocols.asgi import Application, Receive, Send

WIND_UP = 1.0
"""Seconds that a handler has left when its thread ends after the time limit."""


class NoThread(TimeoutError):
    """The handler was still waiting for a free thread when its time was up."""


class Limit(Calls):
    """The limit of one attempt, which counts the attempt's calls on threads."""

    def __init__(self) -> None:
        super().__init__()
        self.expired: TimeoutError | None = None
        self._task: asyncio.Task[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._cut = False

    def late(self, error: TimeoutError) -> None:
        """Called once if the attempt goes on after its time is up."""

    async def run(self, app: Application, seconds: float | None, scope: Any, receive: Receive, send: Send) -> None:
        """Run ``app``. Raises TimeoutError if it was cancelled because its time was up."""
        if self.expired is not None:
            raise self.expired
        self._task = task = asyncio.current_task()
        assert task is not None
        cancelling = task.cancelling()
        current_calls.set((self,))
        if seconds is not None:
            error = TimeoutError(f"the handler was not done after {seconds:g} s")
            self._timer = asyncio.get_running_loop().call_later(seconds, self.expire, error)
        try:
            await app(scope, receive, send)
        except asyncio.CancelledError:
            cut, self._cut = self._cut, False
            if cut and task.uncancel() <= cancelling and self.expired is not None:
                raise self.expired from None
            raise
        finally:
            self._end(task)

    def expire(self, error: TimeoutError) -> None:
        """End the attempt's time with ``error``. Only the first call counts."""
        if self.expired is not None:
            return
        self.expired = error
        if self._task is None:
            return
        if not self._try_to_cut():
            self.late(error)
        elif self.waiting:
            self.expired = NoThread("no thread was free for the handler; see threads in the file")

    def _try_to_cut(self) -> bool:
        """Cancel the attempt unless a thread works for it; return whether it was cancelled."""
        if self._task is None or not self.give_up():
            return False
        self._cut = True
        self._task.cancel()
        return True

    def idle(self) -> None:
        """The thread has ended: its outcome is the attempt's result if the handler finishes soon."""
        if self.expired is not None and not self._cut:
            self._stop_timer()
            self._timer = asyncio.get_running_loop().call_later(WIND_UP, self._try_to_cut)

    def _end(self, task: "asyncio.Task[Any]") -> None:
        self._stop_timer()
        self._task = None
        if self._cut:  # it was cancelled, but ended by itself
            self._cut = False
            task.uncancel()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
