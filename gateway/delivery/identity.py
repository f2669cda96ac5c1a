"""By what a message is known again when its sender repeats it. Pure."""

import hashlib
from typing import Any


def claim_key(scope: Any, events: list[Any]) -> str | None:
    """The same for every delivery of one message to one group of recipients; None where nothing tells.

    The Message-ID alone does not do for mail: senders repeat it over different mails, or leave it out.
    """
    match scope["type"]:
        case "email" if scope["mailbox"] is not None:
            place = scope["mailbox"]  # RFC 3501, 2.3.1.1. Not alone: some servers give every mailbox UIDVALIDITY 1
            parts = [scope["listener"], place["folder"], place["uidvalidity"], place["uid"], *scope["rcpt_to"]]
            parts += _said(scope)
        case "email":
            body = b"".join(event["body"] for event in events).partition(b"\r\n\r\n")[2]  # without our trace header
            digest = hashlib.sha256(body).hexdigest()
            parts = [scope["mail_from"], *sorted(scope["rcpt_to"]), *_said(scope), digest]
        case "sms" if scope["message_id"]:
            event = events[0]
            parts = [scope["listener"], scope["recipient"], scope["message_id"], event["type"], event.get("status")]
        case _:
            return None
    return f"{scope['type']}:{hashlib.sha256(repr(parts).encode()).hexdigest()}"


def _said(scope: Any) -> list[bytes]:
    return [value for name, value in scope["headers"] if name in (b"message-id", b"date", b"from", b"subject")]


def order_key(scope: Any, events: list[Any]) -> str:
    """What keeps its order where a route asks for that: an MQTT topic, a mail's or a text's sender."""
    match scope["type"]:
        case "mqtt":
            return f"mqtt:{events[0]['topic']}"
        case "email":
            return f"email:{scope['mail_from']}"
        case _:
            return f"sms:{scope['sender']}"
