"""Decodes the bytes of a mail by their charset label. Pure; never raises, whatever the bytes and the label.

Labels mean what the WHATWG's Encoding Standard says: Python does not know many of them, and senders label text with the
name of a smaller charset than it is in (gb2312 for GBK, iso-8859-1 for windows-1252). Bytes that are not in the charset
of their label are decoded by the one that they fit.
"""

import codecs
import re
from collections.abc import Callable, Iterator
from functools import cache, lru_cache

from webencodings import lookup

SAMPLE = 4096
"""Bytes, of lines that are not ASCII, by which the charset of undeclared text is guessed."""
_FEWEST = 24
"""Bytes that a guess needs; for fewer, windows-1252 is the better one."""
_SUPERSETS = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5": "big5hkscs",
    "euc-kr": "cp949",
    "shift_jis": "cp932",
    "iso-8859-8-i": "iso8859-8",
    "windows-874": "cp874",
    "macintosh": "mac-roman",
    "x-mac-cyrillic": "mac-cyrillic",
    "ibm866": "cp866",
}
"""The Encoding Standard's name of a charset -> Python's name of it, or of the superset that is used instead."""
_ALIASES = {
    **dict.fromkeys(("utf8mb4", "utf_8", "unicode-1-1-utf8"), "utf-8"),
    **dict.fromkeys(("gb_2312-1980", "cn-gb", "chinesegb", "cp936", "ms936", "windows-936"), "gb18030"),
    **dict.fromkeys(("cp950", "windows-950", "x-windows-950"), "big5hkscs"),
    **dict.fromkeys(("ks_c_5601", "ksc5601", "x-windows-949", "cp949", "uhc", "x-euc-kr"), "cp949"),
    **dict.fromkeys(("cp932", "windows-932", "x-windows-31j", "x-shift-jis", "shift-jisx0213"), "cp932"),
    **dict.fromkeys(("x-eucjp", "eucjp", "euc_jp"), "euc_jp"),
    **dict.fromkeys(("cp50220", "cp50221", "cp50222", "iso-2022-jp-ms", "_iso-2022-jp", "iso2022-jp"), "iso2022_jp"),
    **dict.fromkeys(("x-mac-ce", "x-mac-centraleurroman"), "mac-latin2"),
    **dict.fromkeys(("iso-8859-6-e", "iso-8859-6-i"), "iso8859-6"),
    **dict.fromkeys(("hz-gb-2312", "hz"), "hz"),
    **dict.fromkeys(("utf-7", "unicode-1-1-utf-7", "x-unicode-1-1-utf-7", "csunicode11utf7"), "utf-7"),
    **dict.fromkeys(("iso-8859-1", "latin-1", "latin1", "ansi", "iso8859-1"), "cp1252"),
    **dict.fromkeys(("us-ascii", "ascii", "ansi_x3.4-1968", "646", "iso646-us", "us"), "ascii"),
    "koi8-ru": "koi8-u",
    "iso-2022-kr": "iso2022_kr",
}
"""Labels that the Encoding Standard does not have, or not for mail -> Python's name of the charset."""
_MISTAKEN = {"iso2022_jp": ("euc_jp", "cp932"), "big5hkscs": ("cp950",), "gb18030": ("big5hkscs",)}
"""Charsets that senders label with another charset's name by mistake, in the order in which they are tried."""
# Python's registry also has codecs that are not charsets: hex, idna, unicode_escape.
_CHARSETS = re.compile(
    r"ascii|big5|cp\d|euc_|gb|hz|hp-roman|iso2022|iso8859|johab|koi8|kz|latin|mac-|ptcp|shift_ji|tis-|utf-(8|16|32|7)",
)
_GUESSED = (
    "cp1252", "cp1251", "koi8_r", "cp1250", "iso8859_2", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp874",
    "cp866", "iso8859_5", "cp932", "euc_jp", "gb18030", "big5", "cp949",
)  # fmt: skip
"""The charsets in which undeclared mail is written."""
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig", 3), (codecs.BOM_UTF16_LE, "utf-16", 20), (codecs.BOM_UTF16_BE, "utf-16", 20))
"""Byte order mark, charset, and the bytes at which a text begins with it hardly by chance."""
_BASED_ON_ASCII = (None, "ascii", "utf-8", "cp1252")
_LONGEST_LABEL = 100
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
_PLAIN = str.maketrans({**dict.fromkeys(range(0x20), " "), **dict.fromkeys(range(0x7F, 0xA0), " ")})


