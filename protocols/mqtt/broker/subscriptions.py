"""Subscriptions: the tree of filters, and a cache of what each topic name matches. Pure."""

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from protocols.mqtt.broker.grant import Grant
from protocols.mqtt.broker.topic_tree import Node, TopicTree

_MAX_CACHED = 4096

S = TypeVar("S")
V = TypeVar("V")


class Subscribers(dict[S, Grant]):
    """The subscribers of one filter."""

    __slots__ = ("copies",)

    def __init__(self) -> None:
        super().__init__()
        self.copies: set[str] | None = None
        """Names of topics whose entry in the cache of matches is a copy that has these subscribers in it."""


class Subscriptions(Generic[S]):
    """The subscribers of each filter, with what they were granted. ``S`` is a hashable subscriber."""

    def __init__(self) -> None:
        self._tree: TopicTree[Subscribers[S]] = TopicTree()
        self.count = 0
        self.matches: Matches[S] = Matches(self._find)
        """Topic name -> its subscribers, each once, with the grants of all its filters that match (3.3.5)."""

    def add(self, topic_filter: str, subscriber: S, grant: Grant) -> None:
        """Subscribe; a second time replaces the grant (MQTT-3.8.4-3)."""
        subscribers = self._tree.get(topic_filter)
        if subscribers is None:
            self._tree.set(topic_filter, subscribers := Subscribers())
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

    def _find(self, topic: str) -> list[Subscribers[S]]:
        return list(_values_of_filters(self._tree.root, topic))


class Matches(dict[str, dict[S, Grant]]):
    """Topic name -> its subscribers, found once: devices repeat their topics, and a hit costs one look-up.

    Where one filter matches, the entry is that filter's own dictionary: ten thousand may subscribe to it, and nothing
    is copied or forgotten when one of them comes or goes. Where several match, it is a copy that merges them, forgotten
    when one of them changes. A filter that comes or goes has the entries forgotten that it may match, and no others.
    """

    def __init__(self, find: Callable[[str], Sequence[Subscribers[S]]]) -> None:
        super().__init__()
        self._find = find
        self._found = 0  # since all was forgotten: it bounds the copies, too
        self._places: dict[str, set[str]] = {}  # the first two levels -> the topics that begin with them
        self._copied: list[Subscribers[S]] = []  # those that may have copies

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

    def _merge(self, topic: str, filters: Sequence[Subscribers[S]]) -> dict[S, Grant]:
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

    def forget_copies(self, subscribers: Subscribers[S]) -> None:
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


def _values_of_filters(root: Node[V], topic: str) -> Iterator[V]:
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
