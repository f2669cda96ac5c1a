"""A submission server that answers each stage of the conversation as a test wants it: a real socket, and the words that
Postfix, Exchange and Gmail say there."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from protocols.mail.submission import Submission, SubmissionSettings, open_submission

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
    An empty one closes the connection without a word; ``hold`` is silence."""

    answers: dict[str, str] = field(default_factory=dict)
    once: dict[str, str] = field(default_factory=dict)
    """Answers that are given once, by the stage."""
    commands: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    """The commands with their arguments."""
    held: bool = False
    """Whether it is silent now."""
    taken: list[tuple[list[str], bytes]] = field(default_factory=list)
    """Recipients and content of what it answered with 250."""
    tried: int = 0
    """Messages, and connections that brought none."""
    connections: int = 0
    tls: ssl.SSLContext | None = None
    """For STARTTLS, if EHLO's answer offers it; the conversation ends with the handshake."""
    address: str = ""
    conversations: dict[asyncio.Task[None], asyncio.StreamWriter] = field(default_factory=dict)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.conversations[task] = writer
        before = self.tried
        with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
            await self._talk(reader, writer)
        self.tried += self.tried == before
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        del self.conversations[task]

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        recipients: list[str] = []
        sender = False
        said = self._answer("greeting")
        while said:
            if said == "hold":
                self.held = True
                await reader.read()
                return
            writer.write(f"{said}\r\n".encode())
            if said.startswith(("421", "221")):
                return
            line = (await reader.readuntil(b"\r\n")).decode().rstrip()
            command = line.partition(" ")[0].upper()
            self.commands.append(command)
            self.lines.append(line)
            who = line.partition("<")[2].partition(">")[0]
            said = self._reply(command, who, sender=sender, recipients=recipients)
            if command == "STARTTLS" and self.tls is not None:
                writer.write(b"220 2.0.0 go ahead\r\n")
                await writer.start_tls(self.tls)
                return
            if command == "MAIL":
                self.tried += 1
                recipients, sender = [], said.startswith("2")
            if command == "RCPT" and said.startswith("2"):
                recipients.append(who)
            if command == "DATA" and said.startswith("3"):
                writer.write(f"{said}\r\n".encode())
                content = await _content(reader)
                said = self._answer("content")
                if said.startswith("2"):
                    self.taken.append((recipients, content))

    def _reply(self, command: str, who: str, *, sender: bool, recipients: list[str]) -> str:
        if command == "RCPT" and not sender:
            return "503 5.5.1 need MAIL command"
        if command == "DATA" and not recipients and "DATA" not in self.answers:
            return "554 5.5.1 no valid recipients"
        if command == "RCPT" and who in self.answers:
            return self.answers[who]
        return self._answer(command)

    async def hang_up(self, said: bytes = b"") -> None:
        """Close its connections, after a last word that nobody has asked for."""
        for task, writer in list(self.conversations.items()):
            writer.write(said)
            task.cancel()
        await asyncio.wait(self.conversations, timeout=5.0)

    def _answer(self, stage: str) -> str:
        if stage in self.once:
            return self.once.pop(stage)
        return self.answers.get(stage, _USUAL.get(stage, "500 5.5.2 what?"))


async def _content(reader: asyncio.StreamReader) -> bytes:
    """Everything before the line with a dot alone."""
    lines: list[bytes] = []
    while (line := await reader.readuntil(b"\r\n")) != b".\r\n":
        lines.append(line.removeprefix(b"."))
    return b"".join(lines)


@contextlib.asynccontextmanager
async def peer(answers: Mapping[str, str] | None = None) -> AsyncIterator[Peer]:
    """It listens until the block ends."""
    served = Peer(dict(answers or {}))
    server = await asyncio.start_server(served.serve, "127.0.0.1", 0, limit=2**21)
    served.address = "{}:{}".format(*server.sockets[0].getsockname()[:2])
    try:
        yield served
    finally:
        server.close()
        for conversation in served.conversations:
            conversation.cancel()
        if served.conversations:
            await asyncio.wait(served.conversations, timeout=5.0)


@contextlib.asynccontextmanager
async def sending(url: str, **settings: Any) -> AsyncIterator[Submission]:
    """Yield what sends mail by ``url``."""
    submission = open_submission(SubmissionSettings(url, **{"timeout": 10.0, **settings}))
    try:
        yield submission
    finally:
        await submission.close()
