"""Topic names and filters (section 4.7): validation, the tree of subscriptions, retained messages. Pure."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar
from weakref import WeakValueDictionary

MAX_LEVELS = 128
"""Levels of a name or filter: each costs memory in the trees below, and nobody's topics are that deep."""

_MAX_CACHED = 4096
_LOOKED_AT = 64
"""Nodes of the tree that a search looks at without finding anything, before it lets its caller do other things."""

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
        self.children: dict[str, _Node[V]] = _CHILDLESS
        self.value: V | None = None

    def add(self, level: str) -> "_Node[V]":
        if self.children is _CHILDLESS:
            self.children = {}
        child = self.children[level] = _Node()
        return child


_CHILDLESS: dict[str, Any] = {}
"""Of every leaf: a million topics do not need a million empty dictionaries. Never written to."""


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
            node = node.children.get(level) or node.add(level)
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


class _Subscribers(dict[S, Grant]):
    """Those of one filter."""

    __slots__ = ("copies",)

    def __init__(self) -> None:
        super().__init__()
        self.copies: set[str] | None = None
        """Names of topics whose entry in the cache of matches is a copy that has these subscribers in it."""


class Subscriptions(Generic[S]):
    """Who has subscribed to what, and how. ``S`` is a hashable subscriber."""

    def __init__(self) -> None:
        self._tree: _Tree[_Subscribers[S]] = _Tree()
        self.count = 0
        self.matches: _Matches[S] = _Matches(self._find)
        """Topic name -> its subscribers, each once, with the grants of all its filters that match (3.3.5)."""

    def add(self, topic_filter: str, subscriber: S, grant: Grant) -> None:
        """Subscribe; a second time replaces the grant (MQTT-3.8.4-3)."""
        subscribers = self._tree.get(topic_filter)
        if subscribers is None:
            self._tree.set(topic_filter, subscribers := _Subscribers())
            self.matches.forget(topic_filter)
        else:
            self.matches.forget_copies(subscribers)
        self.count += subscriber not in subscribers
        subscribers[subscriber] = grant

    def remove(self, topic_filter: str, subscriber: S) -> None:
        """Unsubscribe; of what is not there, nothing."""
        subscribers = self._tree.get(topic_filter)
        if subscribers is None or subscriber not in subscribers:
            return
        self.count -= 1
        del subscribers[subscriber]
        if subscribers:
            self.matches.forget_copies(subscribers)
        else:
            self._tree.remove(topic_filter)
            self.matches.forget(topic_filter)

    def _find(self, topic: str) -> list[_Subscribers[S]]:
        return list(_values_of_filters(self._tree.root, topic))


class _Matches(dict[str, dict[S, Grant]]):
    """Topic name -> its subscribers, found once: devices repeat their topics, and a hit costs one look-up.

    Where one filter matches, the entry is that filter's own dictionary: ten thousand may subscribe to it, and nothing
    is copied or forgotten when one of them comes or goes. Where several match, it is a copy that merges them, forgotten
    when one of them changes. A filter that comes or goes has the entries forgotten that it may match, and no others.
    """

    def __init__(self, find: Callable[[str], Sequence[_Subscribers[S]]]) -> None:
        super().__init__()
        self._find = find
        self._found = 0  # since all was forgotten: it bounds the copies, too
        self._places: dict[str, set[str]] = {}  # the first two levels -> the topics that begin with them
        self._copied: list[_Subscribers[S]] = []  # those that may have copies

    def __missing__(self, topic: str) -> dict[S, Grant]:
        if self._found >= _MAX_CACHED:
            self._forget_all()
        self._found += 1
        place = _place(topic.split("/", 2))
        topics = self._places.get(place)
        if topics is None:
            self._places[place] = {topic}
        else:
            topics.add(topic)
        filters = self._find(topic)
        found = self[topic] = self._merge(topic, filters) if len(filters) > 1 else filters[0] if filters else {}
        return found

    def _merge(self, topic: str, filters: Sequence[_Subscribers[S]]) -> dict[S, Grant]:
        grants = dict(filters[0])
        for subscribers in filters[1:]:
            for subscriber, grant in subscribers.items():
                earlier = grants.get(subscriber)
                grants[subscriber] = grant if earlier is None else earlier.merged(grant)
        for subscribers in filters:
            if subscribers.copies is None:
                subscribers.copies = set()
                self._copied.append(subscribers)
            subscribers.copies.add(topic)
        return grants

    def forget_copies(self, subscribers: _Subscribers[S]) -> None:
        """They change."""
        if subscribers.copies:
            for topic in subscribers.copies:
                self._forget_topic(topic)
            subscribers.copies.clear()  # it stays among _copied

    def forget(self, topic_filter: str) -> None:
        """It has come, or gone."""
        levels = topic_filter.split("/", 2)
        if "+" not in topic_filter and "#" not in topic_filter:
            self._forget_topic(topic_filter)
        elif len(levels) > 2 and not {"+", "#"} & {levels[0], levels[1]}:
            for topic in self._places.pop(_place(levels), ()):
                self.pop(topic, None)
        else:
            self._forget_all()

    def _forget_topic(self, topic: str) -> None:
        if self.pop(topic, None) is not None:
            topics = self._places[place := _place(topic.split("/", 2))]
            topics.discard(topic)
            if not topics:
                del self._places[place]

    def _forget_all(self) -> None:
        self.clear()
        self._found = 0
        self._places.clear()
        for subscribers in self._copied:
            subscribers.copies = None
        self._copied.clear()


