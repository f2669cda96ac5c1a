"""One application run over one sms scope: a text that arrived, or the receipt for one that we sent."""

import logging
from typing import ClassVar

from protocols.app_run import AppRun
from protocols.asgi import (
    Application,
    SMSAcceptEvent,
    SMSDeferEvent,
    SMSReceiveEvent,
    SMSRejectEvent,
    SMSScope,
    SMSSendEvent,
    SMSStatusEvent,
    describe,
)
from protocols.event_id import event_of
from protocols.sms import events
from protocols.sms.provider import DeliveryReceipt, Reply, TextMessage

logger = logging.getLogger(__name__)


class SMSRun(AppRun):
    """What runs over texts and receipts share. An application that returns without a verdict has accepted."""

    checks: ClassVar = events.CHECKS

    def __init__(self, app: Application, scope: SMSScope, event: SMSReceiveEvent | SMSStatusEvent) -> None:
        super().__init__(app, scope)
        self.deferred = False
        self.rejected = False
        self.replies: list[Reply] = []
        self.feed(event)
        # Nothing more can come: an application that reads on learns so at once.
        self.feed({"type": "sms.disconnect"})

    def sms_accept(self, event: SMSAcceptEvent) -> None:
        pass

    def sms_reject(self, event: SMSRejectEvent) -> None:
        """The provider is told that the text is taken, and gets no reply: sending it again would not help."""
        self.rejected = True
        self.replies.clear()
        logger.info("%s: rejected: %s", describe(self.scope), event["reason"] or "no reason given")

    def sms_defer(self, event: SMSDeferEvent) -> None:
        self.deferred = True


class ReceiptRun(SMSRun):
    """A run over a delivery receipt. There is no ``sms.send``: no provider reads a reply in its answer."""

    sends: ClassVar = events.RECEIPT

    def __init__(self, app: Application, scope: SMSScope, status: DeliveryReceipt) -> None:
        super().__init__(app, scope, receipt_event(status))


def receipt_event(receipt: DeliveryReceipt) -> SMSStatusEvent:
    """The event that brings ``receipt`` to an application."""
    return {
        "type": "sms.status",
        "message_id": receipt.message_id,
        "status": receipt.status,
        "error": receipt.error,
        "event_id": event_of(receipt.reference) or None,
        "text_id": receipt.reference or None,
    }


class TextRun(SMSRun):
    """A run over a text. Its replies are sent in the webhook's answer, once the application has ended."""

    sends: ClassVar = events.TEXT

    def __init__(self, app: Application, scope: SMSScope, message: TextMessage) -> None:
        super().__init__(app, scope, received(message))
        self._message = message

    def sms_send(self, event: SMSSendEvent) -> None:
        reply = Reply(self._message, event["text"], event["media"], event.get("to"), event.get("from"))
        self.replies.append(reply)


def received(message: TextMessage) -> SMSReceiveEvent:
    """The event that brings ``message`` to an application."""
    event: SMSReceiveEvent = {"type": "sms.receive", "text": message.text, "media": message.media}
    if message.opt is not None:
        event["opt"] = message.opt
    if not message.complete:
        event["complete"] = False
    return event
