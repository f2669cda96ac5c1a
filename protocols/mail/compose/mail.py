"""Composes a mail from plain values: its header fields, its content, and who is in its envelope."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate, make_msgid
from io import BytesIO

from protocols.mail.compose.attachment import Attachable, Content, File, file_of, image_of
from protocols.mail.compose.content import Part, file_part, multipart, text_part
from protocols.mail.compose.fields import extra_fields
from protocols.mail.compose.mailbox import Addresses, Mailbox, address_field, mailbox, mailboxes
from protocols.mail.encoded_words import folded, unstructured
from protocols.mail.message.html_bounds import bounded
from protocols.mail.message.html_to_text import html_to_text

MAX_REFERENCES = 20
"""The last ids of a thread that go into References, after the first; RFC 5322 sets no limit, but header lines do."""
UNKNOWN_DOMAIN = "gateway.invalid"

_ID_PART = r"[^\s\x00-\x20\x7f-\x9f<>@()\[\],;:\"\\\ufffd]{1,400}"
_MESSAGE_ID = re.compile(rf"<{_ID_PART}@(?:{_ID_PART}|\[[!-Z^-~]{{1,100}}\])>")
"""RFC 5322's msg-id, with a few more characters that some programs use. Anything else is left out."""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What a mail is to say, and to whom. Everything that a person wrote may be in it: it becomes valid or is refused.

    An address is ``ann@example.org`` or ``Ann Smith <ann@example.org>``.
    """

    from_: str
    to: Addresses = ()
    cc: Addresses = ()
    bcc: Addresses = ()
    """They get the mail, and stand in no header field."""
    reply_to: Addresses = ()
    subject: str = ""
    text: str = ""
    """If it is empty, it is made from the HTML."""
    html: str | None = None
    attachments: Iterable[Attachable] = ()
    inline: Mapping[str, Attachable | Content] = field(default_factory=dict)
    """Images that the HTML shows, by name: ``{"logo": path}`` is ``<img src="cid:logo">``."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """More header fields."""
    message_id: str = ""
    """With its brackets. If it is empty, one is made."""
    in_reply_to: str = ""
    references: Sequence[str] = ()
    """The message ids of the thread, oldest first."""
    parts: Sequence[Part] = ()
    """Parts that are written already: a message that is attached as it is."""


@dataclass(frozen=True)
class Mail:
    """A mail that can leave."""

    rcpt_to: list[str]
    """Everybody in To, Cc and Bcc, each once."""
    message: bytes
    """RFC 5322; ASCII only, unless an address or an attached message has other characters."""
    message_id: str


def compose(draft: Draft) -> Mail:
    """Write the mail.

    Raises ValueError for an address or a header field that cannot be sent, or if there is no recipient; TypeError for
    an attachment of no known form; and what reading an attachment raises.
    """
    head, everybody, message_id = _head(draft)
    content = _content(draft, message_id.partition("@")[2].rstrip(">"))
    out = BytesIO()
    out.write(b"".join(head))
    out.write(b"MIME-Version: 1.0\r\n")
    content(out)
    return Mail(everybody, out.getvalue(), message_id)


def _head(draft: Draft) -> tuple[list[bytes], list[str], str]:
    sender = mailbox(draft.from_)
    to, cc, bcc, reply_to = map(mailboxes, (draft.to, draft.cc, draft.bcc, draft.reply_to))
    everybody = [each.address for each in mailboxes([each.address for each in (*to, *cc, *bcc)])]
    if not everybody:
        raise ValueError("the mail has no recipient; write to=, cc= or bcc=")
    # RFC 6532: if one of the addresses is not ASCII, every server on the way needs SMTPUTF8 anyway.
    utf8 = not all(each.address.isascii() for each in (sender, *to, *cc, *bcc, *reply_to))
    message_id = draft.message_id or new_message_id(sender)
    head = [
        address_field("From", [sender], utf8=utf8),
        *_addressed({"Reply-To": reply_to, "To": to, "Cc": cc}, utf8=utf8),
        unstructured("Subject", draft.subject, utf8=utf8),
        folded("Date", [formatdate()]),
        folded("Message-ID", [message_id]),
        *_thread(draft, utf8=utf8),
        *extra_fields(draft.headers, utf8=utf8),
    ]
    return head, everybody, message_id


def _addressed(fields: Mapping[str, list[Mailbox]], *, utf8: bool) -> Iterator[bytes]:
    for name, given in fields.items():
        if given:
            yield address_field(name, given, utf8=utf8)
        elif name == "To" and not fields["Cc"]:
            yield folded("To", ["undisclosed-recipients:;"])  # RFC 5322, A.1.3


def _thread(draft: Draft, *, utf8: bool) -> Iterator[bytes]:
    """Yield In-Reply-To and References with the ids that are valid (RFC 5322, 3.6.4)."""
    if before := message_ids([draft.in_reply_to], utf8=utf8)[:1]:
        yield folded("In-Reply-To", before)
    if ids := message_ids(draft.references, utf8=utf8):
        yield folded("References", ids[:1] + ids[1:][-MAX_REFERENCES:])


def message_ids(given: Iterable[str], *, utf8: bool = True) -> list[str]:
    """Return those of ``given`` that are message ids, each once, in order."""
    return list(dict.fromkeys(one for one in given if _MESSAGE_ID.fullmatch(one) and (utf8 or one.isascii())))


def new_message_id(sender: Mailbox) -> str:
    return make_msgid(domain=sender.domain or UNKNOWN_DOMAIN)


def _content(draft: Draft, domain: str) -> Part:
    files = [file_part(file_of(each)) for each in draft.attachments]
    return multipart("mixed", [_body(draft, domain), *draft.parts, *files])


def _body(draft: Draft, domain: str) -> Part:
    """Return the text, the HTML, or both as alternatives, the best last (RFC 2046, 5.1.4)."""
    if draft.html is None:
        return text_part("plain", draft.text)
    images = [image_of(given, _content_id(name, domain)) for name, given in draft.inline.items()]
    html = text_part("html", _with_ids(draft.html, dict(zip(draft.inline, images, strict=True))))
    shown = multipart("related", [html, *map(file_part, images)], ' type="text/html";')
    text = draft.text or html_to_text(bounded(draft.html)[0])
    return multipart("alternative", [text_part("plain", text), shown]) if text else shown


def _content_id(name: str, domain: str) -> str:
    """Return a Content-ID, which has the form of a message id (RFC 2045, 7). Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9._+-]{1,60}(?:@[A-Za-z0-9.-]{1,100})?", name):
        raise ValueError(f"inline: {name!r} is not a name for an image; write letters, digits, dots and -")
    return name if "@" in name else f"{name}@{domain}"


def _with_ids(html: str, images: Mapping[str, File]) -> str:
    """Return ``html`` with the Content-ID of each image in place of its name."""
    if not images:
        return html
    names = "|".join(map(re.escape, sorted(images, key=len, reverse=True)))
    return re.sub(rf"\bcid:({names})(?![\w.@+-])", lambda found: f"cid:{images[found[1]].content_id}", html)
