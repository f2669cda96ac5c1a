"""What all connections of one HTTP server share."""

import asyncio
import contextlib
import logging
from typing import Any, ClassVar, Protocol

from protocols.asgi import Application
from protocols.http.settings import HTTPSettings
from protocols.tasks import Tasks

logger = logging.getLogger(__name__)

_CANCEL = 5.0
"""Seconds for a cancelled application to end."""
_FLUSH = 1.0
"""Seconds for the last bytes of finished answers to leave."""
_HALF = 0.5
"""The part of the grace after which whatever still runs is told that it will be cancelled."""


class InFlight(Protocol):
    """An exchange whose application runs."""

    noun: ClassVar[str]

    @property
    def task(self) -> "asyncio.Task[Any] | None": ...
    def cancel(self) -> None: ...
    def flush_head(self) -> None: ...
    def free(self) -> None: ...
    def goodbye(self) -> None: ...
    def warn(self) -> None: ...


class OpenConnection(Protocol):
    """A connection that has not been lost."""

    def retire(self) -> None: ...
    def finish(self) -> None: ...
    def abort(self) -> None: ...


class HTTPService:
    """The application, its settings and state, and what is open and in flight."""

    def __init__(self, app: Application, settings: HTTPSettings, name: str, state: dict[str, Any]) -> None:
        self.app = app
        self.settings = settings
        self.name = name
        self.state = state
        self.draining = False
        self.fields = f"server: {settings.server_header}\r\n".encode() if settings.server_header else b""
        """Header lines that every response has."""
        self.extensions: dict[str, Any] = {"http.response.early_hint": {}}
        """Of every http scope."""
        if settings.pathsend:
            self.extensions["http.response.pathsend"] = {}
        self.running: set[InFlight] = set()
        self.connections: set[OpenConnection] = set()
        self.tasks = Tasks(name)
        self._empty = asyncio.Event()
        self._heads: list[InFlight] = []

    def head_waits(self, exchange: InFlight) -> None:
        """``exchange`` has a response's head. It leaves in one write with the first piece of the body where that comes
        in this turn of the loop; else alone, or the peer of a quiet event stream would wait for it.

        One callback for all heads of a turn: one for each is a fiftieth of a short request's time.
        """
        if not self._heads:
            asyncio.get_running_loop().call_soon(self._flush_heads)
        self._heads.append(exchange)

    def _flush_heads(self) -> None:
        heads, self._heads = self._heads, []
        for exchange in heads:
            exchange.flush_head()

    def lost(self, connection: OpenConnection) -> None:
        """``connection`` is no more."""
        self.connections.discard(connection)
        if self.draining and not self.connections:
            self._empty.set()

    async def drain(self, grace: float) -> None:
        """Say goodbye to every peer, and give what is in flight ``grace`` seconds before it is cancelled and cut.

        What would never end by itself is told at once, everything else when half of the grace is over: most frameworks
        throw a response away that they are making when they hear that its peer has left.
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
        """Every answer is written: send what is buffered, then cut off who does not read it."""
        if not self.connections:
            return
        for connection in list(self.connections):
            connection.finish()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH):
                await self._empty.wait()
        for connection in list(self.connections):
            connection.abort()
