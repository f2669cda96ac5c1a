"""Opens connections to a submission server: TLS and the login."""

import asyncio
import base64
import binascii
import ipaddress
import json
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import aiosmtplib

from protocols.mail.oauth.token_file import file_stamp
from protocols.mail.submission.connection import Connection
from protocols.mail.submission.settings import PORTS, SubmissionSettings


class Login:
    """Opens connections by ``settings``."""

    def __init__(self, settings: SubmissionSettings) -> None:
        url = urlsplit(settings.url)
        self.host = url.hostname or ""
        self.options: dict[str, Any] = {
            "hostname": self.host,
            "port": url.port or PORTS[url.scheme],
            "timeout": settings.timeout,
            "use_tls": url.scheme == "smtps",
            "start_tls": _start_tls(url.scheme, self.host, login=settings.username is not None),
        }
        self._settings = settings
        self._tokens = settings.tokens()
        self._stamp: object = None
        """That of the tokens' source when a token was last taken from it."""
        self._context: tuple[object, ssl.SSLContext] | None = None

    @property
    def has_another_token(self) -> Callable[[], bool] | None:
        """Return what says whether there may be another token since the last login; None if there are none at all."""
        tokens, stamp = self._tokens, self._stamp
        return None if tokens is None else lambda: tokens.stamp() != stamp

    async def connect(self) -> Connection:
        """Connect and log in. Raises SMTPException, OSError, ValueError or TokenRefused."""
        client = aiosmtplib.SMTP(**self.options, tls_context=await self._tls_context())
        await client.connect()
        try:
            await client._ehlo_or_helo_if_needed()  # noqa: SLF001 -- its login does the same
            await self._log_in(client)
        except BaseException:  # also if it is cancelled
            client.close()
            raise
        return Connection(client.transport, tuple(client.esmtp_extensions), self._settings.timeout)

    async def _tls_context(self) -> ssl.SSLContext | None:
        """Reading the system's authorities takes some 20 ms of CPU, so it is done once."""
        if not self.options["use_tls"] and self.options["start_tls"] is False:
            return None
        stamp = self._settings.ca and file_stamp(self._settings.ca)
        if self._context is None or self._context[0] != stamp:
            self._context = stamp, await asyncio.to_thread(ssl.create_default_context, cafile=self._settings.ca)
        return self._context[1]

    async def _log_in(self, client: aiosmtplib.SMTP) -> None:
        username, password = self._settings.username, self._settings.password
        if username is None:
            return
        if self._tokens is None:
            await client.login(username, password.reveal() if password else "")
            return
        if "xoauth2" not in client.server_auth_methods:
            raise aiosmtplib.SMTPException("the server does not offer XOAUTH2, which a token needs")
        self._stamp = self._tokens.stamp()
        token = await self._tokens.token()
        try:
            await _with_token(client, username, token)
        except aiosmtplib.SMTPAuthenticationError:
            if (fresh := await self._tokens.token(fresh=True)) == token:
                raise
            await _with_token(client, username, fresh)


async def _with_token(client: aiosmtplib.SMTP, username: str, token: str) -> None:
    """XOAUTH2. A refusal is a challenge with JSON, which an empty line answers; then comes 535 (Google, Microsoft)."""
    response = base64.b64encode(f"user={username}\1auth=Bearer {token}\1\1".encode())
    code, text = await client.execute_command(b"AUTH", b"XOAUTH2", response)
    if code == aiosmtplib.SMTPStatus.auth_continue:
        status = _status(text)
        code, text = await client.execute_command(b"")
        text = f"{text} (status {status})" if status else text
    if code != aiosmtplib.SMTPStatus.auth_successful:
        raise aiosmtplib.SMTPAuthenticationError(code, text)


def _status(challenge: str) -> str:
    try:
        return str(json.loads(base64.b64decode(challenge))["status"])[:40]
    except (ValueError, LookupError, TypeError, binascii.Error):
        return ""


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
