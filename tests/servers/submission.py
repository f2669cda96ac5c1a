"""A submission server that answers each stage of the conversation as a test wants it: a real socket, and the words that
Postfix, Exchange and Gmail say there."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

EHLO = "250-peer.example\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250-AUTH PLAIN\r\n250 SIZE 100000"
_USUAL = {
    "greeting": "220 peer.example ESMTP",
    "EHLO": EHLO,
    "HELO": "250 peer.example",
    "AUTH": "235 2.7.0 ok",
    "MAIL": "250 2.1.0 ok",
    "RCPT": "250 2.1.5 ok",
    "DATA": "354 go ahead",
    "content": "250 2.0.0 queued",
    "RSET": "250 2.0.0 ok",
    "QUIT": "221 2.0.0 bye",
}


@dataclass
class Peer:
    """``answers``: by the stage (``greeting``, a command, ``content`` for the final dot), or by a recipient's address.
    An empty one closes the connection without a word."""

    answers: dict[str, str] = field(default_factory=dict)
    taken: list[tuple[list[str], bytes]] = field(default_factory=list)
    """Recipients and content of what it answered with 250."""
    tried: int = 0
    """Connections."""
    tls: ssl.SSLContext | None = None
    """For STARTTLS, if EHLO's answer offers it; the conversation ends with the handshake."""
    address: str = ""
    conversations: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tried += 1
        task = asyncio.current_task()
        assert task is not None
        self.conversations.add(task)
        with contextlib.suppress(OSError, EOFError):
            await self._talk(reader, writer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        self.conversations.discard(task)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        recipients: list[str] = []
        said = self._answer("greeting")
        while said:
            writer.write(f"{said}\r\n".encode())
            if said.startswith(("421", "221")):
                return
            line = (await reader.readuntil(b"\r\n")).decode().rstrip()
            command = line.partition(" ")[0].upper()
            who = line.partition("<")[2].partition(">")[0]
            said = self.answers.get(who) if command == "RCPT" else None
            said = said if said is not None else self._answer(command)
            if command == "STARTTLS" and self.tls is not None:
                writer.write(b"220 2.0.0 go ahead\r\n")
                await writer.start_tls(self.tls)
                return
            if command == "MAIL":
                recipients = []
            if command == "RCPT" and said.startswith("2"):
                recipients.append(who)
            if command == "DATA" and said.startswith("3"):
                writer.write(f"{said}\r\n".encode())
                content = await reader.readuntil(b"\r\n.\r\n")
                said = self._answer("content")
                if said.startswith("2"):
                    self.taken.append((recipients, content[:-3]))

    def _answer(self, stage: str) -> str:
        return self.answers.get(stage, _USUAL.get(stage, "500 5.5.2 what?"))


@contextlib.asynccontextmanager
async def peer(answers: Mapping[str, str] | None = None) -> AsyncIterator[Peer]:
    """It listens until the block ends."""
    served = Peer(dict(answers or {}))
    server = await asyncio.start_server(served.serve, "127.0.0.1", 0)
    served.address = "{}:{}".format(*server.sockets[0].getsockname()[:2])
    try:
        yield served
    finally:
        server.close()
        if served.conversations:  # the client's goodbye
            await asyncio.wait(served.conversations, timeout=5.0)
