"""A peer that has left while a handler of its consumer is at work."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from protocols.tasks import Tasks

_calls = Tasks("disconnect")

AtWork = Callable[[], Any]
"""Returns the event whose handler is running; None: no handler is."""
Call = Callable[[Any], Coroutine[Any, Any, None]]
"""Returns a call of the method for the disconnect, which is its argument."""


class Departure:
    """The disconnect of one consumer, from the moment at which its peer has left.

    A consumer receives its events in order, and so it receives this one last. If one handler runs for too long before
    that, the method for the disconnect is called beside it.
    """

    __slots__ = ("_call", "_handled", "_timer", "event")

    def __init__(self, event: Any) -> None:
        self.event = event
        self._handled = asyncio.Event()
        """Set when no handler will be called any more."""
        self._timer: asyncio.TimerHandle | None = None
        self._call: asyncio.Task[None] | None = None

    @property
    def is_called(self) -> bool:
        """Whether the method for the disconnect has been called beside a handler."""
        return self._call is not None

    def watch(self, wait: float, at_work: AtWork, call: Call) -> None:
        """Make ``call`` when a handler has run for ``wait`` seconds from now on; later ones have as long."""
        # Nothing of the consumer is kept here: in a circle, it would stay in memory until the garbage collector comes.
        self._timer = asyncio.get_running_loop().call_later(wait, self._look, wait, at_work, call, at_work())

    def _look(self, wait: float, at_work: AtWork, call: Call, before: Any) -> None:
        if before is None or at_work() is not before:
            self.watch(wait, at_work, call)
        else:
            self._timer = None
            self._call = _calls.spawn(call(self.event), name="beside a handler")

    def stop(self) -> None:
        """Make no call any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def handled(self) -> None:
        """Note that no handler will be called any more."""
        self.stop()
        self._handled.set()

    async def wait_handled(self) -> None:
        """Wait until no handler will be called any more."""
        await self._handled.wait()

    async def wait_called(self, timeout: float | None = None) -> None:
        """Wait until the method for the disconnect has returned, if it was called. It is cancelled after ``timeout``
        seconds."""
        if self._call is None:
            return
        await asyncio.wait({self._call}, timeout=timeout)
        if not self._call.done():
            self._call.cancel()
