"""How texts are kept, handled from the store, answered and sent."""

import json
from collections.abc import Sequence
from typing import Any, ClassVar

from gateway.delivery.attempt import Attempt
from gateway.delivery.deduplication import DAY, Identity, digest
from gateway.delivery.kind import DeliveryKind
from gateway.delivery.outgoing import THROUGH
from protocols.asgi import Application, SMSReceiveEvent, SMSScope
from protocols.errors import LocalProtocolError
from protocols.events import Event
from protocols.sms import events
from protocols.sms.media_files import is_file, size_of

TEXT_WINDOW = 7 * DAY
"""Seconds for which a text's repetition is recognized. Its provider's id never comes back, and where signatures have no
time in them, recognizing it is all that keeps a captured request from being replayed."""


class TextAttempt(Attempt):
    """Over a text; see :class:`ReceiptAttempt`."""

    sends: ClassVar = events.TEXT
    checks: ClassVar = events.CHECKS

    sms_accept = Attempt.decide
    sms_defer = Attempt.decide

    def sms_send(self, event: Event) -> None:
        """A reply rides in the webhook's answer if its provider reads that."""
        from protocols.sms.providers import carries_replies  # only where texts are: their libraries are not light

        scope: Any = self.scope
        if carries_replies(scope["provider"]):
            self.reply(event)
        else:
            self.leave(_addressed(event, scope))

    def sms_reject(self, event: Event) -> None:
        """It is taken without a reply."""
        self.replies.clear()
        self.outgoing = [event for event in self.outgoing if THROUGH in event]
        self.decide(event)


class ReceiptAttempt(TextAttempt):
    """Over a delivery receipt, which is not answered."""

    sends: ClassVar = events.RECEIPT


ANSWERS = "answers"
"""A key of a stored text that answers one: its recipient is awake."""


def _addressed(reply: Event, scope: SMSScope) -> Event:
    """The webhook's answer leaves it to the provider from whom a reply goes to whom."""
    to, sender = reply.get("to") or scope["sender"], reply.get("from") or scope["recipient"]
    return {**reply, "to": to, "from": sender, ANSWERS: to == scope["sender"]}


def _check_files(media: Sequence[str], scope: Any) -> None:
    """Raise LocalProtocolError if the files among ``media`` cannot leave by the server of ``scope``."""
    files = [url for url in media if is_file(url)]
    if not files:
        return
    from protocols.sms.providers import PROVIDERS  # only where texts are: their libraries are not light

    name, most = scope["listener"], scope["max_media"]
    if PROVIDERS[scope["provider"]].fetches_media and not scope["has_url"]:
        raise LocalProtocolError(
            f"sms.send: media has a file, which needs public_url at servers.{name}; or write a URL"
        )
    if sum(map(size_of, files)) > most:
        raise LocalProtocolError(f"sms.send: the files have more than {most} bytes (max_media at servers.{name})")


def _text(event: SMSReceiveEvent) -> bytes:
    return event["text"].encode(errors="surrogatepass")


_NOT_SAID = ("type", "event_id", "text_id")
"""Keys of an event that its sender has not written."""


class SMSDelivery(DeliveryKind):
    """A scope is one text, or one delivery receipt."""

    name: ClassVar = "sms"
    keep: ClassVar = 1 * DAY
    keep_words: ClassVar = "Texts: a day later few are of use."
    checks: ClassVar = events.CHECKS
    content: ClassVar = frozenset({"fields", "keyword", "media", "text"})
    raw: ClassVar = {"sms.receive": _text, "sms.send": _text, "sms.status": lambda event: json.dumps(event).encode()}

    def identity(self, scope: SMSScope, events: Sequence[Any]) -> Identity:
        """A program may count its ids from one again: what it says has to be the same, too."""
        if not scope["message_id"].strip():
            return Identity("", "", TEXT_WINDOW)
        event = events[0]
        said = [(name, value) for name, value in sorted(event.items()) if name not in _NOT_SAID]
        parts = [scope["listener"], scope["sender"], scope["recipient"], scope["message_id"], event["type"], said]
        return Identity(digest("sms", parts), "", TEXT_WINDOW)

    def order_key(self, scope: SMSScope, events: Sequence[Any]) -> str:
        """A sender's texts stay in order."""
        return f"sms:{scope['sender']}"

    def attempt(self, app: Application, scope: SMSScope, events: Sequence[Any]) -> TextAttempt:
        return (ReceiptAttempt if events[0]["type"] == "sms.status" else TextAttempt)(app, scope, events)

    def parts(self, event: Event, scope: SMSScope) -> Sequence[Event]:
        """Cut a text that is too long for one message of its provider."""
        from protocols.sms.providers import parts_of  # only where texts are: their libraries are not light

        return parts_of(event, scope["provider"])

    def complete(self, event: Event, scope: Any) -> Event:
        number = event.get("from") or scope["number"]
        if not event.get("to"):
            raise LocalProtocolError("sms.send: to is empty; write the number that the text goes to")
        if not number:
            name = scope["listener"]
            raise LocalProtocolError(f"sms.send: from is missing; write sender=, or number: at servers.{name}")
        _check_files(event.get("media", ()), scope)
        return {**event, "from": number}

    def addressed(self, reply: Event, scope: SMSScope) -> Event:
        return _addressed(reply, scope)
