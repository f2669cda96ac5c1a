"""A mail as its handler reads it."""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from email.message import Message
from functools import cached_property, partial
from typing import overload
from urllib.parse import unquote

from protocols.mail.headers import parse_headers
from protocols.mail.message.address import Address
from protocols.mail.message.attachment import Attachment, attachments
from protocols.mail.message.body import Body, may_show_text
from protocols.mail.message.bounce import Bounce, read_bounce
from protocols.mail.message.calendar import Invitation, invitations, unfolded
from protocols.mail.message.fields import Fields
from protocols.mail.message.html_bounds import bounded
from protocols.mail.message.kind import Envelope, kind_of
from protocols.mail.message.kinds import Kind
from protocols.mail.message.protection import Protection, encrypted_by, signed_by
from protocols.mail.message.reply_text import reply_text
from protocols.mail.message.safe_html import safe_html
from protocols.mail.message.spam import Spam, spam_verdict
from protocols.mail.message.stdlib import parse as parse_by_stdlib
from protocols.mail.mime import Part, parse

_CONTENT_ID = re.compile(r"""cid:([^"'\s<>)]{1,998})""", re.IGNORECASE)


def _likely_charset(raw: bytes) -> str:
    """Return the first charset that a part of the mail declares: header fields without a label are likely in it."""
    return next((part.charset for part in parse(raw).walk() if part.charset), "")


_READ = (
    "from_", "sender", "to", "cc", "reply_to", "date", "message_id", "in_reply_to", "references", "text",
    "reply_text", "attachments", "calendar", "kind", "bounce", "spam", "encrypted", "signed", "defects",
)  # fmt: skip


