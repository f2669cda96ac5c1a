"""Reads the text of a mail in HTML, in one pass and of bounded length: a mail can make a parser, or a cleverer pattern,
run for hours."""

import html
import re

LONGEST = 1_000_000
TAG = re.compile(r"<(?=[a-z/!?])(/?[a-z0-9]*+)[^<>]*+>", re.IGNORECASE)
HIDDEN = {"script", "style", "title", "xml"}
BLOCKS = {"blockquote", "br", "div", "h1", "h2", "h3", "h4", "hr", "li", "ol", "p", "pre", "table", "tr", "ul"}


def words(markup: str) -> str:
    """Return the text of ``markup``, with a line for each block, without tags, style sheets and scripts."""
    before, *rest = TAG.split(markup[:LONGEST])
    said, hidden = [collapsed(before)], ""
    for tag, text in zip(map(str.lower, rest[::2]), rest[1::2], strict=True):
        if hidden:
            hidden = "" if tag == f"/{hidden}" else hidden
        elif tag in HIDDEN:
            hidden = tag
        if not hidden:
            said.append(("\n" if tag.strip("/") in BLOCKS else "") + collapsed(text))
    lines = (collapsed(html.unescape(line)).strip() for line in "".join(said).split("\n"))
    return "\n".join(line for line in lines if line)


def collapsed(text: str) -> str:
    return re.sub(r"\s+", " ", text)
