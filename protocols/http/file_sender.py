"""Sends a file by the system's sendfile, which copies nothing to this process."""

import asyncio
import os
from functools import partial
from typing import TypeGuard, cast

from protocols.errors import Disconnected
from protocols.http.channel import Channel
from protocols.http.connection import HTTPConnection
from protocols.http.open_file import OpenFile

_PIECE = 1024 * 1024
"""Bytes that are sent at a time."""


def can_send(connection: Channel) -> TypeGuard[HTTPConnection]:
    """Whether files can be sent over ``connection`` in this way. TLS has to encrypt them first, and a stream has
    frames."""
    return isinstance(connection, HTTPConnection) and not connection.tls and hasattr(os, "sendfile")


class FileSender:
    """Sends one file over a connection to which nothing else writes meanwhile.

    uvloop has no ``loop.sendfile``. The socket is duplicated, because a loop watches a descriptor for one purpose. The
    duplicate is closed with the file.
    """

    def __init__(self, connection: HTTPConnection, opened: OpenFile) -> None:
        self._connection = connection
        self._opened = opened
        self._socket = -1

    async def send(self, size: int) -> int:
        """Send ``size`` bytes from the file's beginning. Return how many were there. Raises Disconnected."""
        await self._flush()
        transport = self._transport()
        self._socket = os.dup(transport.get_extra_info("socket").fileno())
        self._opened.on_close(partial(os.close, self._socket))
        sent = 0
        while sent < size:
            try:
                now = await self._send_some(sent, min(size - sent, _PIECE))
            except BlockingIOError:
                await self._wait()
                continue
            except ConnectionError:
                raise Disconnected("the peer is gone") from None
            if not now:
                break
            sent += now
            self._connection.bytes_sent += now
        return sent

    def _transport(self) -> asyncio.Transport:
        """Return the connection's transport. Raises Disconnected."""
        if not self._connection.connected:
            raise Disconnected("the peer is gone")
        return cast("asyncio.Transport", self._connection.transport)

    async def _flush(self) -> None:
        """Wait until everything that was written before is in the kernel. Raises Disconnected."""
        transport = self._transport()
        transport.set_write_buffer_limits(high=0)
        try:
            await self._connection.drain()
        finally:
            transport.set_write_buffer_limits()

    async def _send_some(self, begin: int, count: int) -> int:
        """Send on a thread, because a slow disk blocks."""
        self._transport()
        opened = self._opened
        return await opened.on_thread(os.sendfile, self._socket, opened.file.fileno(), begin, count)

    async def _wait(self) -> None:
        """Wait until the socket takes bytes. Raises Disconnected."""
        connection = self._connection
        connection.loop.add_writer(self._socket, connection.wake_writers)
        try:
            if not await connection.woken():
                connection.cut_off()
        finally:
            connection.loop.remove_writer(self._socket)
