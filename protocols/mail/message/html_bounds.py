"""Bounds of HTML, measured by one linear scan before any parser sees it.

Parsers of HTML build trees whose size and time can grow with the square of the input: elements within elements,
thousands of attributes in one tag, and formatting that is never closed, which the HTML standard repeats in each later
block.
"""

import re

from protocols.mail.message.words import words

MAX_LENGTH = 1024 * 1024
"""Characters of HTML that are turned into text, or cleaned. The rest is cut off."""
MAX_DEPTH = 500
"""Elements within elements. Mails of real programs have up to some 200."""
MAX_ATTRIBUTES = 1000
"""Attributes of one tag."""
MAX_REPEATED = 400_000
"""Elements that a parser may make of formatting that is still open at a tag (HTML, 13.2.4.3)."""

_ATTRIBUTE = r"""[^\s>/=][^\s>/=]*+(?:\s*+=\s*+(?:"[^"]*+"|'[^']*+'|[^\s>]*+))?+"""
_TAG = re.compile(
    rf"""<!--.*?(?:-->|\Z)|<(/?)([a-zA-Z][^\s/>]*+)(?:[\s/=]*+{_ATTRIBUTE}){{0,{MAX_ATTRIBUTES}}}+[\s/=]*+(>?)""",
    re.DOTALL,
)
_EMBEDDED = re.compile(r"data:[a-zA-Z0-9./+;=-]{0,100};base64,[A-Za-z0-9+/=\s]*+", re.IGNORECASE)
_VOID = words("area base br col embed hr img input link meta param source track wbr")
_ENDS_ITSELF = words("p li dt dd option optgroup tr td th thead tbody tfoot colgroup rt rp")
"""Elements whose end tag may be left out. They nest only inside of another element, which is counted."""
_FORMATTING = words("a b big code em font i nobr s small strike strong tt u")


def bounded(html: str, most: int = MAX_LENGTH) -> tuple[str, str]:
    """Return (HTML that is safe to parse, what is wrong with it). One of the two is empty, unless the HTML was cut."""
    html = _EMBEDDED.sub("", html)  # images: no text
    cut = html[:most]
    problem = _problem(cut)
    if problem:
        return "", problem
    return cut, "Only the first megabyte of the HTML is turned into text." if len(html) > most else ""


def _problem(html: str) -> str:
    depth = open_formatting = repeated = 0
    for tag in _TAG.finditer(html):
        closing, name, end = tag.groups()
        if name is None:  # a comment
            continue
        if not end and tag.end() < len(html):
            return f"The HTML is not shown: one of its tags has more than {MAX_ATTRIBUTES:,} attributes."
        name = name.lower()
        repeated += open_formatting
        if repeated > MAX_REPEATED:
            return "The HTML is not shown: it has too much formatting that is never closed."
        if name in _VOID or name in _ENDS_ITSELF:
            continue
        step = -1 if closing else 1
        depth = max(0, depth + step)
        if name in _FORMATTING:
            open_formatting = max(0, open_formatting + step)
        if depth > MAX_DEPTH:
            return f"The HTML is not shown: its elements are more than {MAX_DEPTH} deep within each other."
    return ""
