"""What a route matches: pure values that look at one key (a path, a topic, an address, a number) and say yes or no."""

import keyword
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

from gateway.routing import bounded
from gateway.routing.ambiguity import is_anchored, judge, parse
from gateway.routing.literals import Literals, of_parsed, of_plain
from protocols.mqtt.wire.topics import valid_filter


class Captures(NamedTuple):
    """What a pattern took out of its key: unnamed and named groups, as ``scope["url_route"]`` holds them."""

    args: tuple[str, ...]
    kwargs: dict[str, str]
    rest: str = ""
    """What of a path comes after the match: for the routers below."""


NO_CAPTURES = Captures((), {})


Place = tuple[Literal["text", "domain", "beginning", "ending", "filter"], str]
"""What a key must have to be matched: it is this text, its domain is this, it begins or ends so, this topic filter
takes it. All without regard to case."""


class Pattern(ABC):
    """A pure value; ``str()`` is how an operator would write it. Constructors raise ValueError with one sentence."""

    @property
    def places(self) -> tuple[Place, ...]:
        """Where it can be looked up: a key that it matches is in each. None of them: every key has to be tried."""
        return ()

    @property
    def sample(self) -> str | None:
        """A key that all patterns match that cover this one; None where only an equal one does, or one for everything.
        A pattern that has one has a place."""
        return None

    @property
    def takes_all(self) -> bool:
        """Whether it surely matches every key."""
        return False

    @abstractmethod
    def match(self, key: str) -> Captures | None:
        """The captures where it matches ``key`` (may be empty), else None."""

    def covers(self, other: "Pattern") -> bool:
        """Whether every key that ``other`` matches is surely matched here: behind this one, ``other`` has no turn."""
        return self == other


@dataclass(frozen=True)
class Exactly(Pattern):
    """The key itself."""

    text: str

    @property
    def places(self) -> tuple[Place, ...]:
        return (("text", self.text),)

    def match(self, key: str) -> Captures | None:
        return NO_CAPTURES if key == self.text else None

    def __str__(self) -> str:
        return self.text


class DangerousPattern(ValueError):
    """A regular expression that can stop everything; ``part`` of it is why."""

    def __init__(self, text: str, part: str) -> None:
        where = "it" if part == text else f"{part!r}"
        super().__init__(
            f"{text!r} can take forever: {where} can match the same text in many ways, and Python tries all of them; "
            "allow one way only, such as '[a-z]+' for '([a-z]+)+'"
        )
        self.part = part


_STEPS = 1_000_000
"""Steps of a search that are taken without a watch on the time: some milliseconds."""


@dataclass(frozen=True)
class Regex(Pattern):
    """``re.search`` over the key. In paths as Django's URL patterns, in addresses without regard to case."""

    text: str
    ignore_case: bool = False
    _literals: Literals = field(init=False, compare=False, repr=False)
    _quick: int = field(init=False, compare=False, repr=False)
    """Characters of a key up to which a search surely takes a moment only."""
    _anchored: bool = field(init=False, compare=False, repr=False, default=False)

    def __post_init__(self) -> None:
        literals, quick = of_plain(self.text, ignore_case=self.ignore_case), _STEPS
        if literals is None:
            try:
                parsed = parse(self._compiled.pattern, self._compiled.flags)
            except (re.error, OverflowError, RecursionError) as error:
                raise ValueError(f"{self.text!r} is not a regular expression: {error}") from error
            literals, quick = of_parsed(parsed), self._judged(parsed)
            object.__setattr__(self, "_anchored", is_anchored(parsed))
        object.__setattr__(self, "_literals", literals)
        object.__setattr__(self, "_quick", quick)
        if not self.places:
            _ = self._compiled  # it is asked about every key; of the others few are

    def _judged(self, parsed: Any) -> int:
        judged = judge(self.text, parsed)
        if judged.dangerous is not None:
            raise DangerousPattern(self.text, judged.dangerous)
        if judged.degree is None:
            return 0
        return int(_STEPS ** (1 / max(1, judged.degree))) - 1

    @cached_property
    def _compiled(self) -> "re.Pattern[str]":
        return re.compile(self.text, re.IGNORECASE if self.ignore_case else 0)

    def match(self, key: str) -> Captures | None:
        """Raises TookTooLong where it does not come to an end."""
        compiled = self._compiled
        found = (
            compiled.search(key) if len(key) <= self._quick else bounded.search(compiled, key, anchored=self._anchored)
        )
        if found is None:
            return None
        kwargs = {name: value for name, value in found.groupdict().items() if value is not None}
        args = () if self._compiled.groupindex else found.groups()  # as Django: named groups hide the unnamed
        return Captures(args, kwargs, key[found.end() :])

    @property
    def places(self) -> tuple[Place, ...]:
        begins, ends, whole = self._literals
        if whole:
            return (("text", begins),)
        places: list[Place] = [("beginning", begins), ("ending", ends)]
        return tuple(place for place in places if place[1])

    @property
    def takes_all(self) -> bool:
        return self.text in ("", "^", ".*")

    def covers(self, other: Pattern) -> bool:
        return self.takes_all or super().covers(other)

    def __str__(self) -> str:
        return self.text