def decode_text(raw: bytes, label: str = "", other: str = "") -> str:
    """Return ``raw`` as text. ``label`` is its declared charset; ``other`` is one that the same mail declares
    elsewhere, which is likely for undeclared bytes."""
    declared = codec_of(label)
    if declared in _BASED_ON_ASCII and raw.isascii() and b"\x1b" not in raw:
        return raw.decode("ascii")
    if declared == "ascii":  # then bytes over 127 are undeclared
        declared = None
    if declared == "iso2022_jp" and raw.isascii():
        return _japanese(raw)
    for codec in _candidates(raw, declared, other):
        if (text := _strictly(raw, codec)) is not None:
            return text
    return _damaged(raw, declared, other)


def _candidates(raw: bytes, declared: str | None, other: str) -> Iterator[str]:
    """Yield the charsets to try, the likeliest first."""
    wide = declared is not None and declared.startswith(("utf-16", "utf-32"))
    bom = next((codec for mark, codec, fewest in _BOMS if raw.startswith(mark) and (wide or len(raw) >= fewest)), None)
    if bom is not None:
        yield bom
    # Plain text that is labelled UTF-16 or UTF-32 has no zero bytes; decoded by its label it would look like Chinese.
    if declared is not None and not (wide and b"\0" not in raw):
        yield declared
    if declared is None and b"\x1b$" in raw and raw.isascii():
        yield "iso2022_jp"
    yield "utf-8"
    if declared is not None:
        yield from _MISTAKEN.get(declared, ())
    elif (likely := codec_of(other)) is not None:
        yield likely


def _damaged(raw: bytes, declared: str | None, other: str) -> str:
    """Return ``raw``, which none of its likely charsets fits, decoded by the one that leaves the least unreadable.

    Text with a few bytes that do not fit is damaged; text with many was labelled wrongly.
    """
    likely = declared or codec_of(other) or "utf-8"
    texts = [_loosely(raw, codec) for codec in dict.fromkeys((likely, "utf-8"))]
    best = min(texts, key=_unreadable)
    if _unreadable(best) * 9 <= _beyond_ascii(best):
        return best
    if (guess := guessed(raw)) is not None:
        texts.append(_loosely(raw, guess))
    elif declared is None or not _beyond_ascii(best):
        texts.append(_loosely(raw, "cp1252"))
    return min(texts, key=_unreadable)


def _unreadable(text: str) -> int:
    return text.count("\N{REPLACEMENT CHARACTER}")


def _beyond_ascii(text: str) -> int:
    """Count the characters that are not ASCII and can be read."""
    return sum(not character.isascii() for character in text) - _unreadable(text)


def guessed(raw: bytes) -> str | None:
    """Return Python's name of the charset that undeclared ``raw`` seems to be in; None if it is too short to tell."""
    sample = _sample(raw)
    if len(sample) < _FEWEST:
        return None
    from charset_normalizer import from_bytes  # 20 ms and 3 MB that most mails do not need

    best = from_bytes(sample, threshold=0.3, cp_isolation=list(_GUESSED)).best()
    return best.encoding if best is not None else None


def _sample(raw: bytes) -> bytes:
    """Return some lines of ``raw`` that are not ASCII, at most 4 KiB of them."""
    found = _NOT_ASCII.search(raw)
    start = max(0, found.start() - 200) if found else 0
    lines = (line for line in raw[start : start + 16 * SAMPLE].split(b"\n") if not line.isascii())
    return b"\n".join(lines)[:SAMPLE]


@lru_cache(maxsize=512)
def codec_of(label: str) -> str | None:
    """Return Python's name of the charset that ``label`` means; None if it means none."""
    name = label[:_LONGEST_LABEL].partition("*")[0].strip(" \t\r\n\"';,").lower()  # RFC 2231, 5: a language may follow
    name = name.removesuffix("$esc")
    codec = _ALIASES.get(name)
    if codec is None and (found := lookup(name)) is not None and found.name not in ("replacement", "x-user-defined"):
        codec = _SUPERSETS.get(found.name, found.name)
    try:
        python = codecs.lookup(codec or name).name if name else ""
    except (LookupError, ValueError):  # ValueError: a NUL in it
        return None
    python = _SUPERSETS.get(python.replace("_", "-"), python)
    return python if _CHARSETS.match(python) else None


