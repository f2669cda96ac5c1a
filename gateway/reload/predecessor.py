"""The version before, in its own process, as its successor takes over from it."""

import asyncio
import contextlib
import secrets
import socket
from collections.abc import AsyncIterator, Sequence

from gateway.reload.channel import Channel, close_all
from gateway.reload.errors import HandOverFailed
from gateway.reload.state import read
from protocols.server import Record, Server
from protocols.units import BindAddress

PATIENCE = 300.0
"""Seconds for an answer, in addition to those that the application has to finish what it has accepted."""


class RemotePredecessor:
    """A :class:`gateway.runtime.running.Predecessor`. One that has ended has nothing that could be taken over; it is an
    error unless it ``may_end``."""

    def __init__(self, channel: Channel, *, may_end: bool = True) -> None:
        self.file = "the version before"
        self.has_successor = False
        self.older: set[asyncio.Task[None]] = set()
        self.patience = PATIENCE
        """Seconds for each answer."""
        self._channel = channel
        self._may_end = may_end
        self._has_ended = False

    def lend(self, made: Server) -> Server | None:
        """Return None: no server can go on in another process."""
        return None

    async def sockets_of(self, name: str, bind: BindAddress) -> Sequence[socket.socket]:
        return await self._ask("sockets", name=name, bind=str(bind))

    async def stop_delivering(self) -> None:
        await self._ask("stop_delivering")

    async def release_exclusive(self) -> None:
        await self._ask("release_exclusive")

    async def state_of(self, name: str) -> AsyncIterator[Sequence[Record]]:
        found = await self._ask("state", name=name)
        if len(found) != 1 and not self._has_ended:
            close_all(found)
            raise HandOverFailed(f"{self._channel.peer} sent {len(found)} sockets for the state of {name}, and not 1")
        for each in found:
            async for records in read(each):
                yield records

    async def resume(self) -> None:
        with contextlib.suppress(ConnectionError):
            await self._ask("resume")

    async def give_way(self) -> None:
        """Do nothing: the supervisor tells it, once it knows that the successor is ready. Until then a change may end
        the successor, and the predecessor has to go on."""

    async def _ask(self, what: str, **more: str) -> list[socket.socket]:
        """Return the sockets of the answer. What an earlier successor has not heard any more is left out. Raises
        ConnectionError."""
        request = secrets.token_hex(8)
        self._channel.send({"do": what, "request": request, **more})
        try:
            async with asyncio.timeout(self.patience):
                return await self._answer_to(request)
        except TimeoutError as error:
            raise HandOverFailed(f"{self._channel.peer} did not answer {what!r} within {self.patience:g} s") from error

    async def _answer_to(self, request: str) -> list[socket.socket]:
        while (received := await self._channel.receive()) is not None:
            message, sockets = received
            if message.get("answers") == request:
                return sockets
            close_all(sockets)
        self._has_ended = True
        if not self._may_end:
            raise HandOverFailed(f"{self._channel.peer} has ended")
        return []
