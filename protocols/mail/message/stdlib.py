"""Parses a mail with the standard library, for code that expects its ``Message``."""

import email
import email.parser
from email.message import Message
from email.policy import Compat32


class _Text(Compat32):
    """Headers are str, also if they came as UTF-8 (RFC 6532), which the stdlib replaces by a row of U+FFFD. A byte that
    is not UTF-8 becomes one of those."""

    def header_fetch_parse(self, name: str, value: str) -> str:
        return str(value).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


_TEXT = _Text()


def parse(raw: bytes) -> Message:
    """Parse ``raw`` into the stdlib's tolerant, lazy message. Never raises.

    If the body cannot be parsed, as with a thousand nested parts, only the headers are, and the body is one payload.
    """
    try:
        return email.message_from_bytes(raw, policy=_TEXT)
    except Exception:  # the parser's own bugs on hostile input: RecursionError, IndexError and others
        return email.parser.BytesHeaderParser(policy=_TEXT).parsebytes(raw)
