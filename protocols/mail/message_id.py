"""Adds a Message-ID that stays the same however often a message is sent. Pure."""

from email.utils import parseaddr

from protocols.mail.addresses import check_address
from protocols.mail.headers import MAX_HEADER_BLOCK, parse_headers
from protocols.mail.line_ends import with_crlf


def with_message_id(message: bytes, unique: str) -> bytes:
    """Return ``message`` with a Message-ID made of ``unique``, unless it has one (RFC 5322 3.6.4).

    Otherwise each attempt would get another one from the server that takes it, and a repeated mail would look new.
    """
    fields = dict(reversed(parse_headers(with_crlf(message[:MAX_HEADER_BLOCK]))))
    if b"message-id" in fields or not fields:
        return message
    domain = _domain(fields.get(b"from", b"").decode("utf-8", "replace"))
    return f"Message-ID: <{unique}@{domain}>\r\n".encode() + message


def _domain(sender: str) -> str:
    try:
        return check_address(parseaddr(sender)[1]).rpartition("@")[2]
    except ValueError:
        return "gateway.invalid"
