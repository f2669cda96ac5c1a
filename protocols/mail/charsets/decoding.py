"""Turns bytes into text, by their label or by what else fits.

Bytes that are not in the charset of their label are decoded by the one that they fit. U+FFFD stands where none fits.
"""

import codecs
import re
from collections.abc import Iterator
from functools import cache

from protocols.mail.charsets.guess import guessed
from protocols.mail.charsets.japanese import japanese
from protocols.mail.charsets.labels import codec_of
from protocols.mail.charsets.text import whole

_MISTAKEN = {"iso2022_jp": ("euc_jp", "cp932"), "big5hkscs": ("cp950",), "gb18030": ("big5hkscs",)}
"""Charsets that senders label with another charset's name by mistake, in the order in which they are tried."""
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig", 3), (codecs.BOM_UTF16_LE, "utf-16", 20), (codecs.BOM_UTF16_BE, "utf-16", 20))
"""Byte order mark, charset, and the bytes at which a text begins with it hardly by chance."""
_BASED_ON_ASCII = (None, "ascii", "utf-8", "cp1252")
_SURROGATE = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")
"""Half of a character in UTF-16 that was put into UTF-8: so some programs write emoji."""
_WIDE = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")


def decode_text(raw: bytes, label: str = "", other: str = "") -> str:
    """Return ``raw`` as text. ``label`` is its declared charset; ``other`` is one that the same mail declares
    elsewhere, which is likely for undeclared bytes."""
    declared = codec_of(label)
    if declared in _BASED_ON_ASCII and raw.isascii() and b"\x1b" not in raw:
        return raw.decode("ascii")
    if declared == "iso2022_jp" and raw.isascii():
        return japanese(raw)
    if declared == "ascii" or (declared in _WIDE and _is_narrow(raw)):
        declared = None
    likely = codec_of(other) if declared is None else None
    for codec in _candidates(raw, declared, likely):
        if (text := _strictly(raw, codec)) is not None:
            return text
    return _damaged(raw, declared, likely)


def _is_narrow(raw: bytes) -> bool:
    """Whether text that is labelled UTF-16 or UTF-32 is not: it has spaces, but no zero bytes. Decoded by its label it
    would look like Chinese."""
    return b"\0" not in raw and (b" " in raw or b"\n" in raw or raw.isascii())


def _candidates(raw: bytes, declared: str | None, likely: str | None) -> Iterator[str]:
    """Yield the charsets to try, the likeliest first."""
    wide = declared in _WIDE
    yield from (codec for mark, codec, least in _BOMS if raw.startswith(mark) and (wide or len(raw) >= least))
    if declared is not None:
        yield declared
    elif b"\x1b$" in raw and raw.isascii():
        yield "iso2022_jp"
    yield "utf-8"
    if declared is not None:
        yield from _MISTAKEN.get(declared, ())
    elif likely is not None:
        yield likely


def _damaged(raw: bytes, declared: str | None, likely: str | None) -> str:
    """Return ``raw``, which none of its likely charsets fits, decoded by the one that leaves the least unreadable.

    Text in which half of what is not ASCII fits is damaged; other text was labelled wrongly.
    """
    texts = {codec: _loosely(raw, codec) for codec in dict.fromkeys((declared or likely or "utf-8", "utf-8"))}
    unreadable = {codec: _unreadable(text) for codec, text in texts.items()}
    best = min(texts, key=unreadable.__getitem__)
    text = texts[best]
    if unreadable[best] * 2 <= len(text) - len(text.encode("ascii", "ignore")):
        return "\n".join(map(_utf8_line, raw.split(b"\n"))) if best == "utf-8" else text
    other = _loosely(raw, guessed(raw) or "cp1252")
    return other if _unreadable(other) < unreadable[best] else text


def _utf8_line(line: bytes) -> str:
    """Decode a line of UTF-8. One that is nothing of the kind is of somebody else: the footer of a mailing list."""
    text = line.decode("utf-8", "replace")
    foreign = len(text) - len(text.encode("ascii", "ignore"))
    return _loosely(line, "cp1252") if foreign and foreign == _unreadable(text) else text


def _unreadable(text: str) -> int:
    return text.count("\N{REPLACEMENT CHARACTER}")


def _strictly(raw: bytes, codec: str) -> str | None:
    if codec == "iso2022_jp" and raw.isascii():
        return japanese(raw)
    try:
        if codec == "utf-8" and _SURROGATE.search(raw):
            return whole(raw.decode(codec, "surrogatepass"))
        return _whole(raw.decode(codec), codec)
    except (UnicodeError, ValueError):
        return None


def _loosely(raw: bytes, codec: str) -> str:
    if (table := _table(codec)) is not None:
        return codecs.charmap_decode(raw, "replace", table)[0]
    return _whole(raw.decode(codec, "replace"), codec)


def _whole(text: str, codec: str) -> str:
    """Return ``text``, which was in ``codec``, without lone surrogates. Other charsets have none."""
    return whole(text) if codec == "utf-7" or codec in _WIDE else text


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
