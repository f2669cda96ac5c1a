"""Mail that applications send: by a submission server, or into a folder while one develops."""

import asyncio
import ipaddress
import os
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol
from urllib.parse import SplitResult, urlsplit

import aiosmtplib

from protocols import private
from protocols.errors import LocalProtocolError, NotSent
from protocols.mail.envelope import parse_headers
from protocols.mail.line_ends import with_crlf
from protocols.mail.path import check_address
from protocols.secret import Secret
from protocols.server import SETTINGS_CONFIG
from protocols.units import Count, Timeout

_PORTS = {"smtp": 587, "smtps": 465}
# RFC 5322 3.6: fields that occur once. A second one is what an injected line break makes.
_ONCE = frozenset(b"from sender reply-to to cc bcc subject date message-id in-reply-to references".split())

_BLIND = re.compile(rb"^(?:resent-)?bcc[ \t]*:.*\n(?:[ \t].*\n)*", re.IGNORECASE | re.MULTILINE)


class SubmissionFailed(NotSent):
    """The message was not taken; or, where ``left`` has a ``rcpt_to``, not for those. Left uncaught it is the handler's
    crash, so that the sender tries again."""


class Submission(Protocol):
    """Where mail leaves."""

    async def submit(self, mail_from: str, rcpt_to: Sequence[str], message: bytes) -> None:
        """Return when the message is taken for every recipient.

        ``mail_from`` may be empty (the null reverse-path, for automatic replies). Raises LocalProtocolError where an
        address or the header block is malformed, SubmissionFailed where it was not taken.
        """


@dataclass(frozen=True)
class SubmissionSettings:
    """Outgoing mail."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    url: str
    """``smtp://host:587`` (STARTTLS where the server offers it), ``smtps://host:465`` (TLS from the first byte), or
    ``file:var/outbox``: one .eml file a message, for development."""
    username: str | None = None
    """Login name. With one, a server that offers no TLS is refused, unless it is on this machine."""
    password: Secret | None = None
    """Its password."""
    ca: str | None = None
    """Path of a PEM file with the authorities to trust, instead of the system's."""
    timeout: Timeout = 30.0
    """For each step of the conversation with the server."""
    max_connections: Count = 5
    """Messages that are sent at the same time; more wait."""


def open_submission(settings: SubmissionSettings) -> Submission:
    """Raises ValueError with one sentence where the URL is wrong. Connects to nothing yet."""
    url = urlsplit(settings.url)
    if url.scheme == "file" and url.path and not url.netloc:
        return DirectorySubmission(url.path)
    if url.scheme in _PORTS and url.hostname and not (url.username or url.password):
        return SMTPSubmission(settings, url)
    raise ValueError("write smtp://host:587, smtps://host:465 or file:directory; the login has keys of its own")


class SMTPSubmission:
    """Sends by a submission server (RFC 6409), one connection a message, a few at a time."""

    def __init__(self, settings: SubmissionSettings, url: SplitResult) -> None:
        host = url.hostname or ""
        self._options: dict[str, Any] = {
            "hostname": host,
            "port": url.port or _PORTS[url.scheme],
            "timeout": settings.timeout,
            "use_tls": url.scheme == "smtps",
            "start_tls": _start_tls(url.scheme, host, login=settings.username is not None),
            "username": settings.username,
            "password": settings.password.reveal() if settings.password else None,
            "cert_bundle": settings.ca,
        }
        self._turn = asyncio.Semaphore(settings.max_connections)

    async def submit(self, mail_from: str, rcpt_to: Sequence[str], message: bytes) -> None:
        sender, recipients, content = _checked(mail_from, rcpt_to, message)
        async with self._turn:
            await self._send(sender, recipients, content)

    async def _send(self, sender: str, recipients: list[str], content: bytes) -> None:
        utf8 = [] if "".join([sender, *recipients]).isascii() else ["SMTPUTF8"]
        try:
            async with aiosmtplib.SMTP(**self._options) as client:
                refused, _ = await client.sendmail(sender, recipients, content, mail_options=utf8)
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise SubmissionFailed(f"{self._options['hostname']}: {_reason(error)}") from error
        if refused:
            said = f"{self._options['hostname']} refused {', '.join(refused)}; the others were sent"
            raise SubmissionFailed(said, left={"rcpt_to": list(refused)})


class DirectorySubmission:
    """Writes one .eml file a message into a folder that it makes. The envelope is in the first two header fields."""

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)

    async def submit(self, mail_from: str, rcpt_to: Sequence[str], message: bytes) -> None:
        sender, recipients, content = _checked(mail_from, rcpt_to, message)
        envelope = f"Return-Path: <{sender}>\r\nX-Envelope-To: {', '.join(recipients)}\r\n".encode()
        try:
            await asyncio.to_thread(self._write, envelope + content)
        except OSError as error:
            raise SubmissionFailed(f"{self._directory}: {error.strerror or error}") from error

    def _write(self, content: bytes) -> None:
        """A reader of the folder sees the whole file or none."""
        private.make_folder(self._directory)
        name = f"{time.strftime('%Y%m%dT%H%M%S')}-{secrets.token_hex(4)}"
        unfinished = self._directory / f".{name}.part"
        try:
            private.write(unfinished, content)
            os.replace(unfinished, self._directory / f"{name}.eml")
        finally:
            unfinished.unlink(missing_ok=True)


def _checked(mail_from: str, rcpt_to: Sequence[str], message: bytes) -> tuple[str, list[str], bytes]:
    """Envelope and message as they may go on the wire. Raises LocalProtocolError."""
    if isinstance(rcpt_to, str) or not rcpt_to:
        raise LocalProtocolError("email.send: rcpt_to is a list of one or more addresses")
    try:
        sender = mail_from and check_address(mail_from, max_local_part=255)
        recipients = [check_address(recipient, max_local_part=255) for recipient in rcpt_to]
    except ValueError as error:
        raise LocalProtocolError(f"email.send: an address is malformed: {error}") from error
    content = with_crlf(message)
    names = [name for name, _ in parse_headers(content)]
    if not names:
        raise LocalProtocolError("email.send: the message has no header fields")
    twice = sorted({name.decode("ascii") for name in names if name in _ONCE and names.count(name) > 1})
    if twice:
        raise LocalProtocolError(f"email.send: header field more than once: {', '.join(twice)}")
    return sender, list(dict.fromkeys(recipients)), _without_bcc(content)


def _without_bcc(content: bytes) -> bytes:
    """RFC 5322 3.6.3: nobody is to read for whom the blind copies are; few submission servers take the field out."""
    head, blank, body = content.partition(b"\r\n\r\n")
    return _BLIND.sub(b"", head + b"\r\n")[:-2] + blank + body


def _start_tls(scheme: str, host: str, *, login: bool) -> bool | None:
    """Whether STARTTLS must (True) or must not (False) be used; None: where the server offers it.

    A login never leaves the machine in clear. On this machine no STARTTLS: local servers have self-signed certificates.
    """
    if scheme == "smtps" or _is_loopback(host):
        return False
    return True if login else None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _reason(error: Exception) -> str:
    """Words for a log: the server's answer, never our login."""
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return f"{error.code} {error.message}"
    return str(error) or type(error).__name__
