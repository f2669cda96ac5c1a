"""Finds repetition in a regular expression that can take time exponential in the length of what it is searched in.

``re`` backtracks: where a text can be divided among the rounds of a loop in more than one way, and what follows the
loop fails, every division is tried. So ``(a+)+$`` and ``(a|a)*$`` double their time with each character. The expression
is read as an automaton whose states are its characters; a loop is dangerous where two different paths through it read
the same text from a state back to that state (Weber and Seidl, "On the degree of ambiguity of finite automata", 1991).

Literals, classes, groups, alternatives and repeats are read exactly (a bound of more than ``_EXACT`` counts as none).
Backreferences, atomic groups and possessive repeats overlap with nothing here, and a loop with an anchor or an
assertion in it is not judged. So some dangerous expressions are not found; ``gateway.routing.bounded`` stops those.
"""

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from re import _constants as sre  # type: ignore[attr-defined]  # what re itself is made of, since 3.11
from re import _parser as parser  # type: ignore[attr-defined]  # the same
from typing import Any, NamedTuple

_EXACT = 4
"""Rounds of a repeat with bounds that are read one by one; ``{2,40}`` is read as ``{2,}``."""
_STATES = 2_000
_PAIRS = 20_000
"""Limits on states and pairs of states; an expression with more is not judged."""

_REPEATS = (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT)
_ALWAYS = "aZ_09 -.@/+\t\n\x00\x1f\u00e9\u0130\u0660\u2003\u20ac\U0010ffff"
"""One character of each kind that a class of characters may distinguish."""
_KINDS = {
    sre.CATEGORY_DIGIT: re.compile(r"\d"),
    sre.CATEGORY_NOT_DIGIT: re.compile(r"\D"),
    sre.CATEGORY_SPACE: re.compile(r"\s"),
    sre.CATEGORY_NOT_SPACE: re.compile(r"\S"),
    sre.CATEGORY_WORD: re.compile(r"\w"),
    sre.CATEGORY_NOT_WORD: re.compile(r"\W"),
}


parse = parser.parse


class Judgement(NamedTuple):
    """What is known about an expression before it is used."""

    dangerous: str | None
    """The part that can take exponential time; the whole expression if the part cannot be identified."""
    degree: int | None
    """Time grows at most with this power of a text's length; None if unknown."""


def judge(text: str, parsed: Any) -> Judgement:
    """Judge the expression ``text``, which ``re``'s parser has turned into ``parsed``."""
    degree = _degree(parsed)
    if not any(_nested(parsed)):
        return Judgement(None, degree)
    try:
        number = _Automaton(parsed).dangerous()
    except _TooLarge:
        return Judgement(None, None)
    if number is None:
        return Judgement(None, degree)
    parts = [] if parsed.state.flags & re.VERBOSE else list(_quantified(text))
    return Judgement(parts[number] if len(parts) == len(_numbers(parsed)) else text, None)


def _degree(parsed: Any) -> int | None:
    """One for each item that may take more or less of a text, and for a search that may begin anywhere."""
    if any(op in _OPAQUE or (op in _REPEATS and _tests(value[2])) for op, value in _items(parsed)):
        return None
    return _choices(parsed) + (not is_anchored(parsed))


def is_anchored(parsed: Any) -> bool:
    """Whether it can match only at the beginning of a text."""
    first, many = list(parsed)[:1], parsed.state.flags & re.MULTILINE
    return first == [(sre.AT, sre.AT_BEGINNING_STRING)] or (first == [(sre.AT, sre.AT_BEGINNING)] and not many)


def _choices(expression: Any) -> int:
    """How many choices a search makes on its way through ``expression``: those in a counted repeat once for each round,
    those in a loop once, as a loop that is not dangerous divides a text in one way only."""
    return sum(_choices_of(op, value) for op, value in expression)


def _choices_of(op: Any, value: Any) -> int:
    within = sum(map(_choices, _children(op, value)))
    if op in _REPEATS:
        least, most, _ = value
        rounds = max(least, 1) if most is sre.MAXREPEAT else most
        return int(rounds * within + (least != most))
    if op is sre.BRANCH:
        return within + (len(value[1]) - 1).bit_length()  # of four alternatives one is chosen by two choices
    return within


def _tests(expression: Any) -> bool:
    """Whether it has an anchor or assertion: then the characters alone do not say what may follow what."""
    return any(op in _TESTS for op, _ in _items(expression))


class _TooLarge(Exception):
    """The automaton would have too many states."""


_OPAQUE = {sre.GROUPREF, sre.GROUPREF_EXISTS, sre.ATOMIC_GROUP, sre.POSSESSIVE_REPEAT}
_TESTS = {sre.AT, sre.ASSERT, sre.ASSERT_NOT}


