"""What routes of texts look at: numbers, their regions, short codes, names, and keywords of the text."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from gateway.routing.patterns import NO_CAPTURES, Captures, Condition, Pattern
from protocols.lazy_names import imported
from protocols.sms.keywords import FAMILIES, keyword_of

_E164 = re.compile(r"\+[1-9]\d{0,14}", re.ASCII)
_BETWEEN_DIGITS = re.compile(r"[\s().-]")
_SHORT_CODE = re.compile(r"[1-9]\d{2,7}", re.ASCII)
_REGION = re.compile(r"[A-Z]{2}")
_LONGEST_NAME = 50
_LONGEST_CODE = 3
"""Digits of the longest calling codes (E.164)."""


@dataclass(frozen=True)
class Phone(Pattern):
    """An E.164 prefix, compared by digits. Short codes and alphanumeric senders never match."""

    prefix: str

    def __post_init__(self) -> None:
        digits = _BETWEEN_DIGITS.sub("", self.prefix)
        if not _E164.fullmatch(digits):
            meant = digits if digits[:1] != "0" else digits.removeprefix("00")
            example = f"+{meant}" if _E164.fullmatch(f"+{meant}") else "+44"
            raise ValueError(f"{self.prefix!r} is not a number prefix; write + and digits, such as {example}")
        object.__setattr__(self, "prefix", digits)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return (("beginning", self.prefix),)

    def match(self, key: str) -> Captures | None:
        return NO_CAPTURES if key.startswith(self.prefix) and _E164.fullmatch(key) else None

    def __str__(self) -> str:
        return self.prefix


def doubt_of(prefix: str) -> str:
    """Return why a prefix is probably not meant: it cuts calling codes in two, or begins with none. Else nothing."""
    digits = prefix.removeprefix("+")
    if len(digits) >= _LONGEST_CODE:
        return ""
    codes = [str(code) for code in imported("phonenumbers:COUNTRY_CODE_TO_REGION_CODE")]  # not light, and rarely asked
    if digits in codes:
        return ""
    cut = sorted(code for code in codes if code.startswith(digits))
    if not cut:
        return f"no calling code begins with {prefix}"
    shown = ", ".join(f"+{code}" for code in cut[:3])
    return f"{prefix} is only a part of the calling codes {shown} and so on; write a whole one, such as +{cut[0]}"


@dataclass(frozen=True)
class Country(Pattern):
    """A number's region, ISO 3166 in two letters. A region, not a calling code: +44 is GB, GG, IM and JE."""

    region: str

    def __post_init__(self) -> None:
        if not _REGION.fullmatch(self.region):
            raise ValueError(f"{self.region!r} is not a region; write two capital letters, such as GB")
        if self.region not in imported("phonenumbers:SUPPORTED_REGIONS"):  # not light, and most files name none
            raise ValueError(
                f"{self.region!r} is not a region that has phone numbers; write its ISO 3166 code, such as GB"
            )

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return (("text", self.region),)

    def match(self, key: str) -> Captures | None:
        return NO_CAPTURES if key == self.region else None

    def __str__(self) -> str:
        return self.region


@dataclass(frozen=True)
class ShortCode(Pattern):
    """One short code: three to eight digits without a plus. The same digits are other parties in other countries."""

    code: str

    def __post_init__(self) -> None:
        if not _SHORT_CODE.fullmatch(self.code):
            raise ValueError(f"{self.code!r} is not a short code; write three to eight digits, such as 68849")

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return (("text", self.code),)

    def match(self, key: str) -> Captures | None:
        return NO_CAPTURES if key == self.code else None

    def __str__(self) -> str:
        return self.code


@dataclass(frozen=True)
class Name(Pattern):
    """One alphanumeric sender, such as a bank's name, without regard to case."""

    name: str

    def __post_init__(self) -> None:
        name = self.name.strip()
        if _E164.fullmatch(_BETWEEN_DIGITS.sub("", name)):
            raise ValueError(f"{self.name!r} is a number and not a name; write phone({name!r})")
        if _SHORT_CODE.fullmatch(name):
            raise ValueError(f"{self.name!r} is a short code and not a name; write shortcode({name!r})")
        if not name or not name.isprintable() or len(name) > _LONGEST_NAME or not any(map(str.isalpha, name)):
            raise ValueError(f"{self.name!r} is not the name of a sender; write one with a letter, such as HDFCBK")
        object.__setattr__(self, "name", name.casefold().upper())

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return (("text", self.name),)

    def match(self, key: str) -> Captures | None:
        return NO_CAPTURES if key.casefold().upper() == self.name else None

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Keyword(Pattern):
    """The first word of a text, one of several. STOP, START and HELP stand for all words that mean the same."""

    words: tuple[str, ...]
    """As they were written, in capitals and without punctuation."""
    _all: frozenset[str]

    def __init__(self, words: str | Collection[str]) -> None:
        given = [words] if isinstance(words, str) else [*words]
        if not given:
            raise ValueError("keyword: the list is empty; write a word, such as STOP")
        plain = tuple(dict.fromkeys(map(_word, given)))
        object.__setattr__(self, "words", plain)
        object.__setattr__(self, "_all", frozenset().union(*(FAMILIES.get(word, {word}) for word in plain)))

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return (("text", next(iter(self._all))),) if len(self._all) == 1 else ()

    def match(self, key: str) -> Captures | None:
        return NO_CAPTURES if key in self._all else None

    def __str__(self) -> str:
        return f"keyword {' or '.join(self.words)}"


def _word(written: str) -> str:
    """Raises ValueError."""
    if not isinstance(written, str):
        raise ValueError(f"{written!r} is not a word; write it in quotes")
    word = keyword_of(written)
    if not word or len(written.split()) != 1:
        raise ValueError(f"{written!r} is not one word; a keyword is the first word of a text, such as STOP")
    return word


@dataclass(frozen=True)
class To(Pattern):
    """The recipient, which is a number or a short code of ours, beside routes by the sender."""

    inner: Phone | ShortCode

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return self.inner.conditions

    def match(self, key: str) -> Captures | None:
        return self.inner.match(key)

    def __str__(self) -> str:
        return f"to {self.inner}"


def party(written: str) -> Phone | Country | ShortCode | Name:
    """Return what one text means in the file: ``+44`` a prefix, ``GB`` a region, ``68849`` a short code, and anything
    else a name. Raises ValueError."""
    if len(written) == 2 and written.isalpha():
        return Country(written)
    if _SHORT_CODE.fullmatch(written):
        return ShortCode(written)
    if any(map(str.isalpha, written)):
        return Name(written)
    return Phone(written)


def prefix_of(pattern: Any) -> str:
    """Return the prefix of the numbers that ``pattern`` matches; empty if it matches by something else."""
    inner = pattern.inner if isinstance(pattern, To) else pattern
    return inner.prefix if isinstance(inner, Phone) else ""
