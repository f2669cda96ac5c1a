"""What a gateway does when its successor, in another process, asks for it."""

import socket
from collections.abc import Awaitable, Callable

from gateway.reload.channel import Channel, Message
from gateway.reload.state import write
from gateway.runtime.running import RunningGateway
from protocols.tasks import Tasks
from protocols.units import parse_address


class Answers:
    """Answers the messages of a :class:`gateway.reload.predecessor.RemotePredecessor` for the gateway that ``running``
    returns."""

    def __init__(self, channel: Channel, running: Callable[[], RunningGateway]) -> None:
        self._channel = channel
        self._running = running
        self._table: dict[str, Callable[[Message], Awaitable[list[socket.socket]]]] = {
            "sockets": self._sockets,
            "stop_delivering": self._stop_delivering,
            "release_exclusive": self._release_exclusive,
            "state": self._state,
            "resume": self._resume,
        }
        self._tasks = Tasks("hand-over")

    async def answer(self, message: Message) -> None:
        """Do what ``message`` asks for, and say so."""
        sockets = await self._table[message["do"]](message)
        if "request" in message:
            self._channel.send({"do": "answer", "answers": message["request"]}, sockets)
        for each in sockets:
            each.close()

    async def _sockets(self, message: Message) -> list[socket.socket]:
        return list(await self._running().sockets_of(message["name"], parse_address(message["bind"])))

    async def _stop_delivering(self, message: Message) -> list[socket.socket]:
        await self._running().stop_delivering()
        return []

    async def _release_exclusive(self, message: Message) -> list[socket.socket]:
        await self._running().release_exclusive()
        return []

    async def _state(self, message: Message) -> list[socket.socket]:
        """Return a socket from which the records can be read, which may be too many for a message."""
        ours, theirs = socket.socketpair()
        self._tasks.spawn(write(ours, self._running().state_of(message["name"])), name="the state of a server")
        return [theirs]

    async def _resume(self, message: Message) -> list[socket.socket]:
        await self._running().resume()
        return []