def _children(op: Any, value: Any) -> Sequence[Any]:
    """The expressions within one item."""
    if op in _REPEATS:
        return (value[2],)
    if op is sre.BRANCH:
        return tuple(value[1])
    if op is sre.SUBPATTERN:
        return (value[3],)
    if op in (sre.ASSERT, sre.ASSERT_NOT):
        return (value[1],)
    if op is sre.ATOMIC_GROUP:
        return (value,)
    if op is sre.GROUPREF_EXISTS:
        return tuple(each for each in value[1:] if each is not None)
    return ()


def _items(expression: Any) -> Iterator[tuple[Any, Any]]:
    """Every item, inner items before outer ones, so repeats come in the order of their quantifiers."""
    for op, value in expression:
        for child in _children(op, value):
            yield from _items(child)
        yield op, value


def _nested(expression: Any) -> Iterator[bool]:
    """For each loop, whether it contains a choice: without one, its rounds can be divided in one way only."""
    for op, value in _items(expression):
        if op in _REPEATS and value[1] > _EXACT:
            yield _choices(value[2]) > 0


def _numbers(expression: Any) -> dict[int, int]:
    """Identity of a repeat -> its place among the repeats of the expression."""
    return {id(value): n for n, value in enumerate(value for op, value in _items(expression) if op in _REPEATS)}


_TOKENS = re.compile(
    r"(?P<quantifier>(?:[*+?]|\{(?:\d+(?:,\d*)?|,\d*)\})[?+]?)"
    r"|\(\?\#[^)]*\)"
    r"|(?P<open>\((?:\?(?:P<\w+>|P=\w+|<[=!]|[=!>:]|[a-zA-Z-]+:?|\(\w+\)))?)"
    r"|(?P<close>\))"
    r"|\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.",
    re.DOTALL,
)


def _quantified(text: str) -> Iterator[str]:
    """Each quantifier of ``text`` with what it repeats, in order."""
    opened: list[int] = []
    start = 0
    for token in _TOKENS.finditer(text):
        if token["quantifier"]:
            yield text[start : token.end()]
        elif token["open"]:
            opened.append(token.start())
        else:
            start = opened.pop() if token["close"] and opened else token.start()


Ways = dict[int, int]
"""State -> in how many ways it is reached without reading; more than two are two."""


@dataclass
class _Part:
    """A part of the automaton: how it begins and ends, and in how many ways it reads nothing."""

    first: Ways = field(default_factory=dict)
    last: Ways = field(default_factory=dict)
    empty: int = 0
    untested: bool = False
    """Whether one of those ways tests nothing either (an anchor, an assertion)."""
    free: frozenset[int] = frozenset()
    """States in ``last`` after which it may end without a test."""


_NOTHING = _Part(empty=1, untested=True)
_TEST = _Part(empty=1)


