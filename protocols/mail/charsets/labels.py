"""Finds the charset that a label means.

Labels mean what the WHATWG's Encoding Standard says: Python does not know many of them, and senders label text with the
name of a smaller charset than it is in (gb2312 for GBK, iso-8859-1 for windows-1252).
"""

import codecs
import re
from functools import lru_cache

from webencodings import lookup

_LONGEST = 100
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
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
}
"""The Encoding Standard's or Python's name of a charset -> Python's name of the one that is used."""
_ALIASES = {
    **dict.fromkeys(("us-ascii", "ascii", "ansi_x3.4-1968", "646", "iso646-us", "us"), "ascii"),
    **dict.fromkeys(("iso-8859-1", "latin-1", "latin1", "ansi", "iso8859-1"), "cp1252"),
    **dict.fromkeys(("utf8mb4", "utf_8", "unicode-1-1-utf8"), "utf-8"),
    **dict.fromkeys(("utf-7", "unicode-1-1-utf-7", "x-unicode-1-1-utf-7", "csunicode11utf7"), "utf-7"),
    **dict.fromkeys(("gb_2312-1980", "cn-gb", "chinesegb", "cp936", "ms936", "windows-936"), "gb18030"),
    **dict.fromkeys(("hz-gb-2312", "hz"), "hz"),
    **dict.fromkeys(("cp950", "windows-950", "x-windows-950"), "big5hkscs"),
    **dict.fromkeys(("ks_c_5601", "ksc5601", "x-windows-949", "cp949", "uhc", "x-euc-kr"), "cp949"),
    **dict.fromkeys(("cp932", "windows-932", "x-windows-31j", "x-shift-jis", "shift-jisx0213"), "cp932"),
    **dict.fromkeys(("x-eucjp", "eucjp", "euc_jp"), "euc_jp"),
    **dict.fromkeys(("cp50220", "cp50221", "cp50222", "iso-2022-jp-ms", "_iso-2022-jp", "iso2022-jp"), "iso2022_jp"),
    **dict.fromkeys(("x-mac-ce", "x-mac-centraleurroman"), "mac-latin2"),
    **dict.fromkeys(("iso-8859-6-e", "iso-8859-6-i"), "iso8859-6"),
    "koi8-ru": "koi8-u",
    "iso-2022-kr": "iso2022_kr",
}
"""Labels that the Encoding Standard does not have, or not for mail -> Python's name of the charset."""
_MISSPELT = (
    (re.compile(r"(?:x-)?(?:windows|win|cp|ms|ibm)[-_ ]?(\d{3,4})\b.*"), r"cp\1"),
    (re.compile(r"(?:iso[-_ ]?)?8859[-_ ]?(\d{1,2})\b.*"), r"iso-8859-\1"),
    (re.compile(r"(?:x-)?(?:unicode-\d-\d-)?utf[-_ ]?8\b.*"), "utf-8"),
    (re.compile(r"latin[-_ ]?(\d)\b.*"), r"latin\1"),
)
"""Labels that nobody has registered, and what is meant by them."""
# Python's registry also has codecs that are not charsets: hex, idna, unicode_escape.
_CHARSETS = re.compile(
    r"ascii|big5|cp\d|euc_|gb|hz|hp-roman|iso2022|iso8859|johab|koi8|kz|latin|mac-|ptcp|shift_ji|tis-|utf-(8|16|32|7)",
)


@lru_cache(maxsize=512)
def codec_of(label: str) -> str | None:
    """Return Python's name of the charset that ``label`` means; None if it means none.

    ``ascii`` is one of its own, though the Encoding Standard takes it for windows-1252: with that label, bytes over 127
    are undeclared.
    """
    name = label[:_LONGEST].partition("*")[0].strip(" \t\r\n\"';,").lower()  # RFC 2231, 5: a language may follow
    name = name.removesuffix("$esc")
    found = _codec(name)
    if found is None:
        meant = (pattern.sub(standard, name) for pattern, standard in _MISSPELT if pattern.fullmatch(name))
        found = next(filter(None, map(_codec, meant)), None)
    return found


def _codec(name: str) -> str | None:
    codec = _ALIASES.get(name)
    if codec is None and (found := lookup(name)) is not None and found.name not in ("replacement", "x-user-defined"):
        codec = _SUPERSETS.get(found.name, found.name)
    try:
        python = codecs.lookup(codec or name).name if name else ""
    except (LookupError, ValueError):  # ValueError: a NUL in it
        return None
    python = _SUPERSETS.get(python.replace("_", "-"), python)
    return python if _CHARSETS.match(python) else None
