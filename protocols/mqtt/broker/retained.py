"""The last retained message of each topic, and those that a filter matches. Pure."""

from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

from protocols.mqtt.broker.topic_tree import Node, TopicTree

_LOOKED_AT = 64
"""Nodes of the tree that a search looks at without finding anything, before it lets its caller do other things."""

V = TypeVar("V")


class Children(list["Node[V]"]):
    """The children of one node, as they were at one time: a tree that is searched in several slices may change between
    them."""

    __slots__ = ("__weakref__", "changes")

    def __init__(self, node: "Node[V]", changes: int, *, at_root: bool) -> None:
        """``changes``: how often topics had come or gone by then."""
        children = node.children
        super().__init__(
            children.values() if not at_root else (children[name] for name in children if not name.startswith("$"))
        )
        self.changes = changes


class Retained(Generic[V]):
    """The last retained message of each topic. ``limit`` bounds the sum of the sizes that :meth:`set` is told."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._used = 0
        self._count = 0
        self._tree: TopicTree[tuple[V, int]] = TopicTree()
        self._changes = 0
        self._children: WeakValueDictionary[Node[tuple[V, int]], Children[tuple[V, int]]] = WeakValueDictionary()

    def set(self, topic: str, message: V, size: int) -> bool:
        """Keep ``message`` in place of the topic's last one; False, and nothing changes, where there is no room."""
        old = self._tree.get(topic)
        used = self._used - (old[1] if old else 0) + size
        if used > self.limit:
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
        """Remove the message of a topic; return whether there was one."""
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

    def __iter__(self) -> Iterator[V]:
        """Yield all messages."""
        return (message for message, _ in self._tree)

    def match(self, topic_filter: str) -> Iterator[V | None]:
        """Yield the messages of the topics that a filter matches, each as it is at that moment. Messages that are set
        or removed during the search may or may not be among them. Yield None now and then while none is found, so that
        the caller can go on later.
        """
        levels = topic_filter.split("/")
        # Iterators over nodes that are still to be looked at, and which level of the filter is for what is below them.
        pending: list[tuple[Iterator[Node[tuple[V, int]]], int]] = [(iter((self._tree.root,)), 0)]
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

    def _all_children(self, node: Node[tuple[V, int]]) -> Sequence[Node[tuple[V, int]]]:
        """List the children as they are now. Searches share one list until a topic comes or goes: a thousand clients
        may come back at once and subscribe to the topics of 100,000 devices."""
        children = self._children.get(node)
        if children is None or children.changes != self._changes:
            children = Children(node, self._changes, at_root=node is self._tree.root)
            self._children[node] = children
        return children


def _child(node: Node[V], level: str) -> Sequence[Node[V]]:
    return (child,) if (child := node.children.get(level)) is not None else ()
