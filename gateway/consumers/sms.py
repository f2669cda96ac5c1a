"""Consumers of the sms scope: one instance for each text or delivery receipt."""

from collections.abc import Sequence
from typing import Any, TypeVar

from gateway.consumers import arguments, message_arguments
from gateway.consumers.base import Asked, Consumer
from gateway.consumers.forms import AsyncForm, Awaited, SyncForm
from gateway.consumers.hooks import Call
from protocols.asgi import Media, SMSReceiveEvent, SMSScope, SMSStatusEvent

R = TypeVar("R")


class SMSMethods(Consumer[R]):
    """The methods of both forms. Write ``receive``, and ``status`` if you want receipts. Returning accepts."""

    scope: SMSScope

    states = {
        "accepted": "the text is accepted already; only self.reply() may follow",
        "rejected": "the text is rejected already",
        "deferred": "the text is deferred already",
        "receipt": "a delivery receipt cannot be answered; to write to its number, call send_text() of gateway",
    }
    instead = {"sms.receive": Asked("receive", "self.reply(text)")}
    _hooks = {"receive": Call(("text", "media")), "status": Call()}
    _required = ("receive", "status", "sms_receive", "sms_status")

    def sms_receive(self, event: SMSReceiveEvent) -> Any:
        return self.receive(event["text"], event["media"])

    def sms_status(self, event: SMSStatusEvent) -> Any:
        return self.status(event)

    def receive(self, text: str, media: list[Media]) -> Any:
        """Handle one text. ``media`` has dicts of ``url`` and ``content_type``; the addresses are in ``self.scope``."""

    def status(self, message: SMSStatusEvent) -> Any:
        """Handle a delivery receipt, which has ``message_id``, ``status`` and ``error``."""

    def reply(self, text: str, media: Sequence[str] = ()) -> R:
        """Answer the sender. ``media`` are URLs, of pictures say."""
        urls = message_arguments.text_message("reply", text, media)
        return self.perform(self._emit({"type": "sms.send", "text": text, "media": urls}, "reply"))

    def accept(self) -> R:
        return self.perform(self._emit({"type": "sms.accept"}, "accept"))

    def reject(self, reason: str = "") -> R:
        """Reject the text for good: the provider does not deliver it again."""
        arguments.text("reject", "reason", reason)
        return self.perform(self._emit({"type": "sms.reject", "reason": reason}, "reject"))

    def defer(self) -> R:
        """Ask for the text again later: the provider is told to try again."""
        return self.perform(self._emit({"type": "sms.defer"}, "defer"))


class SMSConsumer(SMSMethods[None], SyncForm):
    """Plain methods, called on a thread."""


class AsyncSMSConsumer(SMSMethods[Awaited], AsyncForm):
    """``async def`` methods; the helpers are awaited."""
