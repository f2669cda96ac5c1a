"""A raw client, which leaves in every way that there is."""

import asyncio
import base64
import contextlib
import gzip
import os
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import brotli

LIMIT = 5.0


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes = b""

    @property
    def content(self) -> bytes:
        """As a browser shows it."""
        match self.headers.get("content-encoding"):
            case "gzip":
                return gzip.decompress(self.body)
            case "br":
                return bytes(brotli.decompress(self.body))
            case _:
                return self.body


@dataclass
class Peer:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    port: int
    chunked: bool = field(default=False)

    async def ask(self, path: str, method: str = "GET", body: bytes = b"", **headers: str) -> None:
        """Send a request. ``content_length`` may promise more than ``body`` is."""
        given = {"host": f"127.0.0.1:{self.port}"} | {key.replace("_", "-"): value for key, value in headers.items()}
        if method == "POST":
            given.setdefault("content-length", str(len(body)))
        lines = "".join(f"{key}: {value}\r\n" for key, value in given.items())
        self.writer.write(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body)
        await self.writer.drain()

    async def head(self) -> Answer:
        async with asyncio.timeout(LIMIT):
            text = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *fields = text[:-4].split("\r\n")
        headers = {key.lower(): value for key, _, value in (each.partition(": ") for each in fields)}
        self.chunked = headers.get("transfer-encoding") == "chunked"
        return Answer(int(line.split(" ")[1]), headers)

    async def chunk(self) -> bytes:
        """One chunk of a chunked body; empty at its end."""
        async with asyncio.timeout(LIMIT):
            size = int(await self.reader.readuntil(b"\r\n"), 16)
            data = await self.reader.readexactly(size)
            await self.reader.readexactly(2)
            return data

    async def answer(self, *, bodiless: bool = False) -> Answer:
        answer = await self.head()
        async with asyncio.timeout(LIMIT):
            if bodiless or answer.status in (204, 304):
                return answer
            if self.chunked:
                while data := await self.chunk():
                    answer.body += data
            elif "content-length" in answer.headers:
                answer.body = await self.reader.readexactly(int(answer.headers["content-length"]))
            else:
                answer.body = await self.reader.read()
        return answer

    async def text(self, chunks: int) -> bytes:
        return b"".join([await self.chunk() for _ in range(chunks)])

    # How it leaves.

    def close(self) -> None:
        """FIN, and RST where something more comes."""
        self.writer.close()

    def reset(self) -> None:
        """RST at once."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def half_close(self) -> None:
        """Nothing more will be said, and the answer is still wanted."""
        self.writer.write_eof()

    # WebSocket.

    async def upgrade(self, path: str, *subprotocols: str) -> Answer:
        more = {"sec_websocket_protocol": ", ".join(subprotocols)} if subprotocols else {}
        key = base64.b64encode(os.urandom(16)).decode()
        origin = f"http://127.0.0.1:{self.port}"
        await self.ask(
            path,
            connection="Upgrade",
            upgrade="websocket",
            sec_websocket_version="13",
            sec_websocket_key=key,
            origin=origin,
            **more,
        )
        return await self.head()

    def say(self, text: str, opcode: int = 1) -> None:
        payload = text.encode() if opcode == 1 else text.encode("latin-1")
        size = bytes((len(payload) | 0x80,)) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
        self.writer.write(bytes((0x80 | opcode,)) + size + b"\0\0\0\0" + payload)

    async def hear(self) -> tuple[int, str]:
        """The next frame but pings: its opcode, and what it says."""
        async with asyncio.timeout(LIMIT):
            while True:
                first, size = await self.reader.readexactly(2)
                if size == 126:
                    size = int.from_bytes(await self.reader.readexactly(2), "big")
                elif size == 127:
                    size = int.from_bytes(await self.reader.readexactly(8), "big")
                payload = await self.reader.readexactly(size)
                if first & 0x0F != 9:
                    return first & 0x0F, payload.decode("utf-8" if first & 0x0F == 1 else "latin-1")


@contextlib.asynccontextmanager
async def dial(port: int) -> AsyncIterator[Peer]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Peer(reader, writer, port)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
