"""The base of all communicators: runs an application over one scope, with the test in the place of the peer."""

import asyncio
import contextlib
from collections.abc import Callable, MutableMapping
from contextvars import Context
from types import TracebackType
from typing import Any, Self

from gateway.routing import as_application
from gateway.services import entered
from gateway.testing.one_thread import share_thread
from gateway.testing.recorded import RecordedRun, UncheckedRun
from gateway.testing.surroundings import Surroundings, without_gateway
from gateway.testing.whereabouts import whereabouts
from gateway.threads import thread_pool
from protocols.events import Event, type_of

TIMEOUT = 5.0
"""Seconds that a test waits for an application that is alive and sends nothing."""


class ApplicationCommunicator:
    """Runs ``application`` (a consumer class, a router, any ASGI application) over ``scope``, in memory.

    The run begins with the first event that you send, or wait for. Until then you may change :attr:`scope`. What the
    application sends is checked as a server checks it. If it raises an exception, whatever you call next raises that,
    at once, after what the application had sent before it.

    As ``async with`` it ends the run with its block: it disconnects, waits for the application, and raises what that
    crashed with, unless the test has been given it.
    """

    run_class: type[RecordedRun] = UncheckedRun

    def __init__(
        self, application: Any, scope: MutableMapping[str, Any], *, surroundings: Surroundings | None = None
    ) -> None:
        """``surroundings``: those of the gateway that the application belongs to, if it belongs to one."""
        self.application = as_application(application)
        self.scope: Any = scope
        self.surroundings = surroundings or without_gateway()
        if surroundings is not None and "state" in scope:
            scope["state"] = surroundings.state.copy()
        self.outbox = self.surroundings.outbox
        """What the application has sent to others: mails, texts, publications."""
        self._run: RecordedRun | None = None
        self._task: asyncio.Task[Any] | None = None
        self._stopped = False
        """Whether the test has cancelled the application."""
        self._told = False
        """Whether the test has been given the application's crash."""

    async def send_input(self, message: Event) -> None:
        """Send an event to the application. Raises what the application has crashed with."""
        run = self._begun()
        if run.ended:
            self._raise()
        if type_of(message).endswith(".disconnect"):
            run.disconnect(dict(message))  # type: ignore[arg-type]  # a test may send any event
        else:
            run.feed(dict(message))  # type: ignore[arg-type]  # the same

    async def receive_output(self, timeout: float = TIMEOUT) -> Any:
        """Return the next event that the application sends.

        Raises what the application has crashed with, and AssertionError if it has ended: neither waits for
        ``timeout``. After that many seconds without an event this raises TimeoutError, and the application goes on.
        """
        run = self._begun()
        await self._until(lambda: bool(run.sent), timeout, "the application sent nothing")
        return run.sent.popleft()

    async def receive_nothing(self, timeout: float = 0.1, interval: float = 0.01) -> bool:
        """Return whether the application sends nothing within ``timeout`` seconds, or has ended. ``interval`` is not
        used: this returns as soon as there is an event, which stays there. Raises what the application has crashed
        with."""
        run = self._begun()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while not run.sent and not run.ended:
                    await run.changed.wait()
        if not run.sent and run.ended:
            self._raise()
        return not run.sent

    async def wait(self, timeout: float = TIMEOUT) -> None:
        """Wait until the application has ended. Raises what it crashed with, and TimeoutError if it has not ended
        within ``timeout`` seconds: then it is cancelled."""
        try:
            await self._ended(timeout)
        except TimeoutError:
            await self._cancel()
            raise
        self._raise()

    def stop(self, exceptions: bool = True) -> None:
        """Cancel the application, or raise what it has crashed with if it has ended and you want ``exceptions``."""
        if self._task is not None and not self._task.done():
            self._stopped = True
            self._task.cancel()
        elif exceptions:
            self._raise()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._run is None:
            return
        if not self._run.ended and error is None and (last := self._farewell()) is not None:
            await self._leave(last)
        else:
            await self._cancel()
        if error is None and not self._told:
            self._raise()

    def __del__(self) -> None:
        """Cancel an application that is forgotten, unless it has ended its scope: then it ends by itself."""
        with contextlib.suppress(AttributeError, RuntimeError):  # it was not made, or its loop is closed
            if self._run is not None and self._run.state != "over":
                self.stop(exceptions=False)

    # What subclasses use.

    def _farewell(self) -> Event | None:
        """The event that ends the scope. None: the application is cancelled."""
        return None

    async def _leave(self, last: Event, timeout: float = TIMEOUT) -> None:
        """Send the ``last`` event, unless the application has ended, and wait until it has."""
        if self._run is None or not self._run.ended:
            await self.send_input(last)
        await self.wait(timeout)

    def _begun(self) -> RecordedRun:
        """The run, which begins now if it has not."""
        if self._run is None:
            self._run = self.run_class(self.application, self.scope, self.surroundings.leave)
            self._task = Context().run(self._begin, self._run)
        return self._run

    def _begin(self, run: RecordedRun) -> "asyncio.Task[Any]":
        """Begin ``run`` as a server does: in a context of its own, which has nothing of the test's."""
        self._prepare_context()
        with entered(self.surroundings.services):
            return asyncio.create_task(run.run())

    def _prepare_context(self) -> None:
        """Set what the application finds in its context."""
        if self.surroundings.services[thread_pool].is_shared:
            share_thread()

    async def _until(self, happened: Callable[[], bool], timeout: float, otherwise: str) -> None:
        """Wait for what the application does. Raises what it crashed with, AssertionError if it has ended without it,
        TimeoutError."""
        run = self._begun()
        try:
            async with asyncio.timeout(timeout):
                while not happened() and not run.ended:
                    await run.changed.wait()
        except TimeoutError:
            raise TimeoutError(f"{otherwise} within {timeout:g} s{whereabouts(self._task)}") from None
        if not happened():
            self._raise()
            raise AssertionError(f"{otherwise}, and has ended")

    async def _next(self, *types: str, timeout: float) -> Any:
        """Return the next event of one of ``types``. Others stay for :meth:`receive_output`."""
        otherwise = f"the application sent no {' or '.join(types)}"
        return await self._first(lambda each: each["type"] in types, timeout, otherwise)

    async def _first(self, fits: Callable[[Any], bool], timeout: float, otherwise: str) -> Any:
        """Return the next event that ``fits``. Others stay for :meth:`receive_output`. Raises as :meth:`_until`."""
        sent = self._begun().sent
        await self._until(lambda: any(map(fits, sent)), timeout, otherwise)
        found = next(filter(fits, sent))
        sent.remove(found)
        return found

    async def _ended(self, timeout: float) -> None:
        """Wait until the application has ended, however it ended. Raises TimeoutError."""
        run = self._begun()
        try:
            async with asyncio.timeout(timeout):
                while not run.ended:
                    await run.changed.wait()
        except TimeoutError:
            said = f"the application did not end within {timeout:g} s{whereabouts(self._task)}"
            raise TimeoutError(said) from None

    def _raise(self) -> None:
        """Raise what the application has crashed with, if it has."""
        error = self._run.error if self._run is not None and not self._stopped else None
        self._told = error is not None
        if isinstance(error, asyncio.CancelledError):  # raised here, it would seem that the test is cancelled
            raise AssertionError("the application awaited something that was cancelled") from error
        if error is not None:
            raise error

    async def _cancel(self) -> None:
        if self._task is not None and not self._task.done():
            self._stopped = True
            self._task.cancel()
            await asyncio.wait({self._task})
