"""Reads the sender, the subject and the text of any mail. It never raises, whatever the sender's program wrote."""

import hashlib
import re
from contextlib import suppress
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message

import markup

from protocols.asgi import EmailScope

LONGEST_HEADER = 8000
LONGEST_TEXT = 50_000
REFERENCES = 50
MESSAGE_ID = re.compile(r"<[^<>\s]{1,250}>")
IN_BRACKETS = re.compile(r"<([^<>\s@]{1,64}@[^<>\s@]{1,255})>")
BARE = re.compile(r"([^<>()\s@,;:\"]{1,64}@[^<>()\s@,;:\"]{1,255})")
TAG = re.compile(r"\[#(\d{1,9})\]")
ANSWER = re.compile(r"^(?:re:\s*)+", re.IGNORECASE)
SIGNATURE = re.compile(r"^-- ?\r?$", re.MULTILINE)


@dataclass(frozen=True)
class Letter:
    sender: str
    """An address; empty if there is none."""
    subject: str
    text: str
    """The plain text, without signature."""
    message_id: str
    references: tuple[str, ...]
    """The Message-IDs of the mails that it answers."""
    digest: str
    """The same for each delivery of the same mail."""

    @property
    def topic(self) -> str:
        """The subject without its ``Re:``."""
        return ANSWER.sub("", self.subject)

    @property
    def ticket(self) -> int | None:
        """The number in the subject's ``[#12]``."""
        match = TAG.search(self.subject)
        return int(match[1]) if match else None


def read(scope: EmailScope, message: Message, raw: bytes) -> Letter:
    sender = address(header(message, "from")) or scope["mail_from"]
    return Letter(
        sender=sender[:254],
        subject=header(message, "subject")[:255],
        text=plain_text(message),
        message_id=first_id(header(message, "message-id")),
        references=ids(f"{header(message, 'references')} {header(message, 'in-reply-to')}"),
        digest=digest(message, raw),
    )


def header(message: Message, name: str) -> str:
    """Return a header's text, decoded, on one line: an encoded line break must not become one in our answer."""
    raw = str(message.get(name, ""))[:LONGEST_HEADER]
    with suppress(HeaderParseError, LookupError, ValueError):
        raw = str(make_header(decode_header(raw)))
    return " ".join("".join(c if c.isprintable() else " " for c in raw).split())


def address(text: str) -> str:
    """Return the address in ``Ann <ann@example.org>``. (A mail can make the standard library's parser recurse without
    end.)"""
    match = IN_BRACKETS.search(text) or BARE.search(text)
    return match[1] if match else ""


def ids(text: str) -> tuple[str, ...]:
    return tuple(MESSAGE_ID.findall(text)[-REFERENCES:])


def first_id(text: str) -> str:
    return next(iter(MESSAGE_ID.findall(text)), "")


def digest(message: Message, raw: bytes) -> str:
    """Hash what is the same in each delivery of a mail. Every delivery adds its own Received, so that is left out. The
    Message-ID is not enough: some mails have none, and some senders use one for many mails."""
    names = ("from", "message-id", "date", "subject")
    body = re.split(rb"\r?\n\r?\n", raw, maxsplit=1)[-1]
    return hashlib.sha256("\n".join(header(message, name) for name in names).encode() + b"\n\n" + body).hexdigest()


def plain_text(message: Message) -> str:
    """Return the first plain text part or, if there is none, the text of the first HTML part."""
    text = text_part(message, "plain")
    if text is None:
        text = markup.words(text_part(message, "html") or "")
    return SIGNATURE.split(text, maxsplit=1)[0].strip()[:LONGEST_TEXT]


def text_part(message: Message, subtype: str) -> str | None:
    """Return the first part of that type that is not an attachment."""
    parts = (part for part in message.walk() if part.get_content_type() == f"text/{subtype}")
    return next((decoded(part) for part in parts if part.get_content_disposition() != "attachment"), None)


def decoded(part: Message) -> str:
    payload = part.get_payload(decode=True)
    body = payload if isinstance(payload, bytes) else b""
    try:
        text = body.decode(part.get_content_charset() or "utf-8", "replace")
    except (LookupError, ValueError):  # an unknown charset, or a codec that is none (idna)
        text = body.decode("utf-8", "replace")
    return text.encode("utf-8", "replace").decode()  # UTF-7 can encode half a character, which no database takes
