"""Reads mailboxes: one reader empties one folder of one IMAP account. Each message is an ``email`` scope.

:mod:`.client` is a connection, :mod:`.session` reads a folder over one, :mod:`.pending` keeps what outlives it,
:mod:`.marks` says what is done to a handled message, :mod:`~protocols.mail.recipients` finds its recipients.

Delivery is at least once: a message is marked only after its handler has finished, so a reader that is killed before
reads it again. A folder has one reader: IMAP has no lock, and two readers would both handle every message.
"""

import asyncio
import errno
import logging
import random
import re
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from protocols.asgi import Application, EmailScope, HostPort, Recipient, Routable
from protocols.errors import BindError, Disconnected
from protocols.mail.addresses import DELIMITER, Delimiters
from protocols.mail.imap.errors import IMAPRefused
from protocols.mail.imap.grammar import MailboxMessage, Selected
from protocols.mail.imap.marks import AnyMark, FinalMark, check_final, parse_mark
from protocols.mail.imap.pending import PendingMessages
from protocols.mail.imap.session import FolderSession, FolderState, Marks
from protocols.mail.recipients import address_to, choose, evidence, sender
from protocols.mail.run import deliver
from protocols.mail.scope import email_scope
from protocols.mail.submission import Submission
from protocols.mail.verdict import Verdict
from protocols.net.tls import client_context
from protocols.secret import Secret
from protocols.server import SETTINGS_CONFIG, Server, ServerStatus
from protocols.units import Host, Length, Port, Timeout

if TYPE_CHECKING:
    from protocols.mail.imap.client import IMAPConnection

logger = logging.getLogger(__name__)

LONGEST_RECONNECT = 60.0
"""Seconds between two attempts to connect, at most."""
STEADY = 30.0
"""After a connection that lasted for so many seconds, the waits begin with the shortest again."""
Connect = Callable[[], Awaitable["IMAPConnection"]]
"""Connects."""
_NUMBERS = re.compile(r"\d+")
"""The parts of a server's words that differ each time: clocks, durations, names of sessions."""
_HEADER_NAME = re.compile(r"[\x21-\x39\x3b-\x7e]{1,76}")


@dataclass(frozen=True, kw_only=True)
class IMAPSettings:
    """A mailbox to read."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    protocol: Literal["imap"] = "imap"
    host: Host = ""
    """The IMAP server. Empty: this mailbox is not read, and not listed."""
    port: Port | None = None
    """Its port; 993 with TLS and 143 without."""
    tls: bool = True
    """TLS from the first byte. Without it the password is readable on the wire."""
    ca: str | None = None
    """Path of a PEM file with the authorities to trust, instead of the system's."""
    username: str = ""
    """Login name. If it is an address, it is also the recipient of messages that name no recipient."""
    password: Secret | None = None
    """Its password, or the application password that the provider issues."""
    token_file: str | None = None
    """Instead of a password: path of a file with an OAuth access token (XOAUTH2: Google, Microsoft), which another
    program keeps fresh. It is read at each connection."""
    folder: str = "INBOX"
    """The folder to read. Every message in it is for the application; no other program may read it."""
    on_accept: FinalMark = "move Processed"
    """What is done to a handled message: ``move FOLDER``, ``keyword NAME``, ``seen`` or ``delete``. Missing folders are
    made. With ``seen``, messages that a person has opened are not read."""
    on_reject: FinalMark = "move Rejected"
    """What becomes of a message that the handler rejected, or that is larger than `max_message`."""
    on_unrouted: AnyMark = "leave"
    """What becomes of a message that no route takes; ``leave`` reads it again on the next connection."""
    recipient_header: str | None = None
    """The only header that names the recipient, such as Delivered-To, if you know which one the server writes. Without
    it the best evidence counts, much of which a sender can forge."""
    recipient_delimiter: Delimiters = DELIMITER
    """The characters that may begin a tag in a local part: `help+bill7@example.org` has the tag `bill7`, and
    a route for `help@example.org` takes it. Empty: there are no tags."""
    max_message: Length = 32 * 1024 * 1024
    """The largest message that is fetched. A larger one gets the mark of `on_reject`, and no handler gets it."""
    handler_timeout: Timeout = 120.0
    """Time for the application to handle one message. After it the handler is cancelled and the message tried again, as
    after any failure: after 30 s, then twice that, up to an hour, as long as it is in the folder. A route's `attempts`
    limits that."""
    poll: Timeout = 60.0
    """Time between two searches, if the server has no IDLE, or IDLE fails."""
    timeout: Timeout = 30.0
    """A server that does not answer for this long is disconnected."""
    reconnect: Timeout = 1.0
    """Time before the first attempt to connect again; it doubles each time, up to a minute."""
    retry_refused: Timeout = 300.0
    """Time before the next attempt after the server refused the login or a folder."""

    def __post_init__(self) -> None:
        """Check the settings together. Raises ValueError."""
        if not self.configured:
            return
        if not self.username:
            raise ValueError("username is missing")
        if bool(self.password) == bool(self.token_file):
            raise ValueError("write password or token_file, one of them")
        if self.recipient_header is not None and not _HEADER_NAME.fullmatch(self.recipient_header):
            raise ValueError(f"recipient_header: {self.recipient_header!r} is not the name of a header")
        if self.folder in self.marks().folders():
            raise ValueError(f"{self.folder!r} is the folder that is read; messages moved to it would be read again")

    def context(self) -> ssl.SSLContext | None:
        """Make the TLS context; None if there is none. Raises BindError if a file is missing or wrong."""
        return client_context(self.ca) if self.configured and self.tls else None

    @property
    def configured(self) -> bool:
        """Whether there is a mailbox to read. So one gateway.yaml can serve machines with and without one."""
        return bool(self.host)

    def marks(self) -> Marks:
        return Marks(
            check_final(self.on_accept),
            check_final(self.on_reject),
            parse_mark(self.on_unrouted),
        )


