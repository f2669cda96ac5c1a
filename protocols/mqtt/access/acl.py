"""The rules of ``acl``, which say what clients may publish and subscribe to. The first rule that matches decides.
Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Literal, NamedTuple

from protocols.mqtt.wire.topics import valid_filter
from protocols.server import SETTINGS_CONFIG

Action = Literal["publish", "subscribe", "all"]

_NAMES = re.compile("%[cu]")
_SHARED = "$share/"
_MAX_KNOWN = 128
_MAX_KNOWN_TOPIC = 200
"""Characters of a topic in a device's cache. Together with ``_MAX_KNOWN`` this bounds the cache's memory."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A rule of ``acl``: ``allow`` or ``deny``, and the topics that it is for. The first rule that matches decides."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    allow: Action | None = None
    """What it allows. A subscription is allowed if ``topic`` covers its whole filter."""
    deny: Action | None = None
    """What it denies. A subscription is denied if its filter has any topic in common with ``topic``."""
    topic: str
    """A topic filter; ``%c`` in it is the client id, ``%u`` the user name. ``#`` and ``+`` at its beginning match no
    topic that begins with ``$``."""
    user: str | None = None
    """The user name to which the rule applies, or a pattern with ``*``, ``?`` and ``[a-z]``; ``*`` matches every client
    with a user name. Default: every client."""
    client: str | None = None
    """The client id to which the rule applies, or a pattern. A client can choose any client id."""

    def __post_init__(self) -> None:
        if (self.allow is None) == (self.deny is None):
            raise ValueError("say one of allow and deny: publish, subscribe or all")
        if not valid_filter(_NAMES.sub("name", self.topic)):
            raise ValueError(f"{self.topic!r} is not a topic filter: + and # fill a level, # the last one")
        if self.topic.startswith(_SHARED):
            raise ValueError(f"{self.topic!r}: leave $share and the group out; a rule is for shared subscriptions too")
        if "" in (self.user, self.client):
            raise ValueError("user and client must not be empty; without them the rule is for everybody")

    @property
    def action(self) -> Action:
        return self.allow or self.deny or "all"

    def concerns(self, client_id: str, username: str | None) -> bool:
        """Whether the rule is for this device."""
        return _matches(self.user, username) and _matches(self.client, client_id)

    def topic_for(self, client_id: str, username: str | None) -> str | None:
        """The filter with the names filled in; None if a name is missing, or would be more than literal text in a
        level."""
        names = {"%c": client_id, "%u": username or ""}
        if any(not _is_literal(names[name]) for name in _NAMES.findall(self.topic)):
            return None
        filled = _NAMES.sub(lambda found: names[found[0]], self.topic)
        # A client cannot reach the server's own topics by choosing its name.
        return None if filled.startswith("$") and not self.topic.startswith("$") else filled


def check_acl(rules: Iterable[Rule]) -> None:
    """Check the rules. Raises ValueError if no rule allows anything."""
    if not any(rule.allow for rule in rules):
        raise ValueError("acl has no allow rule, so that it denies everything; end it with {allow: all, topic: '#'}")


def _matches(pattern: str | None, name: str | None) -> bool:
    return pattern is None or (bool(name) and fnmatchcase(name or "", pattern))


def _is_literal(name: str) -> bool:
    return bool(name) and not any(mark in name for mark in "/+#\0")


class _Line(NamedTuple):
    """A rule with the names of one device filled in."""

    allows: bool
    action: Action
    levels: tuple[str, ...]


class Rules:
    """The rules for one device, with its client id and user name filled in."""

    __slots__ = ("_known", "_lines")

    def __init__(self, rules: Iterable[Rule], client_id: str, username: str | None) -> None:
        self._known: dict[str, bool] = {}
        self._lines = [
            _Line(rule.allow is not None, rule.action, _levels(topic))
            for rule in rules
            if rule.concerns(client_id, username) and (topic := rule.topic_for(client_id, username)) is not None
        ]

    def may_publish(self, topic: str) -> bool:
        """Whether the device may publish to ``topic``, a valid topic name. Devices repeat topics: a hit is one
        look-up."""
        known = self._known.get(topic)
        return self._learn(topic) if known is None else known

    def may_subscribe(self, topic_filter: str) -> bool:
        """Whether it may subscribe to all of ``topic_filter``, a valid filter; shared, what it shares counts."""
        asked = _levels(_unshared(topic_filter))
        for line in self._lines:
            if line.action != "publish" and (_covers if line.allows else _intersects)(line.levels, asked):
                return line.allows
        return False

    def _learn(self, topic: str) -> bool:
        found = self._judge(topic)
        if len(topic) <= _MAX_KNOWN_TOPIC:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[topic] = found
        return found

    def _judge(self, topic: str) -> bool:
        levels = tuple(topic.split("/"))
        for line in self._lines:
            if line.action != "subscribe" and _covers(line.levels, levels):
                return line.allows
        return False


def covers(outer: str, inner: str) -> bool:
    """Whether every topic that the filter ``inner`` matches is matched by ``outer``."""
    return _covers(_levels(outer), _levels(inner))


def intersects(one: str, other: str) -> bool:
    """Whether there is a topic that both filters match."""
    return _intersects(_levels(one), _levels(other))


def _levels(topic_filter: str) -> tuple[str, ...]:
    """``#`` alone is written ``+/#``, which is the same: every topic has a first level."""
    return tuple(("+/#" if topic_filter == "#" else topic_filter).split("/"))


def _unshared(topic_filter: str) -> str:
    """The filter within a shared subscription (MQTT 5, 4.8.2)."""
    shared, _, rest = topic_filter.removeprefix(_SHARED).partition("/")
    return rest if topic_filter.startswith(_SHARED) and shared and rest else topic_filter


def _covers(outer: tuple[str, ...], inner: tuple[str, ...]) -> bool:
    if outer[0] == "+" and inner[0].startswith("$"):  # a wildcard matches no $ topic (MQTT-4.7.2-1)
        return False
    for level, wanted in zip(outer, inner, strict=False):
        if level == "#":
            return True
        if wanted == "#" or level not in ("+", wanted):
            return False
    # "sport/#" matches "sport" too: # includes the parent level (4.7.1.2).
    return outer[len(inner) :] in ((), ("#",)) and len(inner) <= len(outer)


def _intersects(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    if "+" in (one[0], other[0]) and "$" in (one[0][:1], other[0][:1]):
        return False
    for level, theirs in zip(one, other, strict=False):
        if "#" in (level, theirs):
            return True
        if level != theirs and "+" not in (level, theirs):
            return False
    shared = min(len(one), len(other))
    return (one[shared:] or other[shared:]) in ((), ("#",))
