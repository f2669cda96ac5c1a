"""The content of a message, or of an outgoing item, as text for people."""

import json

from gateway.store import codec

LONGEST = 1 << 20
"""Bytes of a content that is shown."""


def text_of(content: bytes | None, size: int) -> str:
    """``size``: the length of the content, which is None if that is too long to be shown."""
    if content is None:
        return f"{size} bytes: too long to be shown here; gateway dead show ID --content, or gateway outgoing show"
    try:
        scope, events = codec.decode(content)
    except ValueError:
        return f"damaged: {size} bytes that cannot be read"
    text = json.dumps({"scope": scope, "events": events}, indent=2, ensure_ascii=False, default=_readable)
    return text.encode(errors="backslashreplace").decode()  # half a character cannot be sent to a browser


def _readable(value: object) -> str:
    return bytes(value).decode(errors="backslashreplace") if isinstance(value, bytes | bytearray) else str(value)
