"""One connection: what it reads and answers, and how it ends. aiosmtpd reads the commands and does STARTTLS."""

import asyncio
import collections
import logging
import re
import ssl
from collections.abc import Callable
from math import inf
from typing import Any, cast

from aiosmtpd.smtp import SMTP, Session, TLSSetupException

from protocols.asgi import HostPort
from protocols.errors import RemoteProtocolError
from protocols.log_facts import about_peer
from protocols.mail.smtp.replies import enhance
from protocols.mail.smtp.settings import SMTPSettings
from protocols.net.addresses import is_near
from protocols.net.connection_counters import ConnectionCounters, handshake_end
from protocols.net.endpoints import host_port
from protocols.net.traffic import Traffic
from protocols.net.wrong_protocol import describe_wrong_protocol
from protocols.resources import moment

logger = logging.getLogger(__name__)

LINGER = 2.0
"""Seconds that a peer has to read the last answer."""
IDLE = 100
"""Commands that do not lead to a message, such as NOOP, before one comes; Postfix's junk_command_limit."""
FAIR = 20
"""Commands sent together that are answered before other connections have their turn."""
LONGEST_AUTH = 12288
"""Bytes of a line of AUTH (RFC 4954 4)."""

_NOT_PRINTABLE = re.compile("[^!-~]")

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


class _Silence:
    """In place of a writer when the last answer is written: aiosmtpd closes its writer at once, and a connection that
    is closed while its peer still sends is reset, so that the peer may never read the answer."""

    def write(self, data: bytes) -> None:
        """Write nothing more."""

    def close(self) -> None:
        """Leave the connection to :meth:`Connection.goodbye`."""

    async def drain(self) -> None:
        raise asyncio.CancelledError


class _Commands(dict[str, Any]):
    """aiosmtpd's table of commands. Unknown words go to ``UNKNOWN``: aiosmtpd would hang up after five, silently."""

    def get(self, command: str, default: Any = None) -> Any:
        return super().get(command) or self["UNKNOWN"]


