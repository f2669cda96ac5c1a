"""One SMTP or LMTP connection (RFC 5321, RFC 2033), on aiosmtpd.

aiosmtpd reads the commands and does STARTTLS. The commands of a transaction are implemented here, because aiosmtpd's
answer 5xx to temporary failures, cancel the handler when the sender hangs up, and buffer lines without a bound.
"""

import asyncio
import collections
import contextlib
import logging
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, cast

from aiosmtpd.smtp import SMTP, Session, TLSSetupException

from protocols.asgi import HostPort
from protocols.errors import RemoteProtocolError
from protocols.mail.smtp.data import Chunks, Content
from protocols.mail.smtp.replies import enhance, verdict_reply
from protocols.mail.smtp.settings import SMTPSettings
from protocols.mail.smtp.transaction import Transaction, begin, recipient_of
from protocols.mail.verdict import Verdicts, deferred
from protocols.net.byte_budget import ByteBudget, Reservation
from protocols.net.endpoints import host_port
from protocols.net.wrong_protocol import describe_wrong_protocol

logger = logging.getLogger(__name__)

READ = 1024**2
"""Bytes of one read: more than the stream's buffer holds, so one read empties it."""
STUBBORN = 5.0
"""Seconds that a cancelled handler has to end; then its sender is answered anyway."""
LINGER = 2.0
"""Seconds that a peer has to read the last answer."""
IDLE = 100
"""Commands that do not lead to a message, such as NOOP, before one comes; Postfix's junk_command_limit."""
FAIR = 20
"""Commands sent together that are answered before other connections have their turn."""
HELD = 2
"""How many times its size a complete message counts while it is handled: applications join its chunks."""
_TEMPORARY = "451 4.3.0 Temporary failure, please try again later"


Take = Callable[[bytes], bytes | None]
"""Takes bytes of a message; returns those that came behind its end, or None if there is more to come."""


class _Intake:
    """Passes a message on as it comes from the transport."""

    def __init__(self, take: Take, end: "asyncio.Future[None]") -> None:
        self.end = end
        self._take = take

    def feed(self, data: bytes) -> bytes | None:
        """Return what came behind the message; None if there is more to come."""
        if self.end.done():  # given up
            return data
        behind = self._take(data)
        if behind is not None:
            self.end.set_result(None)
        return behind


class SessionOwner(ABC):
    """What a session needs from its server."""

    name: str
    settings: SMTPSettings
    hostname: str
    buffered: ByteBudget
    draining: bool

    @abstractmethod
    def starttls(self) -> ssl.SSLContext | None:
        """The TLS context for STARTTLS on a new connection; None if STARTTLS is not offered."""

    @abstractmethod
    def join(self, session: "SMTPSession") -> None:
        """Count ``session``, whose connection begins."""

    @abstractmethod
    def part(self, session: "SMTPSession") -> None:
        """Count ``session`` no longer: its connection is over."""

    @abstractmethod
    def routable(self, session: "SMTPSession", transaction: Transaction, recipient: str) -> bool:
        """Whether a route of the application matches ``recipient``."""

    @abstractmethod
    def handle(
        self, session: "SMTPSession", transaction: Transaction, message: collections.deque[bytes]
    ) -> "asyncio.Task[Verdicts]":
        """Start the application over one message, whose chunks are taken out of ``message``."""


class _Commands(dict[str, Any]):
    """aiosmtpd's table of commands. Unknown words go to ``UNKNOWN``: aiosmtpd would hang up after five, silently."""

    def get(self, command: str, default: Any = None) -> Any:
        return super().get(command) or self["UNKNOWN"]


