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
_BESIDE = 4096
"""Bytes that a scope and its headers take, about."""


class Recent(deque[Mapping[str, Any]]):
    """What is known of each, the oldest first. It is empty until :meth:`start`, or until somebody watches: remembering
    has its price, which is paid where the log has a line for each arrival. It ends with the gateway."""

    def __init__(self) -> None:
        super().__init__(maxlen=MOST)
        self.remembers = False
        self.number = self.first = time.time_ns() // 1000
        """The number of the last one. Numbers rise by one, and are higher after the next start of the gateway."""
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
        if not self.remembers and not self._stops:
            return None
        return self.number if arrival is self._last else self.number + 1

    def numbered(self) -> list[tuple[int, Mapping[str, Any]]]:
        """Return all with their numbers."""
        return list(enumerate(self, self.number - len(self) + 1))

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
            self.clear()
            self.number += 1  # those that are not seen from now on are missed

    def _add(self, arrival: Arrival) -> None:
        self.append(arrival.facts())
        self.number += 1
        self._last = arrival

    def _add_content(self, arrival: Arrival) -> None:
        self._contents[self.number] = arrival
        self._size += _size(arrival)
        while self._size > MOST_CONTENT or len(self._contents) > MOST:
            self._size -= _size(self._contents.popitem(last=False)[1])


def _size(arrival: Arrival) -> int:
    return _BESIDE + len(arrival.traceback) + sum(map(size_of, arrival.events or ()))
