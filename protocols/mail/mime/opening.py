"""Opens a message, and what a part of it contains: another message, opaque signed data, TNEF. Never raises."""

from collections.abc import Iterable

from protocols.mail.headers import Headers, lf_ended
from protocols.mail.mime.bounds import Bounds
from protocols.mail.mime.limits import Limits
from protocols.mail.mime.part import Part
from protocols.mail.mime.rich_text import read_rich_text
from protocols.mail.mime.signed_data import signed_content
from protocols.mail.mime.tnef import Tnef, TnefEntity, read_tnef
from protocols.mail.mime.transfer import is_encoded
from protocols.mail.mime.tree import split

_SIGNED_TYPES = ("application/pkcs7-mime", "application/x-pkcs7-mime")
_TNEF_TYPES = ("application/ms-tnef", "application/vnd.ms-tnef", "application/x-tnef")
_FIRST_FIELD = 100
"""Bytes at the beginning of a message in which there is a colon, which base64 has none of."""
_RICH_TEXT = "The formatted text in winmail.dat cannot be read."


def parse(raw: bytes, limits: Limits | None = None) -> Part:
    """Return the tree of the message ``raw``. What is over ``limits``, or was mended, is in ``defects``."""
    return _Opener(Bounds(limits or Limits())).message(lf_ended(raw))


class _Opener:
    """Opens the parts of one message."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self.defects = bounds.defects

    def message(self, raw: bytes, parent: Part | None = None) -> Part:
        return split(raw, 0, len(raw), self._bounds, self, parent)

    def open(self, part: Part) -> Part | None:
        kind = part.effective_type
        is_signed, is_tnef = kind in _SIGNED_TYPES, kind in _TNEF_TYPES
        if not (part.is_message or is_signed or is_tnef) or self._bounds.is_full() or self._bounds.is_deep(part):
            return None
        if part.is_message and not _is_encoded(part):
            return split(part.raw, part.body, part.end, self._bounds, self, part)
        if not self._bounds.may_decode(part):
            return None
        content = part.decoded()
        if part.is_message:
            return self.message(lf_ended(content), part)
        return self._signed(content, part) if is_signed else self._tnef(content, part)

    def _signed(self, content: bytes, part: Part) -> Part | None:
        signed = signed_content(content)
        return None if signed is None else self.message(lf_ended(signed), part)

    def _tnef(self, content: bytes, part: Part) -> Part | None:
        tnef = read_tnef(content)
        if tnef is None:
            return None
        top = self._virtual(content, part, [(b"content-type", b"multipart/mixed")])
        self._add_bodies(content, top, tnef)
        self._add(content, top, tnef.attachments)
        return top if top.children else None

    def _add_bodies(self, content: bytes, top: Part, tnef: Tnef) -> None:
        if len(tnef.bodies) > 1:
            around = self._virtual(content, top, [(b"content-type", b"multipart/alternative")])
            top.children.append(around)
            self._add(content, around, tnef.bodies)
        elif tnef.bodies:
            self._add(content, top, tnef.bodies)
        elif tnef.rich_text:
            top.children.append(self._rich_text(top, tnef.rich_text))

    def _rich_text(self, top: Part, compressed: bytes) -> Part:
        found = read_rich_text(compressed)
        if found is None:
            self._bounds.note(_RICH_TEXT)
        content_type, text = found or ("text/plain", f"[{_RICH_TEXT}]")
        return self._virtual(text.encode(), top, [(b"content-type", f"{content_type}; charset=utf-8".encode())])

    def _add(self, content: bytes, parent: Part, entities: Iterable[TnefEntity]) -> None:
        for entity in entities:
            if self._bounds.is_full():
                return
            part = self._virtual(content, parent, entity.headers())
            part.start, part.body, part.end = entity.start, entity.start, entity.end
            parent.children.append(part)

    def _virtual(self, content: bytes, parent: Part, headers: Headers) -> Part:
        """Return a part that no header block describes."""
        self._bounds.count_part()
        return Part(content, 0, 0, headers, self, parent=parent)


def _is_encoded(message: Part) -> bool:
    """Whether a message is encoded. Some say so of one that is not."""
    says_base64 = message.encoding == "base64"
    return is_encoded(message.encoding) and not (says_base64 and b":" in message.payload[:_FIRST_FIELD].tobytes())
