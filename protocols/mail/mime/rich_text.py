"""Reads the compressed RTF that Outlook puts into ``winmail.dat`` (MS-OXRTFCP), as text or as the HTML that it was made
from (MS-OXRTFEX). Pure; never raises; time linear in the size.
"""

import re
from struct import Struct
from typing import NamedTuple

from protocols.mail.charsets import decode_text, whole

LONGEST = 1024 * 1024
"""Bytes of RTF that are read."""

_HEADER = Struct("<II4sI")
"""Compressed size, size, how it is compressed, checksum."""
_BEGINNING = (
    rb"{\rtf1\ansi\mac\deff0\deftab720{\fonttbl;}{\f0\fnil \froman \fswiss \fmodern \fscript \fdecor MS Sans Serif"
    rb"SymbolArialTimes New RomanCourier{\colortbl\red0\green0\blue0"
    + b"\r\n"
    + rb"\par \pard\plain\f0\fs20\b\i\u\tab\tx"
)
"""What the window holds at first (MS-OXRTFCP 2.1.2.1)."""
_WINDOW = 4096
_TOKEN = re.compile(
    rb"\\([A-Za-z]{1,32})(-?[0-9]{1,9})? ?|\\'([0-9A-Fa-f]{2})|\\([^A-Za-z'])|([{}])|[\r\n]+|([^\\{}\r\n]+)|.",
    re.DOTALL,
)
_FROM_HTML = re.compile(rb"\\fromhtml1?\b")
_NOT_SHOWN = frozenset({"fonttbl", "colortbl", "stylesheet", "info", "pict", "object", "header", "footer", "generator"})
"""Destinations whose text is not the document's."""
_CHARACTERS = {
    **dict.fromkeys(("par", "line", "row", "sect", "page"), "\n"),
    **dict.fromkeys(("tab", "cell"), "\t"),
    **dict.fromkeys(("emspace", "enspace", "qmspace"), " "),
    "lquote": "\u2018",
    "rquote": "\u2019",
    "ldblquote": "\u201c",
    "rdblquote": "\u201d",
    "bullet": "\u2022",
    "endash": "\u2013",
    "emdash": "\u2014",
}
"""Control words that stand for characters."""
_SYMBOLS = {b"~": "\N{NO-BREAK SPACE}", b"_": "\N{NON-BREAKING HYPHEN}", b"\n": "\n", b"\r": "\n", b"\t": "\t"}
_CODE_PAGES = {
    128: 932, 129: 949, 134: 936, 136: 950, 161: 1253, 162: 1254, 163: 1258, 177: 1255, 178: 1256, 186: 1257, 204: 1251,
    222: 874, 238: 1250,
}  # fmt: skip
"""Charset of a font -> Windows code page."""


class _Group(NamedTuple):
    """What holds inside the braces that are open."""

    font: int = 0
    replacements: int = 1
    """Characters after a Unicode one that stand for it in older programs."""
    is_shown: bool = True
    is_tag: bool = False
    """Whether it is a piece of the HTML that the RTF was made from."""
    is_for_rtf: bool = False
    """Whether it stands for such a piece in RTF."""


def read_rich_text(data: bytes) -> tuple[str, str] | None:
    """Return (content type, text) of compressed RTF; None if ``data`` is none."""
    rtf = decompressed(data)
    if rtf is None or not rtf.startswith(b"{\\rtf"):
        return None
    from_html = _FROM_HTML.search(rtf, 0, 1000) is not None
    return "text/html" if from_html else "text/plain", _Reader(from_html=from_html).text(rtf)


def decompressed(data: bytes) -> bytes | None:
    """Return the RTF in ``data``, at most 1 MiB; None if it is no compressed RTF, or is damaged."""
    if len(data) < _HEADER.size:
        return None
    _, size, method, _ = _HEADER.unpack_from(data)
    size = min(size, LONGEST)
    if method == b"MELA":
        return data[_HEADER.size :][:size]
    rtf = _unpacked(data, size) if method == b"LZFu" else b""
    return rtf[:size] if len(rtf) >= size else None


