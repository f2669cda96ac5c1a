"""The load client of the HTTP and WebSocket rows: so lean that the server is what is measured.

Every connection keeps ``window`` pre-encoded requests on their way; each complete answer is replaced by one request.
Answers are told apart by their length alone, which the first one shows. ``python -m benchmarks.windowed http PORT 64 1
3`` prints answers per second: 64 connections, a window of 1, 3 seconds.
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
    assert 126 <= len(data) < 65536
    return b"\xc1\xfe" + len(data).to_bytes(2) + bytes(4) + data


class Connection(asyncio.Protocol):
    """One connection: ``begin`` when all are made, then a constant window."""

    request: bytes

    def __init__(self, window: int) -> None:
        self.window = window
        self.size = 0
        self.received = 0
        self.done = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def begin(self) -> None:
        raise NotImplementedError

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

    def begin(self) -> None:
        self.head = b""
        self.transport.write(self.request)

    def learn(self, data: bytes) -> None:
        self.head += data
        head, end, body = self.head.partition(b"\r\n\r\n")
        if not end:
            return
        assert head.startswith(b"HTTP/1.1 200 "), head
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        size = len(head) + 4 + length
        if len(head) + 4 + len(body) == size:
            self.size = size
            self.transport.write(self.request * self.window)


class Post(Hello):
    request = POST % 1024 + b"x" * 1024


class Upload(Hello):
    request = POST % 1048576 + b"x" * 1048576


class Echo(Connection):
    request = FRAME

    def begin(self) -> None:
        self.transport.write(HANDSHAKE)

    def learn(self, data: bytes) -> None:
        assert data.startswith(b"HTTP/1.1 101 "), data
        self.size = len(self.request) - 4  # the answer is not masked
        self.transport.write(self.request * self.window)


class LargeEcho(Echo):
    request = b"\x81\xff" + (65536).to_bytes(8) + bytes(4) + b"x" * 65536


class CompressedEcho(Connection):
    """A message of 4 KiB that is compressed by itself, so that all answers of a server are of one length."""

    request = _compressed(
        b", ".join(b'{"id": %d, "temperature": 21.%d, "room": "kitchen"}' % (n, n) for n in range(80))
    )

    def begin(self) -> None:
        self.head = b""
        offer = b"permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        self.transport.write(HANDSHAKE[:-2] + b"Sec-WebSocket-Extensions: " + offer + b"\r\n\r\n")

    def learn(self, data: bytes) -> None:
        self.head += data
        head, end, frame = self.head.partition(b"\r\n\r\n")
        if end and not frame:
            self.transport.write(self.request)
        if len(frame) < 4:
            return
        assert b"permessage-deflate" in head, head
        assert frame[:2] == b"\xc1\x7e", "the answer is not compressed"
        size = 4 + int.from_bytes(frame[2:4])
        if len(frame) == size:
            self.size = size
            self.transport.write(self.request * self.window)


KINDS: dict[str, Callable[[int], Connection]] = {
    "http": Hello,
    "https": Hello,
    "post": Post,
    "upload": Upload,
    "websocket": Echo,
    "websocket-large": LargeEcho,
    "websocket-compressed": CompressedEcho,
}


def unchecked() -> ssl.SSLContext:
    """TLS with a server whose certificate is not checked: it is made for the run."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def load(kind: str, port: int, connections: int, window: int, seconds: float) -> float:
    """Answers per second."""
    loop, tls = asyncio.get_running_loop(), unchecked() if kind == "https" else None
    made = []
    for number in range(connections):
        made.append((await loop.create_connection(lambda: KINDS[kind](window), "127.0.0.1", port, ssl=tls))[1])
        if number % 100 == 99:
            await asyncio.sleep(0.05)  # a server that is busy would be slow to accept the others, or never would
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
    print(uvloop.run(load(kind, int(port), int(connections), int(window), float(seconds))))