_NOT_CAPTURED = frozenset({"self", "topic", "payload", "content", "qos", "retain", "dup", "properties"})
"""What handlers call the message itself."""


@dataclass(frozen=True)
class Topic(Pattern):
    """An MQTT topic filter (MQTT 3.1.1, section 4.7): ``+`` is one level, ``#`` the rest, and
    ``{sensor}`` one level that is captured under that name."""

    text: str
    filter: str = field(init=False, repr=False)
    """As MQTT writes it: ``+`` for each capture."""
    names: frozenset[str] = field(init=False, compare=False, repr=False)
    """What it captures."""
    _levels: list[tuple[str, str]] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        levels = [_capture(self.text, level) for level in self.text.split("/")]
        names = [name for name, _ in levels if name]
        topic_filter = "/".join(level for _, level in levels)
        if not valid_filter(topic_filter):
            raise ValueError(f"{self.text!r} is no topic filter: '+' fills a level, '#' the last one")
        if len(names) != len(set(names)):
            raise ValueError(f"{self.text!r} captures one name twice")
        object.__setattr__(self, "filter", topic_filter)
        object.__setattr__(self, "names", frozenset(names))
        object.__setattr__(self, "_levels", levels)

    @cached_property  # of many filters few are asked
    def _compiled(self) -> "re.Pattern[str]":
        return re.compile(_topic_regex(self._levels), re.DOTALL)

    @property
    def places(self) -> tuple[Place, ...]:
        return (("filter" if "+" in self.filter or "#" in self.filter else "text", self.filter),)

    @property
    def sample(self) -> str:
        """The shortest topic that it matches; wildcards stand for a name that is written in no filter."""
        return self.filter.removesuffix("/#").replace("#", "\0").replace("+", "\0")  # a/# takes a (4.7.1.2)

    def match(self, key: str) -> Captures | None:
        found = self._compiled.fullmatch(key)
        if found is None:
            return None
        return Captures((), found.groupdict()) if self.names else NO_CAPTURES

    def covers(self, other: Pattern) -> bool:
        if not isinstance(other, Topic):
            return False
        if other.filter.endswith("#") and not self.filter.endswith("#"):
            return False
        return self.match(other.sample) is not None or self.filter == other.filter

    def __str__(self) -> str:
        return self.text


def _capture(text: str, level: str) -> tuple[str, str]:
    """(name, filter) of one level; the name is empty where it captures nothing. Raises ValueError."""
    if "{" not in level and "}" not in level:
        return "", level
    name = level[1:-1]
    if level != f"{{{name}}}" or not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(f"{text!r}: {level!r} is no capture; a name in braces fills a whole level, such as {{sensor}}")
    if name in _NOT_CAPTURED:
        raise ValueError(f"{text!r} cannot capture {name!r}: handlers know something else by that name")
    return name, "+"


