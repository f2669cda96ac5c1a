"""Topic names and filters (section 4.7): validation, the tree of subscriptions, retained messages. Pure."""

from collections.abc import Callable, Iterator
from typing import Generic, NamedTuple, TypeVar

MAX_LEVELS = 128
"""Levels of a name or filter: each costs memory in the trees below, and nobody's topics are that deep."""

_MAX_CACHED = 4096

S = TypeVar("S")
V = TypeVar("V")


def valid_name(topic: str) -> bool:
    """Whether ``topic`` may be published to: not empty, no wildcard, no NUL, at most 65,535 bytes and MAX_LEVELS."""
    if not topic or "+" in topic or "#" in topic or "\0" in topic or topic.count("/") >= MAX_LEVELS:
        return False
    try:
        return len(topic.encode()) < 65536
    except UnicodeEncodeError:  # a lone surrogate
        return False


def valid_filter(topic_filter: str) -> bool:
    """Whether ``filter`` may be subscribed to: wildcards fill a level, ``#`` the last one (4.7.1)."""
    group, topic_filter = split_share(topic_filter)
    levels = topic_filter.split("/")
    if not topic_filter or "\0" in topic_filter or len(levels) > MAX_LEVELS or not _valid_group(group):
        return False
    return not any(len(level) > 1 and ("+" in level or "#" in level) for level in levels) and "#" not in levels[:-1]


def split_share(topic_filter: str) -> tuple[str | None, str]:
    """The group of a shared subscription, and the filter it is for (MQTT 5, 4.8.2); None where it is not shared."""
    if not topic_filter.startswith("$share/"):
        return None, topic_filter
    group, _, shared = topic_filter.removeprefix("$share/").partition("/")
    return group, shared


def _valid_group(group: str | None) -> bool:
    return group is None or (group != "" and "+" not in group and "#" not in group and "\0" not in group)


class Grant(NamedTuple):
    """What a subscriber asked for, and got (MQTT 5, 3.8.3.1)."""

    qos: int
    no_local: bool = False
    """Not what it has published itself."""
    retain_as_published: bool = False
    identifiers: tuple[int, ...] = ()
    """The subscription identifiers to send along."""
    own: "Grant | None" = None
    """What counts of several for what the subscriber has published itself, where No Local takes some of them away."""

    @property
    def local(self) -> "Grant | None":
        """What counts of it for what the subscriber has published itself; None where it gets nothing of that."""
        return None if self.no_local else self.own or self

    def merged(self, other: "Grant") -> "Grant":
        """Both filters match a topic, and the message is sent once (3.3.4): at the higher QoS, with all identifiers."""
        both, mine, theirs = _together(self, other), self.local, other.local
        if both.no_local or (mine is self and theirs is other):
            return both
        return both._replace(own=_together(mine, theirs) if mine and theirs else mine or theirs)


def _together(one: Grant, other: Grant) -> Grant:
    return Grant(
        max(one.qos, other.qos),
        one.no_local and other.no_local,
        one.retain_as_published or other.retain_as_published,
        one.identifiers + other.identifiers,
    )


class _Node(Generic[V]):
    """One level of a tree of topics; ``value`` is of the name or filter that ends here."""

    __slots__ = ("children", "value")

    def __init__(self) -> None:
        self.children: dict[str, _Node[V]] = {}
        self.value: V | None = None


class _Tree(Generic[V]):
    """Values by topic name or filter. A branch without values is not kept."""

    def __init__(self) -> None:
        self.root: _Node[V] = _Node()

    def get(self, topic: str) -> V | None:
        node = self.root
        for level in topic.split("/"):
            child = node.children.get(level)
            if child is None:
                return None
            node = child
        return node.value

    def set(self, topic: str, value: V) -> None:
        node = self.root
        for level in topic.split("/"):
            child = node.children.get(level)
            if child is None:
                child = node.children[level] = _Node()
            node = child
        node.value = value

    def remove(self, topic: str) -> None:
        levels = topic.split("/")
        path = [self.root]
        for level in levels:
            child = path[-1].children.get(level)
            if child is None:
                return
            path.append(child)
        path[-1].value = None
        for level, parent, child in zip(reversed(levels), reversed(path[:-1]), reversed(path[1:]), strict=True):
            if child.value is not None or child.children:
                return
            del parent.children[level]


