"""What is to be done at which time. Pure."""

import heapq
import itertools
from collections.abc import Callable, Hashable

SLICE = 64
"""Entries that are done without a pause: ten thousand sessions, or a million messages, may end in one second."""

_Entry = tuple[float, int, Hashable]


class Timers:
    """One entry a key: a later one takes the place of an earlier one, and costs no memory beside it for long."""

    def __init__(self) -> None:
        self._calls: dict[Hashable, tuple[int, Callable[[], None]]] = {}
        self._heap: list[_Entry] = []
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._calls)

    def at(self, due: float, key: Hashable, call: Callable[[], None]) -> None:
        number = next(self._numbers)
        self._calls[key] = number, call
        heapq.heappush(self._heap, (due, number, key))
        if len(self._heap) > 2 * len(self._calls) + 64:
            self._compact()

    def cancel(self, key: Hashable) -> None:
        self._calls.pop(key, None)

    def run(self, now: float) -> bool:
        """Do what is due, in the order of the times, a slice of it; whether there is more."""
        for _ in range(SLICE):
            if not self._heap or self._heap[0][0] > now:
                return False
            entry = heapq.heappop(self._heap)
            if self._current(entry):
                self._calls.pop(entry[2])[1]()
        return True

    def _current(self, entry: _Entry) -> bool:
        call = self._calls.get(entry[2])
        return call is not None and call[0] == entry[1]

    def _compact(self) -> None:
        self._heap = [entry for entry in self._heap if self._current(entry)]
        heapq.heapify(self._heap)
