"""Mail that applications send: by a submission server, or into a folder while one develops."""

import asyncio
import ipaddress
import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol
from urllib.parse import SplitResult, urlsplit

import aiosmtplib

from protocols import private
from protocols.errors import NotSent
from protocols.secret import Secret
from protocols.server import SETTINGS_CONFIG
from protocols.units import Count, Timeout

_PORTS = {"smtp": 587, "smtps": 465}


class SubmissionFailed(NotSent):
    """The message was not taken; or, where ``left`` has a ``rcpt_to``, not for those. Left uncaught it is the handler's
    crash, so that the sender tries again."""


class Submission(Protocol):
    """Where mail leaves."""

    async def submit(self, mail_from: str, rcpt_to: Sequence[str], message: bytes) -> None:
        """Return when the message is taken for every recipient.

        Envelope and message are as :func:`protocols.mail.events.send` returns them. ``mail_from`` may be empty (the
        null reverse-path, for automatic replies).

        Raises SubmissionFailed where it was not taken.
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
        async with self._turn:
            await self._send(mail_from, list(rcpt_to), message)

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
        envelope = f"Return-Path: <{mail_from}>\r\nX-Envelope-To: {', '.join(rcpt_to)}\r\n".encode()
        try:
            await asyncio.to_thread(self._write, envelope + message)
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