class Connection(SMTP):
    """It has no properties: aiosmtpd's constructor reads every attribute before there is a connection."""

    ident = "ESMTP"  # in the greeting
    command_size_limit = 2048  # RFC 5321's 512, and what each extension adds to it
    line_length_limit = 64 * 1024  # of the stream's buffer; a message's lines are max_line's

    def __init__(
        self,
        label: str,
        hostname: str,
        settings: SMTPSettings,
        starttls: ssl.SSLContext | None,
        *,
        traffic: Traffic,
        counters: ConnectionCounters,
    ) -> None:
        """``label`` is the server's name, for log lines; ``traffic`` counts the bytes, ``counters`` the handshakes."""
        # aiosmtpd has one dictionary for all connections, and each new connection clears it
        self.command_size_limits = collections.defaultdict(lambda: self.command_size_limit)
        super().__init__(
            None,
            hostname=hostname,
            ident=self.ident,
            loop=asyncio.get_running_loop(),
            data_size_limit=settings.max_message,
            enable_SMTPUTF8=True,
            tls_context=starttls,
            timeout=settings.timeout,
        )
        self.command_size_limits["AUTH"] = LONGEST_AUTH
        self._smtp_methods = _Commands(self._smtp_methods, UNKNOWN=self.unknown_command)
        self.client: HostPort | None = None
        self.local: HostPort | None = None
        self.near = False
        """Whether the peer is on this machine."""
        self.settings = settings
        self.since = moment()
        """When it began."""
        self._label = label
        self._traffic = traffic
        self._counters = counters
        self._joined = False
        self._heard = False
        self._eof = False
        self._leaving = False
        self._encrypted = False
        self._errors = 0
        self._idle = 0
        self._answers = 0
        self._held = b""
        self._heard_at = 0.0
        self._intake: _Intake | None = None

    def __str__(self) -> str:
        return f"{self._label} {self.client[0]}:{self.client[1]}" if self.client else self._label

    # What a session does.

    def joined(self) -> None:
        """Note that the connection begins."""

    def parted(self) -> None:
        """Note that the connection is over."""

    def forget(self) -> None:
        """Forget everything that the peer has said in clear (RFC 3207 4.2), or what an error has interrupted."""

    async def unknown_command(self, argument: str | None) -> None:
        await self.push("500 5.5.2 Command not recognized")

    # What it knows of its peer.

    def said(self) -> Session:
        """Return what the peer has said in HELO or EHLO; STARTTLS begins a new session (RFC 3207 4.2)."""
        assert self.session is not None
        return self.session

    def helo(self) -> str:
        """Return the peer's name for itself, in printable ASCII."""
        return _NOT_PRINTABLE.sub("?", (self.said().host_name or "")[:255])

    def encrypted(self) -> bool:
        return self._encrypted

    # The transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not self._joined:  # STARTTLS calls this again
            self.client = host_port(transport.get_extra_info("peername"))
            self.local = host_port(transport.get_extra_info("sockname"))
            self.near = self.client is None or is_near(self.client[0])
            self.joined()
        elif not self._encrypted:
            self._counters.handshakes["completed"] += 1
        self._encrypted = transport.get_extra_info("ssl_object") is not None
        super().connection_made(transport)
        if not self._joined and self._handler_coroutine is not None:
            self._joined = True
            self._handler_coroutine.add_done_callback(self._ended)

    def _ended(self, _: object) -> None:
        """Close the connection: aiosmtpd does not, if its task was cancelled before it began."""
        if self.transport is not None and not self._leaving:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        self._traffic.bytes_received += len(data)
        if self._leaving:
            return
        if not self._heard:
            self._heard = True
            if seems := describe_wrong_protocol(data, "SMTP", tls="implicit_tls"):  # a browser may post commands
                logger.info("%s: closed: not %s%s", self, self.settings.protocol.upper(), seems)
                self.goodbye("554 5.5.1 This is a mail server")
                return
        if self._intake is None:
            super().data_received(data)
        elif (behind := self._intake.feed(data)) is not None:
            self._intake = None
            if behind:
                super().data_received(behind)

    def eof_received(self) -> bool | None:
        """Answer what was sent: ``nc -N`` and scripts close their half and listen. TLS cannot be half closed."""
        self._eof = True
        if not self._joined or self._leaving:
            return None
        if self._intake is not None:
            self._intake.end.cancel()
        return super().eof_received() if self._encrypted else asyncio.StreamReaderProtocol.eof_received(self)

    def connection_lost(self, error: Exception | None) -> None:
        if self._joined:
            self._joined = False
            self.parted()
            super().connection_lost(error)

    def abort(self) -> None:
        """Close without an answer."""
        if self.transport is not None:
            cast("asyncio.Transport", self.transport).abort()

    def goodbye(self, answer: str) -> None:
        """Send ``answer`` and FIN. What the peer still sends is dropped until it closes, or ``LINGER`` is over."""
        if self.transport is None or self._handler_coroutine is None or self._timeout_handle is None or self._leaving:
            return
        transport = cast("asyncio.Transport", self.transport)
        if not transport.is_closing():
            self._leaving = True
            self._writer = cast("asyncio.StreamWriter", _Silence())
            self._handler_coroutine.cancel()
            last = self._held + answer.encode() + b"\r\n"
            self._traffic.bytes_sent += len(last)
            transport.write(last)
            self._half_close(transport)
        self._timeout_handle.cancel()
        self._timeout_handle = self.loop.call_later(LINGER, transport.abort)

    def _half_close(self, transport: asyncio.Transport) -> None:
        """Send FIN, or close if the peer has. Under TLS there is no FIN: what a peer sends after a close_notify is an
        error, and would reset the connection."""
        if self._eof:
            transport.close()
            return
        try:
            if transport.can_write_eof():
                transport.write_eof()
            transport.resume_reading()
        except RuntimeError:
            pass  # uvloop's: it was not paused
        except OSError:
            transport.abort()  # the peer has left

    def _reset_timeout(self, duration: float | None = None) -> None:
        """Note that the peer was heard just now. aiosmtpd makes a new timer at each command; one that looks when it is
        over is enough."""
        self._heard_at = self.loop.time()
        if self._timeout_handle is None:
            self._timeout_handle = self.loop.call_later(self.settings.timeout, self._timeout_cb)

    def may_be_silent(self) -> None:
        """Note that the peer waits for us, until :meth:`_reset_timeout` is called."""
        self._heard_at = inf

    def _timeout_cb(self) -> None:
        left = self._heard_at + self.settings.timeout - self.loop.time()
        if left > 0:
            self._timeout_handle = self.loop.call_later(min(left, self.settings.timeout), self._timeout_cb)
            return
        logger.info("%s: dropped, silent for %g s", self, self.settings.timeout)
        self.goodbye("421 4.4.2 Timeout, closing the connection")

    # What comes in.

    def _unread(self) -> bytearray:
        """Return the buffer of the stream: what has come, and no command has taken yet."""
        buffer: bytearray = self._reader._buffer  # type: ignore[attr-defined]  # noqa: SLF001 -- asyncio has no other way
        return buffer

    async def line(self) -> bytes:
        """Read one line that is no command. A peer that sends a longer one than AUTH may have is hung up on."""
        self._reset_timeout()
        try:
            line = (await self._reader.readuntil(b"\n")).rstrip(b"\r\n")
        except asyncio.LimitOverrunError:
            line = bytes(LONGEST_AUTH + 1)
        if len(line) > LONGEST_AUTH:
            self.goodbye("500 5.5.6 Line too long")
            raise asyncio.CancelledError
        return line

    async def receive(self, take: Take) -> None:
        """Pass on what comes until ``take`` returns what is behind the message. It comes straight from the transport,
        because the stream would copy it twice."""
        came = bytes(self._unread())
        if came:  # together with the command
            behind = take(came)
            await self._reader.readexactly(len(came) - len(behind or b""))  # what is behind stays where it is
            if behind is not None:
                return
        if self._reader.at_eof():
            raise asyncio.CancelledError  # the sender hung up; this is how aiosmtpd ends a session
        self._intake = _Intake(take, self.loop.create_future())
        try:
            await self._intake.end
        finally:
            self._intake = None

    # What goes out.

    async def push(self, status: str) -> None:  # type: ignore[override]  # its callers all pass text
        """Answer a command, unless it was incomplete. A refusal counts as an error of the peer."""
        if not status:
            raise asyncio.CancelledError
        if status[0] in "45":
            self._errors += 1
        if self._errors > self.settings.max_errors:
            logger.info("%s: closed after %d refused commands", self, self._errors)
            self.goodbye("421 4.7.0 Too many errors, closing the connection")
            raise asyncio.CancelledError
        await self.write(enhance(status))

    async def pass_over(self, status: str) -> None:
        """Answer a command that does not lead to a message. Too many of them close the connection."""
        self._idle += 1
        if self._idle > IDLE:
            logger.info("%s: closed after %d commands without a message", self, self._idle)
            self.goodbye("421 4.7.0 Too many commands without a message, closing the connection")
            raise asyncio.CancelledError
        await self.write(status)

    async def hold(self, status: str) -> None:
        """Answer a command. If the peer has sent more commands with it, the answers leave together: RFC 2920 (3.2) asks
        for that, and to send each alone takes a fifth of the time of a small mail."""
        self._append(status)
        if self._answers % FAIR == 0 or b"\n" not in self._unread():
            await self.flush()

    async def write(self, status: str) -> None:
        """Send an answer, and those that were held before it."""
        self._append(status)
        await self.flush()

    def _append(self, status: str) -> None:
        self._held += status.encode() + b"\r\n"
        self._answers += 1

    async def flush(self) -> None:
        """Send the answers that are held. Other connections have their turn after ``FAIR`` answers, because a task does
        not yield while it reads commands that are there already and writes what the socket takes."""
        if not self._held:
            return
        if self._answers % FAIR == 0:
            await asyncio.sleep(0)
        held, self._held = self._held, b""
        self._traffic.bytes_sent += len(held)
        self._writer.write(held)
        try:
            await self._writer.drain()
        except ConnectionError as error:  # it would end aiosmtpd's task, unnoticed until the task is collected
            raise asyncio.CancelledError from error

    async def refuse(self, command: str, refusal: RemoteProtocolError) -> None:
        await self.push(self.refusal(command, refusal))

    def refusal(self, command: str, error: RemoteProtocolError) -> str:
        """Return the answer to ``command``, which is logged."""
        assert isinstance(error.answer, int)
        answer = f"{error.answer} {error}"
        told = about_peer("email", self._label, self.client, f"rejected, {error.answer}")
        logger.info("%s: %s refused: %s", self, command, answer, extra=told)
        return answer

    async def handle_exception(self, error: Exception) -> str:
        """Return the answer to a failed handshake; empty if the peer cannot get one, or is hung up on."""
        self.forget()
        if isinstance(error, asyncio.IncompleteReadError):
            return ""
        if isinstance(error, TLSSetupException):
            cause = error.__cause__
            self._counters.handshakes[handshake_end(cause) if isinstance(cause, OSError) else "failed"] += 1
            logger.info("%s: STARTTLS failed: %s", self, cause)
            return ""
        logger.error("%s: session failed", self, exc_info=error)
        self.goodbye("421 4.3.0 Temporary failure, please try again later")  # what comes may be half a message
        return ""

    # Commands that any session has.

    async def smtp_NOOP(self, argument: str | None) -> None:
        await self.pass_over("250 2.0.0 OK")

    async def smtp_VRFY(self, argument: str | None) -> None:
        await self.pass_over("252 2.5.0 Cannot verify the user, but will take the message")

    async def smtp_HELP(self, argument: str | None) -> None:
        await self.pass_over("214 2.0.0 See RFC 5321")

    async def smtp_QUIT(self, argument: str | None) -> None:
        if argument:
            await self.push("501 5.5.4 Syntax: QUIT")
            return
        self.goodbye("221 2.0.0 Bye")
        raise asyncio.CancelledError

    async def smtp_STARTTLS(self, argument: str | None) -> None:
        if self.encrypted():
            await self.push("503 5.5.1 TLS is on already")
            return
        self.forget()
        await super().smtp_STARTTLS(argument)
