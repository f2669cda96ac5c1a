"""Messages between processes on one machine: JSON objects, one a line, which may carry sockets."""

import array
import asyncio
import contextlib
import json
import select
import socket
from typing import Any, Self

_MOST = 64
"""Sockets of one message: a host name has few addresses."""
_CHUNK = 65536
_CLOSED_AT_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
"""Linux: no program that is started at the same moment gets a copy of the sockets."""

Message = dict[str, Any]
Received = tuple[Message, list[socket.socket]]


class Channel:
    """One end of a pair of sockets. A process that has ended is the end of its messages."""

    def __init__(self, end: socket.socket) -> None:
        end.settimeout(0.0)
        self._end = end
        self._read = b""
        self._sockets: list[socket.socket] = []

    @classmethod
    def inherited(cls, descriptor: int) -> Self:
        """Return the end that the parent process has left open as ``descriptor``."""
        end = socket.socket(fileno=descriptor)
        end.set_inheritable(False)
        return cls(end)

    @property
    def descriptor(self) -> int:
        return self._end.fileno()

    def send(self, message: Message, sockets: list[socket.socket] | None = None) -> None:
        """Send ``message``, with copies of ``sockets``. It is lost if the other process has ended, or this end is
        closed, because that is known already."""
        if self.descriptor < 0:
            return
        rights = array.array("i", [each.fileno() for each in sockets or ()])
        carried = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if rights else []
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._end.sendmsg([json.dumps(message).encode() + b"\n"], carried)

    async def receive(self) -> Received | None:
        """Return the next message and its sockets. None: the other process has ended."""
        while b"\n" not in self._read:
            await _readable(self._end)
            if not self._take():
                return None
        return self._next()

    def wait(self) -> Received | None:
        """Receive without an event loop."""
        while b"\n" not in self._read:
            select.select([self._end], [], [])
            if not self._take():
                return None
        return self._next()

    def _next(self) -> Received:
        line, _, self._read = self._read.partition(b"\n")
        sockets, self._sockets = self._sockets, []
        return json.loads(line), sockets

    def _take(self) -> bool:
        """Read what has come. Return False at the end."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self._end, _CHUNK, _MOST, _CLOSED_AT_EXEC)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        self._sockets += [socket.socket(fileno=each) for each in descriptors]
        self._read += data
        return bool(data)

    def close(self) -> None:
        self._end.close()


async def _readable(end: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(end, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(end)
