"""Texts, as the SMS provider `generic` sends them to a webhook."""

import hashlib
import hmac
import json


def webhook(
    text: str,
    number: str,
    *,
    sender: str = "+447700900123",
    to: str = "+447700900999",
    secret: bytes = b"s3cret",
) -> tuple[bytes, dict[str, str]]:
    """Return the body of the request and its header fields. ``number``: the provider's id of the text."""
    body = json.dumps({"from": sender, "to": to, "text": text, "id": number}).encode()
    signature = hmac.new(secret, body, hashlib.sha256).hexdigest()
    return body, {"X-Signature": signature, "Content-Type": "application/json"}