class _Automaton:
    def __init__(self, expression: Any) -> None:
        self._numbers = _numbers(expression)
        self._ignore_case = bool(expression.state.flags & re.IGNORECASE)
        self._any_line_end = bool(expression.state.flags & re.DOTALL)
        self._alphabet = sorted({*_ALWAYS, *_named(expression)})
        self._labels: list[int] = []
        self._edges: list[Ways] = []
        self._suspects: dict[int, set[int]] = {}
        self._roots = deque([expression])
        self._opaque = 0

    def dangerous(self) -> int | None:
        """The number of the innermost loop that is dangerous, None if no loop is."""
        whole = True
        while self._roots:
            part = self._sequence(self._roots.popleft())
            ends = part.free if whole else frozenset()  # what is in an atomic group or an assertion has more to come
            for number, states in self._suspects.items():
                if states.isdisjoint(ends):
                    return number
            whole = False
        return None

    def _sequence(self, items: Iterable[Any]) -> _Part:
        return reduce(self._then, (self._item(op, value) for op, value in items), _NOTHING)

    def _item(self, op: Any, value: Any) -> _Part:
        if op in (sre.MAX_REPEAT, sre.MIN_REPEAT):
            return self._repeat(value)
        if op is sre.SUBPATTERN:
            return self._sequence(value[3])
        if op is sre.BRANCH:
            return reduce(_either, map(self._sequence, value[1]))
        if op in (sre.ASSERT, sre.ASSERT_NOT):
            self._roots.append(value[1])
        if op in _TESTS:
            return _TEST
        if op in (sre.ATOMIC_GROUP, sre.POSSESSIVE_REPEAT):
            self._roots.append(value if op is sre.ATOMIC_GROUP else value[2])
            return _either(self._unknown(), _TEST)  # it may be empty
        if op is sre.GROUPREF_EXISTS:
            return reduce(_either, (self._sequence(each or ()) for each in value[1:]))
        if op is sre.GROUPREF:
            return self._unknown()
        return self._state(self._mask(op, value))

    def _unknown(self) -> _Part:
        """A state that overlaps with no other."""
        self._opaque += 1
        return self._state(1 << (len(self._alphabet) + self._opaque))

    def _state(self, label: int) -> _Part:
        if len(self._labels) >= _STATES:
            raise _TooLarge
        state = len(self._labels)
        self._labels.append(label)
        self._edges.append({})
        return _Part({state: 1}, {state: 1}, 0, untested=False, free=frozenset((state,)))

    def _then(self, one: _Part, two: _Part) -> _Part:
        self._connect(one.last, two.first)
        return _Part(
            _sum(one.first, two.first, one.empty),
            _sum(two.last, one.last, two.empty),
            min(2, one.empty * two.empty),
            untested=one.untested and two.untested,
            free=two.free | one.free if two.untested else two.free,
        )

    def _connect(self, last: Ways, first: Ways) -> None:
        for state, ways in last.items():
            edges = self._edges[state]
            for following, more in first.items():
                edges[following] = min(2, edges.get(following, 0) + ways * more)

    def _repeat(self, value: Any) -> _Part:
        least, most, body = value
        if most <= _EXACT:
            optional = _NOTHING
            for _ in range(most - least):
                optional = _either(self._then(self._sequence(body), optional), _NOTHING)
            return self._then(self._times(least, body), optional)
        if least == most:
            return self._times(least, body)
        before = self._times(least - 1, body)
        return self._then(before, self._loop(value, body, optional=least == 0))

    def _times(self, number: int, body: Any) -> _Part:
        return reduce(self._then, (self._sequence(body) for _ in range(number)), _NOTHING)

    def _loop(self, value: Any, body: Any, *, optional: bool) -> _Part:
        begins = len(self._labels)
        part = self._sequence(body)
        self._connect(part.last, part.first)
        number = self._numbers[id(value)]
        if number not in self._suspects and not _tests(body) and (states := self._ambiguous(begins)):
            self._suspects[number] = states
        # A round that reads nothing is one more way to leave the loop.
        last = {state: min(2, ways + min(1, part.empty)) for state, ways in part.last.items()}
        looped = _Part(part.first, last, part.empty, untested=part.untested, free=part.free)
        return _either(looped, _NOTHING) if optional else looped

    def _ambiguous(self, begins: int) -> set[int]:
        """Return the states of a loop, made since ``begins``, if two paths read the same text from one of them to
        itself; otherwise none. Each is reached from each, as the loop leads from its end to its beginning."""
        states = set(range(begins, len(self._labels)))
        if any(ways > 1 for state in states for ways in self._edges[state].values()):
            return states
        pending = deque(pair for state in states for pair in self._following(state, state) if pair[0] != pair[1])
        seen = set(pending)
        while pending:
            for pair in self._following(*pending.popleft()):
                if pair[0] == pair[1]:
                    return states
                if pair not in seen:
                    seen.add(pair)
                    pending.append(pair)
            if len(seen) > _PAIRS:
                raise _TooLarge
        return set()

    def _following(self, one: int, two: int) -> Iterator[tuple[int, int]]:
        for left in self._edges[one]:
            for right in self._edges[two]:
                if self._labels[left] & self._labels[right]:
                    yield left, right

    def _mask(self, op: Any, value: Any) -> int:
        """Which characters of the alphabet an item takes, as bits."""
        return sum(1 << n for n, char in enumerate(self._alphabet) if self._takes(op, value, char))

    def _takes(self, op: Any, value: Any, char: str) -> bool:
        if op is sre.ANY:
            return self._any_line_end or char != "\n"
        if op is sre.NOT_LITERAL:
            return not self._takes(sre.LITERAL, value, char)
        if op is sre.IN:
            negated = value[0][0] is sre.NEGATE
            return negated != any(self._takes(kind, what, char) for kind, what in value if kind is not sre.NEGATE)
        if op is sre.CATEGORY:
            return _KINDS[value].match(char) is not None
        low, high = (value, value) if op is sre.LITERAL else value
        cases = {char, char.lower(), char.upper()} if self._ignore_case else {char}
        return any(low <= ord(each) <= high for each in cases if len(each) == 1)


def _either(one: _Part, two: _Part) -> _Part:
    return _Part(
        _sum(one.first, two.first),
        _sum(one.last, two.last),
        min(2, one.empty + two.empty),
        untested=one.untested or two.untested,
        free=one.free | two.free,
    )


def _sum(one: Ways, two: Ways, times: int = 1) -> Ways:
    if not times:
        return one
    return one | {state: min(2, one.get(state, 0) + ways * times) for state, ways in two.items()}


def _named(expression: Any) -> Iterator[str]:
    """The characters that the expression names, and those at the ends of its ranges, in both cases."""
    for op, value in _items(expression):
        for kind, what in value if op is sre.IN else [(op, value)]:
            if kind in (sre.LITERAL, sre.NOT_LITERAL):
                yield from _cases(what)
            elif kind is sre.RANGE:
                yield from (*_cases(what[0]), *_cases(what[1]))


def _cases(code: int) -> Iterator[str]:
    char = chr(code)
    yield from (each for each in (char, char.lower(), char.upper()) if len(each) == 1)
