"""What the HTTP tests share: a server over an application, raw requests, answers taken apart."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from contract import LIMIT, connect

from protocols.http.server import HTTPServer, HTTPSettings

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@contextlib.asynccontextmanager
async def serving(app: Any, **settings: Any) -> AsyncIterator[HTTPServer]:
    server = HTTPServer(app, HTTPSettings(**{"bind": "127.0.0.1:0", **settings}), state={})
    async with asyncio.timeout(20), server:
        yield server


@dataclass
class Recorder:
    """An application that reads its body, answers with ``body`` in one piece, and remembers what it was given."""

    status: int = 200
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b"hello"
    scopes: list[Any] = field(default_factory=list)
    received: list[bytes] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        body = b""
        while (event := await receive())["type"] == "http.request":
            body += event["body"]
            if not event["more_body"]:
                break
        self.received.append(body)
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})


@dataclass
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def __getitem__(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


async def read_answer(reader: asyncio.StreamReader, *, body: bool = True) -> Answer:
    """One response, framed as RFC 9112 has it, on a connection that may stay open."""
    async with asyncio.timeout(LIMIT):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *fields = head[:-4].split("\r\n")
        answer = Answer(int(line.split(" ")[1]), [(k, v) for k, _, v in (each.partition(": ") for each in fields)], b"")
        if not body or answer.status in (204, 304) or answer.status < 200:
            return answer
        if (length := answer["content-length"]) is not None:
            answer.body = await reader.readexactly(int(length))
        elif answer["transfer-encoding"] == "chunked":
            answer.body = await _chunks(reader)
        else:
            answer.body = await reader.read()
        return answer


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()  # grows in place: megabytes that are copied for each chunk take seconds
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += await reader.readexactly(size)
        assert await reader.readexactly(2) == b"\r\n"
    assert await reader.readexactly(2) == b"\r\n"
    return bytes(body)


async def ask(server: HTTPServer, data: bytes, *, body: bool = True) -> tuple[Answer, bool]:
    """Send ``data`` on a new connection: the answer, and whether the server has closed after it."""
    reader, writer = await connect(server.address)
    writer.write(data)
    try:
        answer = await read_answer(reader, body=body)
        closed = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.1):
                closed = await reader.read() == b""
        return answer, closed
    finally:
        writer.close()