class Subscriptions(Generic[S]):
    """Who has subscribed to what, and how. ``S`` is a hashable subscriber."""

    def __init__(self) -> None:
        self._tree: _Tree[dict[S, Grant]] = _Tree()
        self.count = 0
        self.matches: _Matches[S] = _Matches(self._find)
        """Topic name -> its subscribers, each once, with the grants of all its filters that match (3.3.5)."""

    def add(self, topic_filter: str, subscriber: S, grant: Grant) -> None:
        """Subscribe; a second time replaces the grant (MQTT-3.8.4-3)."""
        self.matches.clear()
        subscribers = self._tree.get(topic_filter)
        if subscribers is None:
            self._tree.set(topic_filter, subscribers := {})
        self.count += subscriber not in subscribers
        subscribers[subscriber] = grant

    def remove(self, topic_filter: str, subscriber: S) -> None:
        """Unsubscribe; of what is not there, nothing."""
        subscribers = self._tree.get(topic_filter)
        if subscribers is None or subscriber not in subscribers:
            return
        self.matches.clear()
        self.count -= 1
        del subscribers[subscriber]
        if not subscribers:
            self._tree.remove(topic_filter)

    def _find(self, topic: str) -> tuple[tuple[S, Grant], ...]:
        grants: dict[S, Grant] = {}
        for subscribers in _values_of_filters(self._tree.root, topic):
            for subscriber, grant in subscribers.items():
                earlier = grants.get(subscriber)
                grants[subscriber] = grant if earlier is None else earlier.merged(grant)
        return tuple(grants.items())


class _Matches(dict[str, tuple[tuple[S, Grant], ...]]):
    """Topic name -> its subscribers, found once: devices repeat their topics, and a hit costs one look-up."""

    def __init__(self, find: Callable[[str], tuple[tuple[S, Grant], ...]]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, topic: str) -> tuple[tuple[S, Grant], ...]:
        if len(self) >= _MAX_CACHED:
            self.clear()
        found = self[topic] = self._find(topic)
        return found


def _values_of_filters(root: _Node[V], topic: str) -> Iterator[V]:
    """The values of the filters in the tree that match a topic name, level by level."""
    levels = topic.split("/")
    # Wildcards at the first level do not match a name that begins with $ (MQTT-4.7.2-1).
    nodes, wild = [root], not topic.startswith("$")
    for level in levels:
        following = []
        for node in nodes:
            keys = (level, "+") if wild else (level,)
            if wild and (rest := node.children.get("#")) is not None and rest.value is not None:
                yield rest.value
            following += [child for key in keys if (child := node.children.get(key)) is not None]
        nodes, wild = following, True
    for node in nodes:
        if node.value is not None:
            yield node.value
        # "sport/#" matches "sport" too: # includes the parent level (4.7.1.2).
        if (rest := node.children.get("#")) is not None and rest.value is not None:
            yield rest.value


class Retained(Generic[V]):
    """The last retained message of each topic. ``limit`` bounds the sum of the sizes that :meth:`set` is told."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._count = 0
        self._tree: _Tree[tuple[V, int]] = _Tree()

    def set(self, topic: str, message: V, size: int) -> bool:
        """Keep ``message`` in place of the topic's last one; False, and nothing changes, where there is no room."""
        old = self._tree.get(topic)
        used = self._used - (old[1] if old else 0) + size
        if used > self._limit:
            return False
        self._used = used
        self._count += old is None
        self._tree.set(topic, (message, size))
        return True

    def get(self, topic: str) -> V | None:
        kept = self._tree.get(topic)
        return kept[0] if kept else None

    def remove(self, topic: str) -> bool:
        """Whether there was one."""
        old = self._tree.get(topic)
        if old is None:
            return False
        self._used -= old[1]
        self._count -= 1
        self._tree.remove(topic)
        return True

    def __len__(self) -> int:
        return self._count

    def match(self, topic_filter: str) -> Iterator[V]:
        """The messages of the topics that a filter matches."""
        nodes = [self._tree.root]
        levels = topic_filter.split("/")
        for depth, level in enumerate(levels):
            if level == "#":
                return (value[0] for value in _values_below(nodes, at_root=depth == 0))
            nodes = [child for node in nodes for child in _children(node, level, at_root=depth == 0)]
        return (node.value[0] for node in nodes if node.value is not None)


def _children(node: _Node[V], level: str, *, at_root: bool) -> list[_Node[V]]:
    if level != "+":
        return [child] if (child := node.children.get(level)) is not None else []
    return [child for name, child in node.children.items() if not (at_root and name.startswith("$"))]


def _values_below(nodes: list[_Node[V]], *, at_root: bool) -> Iterator[V]:
    """The values of ``nodes`` and of everything under them."""
    pending = _children(nodes[0], "+", at_root=True) if at_root else list(nodes)
    while pending:
        node = pending.pop()
        if node.value is not None:
            yield node.value
        pending += node.children.values()
