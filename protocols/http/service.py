"""What all connections of one HTTP server share."""

import asyncio
import contextlib
import logging
from typing import Any, Protocol

from protocols.asgi import Application
from protocols.http.settings import HTTPSettings

logger = logging.getLogger(__name__)

_CANCEL = 5.0
"""Seconds for a cancelled application to end."""
_FLUSH = 1.0
"""Seconds for the last bytes of finished answers to leave."""


class InFlight(Protocol):
    """An exchange whose application runs."""

    noun: str

    @property
    def task(self) -> "asyncio.Task[Any] | None": ...
    def cancel(self) -> None: ...
    def goodbye(self) -> None: ...


class Open(Protocol):
    """A connection that has not been lost."""

    def retire(self) -> None: ...
    def finish(self) -> None: ...
    def abort(self) -> None: ...


class Service:
    """The application, its settings and state, and what is open and in flight."""

    def __init__(self, app: Application, settings: HTTPSettings, name: str, state: dict[str, Any]) -> None:
        self.app = app
        self.settings = settings
        self.name = name
        self.state = state
        self.draining = False
        self.fields = f"server: {settings.server_header}\r\n".encode() if settings.server_header else b""
        """Header lines that every response has."""
        self.running: set[InFlight] = set()
        self.connections: set[Open] = set()
        self._empty = asyncio.Event()

    def lost(self, connection: Open) -> None:
        """``connection`` is no more."""
        self.connections.discard(connection)
        if self.draining and not self.connections:
            self._empty.set()

    async def drain(self, grace: float) -> None:
        """Say goodbye to every peer, and give what is in flight ``grace`` seconds before it is cancelled and cut."""
        self.draining = True
        for connection in list(self.connections):
            connection.retire()
        for exchange in list(self.running):
            exchange.goodbye()
        await self._ended(grace)
        for exchange in list(self.running):
            exchange.cancel()
        await self._ended(_CANCEL)
        if self.running:
            logger.warning("%s: still running after cancel: %d", self.name, len(self.running))
        await self._close()

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
