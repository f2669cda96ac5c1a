"""Sends the mail of applications: through a submission server, or into a folder during development."""

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

from protocols import private_files
from protocols.errors import NotSent
from protocols.mail.refusals import failure_of, refusal_of
from protocols.secret import Secret
from protocols.server import SETTINGS_CONFIG
from protocols.tasks import Tasks
from protocols.units import Count, Timeout

_PORTS = {"smtp": 587, "smtps": 465}
_GOODBYE = 5.0
"""Seconds that the server may take to answer QUIT."""


class Submission(Protocol):
    """A way to send mail."""

    async def submit(self, mail_from: str, rcpt_to: Sequence[str], message: bytes) -> None:
        """Send a message, and return when it is taken for every recipient.

        Envelope and message are as :func:`protocols.mail.events.send` returns them. ``mail_from`` may be empty (the
        null reverse-path, for automatic replies).

        Raises NotSent if it was not taken, or, if ``left`` has a ``rcpt_to``, not for those; PermanentFailure if a
        further attempt would not help, AccountRefused if none of our mail is taken.
        """


@dataclass(frozen=True)
class SubmissionSettings:
    """Outgoing mail."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    url: str
    """``smtp://host:587`` (STARTTLS if the server offers it), ``smtps://host:465`` (TLS from the first byte), or
    ``file:var/outbox``: one .eml file for each message, for development."""
    username: str | None = None
    """Login name. If it is set, no mail goes to a server without TLS, unless the server is on this machine."""
    password: Secret | None = None
    """Its password."""
    ca: str | None = None
    """Path of a PEM file with the authorities to trust, instead of the system's."""
    timeout: Timeout = 30.0
    """For each step of the conversation with the server."""
    max_connections: Count = 5
    """How many messages are sent at the same time; further ones wait."""


def open_submission(settings: SubmissionSettings) -> Submission:
    """Return what sends mail by ``settings``, without connecting. Raises ValueError if the URL is wrong."""
    url = urlsplit(settings.url)
    if url.scheme == "file" and url.path and not url.netloc:
        return DirectorySubmission(url.path)
    if url.scheme in _PORTS and url.hostname and not (url.username or url.password):
        _check_host(url.hostname)
        return SMTPSubmission(settings, url)
    raise ValueError("write smtp://host:587, smtps://host:465 or file:directory; the login has keys of its own")


def _check_host(host: str) -> None:
    try:
        host.encode("idna")
    except UnicodeError:
        raise ValueError(f"{host} is not a host name; write smtp://mail.example.org:587") from None


class SMTPSubmission:
    """Sends by a submission server (RFC 6409), with one connection for each message, a few at a time."""

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
        self._goodbyes = Tasks("submission")

    async def submit(self, mail_from: str, rcpt_to: Sequence[str], message: bytes) -> None:
        await self._turn.acquire()
        await self._send(mail_from, list(rcpt_to), message)

    async def _send(self, sender: str, recipients: list[str], content: bytes) -> None:
        utf8 = [] if "".join([sender, *recipients]).isascii() else ["SMTPUTF8"]
        client = aiosmtplib.SMTP(**self._options)
        try:
            await client.connect()
            refused, _ = await client.sendmail(sender, recipients, content, mail_options=utf8)
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise failure_of(error, self._options["hostname"], connected=client.is_connected) from error
        except BaseException:  # cancelled, perhaps within the message, where QUIT would be a line of it
            client.close()
            raise
        finally:
            self._goodbyes.spawn(self._leave(client), name="QUIT")
        if refused:
            raise refusal_of(refused, self._options["hostname"], others_sent=True)

    async def _leave(self, client: aiosmtplib.SMTP) -> None:
        """Say QUIT in a task of its own, so that ``submit`` need not wait for its answer. Until then the connection
        counts against ``max_connections``."""
        try:
            if client.is_connected:
                await client.quit(timeout=_GOODBYE)
        except (aiosmtplib.SMTPException, OSError):
            pass  # it is over either way
        finally:
            client.close()
            self._turn.release()


class DirectorySubmission:
    """Writes an .eml file for each message into a folder that it makes. The first two fields hold the envelope."""

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)

    async def submit(self, mail_from: str, rcpt_to: Sequence[str], message: bytes) -> None:
        envelope = f"Return-Path: <{mail_from}>\r\nX-Envelope-To: {', '.join(rcpt_to)}\r\n".encode()
        try:
            await asyncio.to_thread(self._write, envelope + message)
        except OSError as error:
            raise NotSent(f"{self._directory}: {error.strerror or error}") from error

    def _write(self, content: bytes) -> None:
        """Write the whole file before it gets its name, so that a reader of the folder never sees a part."""
        private_files.make_folder(self._directory)
        name = f"{time.strftime('%Y%m%dT%H%M%S')}-{secrets.token_hex(4)}"
        unfinished = self._directory / f".{name}.part"
        try:
            private_files.write(unfinished, content)
            os.replace(unfinished, self._directory / f"{name}.eml")
        finally:
            unfinished.unlink(missing_ok=True)


def _start_tls(scheme: str, host: str, *, login: bool) -> bool | None:
    """Whether STARTTLS must (True) or must not (False) be used; None means if the server offers it.

    A login never leaves the machine in clear. A server on this machine gets no STARTTLS: its certificate is often
    self-signed.
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
