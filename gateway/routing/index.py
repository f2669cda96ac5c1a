"""Finds the patterns that may match a key by looking it up, instead of trying each of them."""

import heapq
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from gateway.routing.literals import fold
from gateway.routing.patterns import Condition, Pattern

Numbers = list[int]
"""The numbers of patterns, in order."""


class _Table(ABC):
    """Patterns with the same kind of condition."""

    @abstractmethod
    def add(self, text: str, number: int) -> None: ...

    @abstractmethod
    def find(self, key: str) -> Iterable[Numbers]:
        """Return the patterns that may match ``key``."""


class _Texts(_Table):
    """Finds patterns by the whole key."""

    def __init__(self) -> None:
        self._numbers: dict[str, Numbers] = {}

    def add(self, text: str, number: int) -> None:
        self._numbers.setdefault(fold(text), []).append(number)

    def find(self, key: str) -> Iterable[Numbers]:
        found = self._numbers.get(fold(key))
        return () if found is None else (found,)


class _Domains(_Texts):
    """Finds patterns by the part of the key after its last @."""

    def find(self, key: str) -> Iterable[Numbers]:
        return super().find(key.rpartition("@")[2])


class _Beginnings(_Texts):
    """Finds patterns by the beginning of the key."""

    def __init__(self) -> None:
        super().__init__()
        self._lengths: list[int] = []

    def add(self, text: str, number: int) -> None:
        super().add(text, number)
        length = len(fold(text))
        if length not in self._lengths:
            self._lengths = sorted([*self._lengths, length])

    def find(self, key: str) -> Iterable[Numbers]:
        folded = fold(key)
        parts = (self._part(folded, length) for length in self._lengths if length <= len(folded))
        return (found for part in parts if (found := self._numbers.get(part)) is not None)

    def _part(self, key: str, length: int) -> str:
        return key[:length]


class _Endings(_Beginnings):
    """Finds patterns by the end of the key."""

    def _part(self, key: str, length: int) -> str:
        return key[len(key) - length :]


class _Level:
    """One level of a tree of topic filters."""

    __slots__ = ("below", "here", "rest")

    def __init__(self) -> None:
        self.below: dict[str, _Level] = {}
        self.here: Numbers = []
        """Filters that end here."""
        self.rest: Numbers = []
        """Filters whose next level is #."""


class _Filters(_Table):
    """Finds patterns by topic filter, with the wildcards ``+`` and ``#``."""

    def __init__(self) -> None:
        self._root = _Level()

    def add(self, text: str, number: int) -> None:
        *levels, last = text.split("/")
        level = self._root
        for name in levels if last == "#" else [*levels, last]:
            level = level.below.setdefault(name, _Level())
        (level.rest if last == "#" else level.here).append(number)

    def find(self, key: str) -> Iterable[Numbers]:
        reached, wild = [self._root], not key.startswith("$")  # wildcards match no $ topic (4.7.2)
        for name in key.split("/"):
            if wild:
                yield from (level.rest for level in reached if level.rest)
            names = (name, "+") if wild else (name,)
            reached = [below for level in reached for each in names if (below := level.below.get(each)) is not None]
            if not reached:
                return
            wild = True
        for level in reached:
            yield level.here
            yield level.rest  # a/# takes a, too (4.7.1.2)


_TABLES: dict[str, Callable[[], _Table]] = {
    "text": _Texts,
    "domain": _Domains,
    "beginning": _Beginnings,
    "ending": _Endings,
    "filter": _Filters,
}


class Tables:
    """Numbered patterns, each under one of its conditions."""

    def __init__(self) -> None:
        self._tables: dict[str, _Table] = {}

    def add(self, condition: Condition, number: int) -> None:
        kind, text = condition
        self._tables.setdefault(kind, _TABLES[kind]()).add(text, number)

    def find(self, key: str) -> list[Numbers]:
        """Return the patterns that may match ``key``."""
        return [numbers for table in self._tables.values() for numbers in table.find(key)]


class Index:
    """An ordered list of patterns."""

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        shared = Counter(condition for pattern in patterns for condition in pattern.conditions)
        self._groups: dict[type[Pattern], tuple[Pattern, Tables, Numbers]] = {}
        for number, pattern in enumerate(patterns):
            _, tables, others = self._groups.setdefault(type(pattern), (pattern, Tables(), []))
            if pattern.conditions:
                tables.add(min(pattern.conditions, key=lambda condition: shared[condition]), number)
            else:
                others.append(number)

    def candidates(self, key_of: Callable[[Pattern], str]) -> Iterable[int]:
        """The numbers of the patterns that may match, in order. ``key_of`` gives the key of a pattern: all patterns of
        one type have the same."""
        found: list[Numbers] = []
        for pattern, tables, others in self._groups.values():
            found += tables.find(key_of(pattern))
            if others:
                found.append(others)
        return found[0] if len(found) == 1 else heapq.merge(*found)


def unreachable(patterns: Sequence[Pattern]) -> list[tuple[int, int]]:
    """Pairs of (number of a pattern, number of an earlier pattern that matches everything it could match)."""
    return list(_hidden(patterns))


def _hidden(patterns: Sequence[Pattern]) -> Iterator[tuple[int, int]]:
    same: dict[Pattern, int] = {}
    everything = len(patterns)
    tables = Tables()
    for later, pattern in enumerate(patterns):
        wider = (number for number in heapq.merge(*_beside(tables, pattern)) if patterns[number].covers(pattern))
        earlier = min(same.get(pattern, later), everything, next(wider, later))
        if earlier < later:
            yield later, earlier
            continue  # the earlier pattern also hides everything that this one hides
        same[pattern] = later
        if pattern.takes_all:
            everything = later
        if pattern.sample is not None:
            tables.add(pattern.conditions[0], later)


def _beside(tables: Tables, pattern: Pattern) -> list[Numbers]:
    """The patterns that may cover ``pattern`` without being equal to it."""
    return [] if pattern.sample is None else tables.find(pattern.sample)
