"""Turns the HTML of a mail into the text that a person sees. Never recurses. The HTML must be within bounds.

Paragraphs and table rows become lines, cells are divided by tabs, list items have their marks, quotes a ``>``, links
their address, images their alternative text. What the mail hides (scripts, styles, preheaders) is left out.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from selectolax.lexbor import LexborHTMLParser, LexborNode, SelectolaxError

from protocols.mail.message.text_writer import Cell, Link, Margin, TextWriter
from protocols.mail.message.words import words

MAX_URL = 2000
"""Characters of a link's address that is shown; a longer one is left out."""

_SKIPPED = words("head script style template title noscript object iframe svg math input select datalist")
_LINES = words(
    "address article aside body caption center dd details dir div dl dt fieldset figcaption figure footer form header "
    "html legend main menu nav section summary table tbody tfoot thead tr",
)
_PARAGRAPHS = words("h1 h2 h3 h4 h5 h6 p")
_HIDDEN = re.compile(
    r"display\s{0,9}:\s{0,9}none|visibility\s{0,9}:\s{0,9}hidden|mso-hide\s{0,9}:\s{0,9}all"
    r"|(?:max-height|opacity)\s{0,9}:\s{0,9}0(?:\.0{1,9})?(?:px|pt|em|%)?\s{0,9}(?:;|!|$)",
    re.IGNORECASE,
)
_NO_MARGIN = re.compile(r"margin(?:-bottom)?\s{0,9}:\s{0,9}0", re.IGNORECASE)
_PREFORMATTED = re.compile(r"white-space\s{0,9}:\s{0,9}(?:pre|break-spaces)", re.IGNORECASE)
_LINE_ABOVE = re.compile(r"border-top\s{0,9}:\s{0,9}solid", re.IGNORECASE)
_LINK = re.compile(r"(?:https?|ftp|mailto|tel):", re.IGNORECASE)
_NUMBER = re.compile(r"-?[0-9]{1,6}")

_MARKED = words(
    ".gmail_attr .moz-cite-prefix .protonmail_quote .tutanota_quote .yahoo_quoted "
    "#AppleMailSignature #Signature #ms-outlook-mobile-signature #ymail_android_signature "
    ".gmail_signature .moz-signature .protonmail_signature_block",
)
"""What mail programs call the quoted mail, the line above it, and the signature, as CSS selectors."""
_MARKED_TO_THE_END = words(
    "#OLK_SRC_BODY_SECTION #appendonsend #divRplyFwdMsg #mail-editor-reference-message-container #reply-intro "
    "#stopSpelling .ms-outlook-mobile-reference-message",
)
"""What mail programs call the beginning of a quoted mail that goes on to the end."""
_ANY_MARK = re.compile("|".join(re.escape(mark[1:]) for mark in _MARKED | _MARKED_TO_THE_END))

_Attributes = dict[str, str | None]
_End = Callable[[], Any]


def html_to_text(html: str) -> str:
    """Return the text of HTML that is within :mod:`~protocols.mail.message.html_bounds`."""
    return _Walk(own=False).text(html)


def has_marks(html: str) -> bool:
    """Whether :func:`own_text` may differ from :func:`html_to_text`."""
    return _ANY_MARK.search(html) is not None


def own_text(html: str) -> str:
    """Return the text without what the writer's mail program has marked as quoted, or as a signature.

    A ``blockquote`` stays, with its ``>``: people write between quotes.
    """
    return _Walk(own=True).text(html)


