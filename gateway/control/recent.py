"""The last arrivals of a daemon, for ``gateway tail`` and the console."""

import asyncio
import contextlib
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gateway.arrivals import Arrival, Arrivals, arrivals
from gateway.arrivals.watch import size_of

MOST = 1000
"""Arrivals that are remembered."""
MOST_CONTENT = 16 * 1024 * 1024
"""Bytes of their contents that are remembered."""
LINGER = 60.0
"""Seconds that contents are remembered after the last watcher has left: a page may be loaded again."""
_MARKS = 100
"""How often it is noted how many are not remembered any more: for so many times ``MOST`` that number is about right."""
_BESIDE = 4096
"""Bytes that a scope and its headers take, about."""


class Recent(deque[Mapping[str, Any]]):
    """What is known of each, the oldest first. It is empty until :meth:`start`, or until somebody watches: remembering
    has its price, which is paid where the log has a line for each arrival. It ends with the gateway."""

    def __init__(self) -> None:
        super().__init__(maxlen=MOST)
        self.remembers = False
        self.slot: int | None = None
        """The slot of the worker that this process is; None if it is the only process."""
        self.workers = 1
        """How many workers there are. The numbers of one are so far apart that each has others."""
        self.number = self.first = _now()
        """The number of the last one. Numbers rise, and are higher after the next start of the gateway. Those of the
        only process rise by one; those of workers are times, so that they are in the order of all workers' arrivals."""
        self._numbers: deque[int] = deque(maxlen=MOST)
        self._forgotten = 0
        """How many are not remembered any more."""
        self._newest_forgotten = 0
        self._marks: deque[tuple[int, int]] = deque(maxlen=_MARKS)
        """The number of a forgotten one, and how many are forgotten up to there; an entry for each ``MOST``."""
        self._contents: OrderedDict[int, Arrival] = OrderedDict()
        self._size = 0
        self._last: Arrival | None = None
        self._watching = 0
        self._forget: asyncio.TimerHandle | None = None
        self._stops: list[Callable[[], None]] = []
        """What to call when the last watcher leaves."""

    def start(self) -> None:
        """Remember arrivals, without their contents, until the gateway ends."""
        self.remembers = True
        arrivals.get().listen(self._add)

    @contextlib.contextmanager
    def watched(self, service: Arrivals) -> Iterator[None]:
        """Remember arrivals with their contents in this context, and for ``LINGER`` seconds afterwards."""
        self._watching += 1
        self._begin(service)
        try:
            yield
        finally:
            self._watching -= 1
            if not self._watching:
                self._forget = asyncio.get_running_loop().call_later(LINGER, self._end)

    def number_of(self, arrival: Arrival) -> int | None:
        """Return the number of the arrival that is being told; None if it is not remembered. Others may hear of it
        before this does."""
        return self._count(arrival) if self.remembers or self._stops else None

    def numbered(self) -> list[tuple[int, Mapping[str, Any]]]:
        """Return all with their numbers."""
        return list(zip(self._numbers, self, strict=True))

    def knows(self, number: int) -> bool:
        """Return whether ``number`` is of an arrival of this gateway, and not of a later one."""
        return number <= (self.number if self.slot is None else _now())

    def missed(self, after: int) -> int:
        """Return how many that came after the one of that number are not remembered any more; of workers, how many
        they are at most."""
        if not self or not self.first < after < self._newest_forgotten:
            return 0
        if self.slot is None:
            return self._newest_forgotten - after
        return self._forgotten - max((count for number, count in self._marks if number <= after), default=0)

    def content(self, number: int) -> Arrival | None:
        """Return the arrival with its scope and events; None if those are not remembered."""
        return self._contents.get(number)

    def _begin(self, service: Arrivals) -> None:
        if self._forget is not None:
            self._forget.cancel()
            self._forget = None
        if self._stops:
            return
        if not self.remembers:
            self._stops.append(service.listen(self._add))
        self._stops.append(service.listen(self._add_content, content=True))

    def _end(self) -> None:
        self._forget = None
        for stop in self._stops:
            stop()
        self._stops.clear()
        self._contents.clear()
        self._size, self._last = 0, None
        if not self.remembers:
            self.number = self._next()
            self._note_forgotten(self.number, len(self) + 1)  # those that are not seen from now on are missed
            self.clear()
            self._numbers.clear()

    def _add(self, arrival: Arrival) -> None:
        if len(self) == MOST:
            self._note_forgotten(self._numbers[0], 1)
        self._numbers.append(self._count(arrival))
        self.append(arrival.facts())

    def _note_forgotten(self, newest: int, count: int) -> None:
        self._newest_forgotten = newest
        self._forgotten += count
        if self._forgotten - (self._marks[-1][1] if self._marks else 0) >= MOST:
            self._marks.append((newest, self._forgotten))

    def _count(self, arrival: Arrival) -> int:
        """Return the number of the arrival that is being told."""
        if arrival is not self._last:
            self.number, self._last = self._next(), arrival
        return self.number

    def _next(self) -> int:
        if self.slot is None:
            return self.number + 1
        return max(self.number + self.workers, _now()) // self.workers * self.workers + self.slot

    def _add_content(self, arrival: Arrival) -> None:
        self._contents[self._count(arrival)] = arrival
        self._size += _size(arrival)
        while self._size > MOST_CONTENT or len(self._contents) > MOST:
            self._size -= _size(self._contents.popitem(last=False)[1])


def _now() -> int:
    """Return the time in microseconds since 1970."""
    return time.time_ns() // 1000


def _size(arrival: Arrival) -> int:
    return _BESIDE + len(arrival.traceback) + sum(map(size_of, arrival.events or ()))
