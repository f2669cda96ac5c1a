"""The server for mail over SMTP and LMTP.

A message is acknowledged (250) when its handler has finished, and never before. ``docs/asgi/email.md`` lists the other
answers.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from collections.abc import Collection, Iterable
from email.utils import formatdate
from functools import lru_cache
from typing import Any

from protocols.access.logins import Logins
from protocols.asgi import Application, EmailScope, Routable, describe
from protocols.errors import RemoteProtocolError
from protocols.mail.authentication.authenticator import Authenticator
from protocols.mail.run import deliver_to_each, warn_of_rejections
from protocols.mail.scope import email_scope
from protocols.mail.smtp.resources import clients
from protocols.mail.smtp.senders import Senders
from protocols.mail.smtp.session import LMTPSession, SessionOwner, SMTPSession
from protocols.mail.smtp.settings import SMTPSettings
from protocols.mail.smtp.transaction import Transaction
from protocols.mail.submission import Submission
from protocols.mail.verdict import Verdicts
from protocols.net.addresses import AddressRate
from protocols.net.byte_budget import ByteBudget
from protocols.net.listener import Listener
from protocols.net.tls import Certificate, newer
from protocols.net.traffic import Traffic
from protocols.resources import Resource
from protocols.server import Outdated, Server, ServerStatus
from protocols.tasks import Tasks

__all__ = ["SMTPServer", "SMTPSettings"]

logger = logging.getLogger(__name__)
traffic = logging.getLogger("protocols.mail.traffic")

MOST_HOPS = 100
"""Received fields of a mail; more are a loop (RFC 5321 6.3)."""
BUSY = b"421 4.3.2 Too many connections, please try again later\r\n"
FAREWELL = 1.0
"""Seconds for the last answers to leave after handlers were cancelled."""


class SMTPServer(Server, SessionOwner):
    """Serves SMTP or LMTP and runs the application once for each message, over an ``email`` scope."""

    protocol = "smtp"
    refusal_reasons = ("451", "452", "454", "500", "501", "503", "530", "535", "550", "552", "553", "554")
    scope_types = ("email",)
    listener: Listener
    buffered: ByteBudget
    traffic: Traffic

    def __init__(
        self,
        app: Application,
        settings: SMTPSettings,
        *,
        name: str = "smtp",
        state: dict[str, Any] | None = None,
        submission: Submission | None = None,
    ) -> None:
        super().__init__(app, name=name, state=state)
        self.settings = settings
        # Not getfqdn(), which blocks on a DNS query.
        self.hostname = settings.hostname or socket.gethostname()
        self.buffered = ByteBudget(settings.max_buffered)
        self.traffic = Traffic()
        self.draining = False
        self.logins = Logins(settings.users, settings.password_file, owner=name)
        self.login_outcomes = self.logins.outcomes
        self.senders = Senders(settings.senders)
        self.message_rate = AddressRate(settings.max_message_rate)
        self.starttls_certificate: Certificate | None = None
        self.authenticator: Authenticator | None = None
        self.submission = submission
        router: object = app
        self.router = router if isinstance(router, Routable) else None
        self._sessions: set[SMTPSession] = set()
        self._leaving = Tasks(name)
        self._parted = asyncio.Event()
        self.listener = Listener(
            settings.bind,
            tls=settings.tls if settings.implicit_tls else None,
            proxies=settings.proxy_protocol,
            max_per_address=settings.max_per_address,
            max_rate=settings.max_connection_rate,
        )

    # A server.

    @property
    def address(self) -> str:
        return self.listener.address

    def certificate(self) -> Certificate | None:
        return self.starttls_certificate or super().certificate()

    def figures(self) -> dict[str, float]:
        return {
            "smtp_buffered_bytes": self.buffered.used,
            "smtp_buffered_limit_bytes": self.buffered.limit,
            "smtp_buffer_refusals_total": self.buffered.refused,
            "smtp_message_rate_refusals_total": self.message_rate.refused,
        }

    def active(self) -> dict[str, int]:
        """The number of messages that are being handled or received."""
        number = len(self.tasks) + sum(session.receiving() for session in self._sessions)
        return {self.settings.protocol: number} if number else {}

    def clients(self) -> Iterable[Resource]:
        return clients(self._sessions)

    async def start(self) -> None:
        # aiosmtpd logs every line that it reads, which may be mail, or a password typed in the wrong place.
        logging.getLogger("mail.log").setLevel(logging.CRITICAL)
        self.prepare()
        session = LMTPSession if self.settings.protocol == "lmtp" else SMTPSession
        await self.listener.start(
            lambda: session(self),
            count=lambda: len(self._sessions),
            limit=self.settings.max_connections,
            refusal=BUSY,
        )
        self.status = ServerStatus("ready", self._encryption())

    def prepare(self) -> None:
        super().prepare()
        if self.settings.tls is not None and not self.settings.implicit_tls and self.starttls_certificate is None:
            self.starttls_certificate = Certificate(self.settings.tls)
        if self.settings.authentication is not None and self.authenticator is None:
            self.authenticator = Authenticator(self.settings.authentication)

    def can_become(self, made: Server) -> bool:
        is_alike = isinstance(made, SMTPServer) and made.settings.protocol == self.settings.protocol
        return is_alike and self.is_where(made)

    async def become(self, made: "SMTPServer") -> None:
        await super().become(made)
        self.settings, self.hostname = made.settings, made.hostname
        self.senders, self.submission, self.router = made.senders, made.submission, made.router
        self.buffered.limit, self.message_rate.limit = made.buffered.limit, made.message_rate.limit
        self._change_authenticator(made.authenticator)
        self.starttls_certificate = newer(self.starttls_certificate, made.starttls_certificate)
        before, self.logins = self.logins, made.logins
        stays = self.logins.follow(before, None)
        await self.listener.become(made.listener, limit=self.settings.max_connections, refusal=BUSY)
        self.status = ServerStatus("ready", self._encryption())
        for session in list(self._sessions):
            if session.user is not None and not (self.settings.authenticates and stays(session.user)):
                session.end_soon("because its user is gone, or has another password")

    def outdated(self) -> Iterable[Outdated]:
        return [session for session in self._sessions if session.generation != self.generation]

    def _change_authenticator(self, other: Authenticator | None) -> None:
        """Messages that are being checked still need the one before."""
        before, self.authenticator = self.authenticator, other
        if before is not None:
            self._leaving.spawn(_close_after(before, self.under_way()), name="an authenticator")

    def _encryption(self) -> str:
        if self.settings.implicit_tls:
            return "TLS"
        return "STARTTLS" if self.starttls_certificate else "no TLS"

    async def stop(self, grace: float) -> None:
        """Stop: accept no connections, and send 421 to peers without a transaction. A transaction that does not finish
        in time is answered 451, or 421 if its message is not complete."""
        end = asyncio.get_running_loop().time() + grace
        self.draining = True
        self.status = ServerStatus("draining")
        self.listener.stop()
        for session in list(self._sessions):
            session.drain()
        await self._wait_for_sessions(grace)
        await self.tasks.drain(end - asyncio.get_running_loop().time())
        await self.tasks.cancel()
        await self._wait_for_sessions(FAREWELL)  # sessions whose handler was cancelled answer 451
        for session in list(self._sessions):
            session.dismiss()
        await self._wait_for_sessions(FAREWELL)
        for session in list(self._sessions):
            session.abort()
        await self._leaving.cancel()
        if self.authenticator is not None:
            self.authenticator.close()
        self.status = ServerStatus("stopped")

    async def _wait_for_sessions(self, timeout: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self._sessions:
                    self._parted.clear()
                    await self._parted.wait()

    # What its sessions need.

    def starttls(self) -> ssl.SSLContext | None:
        return self.starttls_certificate.context() if self.starttls_certificate else None

    def join(self, session: SMTPSession) -> None:
        self._sessions.add(session)

    def part(self, session: SMTPSession) -> None:
        self._sessions.discard(session)
        self._parted.set()

    def routable(self, session: SMTPSession, transaction: Transaction, recipient: str) -> bool:
        if self.router is None:
            return True
        scope = self._scope(session, transaction, [recipient], b"", transaction.size)
        try:
            return self.router.routable(scope)
        except Exception as error:
            logger.exception("%s: routing failed", describe(scope), extra={"scope": scope})
            raise RemoteProtocolError("4.3.0 Temporary failure, please try again later", answer=451) from error

    def handle(self, session: SMTPSession, transaction: Transaction, message: bytes) -> "asyncio.Task[Verdicts]":
        recipients = list(dict.fromkeys(transaction.recipients))
        scope = self._scope(session, transaction, recipients, message, len(message))
        self._check_header(session, scope, message)
        return self.tasks.spawn(self._run(self.app, scope, message, transaction.id), name=f"message {transaction.id}")

    def _check_header(self, session: SMTPSession, scope: EmailScope, message: bytes) -> None:
        """Raises RemoteProtocolError for a mail that goes round in circles, and for one in another's name."""
        hops = sum(name == b"received" for name, _ in scope["headers"]) - 1  # without our own
        if hops > MOST_HOPS:
            raise RemoteProtocolError("5.4.6 Too many hops, this mail goes round in circles", answer=554)
        if session.user is not None:
            self.senders.check_header(session.user, message)

    async def _run(self, app: Application, scope: EmailScope, body: bytes, transaction_id: str) -> Verdicts:
        facts, began = (self.name, transaction_id, describe(scope), scope["size"]), time.monotonic()
        try:
            verdicts = await deliver_to_each(
                app,
                scope,
                body,
                timeout=self.settings.handler_timeout,
                submission=self.submission,
                authenticator=self.authenticator,
            )
        except asyncio.CancelledError:
            logger.warning("%s: %s %s, %d bytes: cut off by shutdown, its sender will try again", *facts)
            raise
        traffic.info("%s: %s %s, %d bytes: %s, %.0f ms", *facts, verdicts, (time.monotonic() - began) * 1000)
        if self.settings.protocol == "smtp":
            warn_of_rejections(scope, verdicts)
        return verdicts

    def trace(self, session: SMTPSession, transaction: Transaction) -> bytes:
        """The trace header of RFC 5321 4.4. It does not name recipients: some may be blind copies."""
        source = f"{session.helo()} ([{_literal(session.client[0])}])" if session.client else session.helo()
        return (
            f"Received: from {source}\r\n\tby {self.hostname} with {session.with_protocol()} id {transaction.id};"
            f"\r\n\t{_date(int(time.time()))}\r\n"
        ).encode("ascii", "replace")

    def _scope(
        self, session: SMTPSession, transaction: Transaction, recipients: list[str], message: bytes, size: int
    ) -> EmailScope:
        return email_scope(
            message,
            size=size,
            user=session.user,
            transport=self.settings.protocol,
            listener=self.name,
            mail_from=transaction.sender,
            rcpt_to=recipients,
            received_at=time.time(),
            state=self.state,
            client=session.client,
            server=session.local,
            helo=session.helo(),
            event=transaction.id,
            delimiters=self.settings.recipient_delimiter,
        )


async def _close_after(authenticator: Authenticator, messages: Collection["asyncio.Future[Any]"]) -> None:
    try:
        if messages:
            await asyncio.wait(messages)
    finally:
        authenticator.close()


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    """A time as a header field has it. Making it takes as long as all the rest of a trace header, and the messages of
    one second have the same."""
    return formatdate(second, localtime=True)


def _literal(host: str) -> str:
    """An address as RFC 5321 (4.1.3) has it within brackets."""
    return f"IPv6:{host}" if ":" in host else host