def _unpacked(data: bytes, size: int) -> bytes:
    """Return the first ``size`` bytes of the RTF, or fewer if it ends before, and maybe some more."""
    out = bytearray(_BEGINNING)
    place, end = _HEADER.size, size + len(_BEGINNING)
    while place < len(data) and len(out) < end:
        flags = data[place]
        place += 1
        for bit in range(8):
            if not flags >> bit & 1:
                out += data[place : place + 1]
                place += 1
                continue
            token = int.from_bytes(data[place : place + 2], "big")
            place += 2
            back = (len(out) - (token >> 4)) % _WINDOW
            if not back or back > len(out) or place > len(data):  # the position itself is the end
                return bytes(out[len(_BEGINNING) :])
            length = (token & 15) + 2
            start = len(out) - back
            copied = out[start : start + length]
            out += (copied * (length // back + 1))[:length]
    return bytes(out[len(_BEGINNING) :])


class _Reader:
    """One pass over the tokens. Bytes are collected until their charset changes: a character may be two escapes."""

    def __init__(self, *, from_html: bool) -> None:
        self._from_html = from_html
        self._group = _Group()
        self._outer: list[_Group] = []
        self._fonts: dict[int, int] = {}
        self._code_page = 1252
        self._skip = 0
        self._bytes = bytearray()
        self._pieces: list[str] = []

    def text(self, rtf: bytes) -> str:
        for token in _TOKEN.finditer(rtf):
            word, number, escaped, symbol, brace, plain = token.groups()
            if word:
                self._word(word.decode().lower(), int(number) if number else None)
            elif escaped:
                self._add_bytes(bytes.fromhex(escaped.decode()))
            elif brace:
                self._brace(brace)
            elif symbol == b"*":
                self._change(is_shown=False)
            elif symbol:
                self._add(_SYMBOLS.get(symbol, symbol.decode("latin-1") if symbol in b"\\{}" else ""))
            elif plain:
                self._add_bytes(plain)
        self._flush()
        return whole("".join(self._pieces)).rstrip("\0")

    def _brace(self, brace: bytes) -> None:
        self._flush()
        if brace == b"{":
            self._outer.append(self._group)
            if self._group.is_tag:
                self._change(is_tag=False)
        elif self._outer:
            self._group = self._outer.pop()

    def _word(self, word: str, number: int | None) -> None:
        if word in _CHARACTERS:
            self._add(_CHARACTERS[word])
        elif word == "u" and number is not None:
            self._add(chr(number % 65536))
            self._skip = self._group.replacements
        elif word in _NOT_SHOWN:
            self._change(is_shown=False)
        else:
            self._set(word, number)

    def _set(self, word: str, number: int | None) -> None:
        """Take a control word that says how what follows is read."""
        if word == "htmltag" and self._from_html:
            self._change(is_shown=True, is_tag=True)
        elif word == "htmlrtf":
            self._change(is_for_rtf=number != 0)
        elif word == "f" and number is not None:
            self._change(font=number)
        elif word == "fcharset" and number is not None and len(self._fonts) < 1000:
            self._fonts[self._group.font] = number
        elif word == "ansicpg" and number:
            self._code_page = number
        elif word == "uc" and number is not None:
            self._change(replacements=min(max(number, 0), 10))

    def _change(self, **fields: bool | int) -> None:
        """Change the open group. Bytes before the change are in the charset that was."""
        self._flush()
        self._group = self._group._replace(**fields)  # type: ignore[arg-type] # which field has which type

    def _add_bytes(self, raw: bytes) -> None:
        left = raw[self._skip :]
        self._skip -= len(raw) - len(left)
        if self._is_shown():
            self._bytes += left

    def _add(self, text: str) -> None:
        self._flush()
        if self._is_shown():
            self._pieces.append(text)

    def _is_shown(self) -> bool:
        return self._group.is_shown and not (self._from_html and self._group.is_for_rtf and not self._group.is_tag)

    def _flush(self) -> None:
        if self._bytes:
            code_page = _CODE_PAGES.get(self._fonts.get(self._group.font, 0), self._code_page)
            self._pieces.append(decode_text(bytes(self._bytes), f"cp{code_page}"))
            self._bytes.clear()
