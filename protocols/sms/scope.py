"""Makes the ``sms`` scope of a text, or of the receipt for one that we sent (docs/asgi/sms.md)."""

from typing import Any

from protocols.asgi import VERSIONS, HostPort, SMSScope
from protocols.event_id import new_id
from protocols.sms.country import country
from protocols.sms.keywords import keyword_of
from protocols.sms.provider import DeliveryReceipt, TextMessage
from protocols.sms.senders import e164, sender_type


def sms_scope(
    item: TextMessage | DeliveryReceipt,
    *,
    provider: str,
    listener: str,
    state: dict[str, Any],
    client: HostPort | None = None,
    server: HostPort | None = None,
) -> SMSScope:
    """The scope of ``item``, with an event id of its own. It gets a shallow copy of ``state``."""
    number = e164(item.sender)
    return {
        "type": "sms",
        "asgi": VERSIONS,
        "listener": listener,
        "client": client,
        "server": server,
        "extensions": {"event": {"id": new_id()}},
        "state": state.copy(),
        "provider": provider,
        "sender": item.sender,
        "sender_type": sender_type(item.sender),
        "sender_e164": number,
        "recipient": item.recipient,
        "message_id": item.message_id,
        "country": country(number) if number else None,
        "keyword": keyword_of(item.text) if isinstance(item, TextMessage) else "",
        "segments": item.segments,
        "fields": item.fields,
    }
