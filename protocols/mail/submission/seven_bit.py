"""Turns a message into what a server without 8BITMIME, or without SMTPUTF8, can carry. Pure.

Parts that are ASCII already stay as they are, byte for byte.
"""

import base64
import email
import email.policy
from collections.abc import Collection
from email.message import Message
from email.utils import formataddr, getaddresses

from protocols.mail.encoded_words import folded, unstructured

_ADDRESSES = frozenset(
    b"from sender reply-to to cc bcc resent-from resent-sender resent-to resent-cc disposition-notification-to".split()
)
_END = b"\r\n\r\n"
_NO_FORM = "the message cannot be sent to a server without 8BITMIME"
_POLICY = email.policy.compat32.clone(linesep="\r\n", max_line_length=None)


def fits(message: bytes, offered: Collection[str]) -> bool:
    """Whether a server that offers these extensions can take ``message`` as it is."""
    if message.isascii():
        return True
    return "8bitmime" in offered and ("smtputf8" in offered or message.partition(_END)[0].isascii())


def fitted(message: bytes, offered: Collection[str]) -> bytes:
    """Return ``message`` for a server that offers these extensions.

    Raises ValueError if there is no such form: a signed part would no longer match its signature, and an address that
    is not ASCII stays as it is.
    """
    fields, end, body = message.partition(_END)
    if "smtputf8" not in offered:
        fields = _ascii_fields(fields)
    message = fields + end + body
    return message if "8bitmime" in offered and fields.isascii() else seven_bit(message)


def seven_bit(message: bytes) -> bytes:
    """Return ``message`` in ASCII: header fields in encoded words, parts in base64. Raises ValueError as above."""
    if message.isascii():
        return message
    fields, end, body = message.partition(_END)
    message = _ascii_fields(fields) + end + body
    if message.isascii():
        return message
    read = email.message_from_bytes(message, policy=_POLICY)
    try:
        _encode(read)
        made = read.as_bytes()
    except (UnicodeError, LookupError, TypeError, RecursionError) as error:  # the parser's own, for odd messages
        raise ValueError(_NO_FORM) from error
    if not made.isascii():
        raise ValueError(_NO_FORM)
    return made


def _encode(part: Message) -> None:
    payload = part.get_payload()
    if isinstance(payload, list):
        if part.get_content_type() == "multipart/signed" and not part.as_bytes().isascii():
            raise ValueError("the server has no 8BITMIME, and a signed part cannot be changed")
        for inner in payload:
            if isinstance(inner, Message):
                _encode(inner)
        _label(part, "7bit")
    elif isinstance(payload, str) and not payload.isascii():
        content = part.get_payload(decode=True)
        part.set_payload(base64.encodebytes(content if isinstance(content, bytes) else b"").decode("ascii"))
        _label(part, "base64")


def _label(part: Message, encoding: str) -> None:
    if "Content-Transfer-Encoding" in part or encoding != "7bit":
        del part["Content-Transfer-Encoding"]
        part["Content-Transfer-Encoding"] = encoding


def _ascii_fields(block: bytes) -> bytes:
    """Only fields that are not ASCII change."""
    fields: list[bytes] = []
    for line in block.split(b"\r\n"):
        if line[:1] in (b" ", b"\t") and fields:
            fields[-1] += b"\r\n" + line
        else:
            fields.append(line)
    return b"\r\n".join(field if field.isascii() else _ascii_field(field) for field in fields)


def _ascii_field(field: bytes) -> bytes:
    name, _, value = field.partition(b":")
    text = _text(value).replace("\r\n", "")
    label = name.strip().decode("ascii", "replace")
    if name.strip().lower() not in _ADDRESSES:
        return unstructured(label, text).removesuffix(b"\r\n")
    try:
        addresses = [formataddr(pair, charset="utf-8") for pair in getaddresses([text]) if pair[1]]
    except UnicodeEncodeError:
        raise ValueError(f"the server takes no addresses that are not ASCII (SMTPUTF8); {label} has one") from None
    return folded(label, " ".join(f"{each}," for each in addresses).removesuffix(",").split(" ")).removesuffix(b"\r\n")


def _text(value: bytes) -> str:
    try:
        return value.decode().strip()
    except UnicodeDecodeError:
        return value.decode("cp1252", "replace").strip()
