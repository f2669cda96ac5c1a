"""Tests an application of the ``sms`` scope: one text, or the receipt for one that was sent."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from gateway.testing.communicator import TIMEOUT
from gateway.testing.message import MessageCommunicator, MessageRun
from gateway.testing.outbox import SentText
from gateway.testing.surroundings import Surroundings
from protocols.asgi import HostPort, Media, SMSReceiveEvent, SMSStatusEvent
from protocols.event_id import new_id
from protocols.sms import events
from protocols.sms.provider import DeliveryReceipt, TextMessage
from protocols.sms.run import receipt_event
from protocols.sms.scope import sms_scope

CLIENT: HostPort = ("192.0.2.1", 50003)
SERVER: HostPort = ("127.0.0.1", 80)


class _Text(MessageRun):
    sends: ClassVar = events.TEXT
    checks: ClassVar = events.CHECKS

    sms_accept = sms_reject = sms_defer = MessageRun.decide
    sms_send = MessageRun.leave


class _Receipt(_Text):
    sends: ClassVar = events.RECEIPT


class SMSCommunicator(MessageCommunicator):
    """One text; or, with ``status``, the receipt for the text that we sent as ``message_id``.

    ``await communicator.get_verdict()`` delivers it. What the application answers is in :attr:`outbox`.
    """

    def __init__(
        self,
        application: Any,
        text: str = "",
        sender: str = "+447700900123",
        recipient: str = "+447700900999",
        *,
        media: Iterable[str | Media] = (),
        status: str | None = None,
        error: str | None = None,
        message_id: str = "",
        provider: str = "generic",
        segments: int = 1,
        fields: Mapping[str, str] | None = None,
        listener: str = "sms",
        text_id: str = "",
        surroundings: Surroundings | None = None,
    ) -> None:
        """``media`` are URLs, or dicts with ``url`` and ``content_type``. ``listener`` is the server's name in
        gateway.yaml. ``text_id``: for a receipt, the id of the text that it is for, such as ``EVENT-0``."""
        self.run_class = _Text if status is None else _Receipt
        id_, given = message_id or new_id(), dict(fields or {})
        item: TextMessage | DeliveryReceipt
        event: SMSReceiveEvent | SMSStatusEvent
        if status is None:
            item = TextMessage(sender, recipient, id_, text, [*map(_media, media)], segments, given)
            event = {"type": "sms.receive", "text": item.text, "media": item.media}
        else:
            item = DeliveryReceipt(sender, recipient, id_, status, error, segments, given, text_id)
            event = receipt_event(item)
        scope = sms_scope(item, provider=provider, listener=listener, state={}, client=CLIENT, server=SERVER)
        super().__init__(application, {**scope}, event, surroundings=surroundings)

    async def get_verdict(self, timeout: float = TIMEOUT) -> Any:
        """Deliver the text, wait until the application has ended, and return its verdict as the event that it sent:
        ``sms.accept`` (also if it sent none), ``sms.reject`` or ``sms.defer``."""
        return (await self._delivered(timeout)).verdict or {"type": "sms.accept"}

    @property
    def replies(self) -> list[SentText]:
        """The texts that the application has sent."""
        return self.outbox.texts


def _media(given: str | Media) -> Media:
    return {"url": given, "content_type": "image/jpeg"} if isinstance(given, str) else given
