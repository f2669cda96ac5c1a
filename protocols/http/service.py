"""The state that all connections of one HTTP server share."""

import asyncio
import contextlib
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, ClassVar, Protocol

from protocols.app_run import Busy
from protocols.asgi import Application, HostPort
from protocols.http.forwarded import TrustedProxies
from protocols.http.head import date
from protocols.http.limits import Excess, Limits
from protocols.http.scope import extensions_of
from protocols.http.settings import HTTPSettings
from protocols.net.traffic import Counted, Traffic
from protocols.tasks import Tasks

logger = logging.getLogger(__name__)

_CANCEL = 5.0
"""Seconds for a cancelled application to end."""
_FLUSH = 1.0
"""Seconds for sending the last bytes of finished answers."""
_SWEEP = 0.5
"""Seconds between two looks at the deadlines of all connections."""
_OVERRUNNING = 1000
"""Applications that may go on behind closed connections after they were cancelled. Those of further ones stay open, so
that max_connections bounds their number."""
_HALF = 0.5
"""The part of the grace after which applications that still run are told that they will be cancelled."""


class Occupant(Protocol):
    """What is on a connection now: an exchange, or a protocol with many of them."""

    noun: ClassVar[str]
    ended: bool

    @property
    def awaits_body(self) -> bool: ...
    def begin(self) -> None: ...
    def doing(self) -> str: ...
    def messages(self) -> dict[str, int]: ...
    def dismiss(self) -> None: ...
    def close_after(self) -> None: ...
    def reconnect(self) -> None: ...
    def is_carried(self) -> bool: ...
    def lost(self) -> None: ...
    def stalled(self) -> None: ...
    @property
    def is_awaited(self) -> bool: ...
    def half_closed(self) -> None: ...


class InFlight(Occupant, Protocol):
    """An exchange whose application is running."""

    @property
    def task(self) -> "asyncio.Task[Any] | None": ...
    @property
    def client(self) -> HostPort | None: ...
    def refuse(self, excess: Excess) -> None: ...
    @property
    def is_handled(self) -> bool: ...
    def overrun(self) -> None: ...
    def cancel(self) -> None: ...
    def end_turn(self) -> None: ...
    def free(self) -> None: ...
    def goodbye(self) -> None: ...
    def warn(self) -> None: ...


class Due(Protocol):
    """What has something to do at the end of a turn of the loop."""

    ended: bool

    def end_turn(self) -> None: ...


class Unflushed(Protocol):
    """What has something to write at the end of a turn of the loop."""

    def flush(self) -> None: ...


class OpenConnection(Counted, Protocol):
    """A connection that has not been lost."""

    since: float
    client: HostPort | None
    scheme: str
    generation: int
    deadline: float
    requests: int

    def expire(self) -> None: ...
    @property
    def waits(self) -> bool: ...
    def doing(self) -> tuple[str, str]: ...
    def counts(self) -> dict[str, int]: ...
    def dismiss(self) -> None: ...
    def reconnect(self, grace: float) -> None: ...
    def is_carried(self) -> bool: ...
    def retire(self) -> None: ...
    def finish(self) -> None: ...
    def abort(self) -> None: ...


def _made_by_loop(
    run: Coroutine[Any, Any, None], *, loop: asyncio.AbstractEventLoop, name: str, context: Context | None
) -> "asyncio.Task[None]":
    return loop.create_task(run, name=name, context=context)


