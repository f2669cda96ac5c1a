"""The records of a server's state on their way to another process, through a socket, in parts: each is a length and a
MessagePack array. A part of length 0 ends it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence

import msgpack

from protocols.server import Record

_LENGTH = 4
"""Bytes of the length of a part, with the highest byte first."""


async def write(end: socket.socket, parts: AsyncIterator[Sequence[Record]]) -> None:
    """Write ``parts`` as fast as the other process reads, and close ``end``. It may end before it has read all."""
    end.settimeout(0)
    loop = asyncio.get_running_loop()
    with end, contextlib.suppress(ConnectionError):
        async for records in parts:
            packed: bytes = msgpack.packb(records)
            await loop.sock_sendall(end, len(packed).to_bytes(_LENGTH, "big") + packed)
        await loop.sock_sendall(end, bytes(_LENGTH))


async def read(end: socket.socket) -> AsyncIterator[Sequence[Record]]:
    """Yield the parts, and close ``end``. Raises ConnectionResetError if the other process ends in the midst."""
    end.settimeout(0)
    with end:
        while length := int.from_bytes(await _exactly(end, _LENGTH), "big"):
            yield [(key, value) for key, value in msgpack.unpackb(await _exactly(end, length))]


async def _exactly(end: socket.socket, length: int) -> bytes:
    loop = asyncio.get_running_loop()
    found = bytearray()
    while len(found) < length:
        if not (chunk := await loop.sock_recv(end, length - len(found))):
            raise ConnectionResetError("the process to be replaced has ended while it handed over its sessions")
        found += chunk
    return bytes(found)
