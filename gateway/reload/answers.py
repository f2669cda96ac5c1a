"""What a gateway does when its successor, in another process, asks for it."""

import socket
from collections.abc import Awaitable, Callable

from gateway.reload.channel import Channel, Message, close_all, text_in
from gateway.reload.errors import HandOverFailed
from gateway.reload.state import write
from gateway.runtime.running import RunningGateway
from protocols.tasks import Tasks
from protocols.units import BindAddress, parse_address

_MOST = 10_000
"""Requests of one successor: each server asks twice, and may leave a socket open."""


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
        self._answered = 0
        self._tasks = Tasks("hand-over")

    async def answer(self, message: Message) -> None:
        """Do what ``message`` asks for, and say so. Raises HandOverFailed if it asks for what does not exist."""
        act = self._table.get(message["do"])
        if act is None:
            raise HandOverFailed(f"{self._channel.peer} said {message['do']!r}, which this release does not know")
        self._answered += 1
        if self._answered > _MOST:
            raise HandOverFailed(f"{self._channel.peer} has asked more than {_MOST} times")
        sockets = await act(message)
        try:
            if "request" in message:
                self._channel.send({"do": "answer", "answers": message["request"]}, sockets)
        finally:
            close_all(sockets)

    async def _sockets(self, message: Message) -> list[socket.socket]:
        return list(await self._running().sockets_of(text_in(message, "name"), _address(message)))

    async def _stop_delivering(self, message: Message) -> list[socket.socket]:
        await self._running().stop_delivering()
        return []

    async def _release_exclusive(self, message: Message) -> list[socket.socket]:
        await self._running().release_exclusive()
        return []

    async def _state(self, message: Message) -> list[socket.socket]:
        """Return a socket from which the records can be read, which may be too many for a message."""
        parts = self._running().state_of(text_in(message, "name"))
        ours, theirs = socket.socketpair()
        self._tasks.spawn(write(ours, parts), name="the state of a server")
        return [theirs]

    async def _resume(self, message: Message) -> list[socket.socket]:
        await self._running().resume()
        return []


def _address(message: Message) -> BindAddress:
    bind = text_in(message, "bind")
    try:
        return parse_address(bind)
    except ValueError as error:
        raise HandOverFailed(f"the message 'sockets' has no address for 'bind': {error}") from error
