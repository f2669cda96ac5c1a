"""Topic names and filters (section 4.7): validation, the tree of subscriptions, retained messages. Pure."""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

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
    levels = topic_filter.split("/")
    if not topic_filter or "\0" in topic_filter or len(levels) > MAX_LEVELS:
        return False
    return not any(len(level) > 1 and ("+" in level or "#" in level) for level in levels) and "#" not in levels[:-1]


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
    """Who has subscribed to what, and at which QoS. ``S`` is a hashable subscriber."""

    def __init__(self) -> None:
        self._tree: _Tree[dict[S, int]] = _Tree()
        self.matches: _Matches[S] = _Matches(self._find)
        """Topic name -> its subscribers, each once, at the highest QoS of its filters that match (3.3.5)."""

    def add(self, topic_filter: str, subscriber: S, qos: int) -> None:
        """Subscribe; a second time replaces the QoS (MQTT-3.8.4-3)."""
        self.matches.clear()
        subscribers = self._tree.get(topic_filter)
        if subscribers is None:
            self._tree.set(topic_filter, {subscriber: qos})
        else:
            subscribers[subscriber] = qos

    def remove(self, topic_filter: str, subscriber: S) -> None:
        """Unsubscribe; of what is not there, nothing."""
        subscribers = self._tree.get(topic_filter)
        if subscribers is None or subscriber not in subscribers:
            return
        self.matches.clear()
        del subscribers[subscriber]
        if not subscribers:
            self._tree.remove(topic_filter)

    def _find(self, topic: str) -> tuple[tuple[S, int], ...]:
        best: dict[S, int] = {}
        for subscribers in _values_of_filters(self._tree.root, topic):
            for subscriber, qos in subscribers.items():
                best[subscriber] = max(qos, best.get(subscriber, 0))
        return tuple(best.items())


class _Matches(dict[str, tuple[tuple[S, int], ...]]):
    """Topic name -> its subscribers, found once: devices repeat their topics, and a hit costs one look-up."""

    def __init__(self, find: Callable[[str], tuple[tuple[S, int], ...]]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, topic: str) -> tuple[tuple[S, int], ...]:
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
        self._tree: _Tree[tuple[V, int]] = _Tree()

    def set(self, topic: str, message: V, size: int) -> bool:
        """Keep ``message`` in place of the topic's last one; False, and nothing changes, where there is no room."""
        old = self._tree.get(topic)
        used = self._used - (old[1] if old else 0) + size
        if used > self._limit:
            return False
        self._used = used
        self._tree.set(topic, (message, size))
        return True

    def remove(self, topic: str) -> None:
        old = self._tree.get(topic)
        if old is not None:
            self._used -= old[1]
            self._tree.remove(topic)

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