class HTTPService:
    """The application, its settings and state, and what is open and in flight."""

    def __init__(
        self, app: Application, settings: HTTPSettings, name: str, state: dict[str, Any], refusal_fields: bytes = b""
    ) -> None:
        self.app = app
        self.settings = settings
        self.name = name
        self.state = state
        self.draining = False
        self.generation = 0
        """How many applications it had before."""
        self._past = Traffic()
        """That of the connections that are lost."""
        self.busy: Busy = {}
        """The routes that have many requests now."""
        self.refusals: Counter[str] = Counter()
        """Requests that no application got, by status."""
        self.fields = f"server: {settings.server_header}\r\n".encode() if settings.server_header else b""
        """The header lines of every response."""
        self.dated = self.fields
        """The same with the Date; it is brought up to date twice a second."""
        self.refusal_fields = self.fields + refusal_fields
        """The header lines of answers that the server itself gives."""
        self.extensions = extensions_of(pathsend=settings.pathsend)
        """The extensions of every http scope."""
        trusted = settings.trusted_proxies
        self.proxies = TrustedProxies(trusted, settings.trusted_headers) if trusted else None
        """None: it trusts none."""
        self.context: Context | None = None
        """The context that each request begins with. None: that of its connection."""
        self.limits = Limits.of(settings)
        """None: there are none, and nothing is counted."""
        self.uncounted = 0
        """How many of :attr:`running` are no requests that an application handles: WebSockets, and refusals."""
        self.running: set[InFlight] = set()
        self.overrunning: set[InFlight] = set()
        """The ones that handler_timeout has cancelled, and that no connection waits for."""
        self.connections: set[OpenConnection] = set()
        self.tasks = Tasks(name)
        self._empty = asyncio.Event()
        self.make_task: Callable[..., asyncio.Task[None]] = asyncio.Task
        """Makes the task of an exchange."""
        self._due: list[Due] = []
        self._unflushed: list[Unflushed] = []
        """The connections that write at the end of this turn of the loop."""
        self._sweep: asyncio.TimerHandle | None = None
        self._handled: dict[InFlight, float] = {}
        """Since when each application has its request, as of the last look, if there is a limit (the loop's clock)."""

    def _look_at_loop(self) -> None:
        """Make tasks without the loop, which takes 2 % of a short request, unless it has a factory of them."""
        has_factory = asyncio.get_running_loop().get_task_factory() is not None
        self.make_task = _made_by_loop if has_factory else asyncio.Task

    def become(self, made: "HTTPService", context: Context) -> None:
        """Serve requests that begin from now on as ``made`` would, in ``context``."""
        self.app, self.settings, self.state = made.app, made.settings, made.state
        self.fields, self.extensions, self.proxies = made.fields, made.extensions, made.proxies
        self.dated = self.fields + date(int(time.time()))
        self.refusal_fields = made.refusal_fields
        if self.limits is not None and made.limits is not None:
            self.limits.become(made.limits)
        else:
            self.limits = made.limits
        self.context = context
        self.busy = {}  # requests that have begun before are counted where they began
        self.generation += 1

    def begin_within(self, limits: Limits, exchange: InFlight, connection: OpenConnection) -> bool:
        """Begin ``exchange``, or refuse it if it is one too many. Return whether it is the last one of ``connection``.
        Called only if there are limits."""
        connection.requests += 1
        excess = limits.excess(len(self.running) - self.uncounted, exchange.client)
        if excess is None:
            exchange.begin()
        else:
            exchange.refuse(excess)
        return limits.is_last(connection.requests, connection.since)

    def due(self, exchange: Due) -> None:
        """Call ``exchange.end_turn()`` at the end of this turn of the loop.

        There is one callback for all of a turn: one for each would be a fiftieth of a short request's time.
        """
        if not self._due and not self._unflushed:
            asyncio.get_running_loop().call_soon(self._end_turn)
        self._due.append(exchange)

    def flush_soon(self, connection: "Unflushed") -> None:
        """Call ``connection.flush()`` at the end of this turn of the loop."""
        if not self._due and not self._unflushed:
            asyncio.get_running_loop().call_soon(self._end_turn)
        self._unflushed.append(connection)

    def _end_turn(self) -> None:
        unflushed, self._unflushed = self._unflushed, []
        for connection in unflushed:
            connection.flush()
        due, self._due = self._due, []
        for exchange in due:
            if not exchange.ended:
                exchange.end_turn()

    def make_room(self) -> bool:
        """Close the oldest connection that waits for bytes of a request. Return False if there is none."""
        oldest = min((each for each in self.connections if each.waits), key=lambda each: each.since, default=None)
        if oldest is not None:
            oldest.abort()
        return oldest is not None

    def made(self, connection: OpenConnection) -> None:
        """Note that ``connection`` is open."""
        self.connections.add(connection)
        if self._sweep is None:
            self._sweep_later()

    def _sweep_later(self) -> None:
        self._look_at_loop()
        self.dated = self.fields + date(int(time.time()))
        settings = self.settings
        timeouts = settings.keepalive_timeout, settings.head_timeout, settings.stall_timeout
        timeout = min(*timeouts, settings.body_timeout or _SWEEP * 4, settings.handler_timeout or _SWEEP * 4)
        self._sweep = asyncio.get_running_loop().call_later(min(_SWEEP, timeout / 4), self._end_waiting)

    def _end_waiting(self) -> None:
        """Expire the connections whose deadlines have passed. One timer for all costs a request nothing."""
        self._sweep = None
        if self.connections:
            self._sweep_later()
        now = asyncio.get_running_loop().time()
        for connection in [each for each in self.connections if each.deadline < now]:
            connection.expire()
        if self.settings.handler_timeout or self._handled:
            self._end_overrun(now)

    def _end_overrun(self, now: float) -> None:
        """End the applications whose time for an answer is over."""
        limit, known = self.settings.handler_timeout or math.inf, self._handled
        self._handled = {each: known.get(each, now) for each in self.running if each.is_handled}
        for exchange, since in self._handled.items():
            if now - since >= limit:
                exchange.overrun()

    def let_overrun(self, exchange: InFlight) -> bool:
        """Whether the connection of ``exchange``, which is cancelled, need not wait for its application."""
        may = len(self.overrunning) < _OVERRUNNING
        if may:
            self.overrunning.add(exchange)
        return may

    def lost(self, connection: OpenConnection) -> None:
        """Note that ``connection`` is lost."""
        if connection in self.connections:
            self.connections.discard(connection)
            self._past.add(connection)
        if self.draining and not self.connections:
            self._empty.set()

    @property
    def traffic(self) -> Traffic:
        """The sum over all connections. A common counter would cost each request one part in 200."""
        total = Traffic()
        for each in (self._past, *self.connections):
            total.add(each)
        return total

    async def drain(self, grace: float) -> None:
        """Close idle connections, give exchanges in flight ``grace`` seconds, then cancel and abort them.

        Applications that would never end by themselves are told at once, all others after half of the grace: most
        frameworks discard an unfinished response when they hear that its peer has left.
        """
        self.draining = True
        for connection in list(self.connections):
            connection.retire()
        for exchange in list(self.running):
            exchange.goodbye()
        await self._ended(grace * _HALF)
        for exchange in list(self.running):
            exchange.warn()
        await self._ended(grace * (1 - _HALF))
        for exchange in list(self.running):
            exchange.cancel()
        await self._ended(_CANCEL)
        if self.running:
            logger.warning("%s: still running after cancel: %d", self.name, len(self.running))
        await self._close()
        await self.tasks.cancel()

    async def _ended(self, timeout: float) -> None:
        tasks = {each.task for each in self.running if each.task is not None}
        if tasks:
            await asyncio.wait(tasks, timeout=timeout)

    async def _close(self) -> None:
        """Send what is buffered of finished answers, then abort the connections of peers that do not read it."""
        if not self.connections:
            return
        for connection in list(self.connections):
            connection.finish()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH):
                await self._empty.wait()
        for connection in list(self.connections):
            connection.abort()
