"""Reads the addresses of header fields: From, To, Cc, Reply-To. Never raises, and takes time linear in the length.

The standard library's parsers are not used: they recurse, or take seconds, for some fields of hostile or odd senders.
"""

import re
from collections.abc import Iterator
from itertools import chain, islice
from typing import Self

from protocols.mail.addresses import MAX_DOMAIN, MAX_LOCAL_PART, check_address, unicode_form
from protocols.mail.encoded_words import text_of

MAX_FIELD = 64 * 1024
"""Bytes of a field that are read."""
MAX_ADDRESSES = 1000
"""Addresses of a field that are returned."""
MAX_ADDRESS = MAX_LOCAL_PART + 1 + MAX_DOMAIN
"""Characters of an address. A longer one is left out."""
MAX_NAME = 500
"""Characters of a display name that are kept."""

_TOKEN = re.compile(
    r"""(?P<word>=\?[^?\s]{1,60}\?[bBqQ]\?[^?\s]{0,998}\?=)
    |(?P<quoted>"(?:[^"\\]|\\.)*+")
    |(?P<comment>\((?:[^()\\]|\\.)*+\))
    |<(?P<path>"[^"]{0,2000}+"@[^<>]{0,998}+|[^<>]{0,3000}+)>
    |(?P<end>[,;:])
    |(?P<text>[^"(<=,;:\\]++|\\.|.)""",
    re.DOTALL | re.VERBOSE,
)
"""The pieces of an address list. What is not closed counts as text: at most one attempt for each kind reads to the end,
so the time is linear."""
_AROUND_AT = re.compile(r"[ \t]?[ \t]?@[ \t]?[ \t]?")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_NOT_IN_ADDRESS = re.compile(r"[\x00-\x1f\x7f-\xa0\u2028\u2029\ud800-\udfff]+")
_SPECIAL = re.compile(r'[()<>@,;:\\".\[\]]')

_Piece = tuple[str, str]
"""(a group of _TOKEN, its text): characters that are bytes."""


class Address(str):
    """A mail address. The str is the bare address, with its domain in lower case and in its ASCII form (``xn--…``), as
    in the scope's ``rcpt_to``."""

    __slots__ = ("name",)

    name: str
    """The display name, decoded; empty if there is none."""

    def __new__(cls, address: str = "", name: str = "") -> Self:
        self = super().__new__(cls, address)
        self.name = name
        return self

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]  # of str, which knows no name
        return str(self), self.name

    @property
    def local(self) -> str:
        """What stands before the ``@``."""
        return self.rpartition("@")[0] if "@" in self else str(self)

    @property
    def domain(self) -> str:
        """What stands behind the ``@``; empty if the address has none."""
        return self.rpartition("@")[2] if "@" in self else ""

    @property
    def unicode(self) -> str:
        """The address with its domain as people write it: ``ann@bücher.example``."""
        return unicode_form(str(self))

    @property
    def formatted(self) -> str:
        """``Ann Lee <ann@example.org>``: for people, and by RFC 5322 (3.4), but without encoded words."""
        if not self.name:
            return str(self)
        quoted = self.name.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{quoted}" <{self}>' if _SPECIAL.search(self.name) else f"{self.name} <{self}>"


def addresses(value: bytes, charset: str = "") -> tuple[Address, ...]:
    """Return the addresses of a field's ``value``, in order. ``charset`` is likely for bytes without a label.

    Members of a group (``Team: a@x.org, b@x.org;``) count; ``undisclosed-recipients:;`` has none.
    """
    return tuple(islice(_addresses(value[:MAX_FIELD], charset), MAX_ADDRESSES))


def _addresses(value: bytes, charset: str) -> Iterator[Address]:
    pieces: list[_Piece] = []
    before: list[_Piece] = []
    for token in chain(_TOKEN.finditer(value.decode("latin-1")), [None]):
        if token and token.lastgroup and token.lastgroup != "end":
            pieces.append((token.lastgroup, token[token.lastgroup]))
        elif token and token[0] == ":":  # behind the name of a group, or "mailto"
            pieces, before = [], []
        elif address := _address(before + pieces, charset):
            yield address
            pieces, before = [], []
        else:  # a comma in a name without quotes: Lee, Ann <ann@example.org>
            pieces, before = [], [*pieces, ("text", ", ")] if pieces else []


def _address(pieces: list[_Piece], charset: str) -> Address | None:
    """Return the address in the pieces between two commas; None if there is none."""
    if not any(kind in ("path", "word") or "@" in text for kind, text in pieces):
        return None
    paths = [text for kind, text in pieces if kind == "path"]
    words = [(kind, text) for kind, text in pieces if kind in ("word", "quoted", "text")]
    if paths:
        bare, named = _bare(next((path for path in paths if "@" in path), paths[0]), charset), words
    else:
        bare, named = _without_path(words, charset)
    encoded = bool(words) and all(kind == "word" or text.isspace() for kind, text in words)
    if not bare and not encoded:  # before the name, which takes ten times as long if its charset must be guessed
        return None
    comments = [("text", text[1:-1]) for kind, text in pieces if kind == "comment"]
    name = _name(named, charset) or _name(comments, charset)
    if bare:
        return Address(bare, "" if name.lower() == bare.lower() else name)
    if "@" in name and "=?" not in name:  # some programs encode the field as a whole
        return next(_addresses(name.encode(), charset), None)
    return None


def _without_path(words: list[_Piece], charset: str) -> tuple[str, list[_Piece]]:
    """(address, what names it) of a mailbox without ``<>``: the last word with an ``@`` is the address."""
    text = _AROUND_AT.sub("@", "".join(text for _, text in words))
    start, end = text.find('"'), text.rfind('"@')
    split = text.split()
    if 0 <= start < end:  # a quoted local part, which may hold spaces
        split = [*text[:start].split(), text[start:end] + text[end:].split()[0]]
    last = next((word for word in reversed(split) if "@" in word.strip("@<>")), "")
    rest = " ".join(word for word in split if word is not last)
    return _bare(last, charset), [("text" if last else "word", rest)]


def _name(words: list[_Piece], charset: str) -> str:
    """Return what people read. Encoded words inside quotes are decoded, too: many programs write them so."""
    plain = "".join(_ESCAPED.sub(r"\1", text[1:-1]) if kind == "quoted" else text for kind, text in words)
    name = text_of(plain.strip(" \t\r\n,").encode("latin-1"), charset)[:MAX_NAME]
    return name[1:-1].strip() if len(name) > 1 and name[0] == name[-1] == "'" else name


def _bare(path: str, charset: str) -> str:
    """Return the address that is written between ``<`` and ``>``; empty if there is none."""
    path = _AROUND_AT.sub("@", path.strip(" \t\r\n<>'"))
    if path.startswith("@"):  # a route (RFC 5322, 4.4): <@relay.example,@other.example:ann@example.org>
        path = path.rpartition(":")[2]
    raw = path.removeprefix("mailto:").encode("latin-1")
    text = _NOT_IN_ADDRESS.sub("", text_of(raw, charset) if raw.startswith(b"=?") else raw.decode("utf-8", "replace"))
    text = text.rstrip(".") if text.startswith('"') else text.rstrip(".").replace(" ", "")
    if not text or len(text) > MAX_ADDRESS or "\N{REPLACEMENT CHARACTER}" in text:  # not UTF-8 (RFC 6532): nobody's
        return ""
    try:
        return check_address(text)
    except ValueError:
        local, at, domain = text.rpartition("@")
        return f"{local}@{domain.lower()}" if at else text
