"""How many SMS a text takes, and where the network cuts it (3GPP TS 23.038 and 23.040). Pure.

A text that has only characters of GSM-7 takes one SMS up to 160 units, and else one for each 153. Any other text is
sent as UCS-2: 70 units, and else 67. Characters of GSM-7's extension table take two units, and so does an emoji in
UCS-2; an SMS never ends between the two.
"""

from collections.abc import Callable

_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = frozenset("\f^{}\\[~]|€")
"""Each is an escape and a character (23.038, 6.2.1.1)."""

_ASCII = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u02bc\u0060\u00b4", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
        **dict.fromkeys("\u00a0\u2002\u2003\u2007\u2009\u202f\u3000\t", " "),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad", ""),
        "\u2026": "...",
        "\u2022": "*",
        "\u2044": "/",
    }
)


def is_gsm7(text: str) -> bool:
    """Whether every character of ``text`` is in GSM-7, so that 160 of them fit into one SMS."""
    return all(character in _BASIC or character in _EXTENSION for character in text)


def segments(text: str) -> list[str]:
    """Cut ``text`` as the network does; at least one piece, which may be empty."""
    size, whole, part = (_gsm7, 160, 153) if is_gsm7(text) else (_ucs2, 70, 67)
    if sum(map(size, text)) <= whole:
        return [text]
    return cut(text, part, size)


def cut(text: str, longest: int, size: Callable[[str], int]) -> list[str]:
    """Cut ``text`` into pieces of at most ``longest`` units, never within a character; ``size`` gives its units."""
    pieces, start, room = [], 0, longest
    for at, character in enumerate(text):
        units = size(character)
        if units > room and at > start:
            pieces.append(text[start:at])
            start, room = at, longest
        room -= units
    return [*pieces, text[start:]]


def utf16(text: str) -> int:
    """The length of ``text`` as providers count it: an emoji is two."""
    return len(text) + sum(character > "\uffff" for character in text)


def ascii_punctuation(text: str) -> str:
    """Replace curly quotes, dashes, unusual spaces and the like by ASCII, if ``text`` is GSM-7 then; else return it as
    it is: a text that stays UCS-2 gets no shorter."""
    plain = text.translate(_ASCII)
    return plain if is_gsm7(plain) else text


def _gsm7(character: str) -> int:
    return 2 if character in _EXTENSION else 1


def _ucs2(character: str) -> int:
    return 2 if character > "\uffff" else 1
