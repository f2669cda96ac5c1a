"""The load client of the HTTP and WebSocket rows: so lean that the server is what is measured.

Every connection keeps ``window`` pre-encoded requests on their way; each complete answer is replaced by one request.
Answers are told apart by their length alone, which the first one shows. ``python -m benchmarks.windowed http PORT 64 1
3`` prints answers per second: 64 connections, a window of 1, 3 seconds. The load begins when every connection has its
first answer. Where a server does not accept all of them within :data:`ACCEPTED_WITHIN`, that is what is printed.
"""

import asyncio
import base64
import os
import ssl
import sys
import time
import zlib
from collections.abc import Callable
from typing import cast

import uvloop

from benchmarks.side_by_side import NOT_SERVED, NotServedError

ACCEPTED_WITHIN = 30.0
"""Seconds in which a server has to accept all connections, and to give each its first answer."""
TOGETHER = 100
"""Connections that are made at once. The kernel answers for a server that is slow to accept them: only a first answer
shows that it has."""
HELLO = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: load\r\nAccept: */*\r\n\r\n"
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: " + base64.b64encode(os.urandom(16)) + b"\r\n\r\n"
)
POST = b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: load\r\nAccept: */*\r\nContent-Length: %d\r\n\r\n"
FRAME = b"\x81\xa0\0\0\0\0" + b"x" * 32  # text, masked (by zeros, which are a mask too), 32 bytes


def _compressed(message: bytes) -> bytes:
    """A frame that only its own bytes are needed to read (RFC 7692), masked by zeros."""
    stream = zlib.compressobj(1, zlib.DEFLATED, -12)
    data = (stream.compress(message) + stream.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\x00\x00\xff\xff")
    length = bytes([128 + len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2)
    return b"\xc1" + length + bytes(4) + data


def _readings(size: int) -> bytes:
    return b", ".join(b'{"id": %d, "temperature": 21.%d, "room": "kitchen"}' % (n, n) for n in range(size // 40))[:size]


class Connection(asyncio.Protocol):
    """One connection: a first request, then, when all are ``accepted``, a constant window."""

    request: bytes

    def __init__(self, window: int) -> None:
        self.window = window
        self.size = 0
        self.received = 0
        self.done = 0
        self.head = b""
        self.accepted = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self.greet()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.accepted.done():
            self.refuse("closed a connection before its first answer")

    def greet(self) -> None:
        """Send what the first answer is for."""
        self.transport.write(self.request)

    def begin(self) -> None:
        self.transport.write(self.request * self.window)

    def answered(self, size: int) -> None:
        """Remember the length of an answer: the first one has arrived."""
        self.size = size
        self.accepted.set_result(None)

    def refuse(self, reason: str) -> None:
        self.accepted.set_exception(NotServedError(reason))

    def learn(self, data: bytes) -> None:
        """Find the length of one answer in the first data."""
        raise NotImplementedError

    def data_received(self, data: bytes) -> None:
        if not self.size:
            self.learn(data)
            return
        received = self.received + len(data)
        count, self.received = divmod(received, self.size)
        if count:
            self.done += count
            self.transport.write(self.request * count)


class Hello(Connection):
    request = HELLO

    def learn(self, data: bytes) -> None:
        self.head += data
        head, end, body = self.head.partition(b"\r\n\r\n")
        if not end:
            return
        assert head.startswith(b"HTTP/1.1 200 "), head
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        size = len(head) + 4 + length
        if len(head) + 4 + len(body) == size:
            self.answered(size)


class Post(Hello):
    request = POST % 1024 + b"x" * 1024


class Upload(Hello):
    request = POST % 1048576 + b"x" * 1048576


class Echo(Connection):
    request = FRAME

    def greet(self) -> None:
        self.transport.write(HANDSHAKE)

    def learn(self, data: bytes) -> None:
        assert data.startswith(b"HTTP/1.1 101 "), data
        self.answered(len(self.request) - 4)  # the answer is not masked


class LargeEcho(Echo):
    request = b"\x81\xff" + (65536).to_bytes(8) + bytes(4) + b"x" * 65536


class CompressedEcho(Connection):
    """A message of 4 KiB that is compressed by itself, so that all answers of a server are of one length."""

    request = _compressed(_readings(4096))

    def greet(self) -> None:
        offer = b"permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        self.transport.write(HANDSHAKE[:-2] + b"Sec-WebSocket-Extensions: " + offer + b"\r\n\r\n")

    def learn(self, data: bytes) -> None:
        self.head += data
        head, end, frame = self.head.partition(b"\r\n\r\n")
        if not end:
            return
        assert head.startswith(b"HTTP/1.1 101 "), head
        if b"permessage-deflate" not in head:
            self.refuse("does not compress messages")
        elif not frame:
            self.transport.write(self.request)
        elif frame[0] != 0xC1:
            self.refuse("compresses no message of this size")
        elif len(frame) >= 4 and len(frame) == (size := _size(frame)):
            self.answered(size)


class SmallCompressedEcho(CompressedEcho):
    request = _compressed(_readings(80)[:32])


class LargeCompressedEcho(CompressedEcho):
    request = _compressed(_readings(65536))


def _size(frame: bytes) -> int:
    """The length of a short or medium frame that is not masked."""
    return 4 + int.from_bytes(frame[2:4]) if frame[1] == 126 else 2 + frame[1]


KINDS: dict[str, Callable[[int], Connection]] = {
    "http": Hello,
    "https": Hello,
    "post": Post,
    "upload": Upload,
    "websocket": Echo,
    "websocket-large": LargeEcho,
    "websocket-compressed": CompressedEcho,
    "websocket-small-compressed": SmallCompressedEcho,
    "websocket-large-compressed": LargeCompressedEcho,
}


def unchecked() -> ssl.SSLContext:
    """TLS with a server whose certificate is not checked: it is made for the run."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def connect(kind: str, port: int, window: int, number: int, made: list[Connection]) -> None:
    """Make ``number`` connections, and wait until each has its first answer."""
    loop, tls = asyncio.get_running_loop(), unchecked() if kind == "https" else None
    while len(made) < number:
        several = range(min(TOGETHER, number - len(made)))
        new = [loop.create_connection(lambda: KINDS[kind](window), "127.0.0.1", port, ssl=tls) for _ in several]
        made += [connection for _, connection in await asyncio.gather(*new)]
        await asyncio.gather(*(each.accepted for each in made[-len(several) :]))


async def load(kind: str, port: int, connections: int, window: int, seconds: float) -> float:
    """Answers per second."""
    made: list[Connection] = []
    try:
        async with asyncio.timeout(ACCEPTED_WITHIN):
            await connect(kind, port, window, connections, made)
    except (TimeoutError, OSError) as error:
        accepted = sum(each.size > 0 for each in made)
        raise NotServedError(
            f"accepted {accepted:,} of {connections:,} connections within {ACCEPTED_WITHIN:.0f} s"
        ) from error
    for each in made:
        each.begin()
    await asyncio.sleep(0.2)  # every window is full
    before, started = sum(each.done for each in made), time.perf_counter()
    await asyncio.sleep(seconds)
    rate = (sum(each.done for each in made) - before) / (time.perf_counter() - started)
    for each in made:
        each.transport.abort()
    assert all(each.done for each in made), "a connection got no answer"
    return rate


if __name__ == "__main__":
    kind, port, connections, window, seconds = sys.argv[1:]
    try:
        print(uvloop.run(load(kind, int(port), int(connections), int(window), float(seconds))))
    except NotServedError as error:
        print(error)
        sys.exit(NOT_SERVED)