class _Walk:
    """One walk through a tree."""

    def __init__(self, *, own: bool) -> None:
        self._own = own
        self._writer = TextWriter()
        self._end_line = (self._writer.end_line, partial(self._writer.end_line, 1))
        """Ends the line; ends it with an empty line below."""
        self._lists: list[int | None] = []
        """The next number of each open list; None for a list without numbers."""
        self._preformatted = 0
        self._left: list[LexborNode | _End] = []
        """What is still to be read, the next at the end; functions end an element."""

    def text(self, html: str) -> str:
        """Return the text of ``html``."""
        try:
            root = LexborHTMLParser(html).root if html.strip() else None
        except SelectolaxError:
            root = None
        self._left = [root] if root else []
        while self._left:
            item = self._left.pop()
            if isinstance(item, LexborNode):
                self._read(item)
            else:
                item()
        return self._writer.text()

    def _read(self, node: LexborNode) -> None:
        tag = node.tag
        if tag == "-text":
            text = node.text_lexbor()
            (self._writer.write_lines if self._preformatted else self._writer.write)(text)
        elif tag and tag[0] != "-" and tag not in _SKIPPED:
            attributes = node.attributes
            if attributes and (_hidden(attributes) or (self._own and self._quoted(attributes))):
                return
            self._left += self._begin(tag, attributes)
            child = node.last_child
            while child is not None:
                self._left.append(child)
                child = child.prev

    def _quoted(self, attributes: _Attributes) -> bool:
        names = {f".{name}" for name in (attributes.get("class") or "").split()} | {f"#{attributes.get('id')}"}
        if names & _MARKED_TO_THE_END:
            self._left = [item for item in self._left if not isinstance(item, LexborNode)]
            return True
        return bool(names & _MARKED) or any("yahoo_quoted" in name for name in names)

    def _begin(self, tag: str, attributes: _Attributes) -> list[_End]:
        """Write what an element begins with; return what ends it."""
        ends: list[_End] = []
        if tag in _LINES or tag in _PARAGRAPHS:
            blank = (tag in _PARAGRAPHS and not (attributes and _dense(attributes))) or _divides(attributes)
            end_line = self._end_line[blank]
            end_line()
            ends.append(end_line)
        elif tag in self._ELEMENTS:
            ends += self._ELEMENTS[tag](self, attributes)
        if tag in ("pre", "textarea") or (attributes and _PREFORMATTED.search(attributes.get("style") or "")):
            self._preformatted += 1
            ends.append(self._end_preformatted)
        return ends

    def _end_preformatted(self) -> None:
        self._preformatted -= 1

    def _break(self, attributes: _Attributes) -> list[_End]:
        self._writer.break_line()
        return []

    def _rule(self, attributes: _Attributes) -> list[_End]:
        self._writer.end_line()
        self._writer.write("-----")
        self._writer.end_line()
        return []

    def _image(self, attributes: _Attributes) -> list[_End]:
        self._writer.write(attributes.get("alt") or "")
        return []

    def _link(self, attributes: _Attributes) -> list[_End]:
        url = (attributes.get("href") or "").strip()
        return [Link(self._writer, url).end] if _LINK.match(url) and len(url) <= MAX_URL else []

    def _cell(self, attributes: _Attributes) -> list[_End]:
        return [Cell(self._writer).end]

    def _block(self, attributes: _Attributes) -> list[_End]:
        self._writer.end_line(1)
        return [lambda: self._writer.end_line(1)]

    def _quote(self, attributes: _Attributes) -> list[_End]:
        return [*self._block(attributes), self._within(Margin("> "))]

    def _within(self, margin: Margin) -> _End:
        self._writer.margins.append(margin)
        return self._writer.margins.pop

    def _list(self, attributes: _Attributes) -> list[_End]:
        return self._open_list(None)

    def _numbered_list(self, attributes: _Attributes) -> list[_End]:
        start = attributes.get("start") or ""
        return self._open_list(int(start) if _NUMBER.fullmatch(start) else 1)

    def _open_list(self, number: int | None) -> list[_End]:
        blank = int(not self._lists)
        self._writer.end_line(blank)
        self._lists.append(number)
        return [lambda: self._writer.end_line(blank), self._lists.pop]

    def _item(self, attributes: _Attributes) -> list[_End]:
        self._writer.end_line()
        number = self._lists[-1] if self._lists else None
        if number is not None:
            self._lists[-1] = number + 1
        mark = "- " if number is None else f"{number}. "
        return [self._writer.end_line, self._within(Margin(" " * len(mark), mark))]

    _ELEMENTS = {
        "a": _link,
        "blockquote": _quote,
        "br": _break,
        "hr": _rule,
        "img": _image,
        "li": _item,
        "ol": _numbered_list,
        "pre": _block,
        "td": _cell,
        "th": _cell,
        "ul": _list,
    }


def _divides(attributes: _Attributes) -> bool:
    """Whether the element has a line above it, as Outlook puts one above the mail that is answered."""
    return bool(attributes and _LINE_ABOVE.search(attributes.get("style") or ""))


def _hidden(attributes: _Attributes) -> bool:
    style = attributes.get("style")
    return "hidden" in attributes or (style is not None and _HIDDEN.search(style) is not None)


def _dense(attributes: _Attributes) -> bool:
    """Whether a paragraph is a line only: Outlook writes one for each line."""
    return "MsoNormal" in (attributes.get("class") or "") or bool(_NO_MARGIN.search(attributes.get("style") or ""))
