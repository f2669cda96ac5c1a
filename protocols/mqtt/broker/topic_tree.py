"""Values by topic name or filter, level by level. Pure."""

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

V = TypeVar("V")


class Node(Generic[V]):
    """One level of a tree of topics; ``value`` is of the name or filter that ends here."""

    __slots__ = ("children", "value")

    def __init__(self) -> None:
        self.children: dict[str, Node[V]] = _CHILDLESS
        self.value: V | None = None

    def add(self, level: str) -> "Node[V]":
        if self.children is _CHILDLESS:
            self.children = {}
        child = self.children[level] = Node()
        return child


_CHILDLESS: dict[str, Any] = {}
"""The children of every leaf: a million topics do not need a million empty dictionaries. It is never written to."""


class TopicTree(Generic[V]):
    """Values by topic name or filter. A branch without values is not kept."""

    def __init__(self) -> None:
        self.root: Node[V] = Node()

    def get(self, topic: str) -> V | None:
        node = self.root
        for level in topic.split("/"):
            child = node.children.get(level)
            if child is None:
                return None
            node = child
        return node.value

    def __iter__(self) -> Iterator[V]:
        """Yield all values."""
        nodes = [self.root]
        while nodes:
            node = nodes.pop()
            nodes += node.children.values()
            if node.value is not None:
                yield node.value

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
