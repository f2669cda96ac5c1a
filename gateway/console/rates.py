"""How often each route is used, how often it fails and how long it takes: now, and in the last ten minutes.

The counters of runs only grow. They are read every :data:`EVERY` seconds, and what they grew by is kept.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, TypedDict

from gateway.counts import BOUNDS, Durations, Messages, RunCounts, ServerCounts
from gateway.delivery.service import Deliveries
from gateway.histogram import quantile
from gateway.scope_kinds import scope_kinds

EVERY = 10.0
"""Seconds between two samples."""
KEPT = 60
"""Samples that are kept."""
LATELY = 6
"""Complete samples that count as now."""
FAILED = ("failed", "retried", "dead")
"""Results of a run whose application has crashed, and ends of an attempt at a stored message that has failed."""

Key = tuple[str, str]
"""A scope type, and the label of a route; an empty one if no route took the scope."""


class Rates(TypedDict):
    """How a route does."""

    rate: float
    """How often it was used, per second: requests, mails, texts, messages that a `topic` routes, attempts at messages
    of an inbox; where connections are not divided among routes, those that ended."""
    error_share: float | None
    """The share that failed, from 0 to 1: the handler crashed or answered 5xx. Null without traffic."""
    p50: float | None
    """Half of them took fewer seconds. Null without traffic, for connections, and for messages at QoS 0."""
    p99: float | None
    """99 of 100 took fewer seconds."""


class Point(Rates):
    """How a route did in ten seconds."""

    at: float
    """When they ended, in seconds since 1970."""


@dataclass(frozen=True)
class Tally:
    """What was counted of a route. ``counts``: how many runs are in each bucket of durations, as in a histogram."""

    number: int = 0
    errors: int = 0
    counts: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)

    def plus(self, other: "Tally") -> "Tally":
        counts = tuple([one + two for one, two in zip(self.counts, other.counts, strict=True)])
        return Tally(self.number + other.number, self.errors + other.errors, counts)

    def minus(self, other: "Tally") -> "Tally":
        counts = tuple([one - two for one, two in zip(self.counts, other.counts, strict=True)])
        return Tally(self.number - other.number, self.errors - other.errors, counts)

    def over(self, seconds: float) -> Rates:
        """Return the rates, if it was counted in so many seconds."""
        number = max(self.number, self.errors)  # a connection may fail that has brought no message
        return {
            "rate": number / seconds if seconds else 0.0,
            "error_share": self.errors / number if number else None,
            "p50": quantile(0.5, BOUNDS, self.counts),
            "p99": quantile(0.99, BOUNDS, self.counts),
        }


Tallies = dict[Key, Tally]
NONE = Tally()


@dataclass(frozen=True)
class Sample:
    """What was counted from ``began``, on the monotonic clock, to ``ended``. A route that was not used is missing."""

    began: float
    ended: float
    at: float
    """The Unix time of ``ended``."""
    tallies: Tallies
    points: Mapping[Key, Point]


class Counters(NamedTuple):
    """What one gateway counts."""

    runs: RunCounts
    deliveries: Deliveries | None = None


class RouteRates:
    """Samples of the counters of some gateways. ``running`` returns those of the gateways that run."""

    def __init__(self, running: Callable[[], Iterable[Counters]], clock: Callable[[], float] = time.monotonic) -> None:
        self._running = running
        self._clock = clock
        self._samples: deque[Sample] = deque(maxlen=KEPT)
        self._before: dict[Counters, Tallies] = {}
        """What each gateway had counted at the last sample."""
        self._since = clock()
        """When that was."""

    async def keep(self) -> None:
        """Take samples for ever."""
        while True:
            await asyncio.sleep(EVERY)
            self.take()

    def take(self) -> None:
        """Take a sample. A gateway that has ended since the last one is counted for the last time."""
        now = self._read()
        self._samples.append(self._sample(now))
        self._since = self._samples[-1].ended
        self._before = {counts: now[counts] for counts in self._running() if counts in now}

    def lately(self) -> Callable[[Key], Rates]:
        """Return what gives the rates of a route in the last minute, up to this moment."""
        samples = [*islice(reversed(self._samples), LATELY), self._sample(self._read())]
        seconds = samples[-1].ended - min(sample.began for sample in samples)

        def of(key: Key) -> Rates:
            total = NONE
            for sample in samples:
                if (found := sample.tallies.get(key)) is not None:
                    total = total.plus(found)
            return total.over(seconds)

        return of

    def history(self, key: Key) -> list[Point]:
        """Return the points of a route, the oldest first; none if it was not used."""
        if not any(key in sample.points for sample in self._samples):
            return []
        return [sample.points.get(key) or _point(NONE, 0.0, sample.at) for sample in self._samples]

    def _read(self) -> dict[Counters, Tallies]:
        return {counts: _tallies(counts) for counts in dict.fromkeys((*self._before, *self._running()))}

    def _sample(self, now: Mapping[Counters, Tallies]) -> Sample:
        ended, at = self._clock(), time.time()
        grown: Tallies = {}
        for counts, tallies in now.items():
            before = self._before.get(counts, {})
            for key, tally in tallies.items():
                if tally != (earlier := before.get(key, NONE)):
                    grown[key] = grown.get(key, NONE).plus(tally.minus(earlier))
        points = {key: _point(tally, ended - self._since, at) for key, tally in grown.items()}
        return Sample(self._since, ended, at, grown, points)


def _point(tally: Tally, seconds: float, at: float) -> Point:
    return {"at": at, **tally.over(seconds)}


def _tallies(counters: Counters) -> Tallies:
    """Return all that a gateway has counted by now. Of a route with an inbox that is what its handler does: the run
    only stores a message."""
    total: Tallies = {}
    for server in counters.runs:
        for key, tally in _of_server(counters.runs.of(server)):
            total[key] = total[key].plus(tally) if key in total else tally
    if counters.deliveries is not None:
        total |= _of_inboxes(counters.deliveries)
    return total


def _of_inboxes(deliveries: Deliveries) -> Iterator[tuple[Key, Tally]]:
    for (kind, label), route in deliveries.routes.routes.items():
        if route.policy.inbox:
            of_route = deliveries.ends.found.get(kind, {}).get(label)
            yield (kind, label), _of_runs(of_route) if of_route is not None else NONE


def _of_server(counts: ServerCounts) -> Iterator[tuple[Key, Tally]]:
    kinds = scope_kinds()
    for kind in counts.kinds:
        runs, messages = counts.runs.found.get(kind, {}), counts.messages.found.get(kind, {})
        is_connection = kind in kinds and kinds[kind].is_connection
        for label in dict.fromkeys((*runs, *messages)):
            tally = _of_runs(runs[label]) if label in runs else NONE
            if is_connection:  # how long it lasted is not how fast anything was
                ended = 0 if messages else tally.number
                tally = _of_messages(messages[label], tally.errors) if label in messages else Tally(ended, tally.errors)
            yield (kind, label), tally


def _of_messages(messages: Messages, errors: int) -> Tally:
    return Tally(messages.taken, errors, tuple(messages.durations.counts))


def _of_runs(durations: Durations) -> Tally:
    errors = [of_status.counts for status, of_status in durations.statuses.items() if status >= 500]
    errors += [of_word.counts for word, of_word in durations.words.items() if word in FAILED]
    counts = durations.together().counts
    return Tally(sum(counts), sum(map(sum, errors)), tuple(counts))
