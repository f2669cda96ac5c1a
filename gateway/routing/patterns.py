"""Patterns of routes: pure values that match one key (a path, a topic, an address, a number) or do not."""

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

from gateway.routing import bounded
from gateway.routing.ambiguity import is_anchored, judge, parse
from gateway.routing.literals import Literals, of_parsed, of_plain


class Captures(NamedTuple):
    """The captures of a pattern: its unnamed and named groups, as in ``scope["url_route"]``."""

    args: tuple[str, ...]
    kwargs: dict[str, Any]
    """Text, except where a converter of Django's ``path()`` has made something else of it."""
    rest: str = ""
    """The part of a path after the match, for nested routers."""


NO_CAPTURES = Captures((), {})


Condition = tuple[Literal["text", "domain", "beginning", "ending", "filter"], str]
"""A condition that a key must meet to match: it is this text, has this domain, begins or ends with it, or matches this
topic filter. Case is ignored."""


class Pattern(ABC):
    """A pure value; ``str()`` gives it as an operator writes it. Constructors raise ValueError with one sentence."""

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Every key that it matches meets all of them, so that it can be looked up by any. A pattern without conditions
        is tried on every key."""
        return ()

    @property
    def sample(self) -> str | None:
        """A key that every pattern matches which covers this one; None if only an equal pattern, or one for everything,
        covers it. A pattern with a sample has a condition."""
        return None

    @property
    def takes_all(self) -> bool:
        """Whether it certainly matches every key."""
        return False

    @abstractmethod
    def match(self, key: str) -> Captures | None:
        """The captures (maybe empty) if it matches ``key``, otherwise None."""

    def covers(self, other: "Pattern") -> bool:
        """Whether it certainly matches every key that ``other`` matches: after this one, ``other`` is never reached."""
        return self == other


@dataclass(frozen=True)
class Exactly(Pattern):
    """Matches one key exactly."""

    text: str

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return (("text", self.text),)

    def match(self, key: str) -> Captures | None:
        return NO_CAPTURES if key == self.text else None

    def __str__(self) -> str:
        return self.text


class DangerousPattern(ValueError):
    """A regular expression that can take exponential time, because of its part ``part``."""

    def __init__(self, text: str, part: str) -> None:
        where = "it" if part == text else f"{part!r}"
        super().__init__(
            f"{text!r} can take forever: {where} can match the same text in many ways, and Python tries all of them; "
            "allow one way only, such as '[a-z]+' for '([a-z]+)+'"
        )
        self.part = part


_STEPS = 1_000_000
"""Steps of a search that need no time limit: a few milliseconds."""


@dataclass(frozen=True)
class Regex(Pattern):
    """``re.search`` over the key. Paths match as Django's URL patterns do; addresses match without regard to case."""

    text: str
    ignore_case: bool = False
    _literals: Literals = field(init=False, compare=False, repr=False)
    _quick: int = field(init=False, compare=False, repr=False)
    """The length of a key up to which a search is certainly quick."""
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
        if not self.conditions:
            _ = self._compiled  # it is tried on every key; most patterns with conditions are rarely tried

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

    def is_slow(self, key: str) -> bool:
        """Whether a search of ``key`` may take long."""
        return len(key) > self._quick

    def match(self, key: str) -> Captures | None:
        """Search ``key``. Raises TookTooLong if the search does not end in time."""
        compiled = self._compiled
        found = (
            compiled.search(key) if len(key) <= self._quick else bounded.search(compiled, key, anchored=self._anchored)
        )
        if found is None:
            return None
        if not compiled.groups:
            return Captures((), {}, key[found.end() :])
        kwargs = {name: value for name, value in found.groupdict().items() if value is not None}
        args = () if compiled.groupindex else found.groups()  # as Django: named groups hide the unnamed
        return Captures(args, kwargs, key[found.end() :])

    @property
    def conditions(self) -> tuple[Condition, ...]:
        begins, ends, whole = self._literals
        if whole:
            return (("text", begins),)
        conditions: list[Condition] = [("beginning", begins), ("ending", ends)]
        return tuple(condition for condition in conditions if condition[1])

    @property
    def takes_all(self) -> bool:
        return self.text in ("", "^", ".*")

    def covers(self, other: Pattern) -> bool:
        return self.takes_all or super().covers(other)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Default(Pattern):
    """Matches everything that no earlier route has matched."""

    def match(self, key: str) -> Captures | None:
        return Captures((), {}, key)

    @property
    def takes_all(self) -> bool:
        return True

    def covers(self, other: Pattern) -> bool:
        return True

    def __str__(self) -> str:
        return "default"
