"""The literal text with which a regular expression begins or ends: what it cannot match is seen without asking it."""

import re
from collections.abc import Iterable, Iterator
from itertools import takewhile
from re import _constants as sre  # type: ignore[attr-defined]  # what re itself is made of, since 3.11
from typing import Any, NamedTuple

_PLAIN = re.compile(r"(?P<begins>\^?)(?P<text>(?:[\w@/ -]|\\[^\w\s])*)(?P<ends>\$?)")
_ESCAPED = re.compile(r"\\(.)")


class Literals(NamedTuple):
    """What every text has that the expression matches. A text may have a line end after its end, as ``$`` allows."""

    begins: str = ""
    ends: str = ""
    whole: bool = False
    """It has nothing else."""


def of_plain(text: str, *, ignore_case: bool) -> Literals | None:
    """The literals of an expression that is nothing but a text, perhaps anchored; None if it is more than that."""
    found = _PLAIN.fullmatch(text)
    if found is None:
        return None
    plain = _ESCAPED.sub(r"\1", found["text"])
    begins, ends = bool(found["begins"]), bool(found["ends"])
    if ignore_case and not plain.isascii():
        return Literals()
    return Literals(plain if begins else "", plain if ends else "", whole=begins and ends)


def of_parsed(parsed: Any) -> Literals:
    """The literals of what ``re``'s parser made of an expression."""
    items, flags = list(parsed), parsed.state.flags
    if flags & re.MULTILINE or len(items) < 2:
        return Literals()
    ignore_case = bool(flags & re.IGNORECASE)
    begins = items[0] in _BEGINNINGS and _text(items[1:], ignore_case=ignore_case)
    ends = items[-1] in _ENDS and _text(reversed(items[:-1]), ignore_case=ignore_case)[::-1]
    return Literals(begins or "", ends or "", whole=bool(begins and ends) and len(begins or "") == len(items) - 2)


_BEGINNINGS = ((sre.AT, sre.AT_BEGINNING), (sre.AT, sre.AT_BEGINNING_STRING))
_ENDS = ((sre.AT, sre.AT_END), (sre.AT, sre.AT_END_STRING))


def _text(items: Iterable[Any], *, ignore_case: bool) -> str:
    return "".join(takewhile(lambda char: char != "\n" and (char.isascii() or not ignore_case), _characters(items)))


def _characters(items: Iterable[Any]) -> Iterator[str]:
    return (chr(value) for _, value in takewhile(lambda item: item[0] is sre.LITERAL, items))


def fold(text: str) -> str:
    """``text`` without regard to case and to a line end after it: what is equal to ``re`` and to us is equal here.

    Without regard to case, ``re`` matches the letter i with U+0130 and U+0131, too.
    """
    folded = text.removesuffix("\n").casefold()
    return folded if folded.isascii() else folded.translate(_LIKE_I)


_LIKE_I = {0x131: "i", 0x307: None}  # U+0130 is casefolded to an i and U+0307
