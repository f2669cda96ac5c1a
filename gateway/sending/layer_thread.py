"""The channel layer of a process without a gateway: one connection, on an event loop of its own."""

import asyncio
import atexit
import contextlib
import os
import threading
from collections.abc import Callable, Coroutine, Hashable
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any, TypeVar

from gateway.layers import ChannelLayer, OpenedLayer

T = TypeVar("T")

PATIENCE = 3.0
"""Seconds at the end of the process for what is on its way."""


class LayerThread:
    """A thread with an event loop, on which a layer is. Code on any thread and any loop calls it.

    A layer that was made on the loop of one call would connect anew for each, and lose its connection with that loop.
    """

    def __init__(self, make: Callable[[], ChannelLayer]) -> None:
        """Raises what ``make`` raises."""
        self.layer = make()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="channel-layer", daemon=True)
        self._thread.start()
        if isinstance(self.layer, OpenedLayer):
            self.start(self.layer.open()).result()
        atexit.register(self.close)

    def start(self, coroutine: Coroutine[Any, Any, T]) -> "Future[T]":
        """Run ``coroutine`` on the loop, in a copy of this context."""
        found: Future[T] = Future()

        def begin() -> None:
            task = self._loop.create_task(coroutine)
            task.add_done_callback(lambda done: _hand_over(done, found))

        self._loop.call_soon_threadsafe(begin, context=copy_context())
        return found

    def close(self) -> None:
        """Let what was sent leave, and disconnect."""
        if not self._thread.is_alive():
            return
        if isinstance(self.layer, OpenedLayer):
            closing = self.start(self.layer.close())
            with contextlib.suppress(TimeoutError):
                closing.exception(PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        atexit.unregister(self.close)


class LayerThreads:
    """The threads of this process. A gateway's file that is read again keeps its connection if it names the same
    layer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[Hashable, LayerThread] = {}

    def get(self, place: Hashable, make: Callable[[], ChannelLayer]) -> LayerThread:
        """Return the thread of the layer at ``place``. Raises what ``make`` raises."""
        with self._lock:
            if (found := self._made.get(place)) is None:
                found = self._made[place] = LayerThread(make)
            return found

    def forget(self) -> None:
        """Connect anew in a process that was forked: the threads are not in there, and connections are the parent's."""
        self._lock, self._made = threading.Lock(), {}


layer_threads = LayerThreads()
os.register_at_fork(after_in_child=layer_threads.forget)


def _hand_over(done: "asyncio.Task[T]", found: "Future[T]") -> None:
    if done.cancelled():
        found.cancel()
    elif (error := done.exception()) is not None:
        found.set_exception(error)
    else:
        found.set_result(done.result())
