"""The records of a server's state on their way to another process, through a socket, in parts: each is a length and a
MessagePack array. A part of length 0 ends it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence

import msgpack

from gateway.reload.errors import HandOverFailed
from protocols.server import Record

_LENGTH = 4
"""Bytes of the length of a part, with the highest byte first."""
_LONGEST = 1 << 30
"""Bytes of a part. One record can have an MQTT message, of 256 MiB at most, or a session with many small ones."""
SILENCE = 60.0
"""Seconds in which the other process has to send something."""
_WHILE = "while it handed over its sessions"


async def write(end: socket.socket, parts: AsyncIterator[Sequence[Record]]) -> None:
    """Write ``parts`` as fast as the other process reads, and close ``end``. It may end before it has read all."""
    end.settimeout(0)
    loop = asyncio.get_running_loop()
    with end, contextlib.suppress(ConnectionError):
        async for records in parts:
            packed: bytes = msgpack.packb(records)
            await loop.sock_sendall(end, len(packed).to_bytes(_LENGTH, "big") + packed)
        await loop.sock_sendall(end, bytes(_LENGTH))


async def read(end: socket.socket, silence: float = SILENCE) -> AsyncIterator[Sequence[Record]]:
    """Yield the parts, and close ``end``. Raises HandOverFailed if the other process ends before the last part, says
    nothing for ``silence`` seconds, or sends something else."""
    end.settimeout(0)
    with end:
        while length := int.from_bytes(await _exactly(end, _LENGTH, silence), "big"):
            if length > _LONGEST:
                raise HandOverFailed(f"the process to be replaced announced {length} bytes {_WHILE}")
            yield _records(await _exactly(end, length, silence))


def _records(packed: bytes) -> list[Record]:
    try:
        records = [(key, value) for key, value in msgpack.unpackb(packed)]
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise HandOverFailed(f"the process to be replaced sent what is no record {_WHILE}: {error}") from error
    if not all(isinstance(key, str) and isinstance(value, bytes) for key, value in records):
        raise HandOverFailed(f"the process to be replaced sent a record of other types {_WHILE}")
    return records


async def _exactly(end: socket.socket, length: int, silence: float) -> bytes:
    loop = asyncio.get_running_loop()
    found = bytearray()
    while len(found) < length:
        try:
            async with asyncio.timeout(silence):
                chunk = await loop.sock_recv(end, min(length - len(found), 1 << 20))
        except TimeoutError as error:
            raise HandOverFailed(f"the process to be replaced said nothing for {silence:g} s {_WHILE}") from error
        if not chunk:
            raise HandOverFailed(f"the process to be replaced has ended {_WHILE}")
        found += chunk
    return bytes(found)
