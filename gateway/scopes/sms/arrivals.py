"""What arrives by SMS: texts, and receipts for those that we sent."""

from typing import Any

from gateway.arrivals import Watch


class SMSWatch(Watch):
    @classmethod
    def size(cls, scope: Any, event: Any) -> int | None:
        return len(event["text"].encode()) if "text" in event else None

    @classmethod
    def what(cls, scope: Any, event: Any) -> str:
        """The number that was texted, or what became of a text of ours."""
        if event["type"] == "sms.status":
            return f"status {event['status']} of {event['message_id']}"
        what: str = scope["recipient"]
        return what
