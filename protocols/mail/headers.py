"""Splits a raw RFC 5322 message into its header fields. Never raises, whatever the bytes.

Only the boundaries of fields are parsed: the standard library's structured parser takes seconds for, or raises at, some
headers of hostile or merely odd senders.
"""

import re
from collections.abc import Iterable

MAX_HEADER_BLOCK = 256 * 1024
"""Bytes of the header block that are read."""
MAX_HEADERS = 1000
"""Header lines, after unfolding, that are read."""
MAX_MESSAGE_ID = 998
"""The longest Message-ID: RFC 5322 (2.1.1) allows no more characters in a line."""

_END = re.compile(rb"(?:\A|\n)\r?\n")
_FOLD = re.compile(rb"\r?\n(?=[ \t])")
_FIELD = re.compile(rb"([\x21-\x39\x3b-\x7e]+)[ \t]*:(.*)", re.DOTALL)
_MESSAGE_ID = re.compile(r"<[^<>\s\x00-\x20\x7f]+>")

Headers = list[tuple[bytes, bytes]]


def parse_headers(message: bytes) -> Headers:
    """Return (name, value) for each header field in order. Names are lower-cased; values are unfolded, but not decoded.

    Only the first 256 KiB and 1,000 lines are read; a line that is not a field is skipped.
    """
    end = _END.search(message, 0, MAX_HEADER_BLOCK)
    block = message[: end.start() if end else MAX_HEADER_BLOCK]
    lines = _FOLD.sub(b"", block).split(b"\n", MAX_HEADERS)[:MAX_HEADERS]
    if end is None and len(message) > MAX_HEADER_BLOCK:
        lines.pop()  # it was cut
    fields = (_FIELD.fullmatch(line) for line in lines)
    return [(field[1].lower(), field[2].strip(b" \t\r")) for field in fields if field]


def first(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """Return the value of the topmost field called ``name`` (lower case), or None."""
    return next((value for key, value in headers if key == name), None)


def message_id(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the Message-ID with its angle brackets, or None. A malformed one is returned as it is, without control
    characters."""
    value = first(headers, b"message-id")
    if value is None:
        return None
    text = value[:MAX_MESSAGE_ID].decode("utf-8", "replace")
    match = _MESSAGE_ID.search(text)
    return match[0] if match else "".join(filter(str.isprintable, text)).strip() or None
