"""How mail is kept, handled from the store, answered and sent."""

from collections.abc import Sequence
from typing import Any, ClassVar

from gateway.delivery.attempt import Attempt
from gateway.delivery.deduplication import DAY, Identity
from gateway.delivery.kind import DeliveryKind
from gateway.scopes.email.body import whole_body
from gateway.scopes.email.identity import identity_of
from protocols.asgi import Application, EmailScope, Receive
from protocols.events import Event
from protocols.mail import events
from protocols.mail.message_id import with_message_id
from protocols.mail.verdict import Verdicts


class EmailAttempt(Attempt):
    sends: ClassVar = events.SENDS
    checks: ClassVar = events.CHECKS

    email_send = Attempt.leave

    def __init__(self, app: Application, scope: EmailScope, events: Sequence[Any]) -> None:
        super().__init__(app, scope, events)
        self._verdicts = Verdicts(scope["rcpt_to"])

    def decide(self, event: Event) -> None:
        """A group of recipients is kept, and tried again, as one: their verdicts are combined."""
        self._verdicts.add(event)
        super().decide(self._verdicts.combined_event)

    email_accept = email_reject = email_defer = decide


class EmailDelivery(DeliveryKind):
    """A scope is one message for one group of recipients."""

    name: ClassVar = "email"
    checks: ClassVar = events.CHECKS
    content: ClassVar = frozenset({"body", "headers", "message"})
    raw: ClassVar = {"email.receive": lambda event: event["body"], "email.send": lambda event: event["message"]}
    suffix: ClassVar = ".eml"
    keep: ClassVar = 5 * DAY
    keep_words: ClassVar = "Mail."

    async def read(self, receive: Receive) -> list[Any]:
        """Its chunks as one."""
        return [{"type": "email.receive", "body": await whole_body(receive), "more_body": False}]

    def identity(self, scope: EmailScope, events: Sequence[Any]) -> Identity:
        return identity_of(scope, events)

    def dead(self) -> dict[str, Any]:
        """A mailbox has a folder for it."""
        return {**self.accept(), "failed": True}

    def order_key(self, scope: EmailScope, events: Sequence[Any]) -> str:
        """A sender's mail stays in order."""
        return f"email:{scope['mail_from']}"

    def attempt(self, app: Application, scope: EmailScope, events: Sequence[Any]) -> EmailAttempt:
        return EmailAttempt(app, scope, events)

    def lane(self, listener: str) -> str:
        """All mail leaves by the one submission server."""
        return "email"

    def kept(self, event: Event, id_: str) -> Event:
        message = event["message"]
        return {**event, "message": with_message_id(message, id_)} if isinstance(message, bytes) else event

    def recipient(self, event: Event) -> str:
        return ", ".join(event.get("rcpt_to") or ())