class IMAPReader(Server):
    """Reads a folder for ever: connects, empties it, waits for news (by IDLE or polling), and connects again."""

    protocol = "imap"
    scope_types = ("email",)
    exclusive = True

    def __init__(
        self,
        app: Application,
        settings: IMAPSettings,
        *,
        name: str = "imap",
        state: dict[str, Any] | None = None,
        submission: Submission | None = None,
    ) -> None:
        super().__init__(app, name=name, state=state)
        self._settings = settings
        self._submission = submission
        router: object = app  # asked once: isinstance() with a Protocol is slow
        self._router = router if isinstance(router, Routable) else None
        self._port = settings.port or (993 if settings.tls else 143)
        self._folder = FolderState(
            name=f"{name} {settings.folder}",
            marks=settings.marks(),
            pending=PendingMessages(),
            max_message=settings.max_message,
            poll=settings.poll,
            spawn=lambda running, uid: self.tasks.spawn(running, name=f"message {uid}"),
        )
        self._trouble = ""

    @property
    def address(self) -> str:
        host = self._settings.host
        return host if self._settings.port is None else f"{host}:{self._port}"

    def active(self) -> dict[str, int]:
        return {"email": 1} if self._folder.working else {}

    async def start(self) -> None:
        """Begin to connect. Raises BindError if aioimaplib or a certificate is missing."""
        try:
            from protocols.mail.imap.client import connect
        except ImportError as error:
            raise BindError("aioimaplib is not installed; pip install 'asgi-gateway[imap]'") from error
        settings = self._settings
        open_connection = partial(connect, settings.host, self._port, tls=settings.context(), timeout=settings.timeout)
        self.status = ServerStatus("connecting")
        self.tasks.spawn(self._run(open_connection), name=f"reading {settings.folder}")

    async def stop(self, grace: float) -> None:
        """Fetch no more, give the running handler ``grace`` seconds, mark its message, and log out."""
        self._folder.stopping = True
        self.status = ServerStatus("draining")
        if self._folder.working:
            await self.tasks.drain(grace)
        await self.tasks.cancel()
        self.status = ServerStatus("stopped")

    # The connection, again and again.

    async def _run(self, open_connection: Connect) -> None:
        backoff = _Backoff(self._settings.reconnect)
        while not self._folder.stopping:
            began = time.monotonic()
            try:
                await self._read(open_connection)
            except IMAPRefused as error:
                await self._pause(str(error), self._settings.retry_refused)
            except OSError as error:
                await self._pause(_reason(error), backoff.next(lasted=time.monotonic() - began))
            except Exception as error:  # a bug of ours, which the reader must survive
                logger.exception("%s", self._folder.name)
                await self._pause(type(error).__name__, LONGEST_RECONNECT)

    async def _pause(self, reason: str, seconds: float) -> None:
        """Log one line for each problem, not for each attempt."""
        trouble = _NUMBERS.sub("", reason)
        self.status = ServerStatus("connecting", f"{reason}; next try in {seconds:.3g} s")
        if trouble != self._trouble:
            self._trouble = trouble
            logger.warning("%s at %s: %s", self._folder.name, self.address, self.status.detail)
        await asyncio.sleep(seconds)

    async def _read(self, open_connection: Connect) -> None:
        connection = await open_connection()
        try:
            await self._login(connection)
            selected = await connection.select(self._settings.folder)
            self._check(selected)
            self._folder.pending.open(selected.uidvalidity)
            deliver = partial(self._deliver, uidvalidity=selected.uidvalidity, server=connection.peer)
            session = FolderSession(connection, self._folder, deliver)
            self._ready(session.idles)
            await session.run()
        finally:
            await connection.close()

    def _ready(self, idles: bool) -> None:
        if self._trouble:
            logger.info("%s at %s: connected again", self._folder.name, self.address)
            self._trouble = ""
        how = "IDLE" if idles else f"polled every {self._settings.poll:g} s"
        self.status = ServerStatus("ready", f"{self._settings.folder}, {how}")

    async def _login(self, connection: "IMAPConnection") -> None:
        settings = self._settings
        if settings.token_file is None:
            await connection.login(settings.username, settings.password.reveal() if settings.password else "")
            return
        try:
            token = await asyncio.to_thread(Path(settings.token_file).read_text, "ascii")
        except (OSError, ValueError) as error:
            raise IMAPRefused(f"token_file {settings.token_file}: {_reason(error)}") from error
        await connection.login_with_token(settings.username, token.strip())

    def _check(self, selected: Selected) -> None:
        if not selected.writable:
            raise IMAPRefused(f"folder {self._settings.folder} is read-only: no message could be marked")
        if self._folder.marks.criteria().count("UNKEYWORD") and not selected.keywords:
            raise IMAPRefused(f"folder {self._settings.folder} keeps no keywords; use move or seen")

    # One message.

    def _deliver(
        self, message: MailboxMessage, *, uidvalidity: int, server: HostPort | None
    ) -> Coroutine[Any, Any, Verdict] | None:
        settings = self._settings
        scope = email_scope(
            message.raw,
            transport="imap",
            listener=self.name,
            mail_from="",
            rcpt_to=[],
            received_at=message.received_at or time.time(),
            state=self.state,
            server=server,
            mailbox={"folder": settings.folder, "uid": message.uid, "uidvalidity": uidvalidity},
        )
        scope["mail_from"] = sender(scope["headers"])
        if not self._address(scope):
            return None
        return deliver(self.app, scope, message.raw, timeout=settings.handler_timeout, submission=self._submission)

    def _address(self, scope: EmailScope) -> bool:
        """Find the recipients of the message, and return whether the application takes it."""
        settings, router = self._settings, self._router
        tiers = evidence(
            scope["headers"],
            recipient_header=settings.recipient_header,
            username=settings.username,
            delimiters=settings.recipient_delimiter,
        )
        if router is None:
            address_to(scope, tiers[0] if tiers else [])
            return True

        def takes(candidate: Recipient) -> bool:
            address_to(scope, [candidate])
            return router.routable(scope)

        address_to(scope, choose(tiers, takes))
        return bool(scope["rcpt_to"]) or (not tiers and router.routable(scope))


class _Backoff:
    def __init__(self, first: float) -> None:
        self._first = self._next = first

    def next(self, *, lasted: float) -> float:
        """Return the seconds to wait after a connection that ``lasted`` so long; never the same for two readers."""
        if lasted > STEADY:
            self._next = self._first
        seconds = min(self._next, LONGEST_RECONNECT)
        self._next = seconds * 2
        return seconds * random.uniform(0.8, 1.2)  # noqa: S311 -- jitter


def _reason(error: Exception) -> str:
    match error:
        case Disconnected():
            return str(error)
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS failed: {error.reason or error}"
        case socket.gaierror():
            return f"its name has no address: {error.strerror}"
        case OSError() if f"Errno {errno.ECONNREFUSED}" in str(error):  # one address, or each of several
            return "connection refused"
        case OSError():
            return error.strerror or str(error) or type(error).__name__
        case _:
            return str(error)
