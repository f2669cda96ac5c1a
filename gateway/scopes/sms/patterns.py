"""Phone numbers and their regions, as patterns of routes, and the routes by them."""

import re
from dataclasses import dataclass
from typing import Any

from gateway.delivery.policy import Policy
from gateway.routing.patterns import NO_CAPTURES, Captures, Condition, Pattern
from gateway.routing.router import PLAIN, Route, pattern_text, route
from protocols.lazy_names import imported

_E164 = re.compile(r"\+[1-9]\d{0,14}", re.ASCII)
_BETWEEN_DIGITS = re.compile(r"[\s().-]")


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

    @property
    def sample(self) -> str:
        return self.prefix

    def match(self, key: str) -> Captures | None:
        return NO_CAPTURES if key.startswith(self.prefix) and key[1:].isdecimal() else None

    def covers(self, other: Pattern) -> bool:
        return isinstance(other, Phone) and other.prefix.startswith(self.prefix)

    def __str__(self) -> str:
        return self.prefix


@dataclass(frozen=True)
class Country(Pattern):
    """A sender's region, ISO 3166 in two letters. A region, not a calling code: +44 is GB, GG, IM and JE."""

    region: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Z]{2}", self.region):
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


def phone(prefix: str, target: Any, policy: Policy = PLAIN) -> Route:
    """Senders whose E.164 number begins with ``prefix``, compared by digits."""
    return route(Phone(pattern_text(prefix)), target, policy)


def country(region: str, target: Any, policy: Policy = PLAIN) -> Route:
    """Senders whose number belongs to one region (ISO 3166)."""
    return route(Country(pattern_text(region)), target, policy)
