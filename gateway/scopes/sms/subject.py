"""What `gateway explain` says of a text: who texts, perhaps to whom, and perhaps what."""

from typing import Any

from protocols.lazy_names import imported
from protocols.sms.keywords import keyword_of
from protocols.sms.senders import as_sent, e164, sender_type


def subject_of(written: str) -> dict[str, Any]:
    """Return as much of a scope as routers look at, from ``SENDER``, ``SENDER to RECIPIENT`` or either of them with
    ``: TEXT`` behind it: ``+447700900123 to +15005550006: STOP``."""
    parties, _, text = written.partition(": ")
    from_, _, to = parties.partition(" to ")
    sender, recipient = as_sent(from_), as_sent(to)
    number = e164(sender)
    return {
        "sender": sender,
        "sender_type": sender_type(sender),
        "sender_e164": number,
        "recipient": recipient,
        "country": imported("protocols.sms.country:country")(number) if number else None,
        "keyword": keyword_of(text),
    }
