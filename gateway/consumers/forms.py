"""The two forms of consumers: methods that run on the loop, and methods that run on a thread."""

import asyncio
import inspect
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from gateway.atomic import AsyncHandlerConnection, HandlerConnection, running_transaction
from gateway.consumers.base import CLEAN_UP, Consumer, Handler, logged_disconnect
from gateway.consumers.hooks import is_plain
from gateway.frames import place_of
from gateway.spans import spans
from gateway.threads import call_from_thread, run_in_thread
from protocols.asgi import Receive, Send
from protocols.tasks import Tasks

logger = logging.getLogger(__name__)
T = TypeVar("T")

Awaited = Coroutine[Any, Any, None]
"""The result of an async consumer's helpers: a type checker reports a forgotten ``await``."""


async def _await_within(span: AbstractContextManager[Any], call: Callable[..., Any], *given: Any) -> Any:
    """Call and await within ``span``. What it calls may return None, and nothing to await."""
    with span:
        pending = call(*given)
        return None if pending is None else await pending


class AsyncForm(Consumer[Awaited]):
    """Methods run on the loop; helpers are awaited."""

    def __init_subclass__(cls) -> None:
        """Check the class. Raises TypeError for a plain ``def``, which would hold up everything on the loop."""
        super().__init_subclass__()
        written = {name for base in cls.__mro__ if issubclass(base, AsyncForm) for name in vars(base)}
        for name, method in cls._called().items():
            if name in written and is_plain(method):
                where = f"{cls.__name__}.{name} (line {method.__code__.co_firstlineno})"
                raise TypeError(f"{where} is not async in an async consumer: write async def, or use the sync form")

    @property
    def connection(self) -> AsyncHandlerConnection:
        """The connection of the transaction in which the handler runs, on a route with ``atomic: true``. Raises
        LookupError elsewhere."""
        return AsyncHandlerConnection(running_transaction())

    def _begin_call(self, handler: Handler, event: Any) -> Awaitable[Any] | None:
        if spans.by is not None and (span := spans.by.handler(self, handler, event)) is not None:
            return _await_within(span, handler, self, event)
        begun: Awaitable[Any] | None = handler(self, event)
        return begun

    async def _call_beside(self, handler: Handler, event: Any) -> None:
        await self._call(handler, event)

    def perform(self, coroutine: Awaited) -> Awaited:
        return coroutine


_turn = threading.Lock()
"""Held for a moment while a thread begins or ends a method of a sync consumer."""
_last_calls = Tasks("sync consumers")


class SyncForm(Consumer[None]):
    """Methods run on a thread: in order within one instance, in parallel with others. Helpers wait for their effect."""

    _at_work = False
    """Whether a thread is in one of this instance's methods. It cannot be interrupted, and may outlive the run."""
    _begun: Any = None
    """The event whose method a thread has begun last."""
    _process: int | None = None
    """The process in which its methods run. The event loop of a process that one of them forks never turns."""
    _over = False
    """Whether the run is over: then a method that still waits for a thread is not called."""
    _late: tuple[Handler, Any] | None = None
    """The last method and its event, which a thread that is still working has to call."""

    def __init_subclass__(cls) -> None:
        """Check the class. Raises TypeError for an ``async`` method, which a thread cannot run."""
        super().__init_subclass__()
        for name, method in cls._called().items():
            if inspect.iscoroutinefunction(method):
                raise TypeError(f"{cls.__name__}.{name} is async in a sync consumer: use the Async form")

    async def run(self, scope: Any, receive: Receive, send: Send) -> None:
        self._loop = asyncio.get_running_loop()
        await super().run(scope, receive, send)

    @property
    def connection(self) -> HandlerConnection:
        """The connection of the transaction in which the handler runs, on a route with ``atomic: true``. Raises
        LookupError elsewhere."""
        return HandlerConnection(running_transaction())

    def _begin_call(self, handler: Handler, event: Any) -> Awaitable[Any]:
        if spans.by is not None and (span := spans.by.handler(self, handler, event)) is not None:
            return _await_within(span, SyncForm._call_on_thread, self, handler, event)
        return self._call_on_thread(handler, event)

    async def _call_on_thread(self, handler: Handler, event: Any) -> Any:
        try:
            result = await run_in_thread(self._work, handler, event)
        except asyncio.CancelledError:
            if self._begun is not event and event["type"] in self._ends:  # no thread was free: it is still to be called
                self._told = False
            raise
        if inspect.iscoroutine(result):  # from a method that is not async itself
            result.close()
            returned = f"returned a coroutine of {result.__qualname__} ({place_of(result)})"
            raise TypeError(f"{type(self).__name__} is a sync consumer, and {returned}: use the Async form")
        return result

    def _work(self, handler: Handler, event: Any) -> Any:
        """Run the method; called on the thread."""
        with _turn:
            if self._over:
                return None
            self._at_work = True
            self._begun = event
            self._process = os.getpid()
        try:
            return handler(self, event)
        finally:
            with _turn:
                self._at_work = False
            if self._late is not None:
                self._catch_up(*self._late)

    def _catch_up(self, handler: Handler, event: Any) -> None:
        with logged_disconnect(self.scope):
            handler(self, event)

    async def _call_last(self, handler: Handler, event: Any) -> None:
        """Call the last method without overlapping another of this instance: a thread that is still working calls it
        when it is done. If no thread is free, it is called once one is."""
        with _turn:
            self._over = True
            if self._begun is not None and self._begun["type"] == event["type"]:
                return
            if self._at_work:
                self._late = handler, event
                return
        call = _last_calls.spawn(run_in_thread(self._catch_up, handler, event), name="disconnect")
        await asyncio.wait({call}, timeout=CLEAN_UP)

    async def _call_beside(self, handler: Handler, event: Any) -> None:
        """Call the last method on a thread of its own. If none is free, it is called once one is."""
        call = _last_calls.spawn(run_in_thread(self._catch_up, handler, event), name="disconnect")
        await asyncio.wait({call})

    def perform(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._wait_for(coroutine)

    def _wait_for(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run ``coroutine`` on the gateway's loop. Raises RuntimeError before there is one, and in a process that a
        method has forked, where this would wait for ever."""
        if not hasattr(self, "_loop"):
            coroutine.close()
            name = type(self).__name__
            raise RuntimeError(
                f"a helper of {name} was called before anything has arrived; call it in a method, not in __init__"
            )
        if self._process not in (None, os.getpid()):
            coroutine.close()
            raise RuntimeError(
                f"a helper of {type(self).__name__} was called in a process that its method has forked, which has no "
                "connection to the peer; let that process return its result, and call the helper in the method"
            )
        return call_from_thread(self._loop, coroutine)
