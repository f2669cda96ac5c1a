"""One connection to a submission server, and the transactions over it."""

import asyncio
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import aiosmtplib

from protocols.mail.submission.commands import Mail, mail_command, rcpt_command

FINAL = 600.0
"""Seconds at least that the server may take to answer the message itself (RFC 5321, 4.5.3.2.6)."""
_LINES, _LINE = 100, 8192
"""What an answer may have at most: lines, and bytes in each."""
_CODE = re.compile(r"[2-5][0-9][0-9](?:[ \r\n]|$)")
_PIECE = 256 * 1024
"""Bytes of a message that are written at once."""
_BYE = 5.0
"""Seconds that the server may take to answer QUIT."""


class Reply(NamedTuple):
    """The server's answer to a command."""

    code: int
    text: str

    @property
    def positive(self) -> bool:
        return self.code // 100 == 2


class Stale(ConnectionError):
    """A connection that was kept open is of no use any more. Nothing of the message has been sent over it."""


class _Line(asyncio.StreamReaderProtocol):
    """Notes that the server has hung up, or has said something without being asked: 421, usually."""

    asked = True
    lost = False

    def data_received(self, data: bytes) -> None:
        self.lost = self.lost or not self.asked
        super().data_received(data)

    def eof_received(self) -> bool | None:
        self.lost = True
        return super().eof_received() and self.asked  # one that was kept open is closed here, too

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        super().connection_lost(exc)


