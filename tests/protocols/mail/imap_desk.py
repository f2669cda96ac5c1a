"""What the IMAP tests share: an application that writes down what it gets, and readers of a real mailbox."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from typing import Any

from servers.dovecot import PASSWORD, Dovecot

from protocols.mail.imap.reader import IMAPReader
from protocols.mail.imap.settings import IMAPSettings
from protocols.secret import Secret

LIMIT = 20.0


def new_user() -> str:
    return f"u{secrets.token_hex(4)}@example.org"


def mail(subject: str, *, to: str = "support@example.org", body: str = "hello") -> bytes:
    return f"From: Ann <ann@example.net>\r\nTo: {to}\r\nSubject: {subject}\r\n\r\n{body}\r\n".encode()


class Desk:
    """The application. ``answers``: subject -> what is done: an exception to raise, an event to send, an
    ``asyncio.Event`` to wait for; None or nothing accepts."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.scopes: list[Any] = []
        self.bodies: list[bytes] = []

    @property
    def subjects(self) -> list[str]:
        return [dict(scope["headers"]).get(b"subject", b"").decode("utf-8", "replace") for scope in self.scopes]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            event = await receive()
            body, more = body + event["body"], event["more_body"]
        self.scopes.append(scope)
        self.bodies.append(body)
        match self.answers.get(self.subjects[-1]):
            case asyncio.Event() as event:
                await event.wait()
            case Exception() as error:
                raise error
            case {} as event:
                await send(event)


class RoutedDesk(Desk):
    """It takes only what is for one of ``addresses``."""

    def __init__(self, *addresses: str) -> None:
        super().__init__()
        self.addresses = addresses

    def routable(self, scope: Any) -> bool:
        return any(address in self.addresses for address in scope["rcpt_to"])


def settings(server: Dovecot, user: str, **changes: Any) -> IMAPSettings:
    given: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": server.port,
        "tls": False,
        "username": user,
        "password": Secret(PASSWORD),
        "reconnect": 0.1,
        "timeout": 5.0,
    }
    return IMAPSettings(**given | changes)


@contextlib.asynccontextmanager
async def reading(app: Any, server: Dovecot, user: str, **changes: Any) -> AsyncIterator[IMAPReader]:
    async with IMAPReader(app, settings(server, user, **changes), name="support", state={}) as reader:
        yield reader
