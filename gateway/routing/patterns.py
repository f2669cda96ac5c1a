"""What a route matches: pure values that look at one key (a path, a topic, an address, a number) and say yes or no."""

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

from gateway.routing import bounded
from gateway.routing.ambiguity import is_anchored, judge, parse
from gateway.routing.literals import Literals, of_parsed, of_plain


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
