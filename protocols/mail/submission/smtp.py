"""Sends by a submission server (RFC 6409)."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import aiosmtplib

from protocols.asgi import DSNRequest
from protocols.errors import AccountRefused, NotSent
from protocols.mail.oauth.source import TokenRefused
from protocols.mail.refusals import failure_of, refusal_of
from protocols.mail.submission.commands import Mail
from protocols.mail.submission.connection import Connection, Reply, Stale
from protocols.mail.submission.login import Login
from protocols.mail.submission.pool import Pool
from protocols.mail.submission.settings import SubmissionSettings
from protocols.mail.submission.seven_bit import fits, fitted

_REFUSALS = (aiosmtplib.SMTPSenderRefused, aiosmtplib.SMTPRecipientsRefused, aiosmtplib.SMTPDataError)
"""After these the connection takes the next message."""


class SMTPSubmission:
    """A few connections at a time, each kept open for some seconds for the next mail.

    The server may have given up a kept connection. The mail then goes over a new one, if nothing of its content was
    sent: a pool sends nothing twice.
    """

    def __init__(self, settings: SubmissionSettings) -> None:
        self.login = Login(settings)
        self._turn = asyncio.Semaphore(settings.max_connections)
        self._pool = Pool(settings.keep_open)

    async def submit(
        self, mail_from: str, rcpt_to: Sequence[str], message: bytes, *, dsn: DSNRequest | None = None
    ) -> None:
        mail = Mail(mail_from, list(rcpt_to), message, dsn)
        async with self._turn:
            refused = await self._send(mail)
        if refused:
            raise refusal_of(refused, self.login.host, others_sent=True)

    async def _send(self, mail: Mail) -> Mapping[str, Reply]:
        connection = self._pool.take()
        if connection is not None:
            try:
                return await self._send_over(connection, mail)
            except Stale:
                pass
        return await self._send_over(await self._connect(), mail)

    async def _connect(self) -> Connection:
        try:
            return await self.login.connect()
        except TokenRefused as error:
            failure: NotSent = AccountRefused(f"{self.login.host}: {error}")
            cause: Exception = error
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            failure, cause = failure_of(error, self.login.host, connected=False), error
        if isinstance(failure, AccountRefused):
            failure.repaired = self.login.has_another_token
        raise failure from cause

    async def _send_over(self, connection: Connection, mail: Mail) -> Mapping[str, Reply]:
        try:
            refused = await connection.send(await _fitted(mail, connection.offered))
        except Stale:
            connection.abort()
            raise
        except _REFUSALS as error:
            self._pool.give_back(connection)
            raise failure_of(error, self.login.host, connected=True) from error
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            connection.abort()
            raise failure_of(error, self.login.host, connected=True) from error
        except BaseException:  # cancelled, perhaps within the message, where QUIT would be a line of it
            connection.abort()
            raise
        self._pool.give_back(connection)
        return refused

    async def close(self) -> None:
        await self._pool.close()


async def _fitted(mail: Mail, offered: Collection[str]) -> Mail:
    """Return ``mail`` for a server with these extensions. Raises ValueError if there is no such form."""
    if fits(mail.message, offered):
        return mail
    return replace(mail, message=await asyncio.to_thread(fitted, mail.message, offered))
