"""Tests an application of the ``email`` scope: one message, and its verdict."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from email.message import Message
from typing import Any, ClassVar, Literal

from gateway.testing.communicator import TIMEOUT
from gateway.testing.message import MessageCommunicator, MessageRun
from gateway.testing.surroundings import Surroundings
from protocols.asgi import Application, EmailScope, HostPort, Mailbox
from protocols.events import Event
from protocols.mail import events
from protocols.mail.addresses import DELIMITER
from protocols.mail.compose import Addresses, Attachable, Draft, compose
from protocols.mail.compose.mailbox import mailbox, mailboxes
from protocols.mail.line_ends import with_crlf
from protocols.mail.scope import email_scope
from protocols.mail.verdict import Verdicts

CLIENT: HostPort = ("192.0.2.1", 50002)
SERVER: HostPort = ("127.0.0.1", 25)


class _Delivery(MessageRun):
    sends: ClassVar = events.SENDS
    checks: ClassVar = events.CHECKS

    def __init__(self, app: Application, scope: EmailScope, left: Callable[[Event], None]) -> None:
        super().__init__(app, scope, left)
        self.verdicts = Verdicts(scope["rcpt_to"])

    def decide(self, event: Event) -> None:
        self.verdicts.add(event)
        super().decide(event)

    email_accept = email_reject = email_defer = decide
    email_send = MessageRun.leave


class EmailCommunicator(MessageCommunicator):
    """One mail, which is composed from ``subject``, ``text`` and the rest, or is ``message`` as it stands.

    ``await communicator.get_verdict()`` delivers it. What the application answers is in :attr:`outbox`.
    """

    run_class = _Delivery

    def __init__(
        self,
        application: Any,
        to: Addresses = "help@example.org",
        *,
        sender: str = "ann@example.net",
        subject: str = "",
        text: str = "",
        html: str | None = None,
        cc: Addresses = (),
        attachments: Iterable[Attachable] = (),
        headers: Mapping[str, str] | None = None,
        message_id: str = "",
        in_reply_to: str = "",
        references: Sequence[str] = (),
        message: bytes | str | Message | None = None,
        mail_from: str | None = None,
        rcpt_to: Sequence[str] | None = None,
        transport: Literal["smtp", "lmtp", "imap"] = "smtp",
        user: str | None = None,
        mailbox: Mailbox | None = None,
        authentication: dict[str, str] | None = None,
        recipient_delimiter: str = DELIMITER,
        listener: str = "mail",
        surroundings: Surroundings | None = None,
    ) -> None:
        """The envelope is ``mail_from`` and ``rcpt_to``; by default the sender's address and all of ``to`` and ``cc``.
        ``listener`` is the server's name in gateway.yaml, and ``recipient_delimiter`` a setting of it."""
        if message is None:
            draft = Draft(
                from_=sender,
                to=to,
                cc=cc,
                subject=subject,
                text=text,
                html=html,
                attachments=attachments,
                headers=headers or {},
                message_id=message_id,
                in_reply_to=in_reply_to,
                references=references,
            )
            message = compose(draft).message
        self.body = _bytes(message)
        scope = email_scope(
            self.body,
            transport=transport,
            listener=listener,
            mail_from=_address(sender) if mail_from is None else mail_from,
            rcpt_to=[each.address for each in (*mailboxes(to), *mailboxes(cc))] if rcpt_to is None else [*rcpt_to],
            received_at=time.time(),
            state={},
            client=CLIENT,
            server=SERVER,
            helo="client.example.net",
            user=user,
            mailbox=mailbox,
            delimiters=recipient_delimiter,
        )
        scope["authentication"] = authentication
        event = {"type": "email.receive", "body": self.body, "more_body": False}
        super().__init__(application, {**scope}, event, surroundings=surroundings)

    async def get_verdict(self, recipient: str | None = None, timeout: float = TIMEOUT) -> Any:
        """Deliver the mail, wait until the application has ended, and return its verdict as the event that it sent:
        ``email.accept`` (also if it sent none), ``email.reject`` or ``email.defer``.

        ``recipient``: the verdict for this one of several.
        """
        verdicts: Verdicts = (await self._delivered(timeout)).verdicts
        return dict(verdicts.combined_event if recipient is None else verdicts.event_for(recipient))


def _bytes(message: bytes | str | Message) -> bytes:
    if isinstance(message, Message):
        message = message.as_bytes()
    return with_crlf(message.encode() if isinstance(message, str) else message)


def _address(sender: str) -> str:
    return mailbox(sender).address if sender else ""