class Connection:
    """A connection after the login. It takes one message after the other, with the commands of each sent together if
    the server has PIPELINING (RFC 2920)."""

    def __init__(self, transport: Any, offered: Sequence[str], timeout: float) -> None:
        """``offered``: the names of the server's extensions, in lower case."""
        loop = asyncio.get_running_loop()
        self._reader = asyncio.StreamReader(limit=_LINE, loop=loop)
        self._line = _Line(self._reader, loop=loop)
        transport.set_protocol(self._line)
        self._line.connection_made(transport)
        self._writer = asyncio.StreamWriter(transport, self._line, self._reader, loop)
        self.offered = frozenset(offered)
        self._timeout = timeout
        self._open_transaction = False
        """Whether the server has the sender, or recipients, of a message that it did not get."""
        self._kept = False
        """Whether it was kept open after another message."""
        self.kept_since = 0.0

    @property
    def usable(self) -> bool:
        return not (self._line.lost or self._writer.is_closing())

    def keep(self) -> None:
        """Nothing is expected of the server until the next message."""
        self._kept, self._line.asked = True, False
        self.kept_since = asyncio.get_running_loop().time()

    async def send(self, mail: Mail) -> dict[str, Reply]:
        """Send ``mail``, and return the answers to those recipients that are refused, if others are not.

        Raises SMTPResponseException of the stage (MAIL, RCPT, DATA) at which the server refused the message, or an
        OSError. Raises Stale if the connection was kept open, and is lost before the message was sent over it.
        """
        self._line.asked = True
        try:
            refused = await self._envelope(mail)
        except aiosmtplib.SMTPResponseException as error:
            if self._kept and error.code == 421:
                raise Stale(f"{error.code} {error.message}") from error
            raise
        except ConnectionError as error:
            if self._kept:
                raise Stale(str(error)) from error
            raise
        await self._content(mail.message)
        return refused

    async def _envelope(self, mail: Mail) -> dict[str, Reply]:
        """Everything up to the server's 354. Returns the answers to the recipients that are refused."""
        sender = mail_command(mail, self.offered)
        recipients = [rcpt_command(mail, each, self.offered) for each in mail.rcpt_to]
        reset = [b"RSET\r\n"] if self._open_transaction else []
        self._open_transaction = True
        if "pipelining" in self.offered:
            replies = await self._together([*reset, sender, *recipients, b"DATA\r\n"])
        else:
            replies = await self._one_by_one(reset, sender, recipients)
        return await self._answered(mail, replies[len(reset) :])

    async def _together(self, commands: Sequence[bytes]) -> list[Reply]:
        self._writer.write(b"".join(commands))
        return [await self._reply() for _ in commands]

    async def _one_by_one(self, reset: Sequence[bytes], sender: bytes, recipients: Sequence[bytes]) -> list[Reply]:
        """DATA follows only if somebody is to get the message: its 354 could not be taken back."""
        replies = [await self._ask(command) for command in (*reset, sender)]
        if not replies[-1].positive:
            return replies
        answers = [await self._ask(command) for command in recipients]
        data = [await self._ask(b"DATA\r\n")] if any(each.positive for each in answers) else []
        return [*replies, *answers, *data]

    async def _answered(self, mail: Mail, replies: Sequence[Reply]) -> dict[str, Reply]:
        sender, answers = replies[0], dict(zip(mail.rcpt_to, replies[1:], strict=False))
        data = replies[-1] if len(replies) == len(mail.rcpt_to) + 2 else None
        refused = {recipient: reply for recipient, reply in answers.items() if not reply.positive}
        if data is not None and data.code == 354 and (not sender.positive or len(refused) == len(answers)):
            await self._ask(b".\r\n")  # RFC 2920 3.1: a server may say 354 though it has no recipient
        if not sender.positive:
            raise aiosmtplib.SMTPSenderRefused(*sender, mail.mail_from)
        if len(refused) == len(answers):
            each = [aiosmtplib.SMTPRecipientRefused(*reply, recipient) for recipient, reply in refused.items()]
            raise aiosmtplib.SMTPRecipientsRefused(each)
        if data is None or data.code != 354:
            raise aiosmtplib.SMTPDataError(*(data or (0, "no answer to DATA")))
        return refused

    async def _content(self, message: bytes) -> None:
        await self._write(message)
        self._writer.write(b".\r\n" if message.endswith(b"\r\n") else b"\r\n.\r\n")
        reply = await self._reply(max(self._timeout, FINAL))
        self._open_transaction = False  # RFC 5321 4.1.1.4: the server forgets the envelope, whatever it answers
        if not reply.positive:
            raise aiosmtplib.SMTPDataError(*reply)

    async def _write(self, message: bytes) -> None:
        """Write ``message`` with its dots doubled at the beginnings of lines (RFC 5321, 4.5.2). Raises OSError if the
        server takes nothing of it for a while."""
        stuffed = message.replace(b"\r\n.", b"\r\n..")
        self._writer.write(b"." if message.startswith(b".") else b"")
        view = memoryview(stuffed)
        for start in range(0, len(view), _PIECE):
            self._writer.write(view[start : start + _PIECE])
            if start:
                await self._drain()

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await self._writer.drain()
        except TimeoutError as error:
            raise aiosmtplib.SMTPTimeoutError(f"nothing of the message was taken for {self._timeout:g} s") from error

    async def _ask(self, command: bytes) -> Reply:
        self._writer.write(command)
        return await self._reply()

    async def _reply(self, timeout: float | None = None) -> Reply:
        """Return the next answer. Raises OSError if there is none, or it is not SMTP, and SMTPResponseException if the
        server hangs up with 421."""
        seconds = timeout or self._timeout
        try:
            async with asyncio.timeout(seconds):
                lines = await self._lines()
        except TimeoutError as error:
            raise aiosmtplib.SMTPReadTimeoutError(f"no answer for {seconds:g} s") from error
        if not _CODE.match(lines[-1]):
            raise aiosmtplib.SMTPServerDisconnected("the server's answer is not SMTP")
        reply = Reply(int(lines[-1][:3]), "\n".join(line[4:].strip() for line in lines))
        if reply.code == 421:
            self.abort()
            raise aiosmtplib.SMTPResponseException(*reply)
        return reply

    async def _lines(self) -> list[str]:
        lines: list[str] = []
        while not lines or lines[-1][3:4] == "-":
            if len(lines) == _LINES:
                raise aiosmtplib.SMTPServerDisconnected("the server's answer has no end")
            try:
                lines.append((await self._reader.readuntil(b"\n")).decode("utf-8", "replace"))
            except asyncio.LimitOverrunError:
                raise aiosmtplib.SMTPServerDisconnected("a line of the server's answer is too long") from None
            except asyncio.IncompleteReadError:
                raise aiosmtplib.SMTPServerDisconnected("connection lost") from None
        return lines

    def abort(self) -> None:
        """Close it without a word."""
        self._writer.transport.abort()

    async def quit(self) -> None:
        """Say QUIT, wait for the answer, and close. Never raises."""
        try:
            async with asyncio.timeout(_BYE):
                self._line.asked = True
                await self._ask(b"QUIT\r\n")
                self._writer.close()
                await self._writer.wait_closed()
        except (OSError, aiosmtplib.SMTPException):
            pass  # it is over either way
        finally:
            self.abort()