def whole(text: str) -> str:
    """Return ``text`` without lone surrogates, which UTF-7 can express but which cannot be encoded."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def one_line(text: str) -> str:
    """Return ``text`` on one line, without control characters: an encoded word may hide a line break."""
    return " ".join(whole(text).translate(_PLAIN).split())


def _strictly(raw: bytes, codec: str) -> str | None:
    if codec == "iso2022_jp" and raw.isascii():
        return _japanese(raw)
    try:
        return whole(raw.decode(codec)) if codec in _WITH_SURROGATES else raw.decode(codec)
    except (UnicodeError, ValueError):
        return None


def _loosely(raw: bytes, codec: str) -> str:
    if (table := _table(codec)) is not None:
        return codecs.charmap_decode(raw, "replace", table)[0]
    return whole(raw.decode(codec, "replace"))


_WITH_SURROGATES = ("utf-7", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")


@cache
def _table(codec: str) -> str | None:
    """Return the 256 characters of a windows charset; its holes below 0xA0 are control characters, as on the web."""
    if not codec.startswith(("cp125", "cp874")):
        return None
    characters = (bytes((byte,)).decode(codec, "replace") for byte in range(256))
    return "".join(
        chr(byte) if 0x80 <= byte < 0xA0 and _unreadable(character) else character
        for byte, character in enumerate(characters)
    )


def _japanese(raw: bytes) -> str:
    """Decode ISO-2022-JP with characters that many senders add to the standard: half-width kana, and those of
    windows-932 (circled numbers, the sign for a company). Each line begins in ASCII (RFC 1468), also where a gateway
    has lost the escape sequence at the end of the line before."""
    if _RARE_SHIFT.search(raw) and (text := _python_japanese(raw)) is not None:
        return text
    if not _UNENDED_SHIFT.search(raw) and (text := _plainly(raw, "iso2022_jp")) is not None:
        return text
    return "\n".join(_japanese_line(line) if b"\x1b" in line else line.decode() for line in raw.split(b"\n"))


def _python_japanese(raw: bytes) -> str | None:
    """Decode by Python's codecs, which know JIS X 0212 and the charsets of ISO-2022-JP-2."""
    return next((text for codec in ("iso2022_jp_2", "iso2022_jp_ext") if (text := _plainly(raw, codec))), None)


def _plainly(raw: bytes, codec: str) -> str | None:
    try:
        return raw.decode(codec)
    except UnicodeError:
        return None


def _japanese_line(line: bytes) -> str:
    before, *pieces = _SHIFT.split(line)
    shifted = zip(pieces[::2], pieces[1::2], strict=True)
    return before.decode() + "".join(_SHIFTED.get(shift, bytes.decode)(piece) for shift, piece in shifted)


def _two_bytes(piece: bytes) -> str:
    """Decode rows and cells of JIS X 0208 by windows-932's table."""
    end = "\r" if piece.endswith(b"\r") else ""
    piece = piece.removesuffix(b"\r")
    pairs = zip(piece[::2], piece[1::2], strict=False)
    return b"".join(_as_cp932(row - 0x21, cell - 0x21) for row, cell in pairs).decode("cp932", "replace") + end


def _as_cp932(row: int, cell: int) -> bytes:
    if not (0 <= row < 94 and 0 <= cell < 94):
        return b"?"
    trail = cell + 0x9F if row % 2 else cell + 0x40 + (cell > 62)
    return bytes((row // 2 + (0x81 if row < 62 else 0xC1), trail))


def _half_width(piece: bytes) -> str:
    return bytes(byte | 0x80 if byte > 0x20 else byte for byte in piece).decode("cp932", "replace")


_SHIFT = re.compile(rb"(\x1b(?:\([BJI]|\$[@B]))")
"""Escape sequences that switch to ASCII, JIS X 0201 (Roman, kana) and JIS X 0208 (1978, 1983); RFC 1468."""
_UNENDED_SHIFT = re.compile(rb"\x1b(?:\$[@B]|\(I)[^\x1b\n]*(?:\n|\Z)")
_RARE_SHIFT = re.compile(rb"\x1b(?:\$\(|\.|\$A)")
_SHIFTED: dict[bytes, Callable[[bytes], str]] = {b"\x1b$B": _two_bytes, b"\x1b$@": _two_bytes, b"\x1b(I": _half_width}
