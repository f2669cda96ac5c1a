"""Writes the header fields that an application adds to a mail."""

import re
from collections.abc import Iterator, Mapping

from protocols.mail.charsets import one_line
from protocols.mail.encoded_words import folded, unstructured

_NAME = re.compile(r"[!-9;-~]{1,70}")
"""RFC 5322, 2.2: printable ASCII without the colon."""
_LONGEST_WORD = 900
"""Characters without a space that fit on a line of at most 998 (RFC 5322, 2.1.1), with a name in front."""
_ARGUMENTS = {
    "from": "from_",
    "to": "to",
    "cc": "cc",
    "bcc": "bcc",
    "reply-to": "reply_to",
    "subject": "subject",
    "date": "date",
    "message-id": "message_id",
    "in-reply-to": "in_reply_to",
    "references": "references",
}
"""Fields that have an argument of their own."""


def extra_fields(given: Mapping[str, str], *, utf8: bool) -> Iterator[bytes]:
    """Yield each field of ``given``, folded; what is not ASCII becomes encoded words, line breaks become spaces.

    An empty value leaves the field out. Raises ValueError for a name that is malformed, or that is set otherwise.
    """
    for name, value in given.items():
        _check(name)
        text = one_line(str(value))
        if not text:
            continue
        plain = "=?" not in text and all(len(word) < _LONGEST_WORD for word in text.split(" "))
        yield folded(name, text.split(" ")) if text.isascii() and plain else unstructured(name, text, utf8=utf8)


def merged(defaults: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Return both; a field of ``given`` replaces the one of that name, in whatever case."""
    named = {name.lower() for name in given}
    return {name: value for name, value in defaults.items() if name.lower() not in named} | dict(given)


def _check(name: str) -> None:
    lower = name.lower()
    if not _NAME.fullmatch(name):
        raise ValueError(f"headers: {name!r} is not the name of a header field; write letters, digits and -")
    if lower in _ARGUMENTS:
        raise ValueError(f"headers: {name} has an argument of its own; write {_ARGUMENTS[lower]}=")
    if lower.startswith("content-") or lower == "mime-version":
        raise ValueError(f"headers: {name} follows from the content; write text=, html= or attachments=")
