"""Plain ints that are counted in place, and read by :mod:`gateway.metrics` when somebody asks."""

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

from gateway.services import Service
from protocols.app_run import AppRun

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds, in seconds, of the buckets of every duration."""
MOST_ROUTES = 200
"""Routes that are counted one by one. A file may have 50,000."""
OTHER = "other"
_NONE = (0,) * (len(BOUNDS) + 1)
T = TypeVar("T")
Labels = Callable[[str], Collection[str]]
"""The labels of the routes for a scope type, at most :data:`MOST_ROUTES`."""


class Durations:
    """How often something had which result, and how long it took."""

    __slots__ = ("seconds", "statuses", "words")

    def __init__(self) -> None:
        self.words: dict[str, list[int]] = {}
        """By result, the numbers in each bucket; the last is for what took longer than all bounds."""
        self.statuses: dict[int, list[int]] = {}
        """The same, of requests, whose result is the status."""
        self.seconds = 0.0
        """All of them together."""

    def add(self, result: str | int, seconds: float) -> None:
        found: dict[Any, list[int]] = self.statuses if isinstance(result, int) else self.words
        if result not in found:
            found[result] = [0] * (len(BOUNDS) + 1)
        found[result][bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds

    def in_buckets(self) -> list[int]:
        """The numbers in each bucket, whatever the result."""
        return [sum(column) for column in zip(*self.statuses.values(), *self.words.values(), _NONE, strict=True)]


class Messages:
    """Messages on connections that a router has given to the application of one route."""

    __slots__ = ("durations", "taken")

    def __init__(self) -> None:
        self.taken = 0
        self.durations = Durations()
        """How many seconds passed until they were acknowledged; the results are ``accepted`` and ``rejected``."""


class ByRoute(Generic[T]):
    """What ``make`` makes, by scope type and the label of a route. If there are too many labels, those that are not
    known share one."""

    def __init__(self, make: Callable[[], T], labels: Labels) -> None:
        self.found: dict[str, dict[str, T]] = {}
        """A label has an entry once it has been asked for: look here first."""
        self._make = make
        self._labels = labels
        self._known: dict[str, frozenset[str]] = {}

    def of(self, kind: str, label: str) -> T:
        if kind not in self.found:
            self.found[kind], self._known[kind] = {}, frozenset(self._labels(kind))
        found, known = self.found[kind], self._known[kind]
        if label and label not in found and label not in known and len(found) >= MOST_ROUTES - len(known):
            label = OTHER
        if label not in found:
            found[label] = self._make()
        return found[label]


class ServerCounts:
    """What one server has counted."""

    __slots__ = ("events", "messages", "open", "runs")

    def __init__(self, labels: Labels) -> None:
        self.runs = ByRoute(Durations, labels)
        self.messages = ByRoute(Messages, labels)
        self.open: set[AppRun] = set()
        """The runs of connections that have not ended."""
        self.events: dict[str, int] = {}
        """Events that the runs of connections had received that have ended, by scope type."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """The scope types of which it has counted something."""
        return tuple(dict.fromkeys((*self.runs.found, *self.messages.found)))


class RunCounts:
    """The counts of a gateway's servers, by name: a server that is started again goes on with the same ones."""

    def __init__(self, labels: Labels = lambda kind: ()) -> None:
        self._labels = labels
        self._servers: dict[str, ServerCounts] = {}

    def of(self, server: str) -> ServerCounts:
        if server not in self._servers:
            self._servers[server] = ServerCounts(self._labels)
        return self._servers[server]

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the servers that it has counts of."""
        return iter(tuple(self._servers))


run_counts: Service[RunCounts] = Service("run counts", RunCounts())
UNREAD = ServerCounts(lambda kind: ())
"""The counts of runs outside of a gateway, and of those that are a part of another one."""
current_counts: ContextVar[ServerCounts] = ContextVar("current_counts", default=UNREAD)
"""The counts of the server in whose context this runs."""


@contextmanager
def counted(counts: ServerCounts) -> Iterator[None]:
    """Let runs be counted in ``counts`` that begin in this context, or in a task that begins in it."""
    token = current_counts.set(counts)
    try:
        yield
    finally:
        current_counts.reset(token)