class InboundEmail:
    """A mail, read as a person's mail program shows it.

    Making one costs nothing: each attribute is read when it is asked for, once. None of them raises, whatever the
    bytes of the mail are; what is left out, because the mail is damaged or over a bound, is told in :attr:`defects`.
    """

    raw: bytes
    """The mail as it arrived (RFC 5322). To pass it on, use these bytes: signatures are over them."""

    def __init__(self, raw: bytes, *, mail_from: str | None = None, rcpt_to: Sequence[str] = ()) -> None:
        """``mail_from`` and ``rcpt_to`` are the envelope's, as in the scope; without ``mail_from``, the mail's
        Return-Path counts."""
        self.raw = raw
        self._envelope = Envelope(mail_from, tuple(rcpt_to))

    def __repr__(self) -> str:
        return f"<InboundEmail {self.message_id or 'without Message-ID'} from {self.sender or 'nobody'}>"

    @cached_property
    def headers(self) -> Fields:
        """The header fields, decoded: a mapping, in which names are in upper or lower case. ``get_all`` returns all
        fields of one name."""
        root = self.__dict__.get("_root")  # if it is there, the header has been read
        return Fields(root.headers if root else parse_headers(self.raw), partial(_likely_charset, self.raw))

    @overload
    def get(self, name: str) -> str | None: ...
    @overload
    def get(self, name: str, default: str) -> str: ...
    def get(self, name: str, default: str | None = None) -> str | None:
        """Return the first header field of that name, decoded, or ``default``."""
        return self.headers.get(name, default)

    def get_all(self, name: str) -> list[str]:
        """Return all header fields of that name, decoded, in order."""
        return self.headers.get_all(name)

    def __getitem__(self, name: str) -> str | None:
        return self.headers.get(name)

    def __contains__(self, name: object) -> bool:
        return name in self.headers

    def __iter__(self) -> Iterator[str]:
        return iter(self.headers)

    def __getstate__(self) -> dict[str, object]:
        """Copy and pickle the bytes and the envelope only: what was read of them is read again."""
        return {"raw": self.raw, "_envelope": self._envelope}

    @property
    def subject(self) -> str:
        """The subject on one line; empty if there is none."""
        return self.headers.get("subject", "")

    @cached_property
    def from_(self) -> tuple[Address, ...]:
        """The authors. Anyone can write anything here: see ``scope["authentication"]``."""
        return self.headers.addresses("from")

    @cached_property
    def sender(self) -> Address:
        """The first address of From, else of Sender, else the envelope's; an empty str if there is none."""
        named = self.from_ or self.headers.addresses("sender")
        return named[0] if named else Address(self._envelope.mail_from or "")

    @cached_property
    def to(self) -> tuple[Address, ...]:
        """The addresses of To. Those for whom the mail came are ``scope["rcpt_to"]``."""
        return self.headers.addresses("to")

    @cached_property
    def cc(self) -> tuple[Address, ...]:
        """The addresses of Cc."""
        return self.headers.addresses("cc")

    @cached_property
    def reply_to(self) -> tuple[Address, ...]:
        """The addresses of Reply-To."""
        return self.headers.addresses("reply-to")

    @cached_property
    def date(self) -> datetime | None:
        """When the mail was written, by its sender's clock, with a time zone; None if it does not say so."""
        return self.headers.date()

    @cached_property
    def message_id(self) -> str:
        """The Message-ID with its angle brackets; empty if there is none. It is not unique: senders reuse theirs, and
        anyone can write that of another mail."""
        return next(iter(self.headers.ids("message-id")), "")

    @cached_property
    def in_reply_to(self) -> tuple[str, ...]:
        """The Message-IDs of the mails that this one answers, with their brackets."""
        return self.headers.ids("in-reply-to")

    @cached_property
    def references(self) -> tuple[str, ...]:
        """The Message-IDs of the thread, oldest first, with their brackets."""
        return self.headers.ids("references")

    @cached_property
    def text(self) -> str:
        """The text that the mail shows, with LF as line end; made from the HTML if the mail has no plain text."""
        return self._body.text

    @cached_property
    def html(self) -> str:
        """The HTML as its sender wrote it; made from the text if the mail has none. **Do not show it as it is**: see
        :meth:`safe_html`."""
        return self._body.html

    @cached_property
    def reply_text(self) -> str:
        """What the sender wrote now: the text without the quoted mails and the signature. Of a mail that no person
        wrote, the whole text."""
        return reply_text(self._body.own_text) or self.text if self.kind in ("person", "own") else self.text

    def safe_html(self) -> str:
        """Return the HTML without scripts, styles, forms and event handlers, safe to show inside a page.

        Images of other servers stay, and tell their owner that the mail is read. Raises ImportError if ``nh3`` is not
        installed (``pip install 'asgi-gateway[mail]'``).
        """
        return safe_html(bounded(self.html)[0])

    @cached_property
    def attachments(self) -> tuple[Attachment, ...]:
        """The files that the mail carries, in order; a forwarded message is one, too."""
        attached = self._body.attached
        named = any(isinstance(each, Part) and each.content_id for each in attached)
        return attachments(attached, frozenset(map(unquote, _CONTENT_ID.findall(self.html))) if named else frozenset())

    @cached_property
    def calendar(self) -> tuple[Invitation, ...]:
        """The events of the invitations that the mail carries, each once."""
        found: dict[tuple[object, ...], Invitation] = {}
        for part in self._body.calendars:
            content = part.as_text(unfolded(part.decoded()))
            for event in invitations(content, part.parameters.get("method", "")):
                found.setdefault((event.method, event.uid, event.start), event)
        return tuple(found.values())

    @cached_property
    def kind(self) -> Kind:
        """``bounce``, ``auto-reply`` (an out-of-office note, any other automatic mail), ``list`` (and bulk mail),
        ``report`` (an abuse report, a read receipt), ``own`` (from the address that it is for), else ``person``."""
        return kind_of(self.headers, self._types, self._report_type, lambda: self.text, self._envelope)

    @cached_property
    def bounce(self) -> Bounce | None:
        """What the bounce says, if the mail is one."""
        if self.kind != "bounce":
            return None
        reports = [part.decoded() for part in self._parts if part.content_type.endswith("delivery-status")]
        own = [*self._envelope.rcpt_to, *self.from_]
        return read_bounce(self.headers, reports, self._returned, self.text, own)

    @cached_property
    def spam(self) -> Spam | None:
        """The verdict of a spam filter on the way; None if there is none. Anyone can write such a field."""
        return spam_verdict(self.headers)

    @cached_property
    def encrypted(self) -> Protection:
        """``s/mime`` or ``pgp`` if only its recipient can read the mail; else empty."""
        return encrypted_by(self._parts, self._body.armored_text)

    @cached_property
    def signed(self) -> Protection:
        """``s/mime`` or ``pgp`` if the mail is signed by its sender, which is not verified; else empty."""
        return signed_by(self._parts, self._body.armored_text)

    @cached_property
    def defects(self) -> tuple[str, ...]:
        """What was mended or left out, in sentences."""
        found = [*self._body.defects, *self._root.defects]
        if self.encrypted:
            found.append("The mail is encrypted; only its recipient can read it.")
        return tuple(dict.fromkeys(found))

    def read(self) -> None:
        """Read all attributes now but :attr:`stdlib`, and :attr:`html`, which costs little once the text is read. Call
        it on a thread for mails of more than some kilobytes, if you want to read them on an event loop."""
        for name in _READ:
            getattr(self, name)

    @property
    def octets_to_read(self) -> int:
        """The octets, as they were sent, that :meth:`read` has to look into: all but the content of images, archives
        and the like. It costs the structure of the mail."""
        leaves = (part for part in self._parts if not part.children)
        return len(self.raw) - sum(part.end - part.body for part in leaves if not may_show_text(part))

    @cached_property
    def stdlib(self) -> Message:
        """The standard library's parsed message, made now: for a large mail that takes long."""
        return parse_by_stdlib(self.raw)

    def walk(self) -> Iterator[Message]:
        """Yield the parts of :attr:`stdlib`."""
        return self.stdlib.walk()

    @cached_property
    def _root(self) -> Part:
        return parse(self.raw)

    @cached_property
    def _parts(self) -> list[Part]:
        return list(self._root.walk())

    @cached_property
    def _body(self) -> Body:
        return Body(self._root)

    @cached_property
    def _types(self) -> frozenset[str]:
        return frozenset(part.effective_type for part in self._parts)

    @cached_property
    def _report_type(self) -> str:
        return next(
            (part.parameters["report-type"].lower() for part in self._parts if "report-type" in part.parameters), ""
        )

    @cached_property
    def _returned(self) -> Fields | None:
        """The header of the mail that a bounce returns."""
        for part in self._parts:
            if part.content_type == "text/rfc822-headers":
                return Fields(parse_headers(part.decoded()))
            if part.is_message and part.inner is not None:
                return Fields(part.inner.headers)
        return None
