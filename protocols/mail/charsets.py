"""Decodes the bytes of a mail by their charset label. Pure; never raises, whatever the bytes and the label.

Labels mean what the WHATWG's Encoding Standard says: Python does not know many of them, and senders label text with the
name of a smaller charset than it is in (gb2312 for GBK, iso-8859-1 for windows-1252).
"""

import codecs
import re

_SUPERSETS = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5": "big5hkscs",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
}
"""Python's name of a charset -> the superset that is used instead."""
_LABELS = {
    **dict.fromkeys(("unicode11utf8", "unicode20utf8", "x-unicode20utf8", "unicode-1-1-utf-8"), "utf-8"),
    **{f"iso8859{part}": f"iso8859-{part}" for part in range(1, 17)},
    **dict.fromkeys(("iso-8859-6-e", "iso-8859-6-i", "csiso88596e", "csiso88596i"), "iso8859-6"),
    **dict.fromkeys(("iso-8859-8-e", "iso-8859-8-i", "csiso88598e", "csiso88598i", "visual", "logical"), "iso8859-8"),
    "sun_eu_greek": "iso8859-7",
    "csisolatin9": "iso8859-15",
    **dict.fromkeys(("dos-874", "windows-874"), "cp874"),
    **dict.fromkeys(("koi", "koi8"), "koi8-r"),
    "koi8-ru": "koi8-u",
    **dict.fromkeys(("mac", "csmacintosh", "x-mac-roman"), "mac-roman"),
    **dict.fromkeys(("x-mac-cyrillic", "x-mac-ukrainian"), "mac-cyrillic"),
    **{f"x-cp{page}": f"cp{page}" for page in range(1250, 1259)},
    **dict.fromkeys(("gb_2312", "gb_2312-80", "csgb2312", "x-gbk", "cn-gb", "chinesegb"), "gbk"),
    **dict.fromkeys(("cn-big5", "x-x-big5", "x-big5"), "big5"),
    **dict.fromkeys(("cseucpkdfmtjapanese", "x-euc-jp", "x-eucjp"), "euc_jp"),
    **dict.fromkeys(("cp50220", "cp50221", "cp50222", "iso-2022-jp-ms"), "iso2022_jp"),
    **dict.fromkeys(("x-sjis", "x-shift-jis", "windows-932", "windows-31j"), "shift_jis"),
    **dict.fromkeys(("ks_c_5601-1989", "csksc56011987", "cseuckr", "windows-949", "x-windows-949"), "euc_kr"),
    **dict.fromkeys(("iso-ir-149", "ksc_5601", "x-euc-kr"), "euc_kr"),
}
"""Labels that Python does not know -> Python's name of the charset that they mean."""
_MISTAKEN = {"iso2022_jp": ("euc_jp", "cp932")}
"""Charsets that senders label with another charset's name by mistake, in the order in which they are tried."""
# Python's registry also has codecs that are not charsets: hex, idna, unicode_escape.
_CHARSETS = re.compile(
    r"ascii|big5|cp\d|euc_|gb|hz|hp-roman|iso2022|iso8859|johab|koi8|kz|latin|mac-|ptcp|shift_ji|tis-|utf-(8|16|32|7)",
)
_PLAIN = str.maketrans({**dict.fromkeys(range(0x20), " "), **dict.fromkeys(range(0x7F, 0xA0), " ")})


def decode(raw: bytes, label: str = "", other: str = "") -> str:
    """Return ``raw`` as text. ``other`` is the charset of undeclared bytes that are not UTF-8; without one they are
    taken for windows-1252, which most of them are."""
    declared = codec_of(label)
    if declared == "iso2022_jp" and raw.isascii():
        return _strictly(raw, declared) or _japanese(raw)
    # Plain text that is labelled UTF-16 or UTF-32 has no zero bytes; decoded by its label it would look like Chinese.
    wide = declared is not None and declared.startswith(("utf-16", "utf-32"))
    first = "utf-8" if wide and b"\0" not in raw else declared
    for codec in (first, declared, "utf-8", *(_MISTAKEN.get(declared, ()) if declared else [codec_of(other)])):
        if codec is not None and (text := _strictly(raw, codec)) is not None:
            return text
    return whole(raw.decode(declared or "cp1252", "replace"))


def codec_of(label: str) -> str | None:
    """Return Python's name of the charset that ``label`` means; None if it means none."""
    name = label.partition("*")[0].strip(" \t\"'").lower()  # RFC 2231, 5: a language may follow
    try:
        codec = codecs.lookup(_LABELS.get(name, name)).name
    except (LookupError, ValueError):  # ValueError: a NUL in it
        return None
    return _SUPERSETS.get(codec, codec) if _CHARSETS.match(codec) else None


def whole(text: str) -> str:
    """Return ``text`` without lone surrogates, which UTF-7 can express but which cannot be encoded."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def one_line(text: str) -> str:
    """Return ``text`` on one line, without control characters: an encoded word may hide a line break."""
    return " ".join(whole(text).translate(_PLAIN).split())


def _japanese(raw: bytes) -> str:
    """Decode ISO-2022-JP with characters that many senders add to the standard: half-width kana, and those of
    windows-932 (circled numbers, the sign for a company)."""
    before, *pieces = _SHIFT.split(raw)
    shifted = zip(pieces[::2], pieces[1::2], strict=True)
    return before.decode() + "".join(_SHIFTED.get(shift, bytes.decode)(piece) for shift, piece in shifted)


def _two_bytes(piece: bytes) -> str:
    """Decode rows and cells of JIS X 0208 by windows-932's table."""
    pairs = zip(piece[::2], piece[1::2], strict=False)
    return b"".join(_as_cp932(row - 0x21, cell - 0x21) for row, cell in pairs).decode("cp932", "replace")


def _as_cp932(row: int, cell: int) -> bytes:
    if not (0 <= row < 94 and 0 <= cell < 94):
        return b"?"
    trail = cell + 0x9F if row % 2 else cell + 0x40 + (cell > 62)
    return bytes((row // 2 + (0x81 if row < 62 else 0xC1), trail))


def _half_width(piece: bytes) -> str:
    return bytes(byte | 0x80 for byte in piece).decode("cp932", "replace")


_SHIFT = re.compile(rb"(\x1b(?:\([BJI]|\$[@B]))")
"""Escape sequences that switch to ASCII, JIS X 0201 (Roman, kana) and JIS X 0208 (1978, 1983); RFC 1468."""
_SHIFTED = {b"\x1b$B": _two_bytes, b"\x1b$@": _two_bytes, b"\x1b(I": _half_width}


def _strictly(raw: bytes, codec: str) -> str | None:
    try:
        return whole(raw.decode(codec))
    except (UnicodeError, ValueError):
        return None