def _place(levels: Sequence[str]) -> str:
    return f"{levels[0]}/{levels[1]}" if len(levels) > 1 else levels[0]


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


class _Children(list["_Node[V]"]):
    """Of one node, at one time: a tree that is walked through in several slices may change between them."""

    __slots__ = ("__weakref__", "changes")

    def __init__(self, node: "_Node[V]", changes: int, *, at_root: bool) -> None:
        """``changes``: how often topics had come or gone by then."""
        children = node.children
        super().__init__(
            children.values() if not at_root else (children[name] for name in children if not name.startswith("$"))
        )
        self.changes = changes


class Retained(Generic[V]):
    """The last retained message of each topic. ``limit`` bounds the sum of the sizes that :meth:`set` is told."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._count = 0
        self._tree: _Tree[tuple[V, int]] = _Tree()
        self._changes = 0
        self._children: WeakValueDictionary[_Node[tuple[V, int]], _Children[tuple[V, int]]] = WeakValueDictionary()

    def set(self, topic: str, message: V, size: int) -> bool:
        """Keep ``message`` in place of the topic's last one; False, and nothing changes, where there is no room."""
        old = self._tree.get(topic)
        used = self._used - (old[1] if old else 0) + size
        if used > self._limit:
            return False
        self._used = used
        self._count += old is None
        self._changes += old is None
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
        self._changes += 1
        self._tree.remove(topic)
        return True

    def __len__(self) -> int:
        return self._count

    def match(self, topic_filter: str) -> Iterator[V | None]:
        """The messages of the topics that a filter matches, as they are when their turn comes; what is set or removed
        meanwhile may or may not be among them. None now and then while none is found: the caller may go on later.
        """
        levels = topic_filter.split("/")
        # Iterators over nodes that are still to be looked at, and which level of the filter is for what is below them.
        pending: list[tuple[Iterator[_Node[tuple[V, int]]], int]] = [(iter((self._tree.root,)), 0)]
        looked_at = 0
        while pending:
            nodes, depth = pending[-1]
            node = next(nodes, None)
            if node is None:
                pending.pop()
                continue
            level = levels[depth] if depth < len(levels) else ""
            at_end, below = depth == len(levels), level == "#"
            if node.value is not None and (at_end or below):
                looked_at = 0
                yield node.value[0]
            elif (looked_at := looked_at + 1) % _LOOKED_AT == 0:
                yield None
            if not at_end and node.children:
                children = self._all_children(node) if below or level == "+" else _child(node, level)
                pending.append((iter(children), depth if below else depth + 1))

    def _all_children(self, node: _Node[tuple[V, int]]) -> Sequence[_Node[tuple[V, int]]]:
        """Of now. Searches share one list until a topic comes or goes: a thousand clients may come back at once and
        subscribe to what 100,000 devices have said."""
        children = self._children.get(node)
        if children is None or children.changes != self._changes:
            children = _Children(node, self._changes, at_root=node is self._tree.root)
            self._children[node] = children
        return children


def _child(node: _Node[V], level: str) -> Sequence[_Node[V]]:
    return (child,) if (child := node.children.get(level)) is not None else ()
