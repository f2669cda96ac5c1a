"""Topic filters, as patterns of routes, and the routes by them."""

import keyword
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from gateway.consumers.parameters import wanted_by
from gateway.delivery.policy import Policy
from gateway.routing.patterns import NO_CAPTURES, Captures, Condition, Pattern
from gateway.routing.router import PLAIN, Route, pattern_text, route
from protocols.mqtt.wire.topics import valid_filter

_NOT_CAPTURED = frozenset({"self", "topic", "payload", "content", "qos", "retain", "dup", "properties"})
"""What handlers call the message itself."""


@dataclass(frozen=True)
class Topic(Pattern):
    """An MQTT topic filter (MQTT 3.1.1, section 4.7): ``+`` is one level, ``#`` the rest, and
    ``{sensor}`` one level that is captured under that name."""

    text: str
    filter: str = field(init=False, repr=False)
    """The topic filter as MQTT writes it, with ``+`` for each capture."""
    names: frozenset[str] = field(init=False, compare=False, repr=False)
    """What it captures."""
    _levels: list[tuple[str, str]] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        levels = [_capture(self.text, level) for level in self.text.split("/")]
        names = [name for name, _ in levels if name]
        topic_filter = "/".join(level for _, level in levels)
        if not valid_filter(topic_filter):
            raise ValueError(f"{self.text!r} is not a topic filter: '+' fills a level, '#' the last one")
        if len(names) != len(set(names)):
            raise ValueError(f"{self.text!r} captures one name twice")
        object.__setattr__(self, "filter", topic_filter)
        object.__setattr__(self, "names", frozenset(names))
        object.__setattr__(self, "_levels", levels)

    @cached_property  # of many filters few are asked
    def _compiled(self) -> "re.Pattern[str]":
        return re.compile(_topic_regex(self._levels), re.DOTALL)

    @property
    def conditions(self) -> tuple[Condition, ...]:
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
    """(name, filter) of one level; the name is empty if it captures nothing. Raises ValueError."""
    if "{" not in level and "}" not in level:
        return "", level
    name = level[1:-1]
    if level != f"{{{name}}}" or not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(
            f"{text!r}: {level!r} is not a capture; a name in braces fills a whole level, such as {{sensor}}"
        )
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


def topic(filter: str, target: Any, policy: Policy = PLAIN) -> Route:
    """An MQTT topic filter, with ``+`` and ``#``; ``{sensor}`` captures one level. Raises ValueError if it does not
    capture what the consumer's handler must have."""
    pattern = Topic(pattern_text(filter))
    made = route(pattern, target, policy)
    for name in sorted(wanted_by(made.app).required - pattern.names):
        raise ValueError(f"{filter!r} does not capture {name!r}, which {made.target} takes; write {{{name}}}")
    return made
