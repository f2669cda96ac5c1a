"""Finds what a mail shows, as mail programs do: which parts are its text, which are attachments (RFC 2046, 2387).

All inline text counts, in order. Of alternatives the plain one is the text and the last HTML one the HTML. The text of
an attached message is never that of the mail.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property

from protocols.mail.message.html_bounds import MAX_LENGTH, bounded
from protocols.mail.message.html_to_text import has_marks, html_to_text, own_text
from protocols.mail.message.protection import is_signature, is_signed_data, without_armor
from protocols.mail.message.text_to_html import text_to_html
from protocols.mail.message.words import words
from protocols.mail.mime import Part, UuencodedFile, extract

MAX_TEXT = 1024 * 1024
"""Decoded bytes of plain text that are shown. What is longer is an attachment, too."""
MAX_HTML = 4 * 1024 * 1024
"""The same of HTML: many mail programs put images into it."""
MAX_TEXTS = 100
"""Parts that are shown; the others are attachments. To guess the charset of a line takes as long as to read a page."""

_NOT_SHOWN = words(
    "text/calendar text/css text/directory text/javascript text/rfc822-headers text/rtf text/vcard text/x-amp-html "
    "text/x-vcard",
)
"""Types of text that no mail program shows as text."""
_RESOURCES = frozenset({"text/x-amp-html"})
"""Alternatives of a form that few programs show, and nobody misses."""
_MARKED_UP = words("text/enriched text/richtext text/markdown text/x-markdown text/x-web-markdown")
"""Alternatives with marks between the words, which are shown only if there is nothing plainer."""
_ENRICHED = ("text/enriched", "text/richtext")
_MARK = re.compile(r"<(?:(<)|[^<>]{0,60}>)")
"""A mark of enriched text, or one that stands for ``<`` (RFC 1896)."""
_HTML = ("text/html", "application/xhtml+xml")
_LOOKS_LIKE_HTML = re.compile(rb"\s{0,200}(?:<!doctype\s{1,9}html|<html[\s>])", re.IGNORECASE)
_META_CHARSET = re.compile(rb"charset\s{0,9}=\s{0,9}[\"']?([\w-]{1,40})", re.IGNORECASE)
_SHOWN_BY_PROGRAMS = ("application/", "audio/", "font/", "image/", "model/", "video/")
_TNEF = ("application/ms-tnef", "application/vnd.ms-tnef", "application/x-tnef")


@dataclass
class Leaf:
    """One text part that is shown."""

    plain: str
    html: str = ""
    """Empty for plain text."""
    safe: str = ""
    """The HTML as far as a parser may see it."""

    @cached_property
    def text(self) -> str:
        """The text as it is shown; of HTML, what a person sees of it."""
        return html_to_text(self.safe) if self.html else self.plain

    @property
    def as_html(self) -> str:
        return self.html or text_to_html(self.plain)


@dataclass
class Piece:
    """One place of the mail at which text is shown: a plain form of it, another one with HTML, or both."""

    plain: list[Leaf] = field(default_factory=list)
    rich: list[Leaf] = field(default_factory=list)

    @property
    def text(self) -> str:
        return joined(leaf.text for leaf in self.plain or self.rich)

    @property
    def own_text(self) -> str:
        """The text without what mail programs mark as quoted, where only HTML can tell it."""
        return (
            self.text
            if self.plain
            else joined(own_text(leaf.safe) if has_marks(leaf.safe) else leaf.text for leaf in self.rich)
        )

    @property
    def html(self) -> str:
        return "\n".join(leaf.as_html for leaf in self.rich or self.plain)


def joined(texts: Iterable[str]) -> str:
    """Return the texts with an empty line between them."""
    return "\n\n".join(text.strip("\n") for text in texts if text.strip())


def may_show_text(part: Part) -> bool:
    """Whether ``part``, which has no children, can add something to what the mail shows."""
    kind = part.effective_type
    return not kind.startswith(_SHOWN_BY_PROGRAMS) or kind in _TNEF or is_signed_data(part)


class Body:
    """What a mail shows. ``pieces`` and ``attached`` are in the order in which they stand in the mail."""

    def __init__(self, root: Part) -> None:
        self.pieces: list[Piece] = []
        self.attached: list[Part | UuencodedFile] = []
        self.calendars: list[Part] = []
        self.defects: list[str] = []
        self.charset = next((part.charset for part in root.walk() if part.charset), "")
        self._left = {False: MAX_TEXT, True: MAX_HTML}
        self._left_to_parse = MAX_LENGTH
        self._texts = 0
        self._begun = False
        """Whether something was shown before the alternatives in which we are."""
        self._show(root)

    @property
    def text(self) -> str:
        return without_armor(self.armored_text)

    @property
    def armored_text(self) -> str:
        """The text with the lines that PGP puts around it."""
        return joined(piece.text for piece in self.pieces)

    @property
    def own_text(self) -> str:
        return without_armor(joined(piece.own_text for piece in self.pieces))

    @property
    def html(self) -> str:
        if any(leaf.html for piece in self.pieces for leaf in piece.rich):
            return "\n".join(piece.html for piece in self.pieces)
        return text_to_html(self.text)

    def _show(self, part: Part) -> None:
        kind = part.effective_type
        if kind == "text/calendar":
            self.calendars.append(part)
        if part.children:
            self._MULTIPARTS.get(part.content_type, Body._mixed)(self, part)
        elif is_signed_data(part) and part.inner is not None:
            self._show(part.inner)
        elif kind in _TNEF and part.inner is not None:
            self._tnef(part.inner)
        elif self._is_body(part, kind):
            self._text(part, kind in _HTML)
        else:
            self.attached.append(part)

    def _mixed(self, part: Part) -> None:
        for child in part.children:
            self._show(child)

    def _attach(self, part: Part) -> None:
        """Take all leaves of ``part`` as attachments."""
        for leaf in part.leaves():
            self.attached.append(leaf)
            if leaf.effective_type == "text/calendar":
                self.calendars.append(leaf)

    def _signed(self, part: Part) -> None:
        for child in part.children:
            if child is part.children[0] or not is_signature(child):
                self._show(child)

    def _encrypted(self, part: Part) -> None:
        for child in part.children:
            self._attach(child)

    def _report(self, part: Part) -> None:
        self._show(part.children[0])
        for child in part.children[1:]:
            self._attach(child)

    def _related(self, part: Part) -> None:
        """Show the root of the parts that belong together; the others are what it refers to (RFC 2387, 3.2)."""
        start = part.parameters.get("start", "").strip("<> ")
        named = (child for child in part.children if start and child.content_id == start)
        shown = (child for child in part.children if child.is_multipart or child.content_type.startswith("text/"))
        root = next(named, None) or next(shown, None)
        for child in part.children:
            if child is root:
                self._show(child)
            else:
                self._attach(child)

    def _alternative(self, part: Part) -> None:
        """Take the last plain form that is not blank, and the last form with HTML."""
        before, begun = self.pieces, self._begun
        self._begun = begun or bool(before)
        plain: list[Piece] = []
        rich: list[Piece] = []
        for child in part.children:
            self.pieces = []
            if child.content_type == "text/calendar" and child.disposition != "attachment":
                self.calendars.append(child)
            elif child.content_type not in _RESOURCES:
                self._show(child)
            if any(piece.rich for piece in self.pieces):
                rich = self.pieces
            elif any(leaf.text.strip() for piece in self.pieces for leaf in piece.plain):
                plain = plain if plain and child.content_type in _MARKED_UP else self.pieces
        self.pieces, self._begun = before, begun
        if plain and rich:
            leaves = [leaf for piece in rich for leaf in piece.rich or piece.plain]
            self.pieces.append(Piece([leaf for piece in plain for leaf in piece.plain], leaves))
        else:
            self.pieces += rich or plain

    _MULTIPARTS: dict[str, Callable[["Body", Part], None]] = {
        "multipart/alternative": _alternative,
        "multipart/encrypted": _encrypted,
        "multipart/related": _related,
        "multipart/report": _report,
        "multipart/signed": _signed,
    }

    def _tnef(self, inner: Part) -> None:
        """Take what Outlook has put into one part. Its text is shown only if the mail has no other."""
        shown = self._begun or any(piece.text.strip() for piece in self.pieces)
        for child in inner.children:
            if child.disposition == "attachment" or not shown:
                self._show(child)

    def _is_body(self, part: Part, kind: str) -> bool:
        """Whether a leaf is text of the mail. A name makes it an attachment, unless nothing was shown before it."""
        if part.is_multipart:  # nothing was found in it, so that it is shown as it is
            return True
        if part.disposition == "attachment" or kind in _NOT_SHOWN or not (kind.startswith("text/") or kind in _HTML):
            return False
        return not part.filename or not (self.pieces or self._begun)

    def _text(self, part: Part, is_html: bool) -> None:
        self._texts += 1
        if self._texts > MAX_TEXTS:
            self.defects.append(f"Only the first {MAX_TEXTS} texts are shown; the others are among the attachments.")
            self.attached.append(part)
            return
        content, is_cut = self._content(part, is_html)
        if not is_html and _LOOKS_LIKE_HTML.match(content):
            is_html = True
        if is_html:
            leaf, is_cut = self._html_leaf(part, content, is_cut)
            self.pieces.append(Piece(rich=[leaf]))
        else:
            self.pieces.append(Piece(plain=[self._plain_leaf(part, content)]))
        if is_cut:
            self.attached.append(part)

    def _content(self, part: Part, is_html: bool) -> tuple[bytes, bool]:
        """Return the decoded bytes that are shown, and whether there are more."""
        left = self._left[is_html]
        if len(part.payload) <= left:
            content = part.decoded()
        else:
            with part.open() as stream:
                content = stream.read(left + 1)
        if len(content) > left:
            self.defects.append("The mail has more text than is shown; all of it is among the attachments.")
        self._left[is_html] -= min(len(content), left)
        return content[:left], len(content) > left

    def _plain_leaf(self, part: Part, content: bytes) -> Leaf:
        if b"begin" in content:
            content, files = extract(content)
            self.attached += files
        text = part.as_text(content, self.charset)
        return Leaf(_MARK.sub(r"\1", text) if part.content_type in _ENRICHED else text)

    def _html_leaf(self, part: Part, content: bytes, is_cut: bool) -> tuple[Leaf, bool]:
        found = None if part.charset else _META_CHARSET.search(content[:2048])
        html = part.as_text(content, found[1].decode() if found else self.charset)
        safe, problem = bounded(html, self._left_to_parse)
        self._left_to_parse -= len(safe)
        if problem:
            self.defects.append(problem)
        if html.strip() and not safe:
            return Leaf(f"[{problem} It is among the attachments.]"), True
        return Leaf("", html, safe), is_cut