class SMTPSession(SMTP):
    """One connection that speaks SMTP.

    It has no properties: aiosmtpd's constructor reads every attribute before there is a connection.
    """

    ident = "ESMTP"  # in the greeting
    command_size_limit = 2048  # RFC 5321's 512, and what each extension adds to it
    line_length_limit = 64 * 1024  # of the stream's buffer; a message's lines are max_line's

    def __init__(self, owner: SessionOwner) -> None:
        # aiosmtpd has one dictionary for all connections, and each new connection clears it
        self.command_size_limits = collections.defaultdict(lambda: self.command_size_limit)
        super().__init__(
            None,
            hostname=owner.hostname,
            ident=self.ident,
            loop=asyncio.get_running_loop(),
            data_size_limit=owner.settings.max_message,
            enable_SMTPUTF8=True,
            tls_context=owner.starttls(),
            timeout=owner.settings.timeout,
        )
        self._smtp_methods = _Commands(self._smtp_methods, UNKNOWN=self._unknown)
        self.client: HostPort | None = None
        self.local: HostPort | None = None
        self._owner = owner
        self._joined = False
        self._heard = False
        self._encrypted = False
        self._errors = 0
        self._idle = 0
        self._answers = 0
        self._transaction: Transaction | None = None
        self._intake: _Intake | None = None

    def helo(self) -> str:
        """Return the peer's name for itself, in printable ASCII."""
        return "".join(char if "!" <= char <= "~" else "?" for char in (self._said().host_name or "")[:255])

    def with_protocol(self) -> str:
        """Return the protocol's name for a trace header (RFC 3848)."""
        word = "ESMTP" if self._said().extended_smtp else "SMTP"
        return word + ("S" if self.encrypted() and word == "ESMTP" else "")

    def _said(self) -> Session:
        """Return what the peer has said in HELO or EHLO; STARTTLS begins a new session (RFC 3207 4.2)."""
        assert self.session is not None
        return self.session

    def encrypted(self) -> bool:
        return self._encrypted

    # The connection.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not self._joined:  # STARTTLS calls this again
            self.client = host_port(transport.get_extra_info("peername"))
            self.local = host_port(transport.get_extra_info("sockname"))
            self._owner.join(self)
        self._encrypted = transport.get_extra_info("ssl_object") is not None
        super().connection_made(transport)
        if not self._joined and self._handler_coroutine is not None:
            self._joined = True
            self._handler_coroutine.add_done_callback(self._ended)

    def _ended(self, _: object) -> None:
        """Close the connection: aiosmtpd does not, if its task was cancelled before it began."""
        if self.transport is not None:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        if not self._heard:
            self._heard = True
            if seems := describe_wrong_protocol(data, "SMTP", tls="implicit_tls"):  # a browser may post commands
                logger.info("%s: closed: not %s%s", self, self._owner.settings.protocol.upper(), seems)
                self._goodbye("554 5.5.1 This is a mail server")
                return
        if self._intake is None:
            super().data_received(data)
        elif (behind := self._intake.feed(data)) is not None:
            self._intake = None
            if behind:
                super().data_received(behind)

    def eof_received(self) -> bool | None:
        """Answer what was sent: ``nc -N`` and scripts close their half and listen. TLS cannot be half closed."""
        if not self._joined:
            return None
        if self._intake is not None:
            self._intake.end.cancel()
        return super().eof_received() if self._encrypted else asyncio.StreamReaderProtocol.eof_received(self)

    def receiving(self) -> bool:
        """Whether a transaction is under way whose message is not complete."""
        return self._transaction is not None and not self._transaction.whole

    def connection_lost(self, error: Exception | None) -> None:
        if self._joined:
            self._joined = False
            self._owner.part(self)
            super().connection_lost(error)

    def drain(self) -> None:
        """Send 421 now, or after the transaction that is under way."""
        if self._transaction is None:
            self.dismiss()

    def dismiss(self) -> None:
        """Send 421 now, whatever is under way."""
        self._goodbye("421 4.3.2 Shutting down, please try again later")

    def abort(self) -> None:
        """Close without an answer."""
        if self.transport is not None:
            cast("asyncio.Transport", self.transport).abort()

    def _goodbye(self, answer: str) -> None:
        """Send ``answer`` and hang up. A peer that does not read it is cut off."""
        if self.transport is None or self._handler_coroutine is None or self._timeout_handle is None:
            return
        transport = cast("asyncio.Transport", self.transport)
        if not transport.is_closing():
            self._handler_coroutine.cancel()
            transport.write(answer.encode() + b"\r\n")
            transport.close()
        self._timeout_handle.cancel()
        self._timeout_handle = self.loop.call_later(LINGER, transport.abort)

    def _timeout_cb(self) -> None:
        logger.info("%s: dropped, silent for %g s", self, self._owner.settings.timeout)
        self._goodbye("421 4.4.2 Timeout, closing the connection")

    def __str__(self) -> str:
        return f"{self._owner.name} {self.client[0]}:{self.client[1]}" if self.client else self._owner.name

    async def push(self, status: str) -> None:  # type: ignore[override]  # its callers all pass text
        """Answer a command, unless it was incomplete. A refusal counts as an error of the peer."""
        if not status:
            raise asyncio.CancelledError
        if status[0] in "45":
            self._errors += 1
        if self._errors > self._owner.settings.max_errors:
            logger.info("%s: closed after %d refused commands", self, self._errors)
            self._goodbye("421 4.7.0 Too many errors, closing the connection")
            raise asyncio.CancelledError
        await self._write(enhance(status))

    async def _pass(self, status: str) -> None:
        """Answer a command that does not lead to a message. Too many of them close the connection."""
        self._idle += 1
        if self._idle > IDLE:
            logger.info("%s: closed after %d commands without a message", self, self._idle)
            self._goodbye("421 4.7.0 Too many commands without a message, closing the connection")
            raise asyncio.CancelledError
        await self._write(status)

    async def _write(self, status: str) -> None:
        """Send an answer. Other connections have their turn after ``FAIR`` answers, because a task does not yield while
        it reads commands that are there already and writes what the socket takes."""
        self._answers += 1
        if self._answers % FAIR == 0:
            await asyncio.sleep(0)
        try:
            await super().push(status)
        except ConnectionError as error:  # it would end aiosmtpd's task, unnoticed until the task is collected
            raise asyncio.CancelledError from error

    async def handle_exception(self, error: Exception) -> str:
        """Return the answer to a failed handshake or an internal error; empty if the peer cannot get one."""
        self._reset()
        if isinstance(error, asyncio.IncompleteReadError):
            return ""
        if isinstance(error, TLSSetupException):
            logger.info("%s: STARTTLS failed: %s", self, error.__cause__)
        else:
            logger.error("%s: session failed", self, exc_info=error)
            self._goodbye("421 4.3.0 Temporary failure, please try again later")  # what comes may be half a message
            return ""
        return _TEMPORARY

    # The commands.

    async def smtp_HELO(self, hostname: str | None) -> None:
        if not hostname:
            await self.push("501 5.5.4 Syntax: HELO hostname")
            return
        self._greeted(hostname, extended=False)
        await self._pass(f"250 {self.hostname}")

    async def smtp_EHLO(self, hostname: str | None) -> None:
        if not hostname:
            await self.push("501 5.5.4 Syntax: EHLO hostname")
            return
        self._greeted(hostname, extended=True)
        extensions = ["PIPELINING", f"SIZE {self._owner.settings.max_message}", "8BITMIME", "SMTPUTF8"]
        if self.tls_context and not self.encrypted():
            extensions.append("STARTTLS")
        lines = [self.hostname, *extensions]
        await self._pass("".join(f"250-{line}\r\n" for line in lines) + "250 ENHANCEDSTATUSCODES")

    def _greeted(self, hostname: str, *, extended: bool) -> None:
        self._reset()
        self._said().host_name = hostname
        self._said().extended_smtp = extended

    def _reset(self) -> None:
        self._transaction = None
        self.envelope = self._create_envelope()

    async def smtp_RSET(self, argument: str | None) -> None:
        self._reset()
        await self._pass("250 2.0.0 OK")

    async def smtp_NOOP(self, argument: str | None) -> None:
        await self._pass("250 2.0.0 OK")

    async def smtp_STARTTLS(self, argument: str | None) -> None:
        if self.encrypted():
            await self.push("503 5.5.1 TLS is on already")
            return
        self._transaction = None  # what was said before TLS is forgotten (RFC 3207 4.2)
        await super().smtp_STARTTLS(argument)

    async def smtp_VRFY(self, argument: str | None) -> None:
        await self._pass("252 2.5.0 Cannot verify the user, but will take the message")

    async def smtp_HELP(self, argument: str | None) -> None:
        await self._pass("214 2.0.0 See RFC 5321")

    async def smtp_AUTH(self, argument: str | None) -> None:
        await self.push("502 5.5.1 Authentication is not offered")

    async def _unknown(self, argument: str | None) -> None:
        await self.push("500 5.5.2 Command not recognized")

    async def smtp_MAIL(self, argument: str | None) -> None:
        if await self.check_helo_needed():
            return
        try:
            self._transaction = self._begin(argument or "")
        except RemoteProtocolError as refusal:
            await self._refuse("MAIL", refusal)
        else:
            await self.push("250 2.1.0 Sender OK")

    def _begin(self, argument: str) -> Transaction:
        if self._transaction is not None:
            raise RemoteProtocolError("5.5.1 Nested MAIL command", answer=503)
        return begin(argument, max_message=self._owner.settings.max_message)

    async def smtp_RCPT(self, argument: str | None) -> None:
        if await self.check_helo_needed():
            return
        if self._is_full():
            await self._write("452 4.5.3 Too many recipients")  # not an error: a mail to many people is not an attack
            return
        try:
            self._add(argument or "")
        except RemoteProtocolError as refusal:
            await self._refuse("RCPT", refusal)
        else:
            await self.push("250 2.1.5 Recipient OK")

    def _is_full(self) -> bool:
        """Whether the transaction has as many recipients as it may have. The first time is logged."""
        transaction, most = self._transaction, self._owner.settings.max_recipients
        if transaction is None or len(transaction.recipients) < most:
            return False
        if not transaction.full:
            transaction.full = True
            logger.info("%s: more than %d recipients, told to send the rest in another transaction", self, most)
        return True

    def _add(self, argument: str) -> None:
        if self._transaction is None:
            raise RemoteProtocolError("5.5.1 Need MAIL command", answer=503)
        recipient = recipient_of(argument)
        if not self._owner.routable(self, self._transaction, recipient):
            raise RemoteProtocolError(f"5.1.1 No such recipient here: {recipient}", answer=550)
        self._transaction.recipients.append(recipient)

    async def _refuse(self, command: str, refusal: RemoteProtocolError) -> None:
        await self.push(self._refusal(command, refusal))

    def _refusal(self, command: str, error: RemoteProtocolError) -> str:
        assert isinstance(error.answer, int)
        answer = f"{error.answer} {error}"
        logger.info("%s: %s refused: %s", self, command, answer)
        return answer

    async def smtp_DATA(self, argument: str | None) -> None:
        transaction = self._transaction
        if transaction is None or not transaction.recipients:
            await self.push(self._no_recipients(transaction))
            return
        if argument:
            await self.push("501 5.5.4 Syntax: DATA")
            return
        await self._write("354 End data with <CR><LF>.<CR><LF>")
        try:
            answer = await self._answer_to_message(transaction)
        finally:
            self._reset()
        await self._write(answer)  # not push: a rejection is no error of the sender, which may have many messages
        if self._owner.draining:
            self.drain()

    def _no_recipients(self, transaction: Transaction | None) -> str:
        return "503 5.5.1 Need MAIL command" if transaction is None else "554 5.5.1 No valid recipients"

    def _refused(self, refusal: RemoteProtocolError, transaction: Transaction) -> str:
        """Return the answer to a message that no handler gets."""
        return self._refusal("DATA", refusal)

    def _decided(self, verdicts: Verdicts, transaction: Transaction) -> str:
        """Return the answer to a message that was handled."""
        return verdict_reply(verdicts.combined, transaction.id)

    async def _answer_to_message(self, transaction: Transaction) -> str:
        reservation = Reservation(self._owner.buffered)
        with contextlib.ExitStack() as cleanup:
            cleanup.callback(reservation.release)
            try:
                message = await self._read_message(reservation)
            except RemoteProtocolError as refusal:
                return self._refused(refusal, transaction)
            transaction.whole, self._idle = True, 0
            task = self._owner.handle(self, transaction, message)
            task.add_done_callback(lambda _: reservation.release())
            cleanup.pop_all()  # the task holds the message now, and may outlive this connection
        return self._decided(await self._verdicts(task), transaction)

    async def _read_message(self, reservation: Reservation) -> collections.deque[bytes]:
        """Read the content of the message. Raises RemoteProtocolError."""
        settings = self._owner.settings
        chunks = Chunks(settings.max_message, settings.max_line)
        content = Content(chunks)

        def take(data: bytes) -> bytes | None:
            self._reset_timeout()
            behind = content.feed(data)
            if not reservation.resize(chunks.size * (HELD if behind is not None else 1)):
                chunks.discard()
            return behind

        try:
            async with asyncio.timeout(settings.data_timeout):
                await self._receive(take)
        except TimeoutError:
            logger.info("%s: dropped, its message took over %g s", self, settings.data_timeout)
            self._goodbye("421 4.4.2 Timeout, closing the connection")
            raise asyncio.CancelledError from None
        if reservation.refused:
            raise RemoteProtocolError("4.3.1 Too much mail at one time, please try again later", answer=452)
        return chunks.take()

    async def _receive(self, take: Take) -> None:
        """Pass on what comes until ``take`` returns what is behind the message. It comes straight from the transport,
        because the stream would copy it twice."""
        buffer: bytearray = self._reader._buffer  # type: ignore[attr-defined]  # noqa: SLF001 -- asyncio has no other way
        if buffer:  # it came together with the command
            behind = take(await self._reader.read(READ))
            if behind is not None:
                buffer += behind
                return
        if self._reader.at_eof():
            raise asyncio.CancelledError  # the sender hung up; this is how aiosmtpd ends a session
        self._intake = _Intake(take, self.loop.create_future())
        try:
            await self._intake.end
        finally:
            self._intake = None

    async def _verdicts(self, task: "asyncio.Task[Verdicts]") -> Verdicts:
        """Wait for the handler. It goes on if this connection ends: a handler cut half way would run twice."""
        if self._timeout_handle is not None:
            self._timeout_handle.cancel()  # the sender is silent because it waits for us
        await asyncio.wait({task}, timeout=self._owner.settings.handler_timeout + STUBBORN)
        self._reset_timeout()
        failed = not task.done() or task.cancelled() or task.exception() is not None
        return deferred() if failed else task.result()


class LMTPSession(SMTPSession):
    """One connection that speaks LMTP: LHLO instead of EHLO, and an answer for each recipient (RFC 2033 4.1, 4.2)."""

    ident = "LMTP"

    def with_protocol(self) -> str:
        return "LMTPS" if self.encrypted() else "LMTP"

    async def smtp_LHLO(self, hostname: str | None) -> None:
        await super().smtp_EHLO(hostname)

    async def smtp_HELO(self, hostname: str | None) -> None:
        await self.push("500 5.5.1 This is LMTP: say LHLO")

    async def smtp_EHLO(self, hostname: str | None) -> None:
        await self.push("500 5.5.1 This is LMTP: say LHLO")

    def _no_recipients(self, transaction: Transaction | None) -> str:
        return "503 5.5.1 No valid recipients"

    def _refused(self, refusal: RemoteProtocolError, transaction: Transaction) -> str:
        return "\r\n".join([super()._refused(refusal, transaction)] * len(transaction.recipients))

    def _decided(self, verdicts: Verdicts, transaction: Transaction) -> str:
        return "\r\n".join(verdict_reply(verdicts.of(each), transaction.id) for each in transaction.recipients)
