"""Delivers a message of a mailbox to the application."""

import hashlib
import time
from collections.abc import Coroutine
from functools import lru_cache
from itertools import chain
from typing import Any

from protocols.asgi import Application, EmailScope, HostPort, Mailbox, Recipient, Routable
from protocols.event_id import id_of
from protocols.mail.authentication.authenticator import Authenticator
from protocols.mail.imap.grammar import MailboxMessage
from protocols.mail.recipients import address_to, choose, evidence, sender
from protocols.mail.run import deliver
from protocols.mail.scope import email_scope
from protocols.mail.submission import Submission
from protocols.mail.verdict import Verdict


class MailboxDelivery:
    """Makes the scope of each message, finds its recipients, and runs the application."""

    def __init__(
        self,
        app: Application,
        *,
        listener: str,
        state: dict[str, Any],
        timeout: float,
        recipient_header: str | None,
        delimiters: str,
        submission: Submission | None,
        authenticator: Authenticator | None,
    ) -> None:
        self._app = app
        self._listener = listener
        self._state = state
        self._timeout = timeout
        self._recipient_header = recipient_header
        self._delimiters = delimiters
        self._submission = submission
        self._authenticator = authenticator
        router: object = app  # asked once: isinstance() with a Protocol is slow
        self._router = router if isinstance(router, Routable) else None

    def become(self, other: "MailboxDelivery") -> None:
        """Deliver as ``other`` from the next message on."""
        vars(self).update(vars(other))

    def __call__(
        self, message: MailboxMessage, mailbox: Mailbox, server: HostPort | None
    ) -> Coroutine[Any, Any, Verdict] | None:
        """Return the application's run over ``message``; None if no route takes it."""
        received = time.time() if message.received_at is None else message.received_at
        scope = email_scope(
            message.raw,
            transport="imap",
            listener=self._listener,
            mail_from="",
            rcpt_to=[],
            received_at=received,
            state=self._state,
            server=server,
            mailbox=mailbox,
            event=_event_id(mailbox, message.received_at),
        )
        scope["mail_from"] = sender(scope["headers"])
        if not self._address(scope, mailbox["account"]):
            return None
        return deliver(
            self._app,
            scope,
            message.raw,
            timeout=self._timeout,
            submission=self._submission,
            authenticator=self._authenticator,
        )

    def _address(self, scope: EmailScope, username: str) -> bool:
        """Find the recipients of the message, and return whether the application takes it."""
        router = self._router
        tiers = evidence(
            scope["headers"],
            recipient_header=self._recipient_header,
            username=username,
            delimiters=self._delimiters,
        )
        best = next(tiers, [])
        if router is None or not best:
            address_to(scope, best)
            return router is None or router.routable(scope)

        def takes(candidate: Recipient) -> bool:
            address_to(scope, [candidate])
            return router.routable(scope)

        taken = choose(chain([best], tiers), takes)
        address_to(scope, taken)
        return bool(taken)


def _event_id(mailbox: Mailbox, received: float | None) -> str:
    """Return an id that the message keeps however often it is read, by whatever process. Messages of one folder differ
    in it by their UIDs, those of two folders by what comes of a digest."""
    start = _start(mailbox["account"], mailbox["folder"], mailbox["uidvalidity"])
    return id_of(int(received or 0), start + mailbox["uid"])


@lru_cache(maxsize=1024)
def _start(*folder: object) -> int:
    return int.from_bytes(hashlib.sha256(repr(folder).encode(errors="surrogatepass")).digest()[:4], "big")
