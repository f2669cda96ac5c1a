"""Messages between processes on one machine: JSON objects, one a line, which may carry sockets.

Each message says in ``do`` what it is, and in ``sockets`` how many sockets come with it.
"""

import array
import asyncio
import contextlib
import json
import os
import select
import socket
from collections.abc import Iterable
from typing import Any, Self

from gateway.control.caller import user_of
from gateway.reload.errors import HandOverFailed

_MOST = 253
"""Sockets of one message: Linux passes no more (SCM_MAX_FD)."""
_LONGEST = 4 * 1024 * 1024
"""Bytes of a message. The longest one lists the files that have changed."""
_PATIENCE = 2.0
"""Seconds for the other process to read the rest of a message that its socket has no room for."""
_CHUNK = 65536
_SHOWN = 60
"""Bytes of a message that cannot be read, in the sentence about it."""
_CLOSED_AT_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
"""Linux: no program that is started at the same moment gets a copy of the sockets."""

Message = dict[str, Any]
Received = tuple[Message, list[socket.socket]]


class Channel:
    """One end of a pair of sockets. A process that has ended is the end of its messages.

    Bytes that are not a message raise HandOverFailed, with a sentence about ``peer``, the other process.
    """

    def __init__(self, end: socket.socket, peer: str = "the other process") -> None:
        end.settimeout(0.0)
        self.peer = peer
        self._end = end
        self._read = b""
        self._sockets: list[socket.socket] = []

    @classmethod
    def inherited(cls, descriptor: int, peer: str = "the other process") -> Self:
        """Return the end that the parent process has left open as ``descriptor``. Raises OSError if there is none."""
        end = socket.socket(fileno=descriptor)
        end.set_inheritable(False)
        return cls(end, peer)

    @property
    def descriptor(self) -> int:
        return self._end.fileno()

    @property
    def user(self) -> int | None:
        """The number of the user who has made the pair; None if the system does not tell it."""
        return user_of(self._end)

    def send(self, message: Message, sockets: list[socket.socket] | None = None) -> None:
        """Send ``message``, with copies of ``sockets``. It is lost if the other process has ended, or this end is
        closed, because that is known already. Raises HandOverFailed if the other process does not read."""
        if self.descriptor < 0:
            return
        rights = array.array("i", [each.fileno() for each in sockets or ()])
        carried = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if rights else []
        line = json.dumps({**message, "sockets": len(rights)} if rights else message).encode() + b"\n"
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self._send_rest(line[self._end.sendmsg([line], carried) :])
        except BlockingIOError as error:
            raise HandOverFailed(f"{self.peer} does not read what it is sent") from error

    def _send_rest(self, rest: bytes) -> None:
        """A message does not stay half sent: the next one would begin in it."""
        room = select.poll()
        room.register(self._end, select.POLLOUT)
        while rest:
            room.poll(_PATIENCE * 1000)
            rest = rest[self._end.send(rest) :]

    async def receive(self) -> Received | None:
        """Return the next message and its sockets. None: the other process has ended. Raises HandOverFailed."""
        while b"\n" not in self._read:
            await _readable(self._end)
            if not self._take():
                return None
        return self._next()

    async def end(self) -> None:
        """Wait until the other process has ended, whatever it sends."""
        with contextlib.suppress(ConnectionResetError):
            while True:
                await _readable(self._end)
                if not self._end.recv(_CHUNK):
                    return

    def wait(self) -> Received | None:
        """Receive without an event loop."""
        while b"\n" not in self._read:
            select.select([self._end], [], [])
            if not self._take():
                return None
        return self._next()

    def _next(self) -> Received:
        line, _, self._read = self._read.partition(b"\n")
        try:
            message = _parsed(line)
            count = message.pop("sockets", 0)
            if type(count) is not int or not 0 <= count <= len(self._sockets):
                raise ValueError(f"{len(self._sockets)} sockets came with it")
        except (ValueError, RecursionError) as error:
            raise self._failed(f"sent what is no message: {line[:_SHOWN]!r}: {error}") from error
        sockets, self._sockets = self._sockets[:count], self._sockets[count:]
        if self._sockets and not self._read:  # otherwise they may be those of the next message
            close_all(sockets)
            raise self._failed("sent sockets that no message announces")
        return message, sockets

    def _take(self) -> bool:
        """Read what has come. Return False at the end."""
        try:
            data, descriptors, flags, _ = socket.recv_fds(self._end, _CHUNK, _MOST, _CLOSED_AT_EXEC)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        self._read += data
        for each in descriptors:
            self._adopt(each)
        if flags & socket.MSG_CTRUNC:
            raise self._failed("sent sockets that did not arrive: this process has no file descriptor left for them")
        if len(self._read) > _LONGEST and b"\n" not in self._read:
            raise self._failed(f"sent a message of more than {_LONGEST} bytes")
        return bool(data)

    def _adopt(self, descriptor: int) -> None:
        try:
            adopted = socket.socket(fileno=descriptor)
        except OSError as error:
            os.close(descriptor)
            raise self._failed("sent a file descriptor that is no socket") from error
        if adopted.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            adopted.settimeout(0)  # else Python makes a copy block, and so all copies, also those in other processes
        self._sockets.append(adopted)

    def _failed(self, what: str) -> HandOverFailed:
        """Forget what has come: where the next message begins is not known."""
        close_all(self._sockets)
        self._sockets, self._read = [], b""
        return HandOverFailed(f"{self.peer} {what}")

    def close(self) -> None:
        close_all(self._sockets)
        self._end.close()


def close_all(sockets: Iterable[socket.socket]) -> None:
    for each in sockets:
        each.close()


def text_in(message: Message, key: str) -> str:
    """Return the text that ``message`` has under ``key``. Raises HandOverFailed if it has none."""
    found = message.get(key)
    if not isinstance(found, str):
        raise HandOverFailed(f"the message {message['do']!r} has no text for {key!r}")
    return found


def _parsed(line: bytes) -> Message:
    """Raises ValueError or RecursionError."""
    message = json.loads(line)
    if not isinstance(message, dict) or not isinstance(message.get("do"), str):
        raise ValueError('an object with "do" is wanted')
    return message


async def _readable(end: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(end, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(end)