def _topic_regex(levels: list[tuple[str, str]]) -> str:
    """``a/#`` takes ``a`` too (4.7.1.2); a filter that begins with a wildcard takes no ``$`` topic (4.7.2)."""
    parts = [f"(?P<{name}>[^/]*)" if name else "[^/]*" if level == "+" else re.escape(level) for name, level in levels]
    rest = levels[-1][1] == "#"
    body = "/".join(parts[:-1] if rest else parts)
    if rest:
        body = rf"{body}(?:/.*)?" if parts[:-1] else ".*"
    return rf"(?!\$){body}" if levels[0][1] in ("+", "#") else body


_NOT_IN_ADDRESSES = re.compile(r"[\s<>,]")
"""What a header has around addresses, and no recipient in an envelope."""


@dataclass(frozen=True)
class Address(Pattern):
    """One mail address, without regard to case."""

    address: str

    def __post_init__(self) -> None:
        local, at, domain = self.address.rpartition("@")
        if not (local and at and domain) or _NOT_IN_ADDRESSES.search(self.address):
            raise ValueError(f"{self.address!r} is no mail address; write help@example.org")

    @property
    def places(self) -> tuple[Place, ...]:
        return (("text", self.address),)

    @property
    def sample(self) -> str:
        return self.address

    def match(self, key: str) -> Captures | None:
        return NO_CAPTURES if key.casefold() == self.address.casefold() else None

    def covers(self, other: Pattern) -> bool:
        return isinstance(other, Address) and other.address.casefold() == self.address.casefold()

    def __str__(self) -> str:
        return self.address


@dataclass(frozen=True)
class Domain(Pattern):
    """Every address at one domain, and not at its subdomains."""

    domain: str

    def __post_init__(self) -> None:
        if not self.domain or "@" in self.domain or _NOT_IN_ADDRESSES.search(self.domain):
            raise ValueError(f"{self.domain!r} is no domain; write example.org")

    @property
    def places(self) -> tuple[Place, ...]:
        return (("domain", self.domain),)

    @property
    def sample(self) -> str:
        return f"@{self.domain}"

    def match(self, key: str) -> Captures | None:
        return NO_CAPTURES if key.rpartition("@")[2].casefold() == self.domain.casefold() else None

    def covers(self, other: Pattern) -> bool:
        if isinstance(other, Domain):
            return other.domain.casefold() == self.domain.casefold()
        return isinstance(other, Address) and self.match(other.address) is not None

    def __str__(self) -> str:
        return f"@{self.domain}"


_E164 = re.compile(r"\+[1-9]\d{0,14}", re.ASCII)
_BETWEEN_DIGITS = re.compile(r"[\s().-]")


@dataclass(frozen=True)
class Phone(Pattern):
    """An E.164 prefix, compared by digits. Short codes and alphanumeric senders are no phone numbers: never matched."""

    prefix: str

    def __post_init__(self) -> None:
        digits = _BETWEEN_DIGITS.sub("", self.prefix)
        if not _E164.fullmatch(digits):
            raise ValueError(f"{self.prefix!r} is no number prefix; write + and digits, such as +44")
        object.__setattr__(self, "prefix", digits)

    @property
    def places(self) -> tuple[Place, ...]:
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
            raise ValueError(f"{self.region!r} is no region; write two capital letters, such as GB")
        from phonenumbers import SUPPORTED_REGIONS  # takes a tenth of a second, and most files name none

        if self.region not in SUPPORTED_REGIONS:
            raise ValueError(
                f"{self.region!r} is no region that has phone numbers; write its ISO 3166 code, such as GB"
            )

    @property
    def places(self) -> tuple[Place, ...]:
        return (("text", self.region),)

    def match(self, key: str) -> Captures | None:
        return NO_CAPTURES if key == self.region else None

    def __str__(self) -> str:
        return self.region


@dataclass(frozen=True)
class Default(Pattern):
    """Everything that no route before it took."""

    def match(self, key: str) -> Captures | None:
        return Captures((), {}, key)

    @property
    def takes_all(self) -> bool:
        return True

    def covers(self, other: Pattern) -> bool:
        return True

    def __str__(self) -> str:
        return "default"
