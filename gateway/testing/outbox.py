"""What an application has sent to others than its peer, for a test to look at: mails, texts, publications."""

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from asgiref.sync import async_to_sync

from gateway.delivery.kind import kind_of_event
from gateway.event_sender import current_keeper
from gateway.layers import get_channel_layer
from protocols.checkpoint import checkpoint
from protocols.event_id import new_id
from protocols.events import Event, checked
from protocols.mail.message import InboundEmail

T = TypeVar("T")


@dataclass(frozen=True)
class SentMail:
    """A mail that has left: its envelope, and the message as its recipient reads it."""

    mail_from: str
    """The sender of the envelope; empty for automatic answers."""
    rcpt_to: list[str]
    raw: bytes

    @cached_property
    def message(self) -> InboundEmail:
        return InboundEmail(self.raw, mail_from=self.mail_from, rcpt_to=self.rcpt_to)

    @property
    def subject(self) -> str:
        return self.message.subject

    @property
    def to(self) -> list[str]:
        """The addresses of the field To."""
        return [*self.message.to]

    @property
    def text(self) -> str:
        return self.message.text

    @property
    def html(self) -> str | None:
        return self.message.html


@dataclass(frozen=True)
class SentText:
    """A text that has left. ``to`` and ``sender`` are None in a reply to the sender of the text that is handled."""

    text: str
    to: str | None = None
    sender: str | None = None
    media: Sequence[str] = ()


@dataclass(frozen=True)
class Publication:
    """An MQTT message that has left."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: dict[str, Any] | None = None


Sent = SentMail | SentText | Publication


class Outbox(list[Any]):
    """Everything that was sent, in order, as Django's ``mail.outbox`` has its mails. ``clear()`` empties it."""

    @property
    def mails(self) -> list[SentMail]:
        return self._of(SentMail)

    @property
    def texts(self) -> list[SentText]:
        return self._of(SentText)

    @property
    def publications(self) -> list[Publication]:
        return self._of(Publication)

    def _of(self, kind: type[T]) -> list[T]:
        return [each for each in self if isinstance(each, kind)]

    def take(self, event: Event) -> None:
        """Add a checked event."""
        self.append(_FORMS[event["type"]](event) if event["type"] in _FORMS else event)


def publication(event: Event) -> Publication:
    return Publication(event["topic"], event["payload"], event["qos"], event["retain"], event.get("properties") or None)


def _mail(event: Event) -> SentMail:
    return SentMail(event["mail_from"], list(event["rcpt_to"]), event["message"])


def _text(event: Event) -> SentText:
    return SentText(event["text"], event.get("to"), event.get("from"), tuple(event["media"]))


_FORMS = {"email.send": _mail, "sms.send": _text, "mqtt.send": publication}


class RecordingSender:
    """A :class:`gateway.event_sender.Sender` for code without a gateway: what it sends is in ``outbox`` at once."""

    is_in_project = False

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def send(self, event: Event, *, via: str = "", wait: bool = True) -> str:
        clean = checked(kind_of_event(event).checks, event)
        keeper = current_keeper.get()
        if keeper is not None and (kept := keeper.keep(clean)) is not None:
            return kept
        self._outbox.take(clean)
        return new_id()

    async def asend(self, event: Event, *, via: str = "") -> str:
        await checkpoint()
        return self.send(event, via=via)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        await get_channel_layer().group_send(group, message)

    def wait_for(self, coroutine: Coroutine[Any, Any, T]) -> T:
        async def result() -> T:
            return await coroutine

        return async_to_sync(result)()
