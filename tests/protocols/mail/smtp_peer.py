"""An SMTP server to test, and a peer that says exactly what it is told to."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from contract import LIMIT, connect

from protocols.mail.smtp.server import SMTPServer, SMTPSettings

HELLO = b"EHLO peer.example\r\n"
ENVELOPE = HELLO + b"MAIL FROM:<a@x.org>\r\nRCPT TO:<b@x.org>\r\n"


class Peer:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def reply(self) -> str:
        """The next reply, all its lines; empty when the server has hung up."""
        lines: list[str] = []
        async with asyncio.timeout(LIMIT):
            while not lines or (lines[-1][3:4] == "-"):
                line = (await self.reader.readline()).decode()
                if not line:
                    return ""
                lines.append(line)
        return "".join(lines)

    async def ask(self, command: bytes) -> str:
        """Send ``command`` as it is and return the last of as many replies as it has lines."""
        self.writer.write(command)
        answer = ""
        for _ in range(command.count(b"\n")):
            answer = await self.reply()
        return answer

    async def message(self, content: bytes, envelope: bytes = ENVELOPE) -> str:
        """Send one message and return the answer to it; ``content`` has its final dot."""
        assert (await self.ask(envelope + b"DATA\r\n")).startswith("354")
        self.writer.write(content)
        return await self.reply()

    async def over(self) -> bool:
        """Whether the server hangs up, whatever it says before."""
        async with asyncio.timeout(LIMIT):
            with contextlib.suppress(ConnectionError):
                await self.reader.read()
        return True


@contextlib.asynccontextmanager
async def peer_of(server: SMTPServer) -> AsyncIterator[Peer]:
    peer = Peer(*await connect(server.address))
    assert (await peer.reply()).startswith("220 ")
    try:
        yield peer
    finally:
        peer.writer.close()
        with contextlib.suppress(OSError):
            await peer.writer.wait_closed()


@contextlib.asynccontextmanager
async def serving(app: Any, *, submission: Any = None, **settings: Any) -> AsyncIterator[SMTPServer]:
    server = SMTPServer(app, SMTPSettings(bind="127.0.0.1:0", **settings), state={}, submission=submission)
    async with asyncio.timeout(6 * LIMIT), server:
        yield server


class Inbox:
    """An application that keeps what it gets."""

    def __init__(self) -> None:
        self.scopes: list[dict[str, Any]] = []
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            event = await receive()
            body, more = body + event["body"], event["more_body"]
        self.scopes.append(scope)
        self.bodies.append(body)

    def content(self) -> bytes:
        """The last message as it was sent, without the trace header."""
        assert self.bodies[-1].startswith(b"Received: from ")
        return self.bodies[-1].split(b"\r\n", 3)[3]
