"""Plain ints that are counted in place, and read by :mod:`gateway.metrics` when somebody asks."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Generic, TypeVar

from gateway.histogram import Histogram
from gateway.services import Service
from protocols.app_run import AppRun

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds, in seconds, of the buckets of every duration."""
MOST_LATEST = 100
"""Durations that are added one by one before they are counted."""
MOST_ROUTES = 200
"""Routes that are counted one by one. A file may have 50,000."""
OTHER = "other"
T = TypeVar("T")
Labels = Callable[[str], Collection[str]]
"""The labels of the routes for a scope type, at most :data:`MOST_ROUTES`."""


class Durations:
    """How often something had which result, and how many seconds it took."""

    __slots__ = ("_found", "_latest")

    def __init__(self) -> None:
        self._found: dict[str | int, Histogram] = {}
        self._latest: dict[str | int, list[float]] = {}
        """Seconds that are in no histogram yet."""

    def add(self, result: str | int, seconds: float) -> None:
        latest = self.latest(result)
        latest.append(seconds)
        if len(latest) >= MOST_LATEST:
            self.settle()

    def latest(self, result: str | int) -> list[float]:
        """Return a list for the seconds of what has this ``result``: they are counted when :meth:`settle` is called,
        or when somebody reads."""
        return self._latest.setdefault(result, [])

    def settle(self) -> bool:
        """Count what is in the lists. Return whether there was something."""
        had_some = False
        for result, seconds in self._latest.items():
            if seconds:
                had_some = True
                self._found.setdefault(result, Histogram(BOUNDS)).observe_all(seconds)
                seconds.clear()
        return had_some

    @property
    def statuses(self) -> dict[int, Histogram]:
        """The durations of requests, by status."""
        self.settle()
        return {result: each for result, each in self._found.items() if isinstance(result, int)}

    @property
    def words(self) -> dict[str, Histogram]:
        """The durations of everything else, by result."""
        self.settle()
        return {result: each for result, each in self._found.items() if isinstance(result, str)}

    def together(self) -> Histogram:
        """Return the durations of everything, whatever its result."""
        self.settle()
        total = Histogram(BOUNDS)
        for each in self._found.values():
            total.add(each)
        return total

    def number(self, result: str | int) -> int:
        """Return how often there was this ``result``."""
        self.settle()
        return sum(self._found[result].counts) if result in self._found else 0


class Messages:
    """Messages on connections that a router has given to the application of one route."""

    __slots__ = ("accepted", "durations", "rejected", "taken")

    def __init__(self) -> None:
        self.taken = 0
        self.accepted = 0
        self.rejected = 0
        self.durations = Histogram(BOUNDS)
        """How many seconds passed until a message was acknowledged; in a burst, of one message in 16."""


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


class ChannelCounts:
    """The messages that workers have handled, by channel of the layer."""

    def __init__(self) -> None:
        self.handled = Counter[str]()
        self.failed = Counter[str]()
        """How often a handler has raised."""


channel_counts: Service[ChannelCounts] = Service("channel counts", ChannelCounts())
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
