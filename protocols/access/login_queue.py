"""A fair queue of password checks: addresses take turns, and the user names of an address do, too."""

import asyncio
import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Check = Callable[[], Coroutine[Any, Any, T]]


class _Pending(Generic[T]):
    """One check, and the connections that wait for it."""

    __slots__ = ("check", "done", "key", "name", "task", "waiters")

    def __init__(self, key: Hashable, name: str, check: Check[T], done: "asyncio.Future[T]") -> None:
        self.key = key
        self.name = name
        self.check = check
        self.done = done
        self.waiters: Counter[str] = Counter()
        """Number of waiting connections by address. The turn of any of these addresses can start the check."""
        self.task: asyncio.Task[T] | None = None


class LoginQueue(Generic[T]):
    """Addresses take turns, one check each, so a thousand wrong logins from one address delay a right login from
    another by one check instead of a thousand. Of two addresses, the one with the smaller ``failures`` comes first. The
    user names of one address take turns in the same way.

    Clients that send the same login at the same time share one check. A check for which no client waits any more is
    dropped unless it has begun, so the queue is never longer than the number of connections.
    """

    def __init__(self, size: int, failures: Callable[[str], float]) -> None:
        """``size`` is the number of checks at a time."""
        self._free = size
        self._failures = failures
        self._pending: dict[Hashable, _Pending[T]] = {}
        self._waiting: dict[str, dict[str, dict[_Pending[T], None]]] = {}
        """Logins that wait, by address and by user name: first the next turn, then in order of arrival."""
        self._turns: list[tuple[float, int, str]] = []
        """A heap of (failures, number of the turn, address). Each address is in it once."""
        self._listed: set[str] = set()
        """The addresses in the heap."""
        self._number = itertools.count()

    def __len__(self) -> int:
        """Checks that have not ended."""
        return len(self._pending)

    async def run(self, key: Hashable, address: str, name: str, check: Check[T]) -> T:
        """Return or raise what ``check()`` does, or what a waiting check with the same ``key`` does."""
        pending = self._pending.get(key)
        if pending is None:
            pending = self._pending[key] = _Pending(key, name, check, asyncio.get_running_loop().create_future())
        self._join(pending, address)
        self._start()
        try:
            return await asyncio.shield(pending.done)
        finally:
            self._leave(pending, address)

    def _join(self, pending: _Pending[T], address: str) -> None:
        pending.waiters[address] += 1
        if pending.task is None:
            self._waiting.setdefault(address, {}).setdefault(pending.name, {})[pending] = None
            self._list(address)

    def _leave(self, pending: _Pending[T], address: str) -> None:
        pending.waiters[address] -= 1
        if pending.waiters[address]:
            return
        del pending.waiters[address]
        if pending.task is None:
            self._withdraw(pending, address)
            if not pending.waiters:
                del self._pending[pending.key]

    def _list(self, address: str) -> None:
        if address not in self._listed:
            self._listed.add(address)
            heapq.heappush(self._turns, (self._failures(address), next(self._number), address))

    def _withdraw(self, pending: _Pending[T], address: str) -> None:
        names = self._waiting[address]
        del names[pending.name][pending]
        if not names[pending.name]:
            del names[pending.name]
        if not names:
            del self._waiting[address]

    def _start(self) -> None:
        while self._free and (pending := self._next()) is not None:
            self._free -= 1
            pending.task = asyncio.ensure_future(pending.check())
            pending.task.add_done_callback(partial(self._ended, pending))

    def _next(self) -> _Pending[T] | None:
        while self._turns:
            _, _, address = heapq.heappop(self._turns)
            self._listed.discard(address)
            if address in self._waiting:  # otherwise all its clients have left
                return self._take(address)
        return None

    def _take(self, address: str) -> _Pending[T]:
        names = self._waiting[address]
        name = next(iter(names))
        pending = next(iter(names[name]))
        for each in pending.waiters:
            self._withdraw(pending, each)
        if name in names:
            names[name] = names.pop(name)  # behind the others
        if names:
            self._list(address)
        return pending

    def _ended(self, pending: _Pending[T], task: "asyncio.Task[T]") -> None:
        self._free += 1
        del self._pending[pending.key]
        if task.cancelled():
            pending.done.cancel()
        elif (error := task.exception()) is not None:
            pending.done.set_exception(error)
            pending.done.exception()  # marks it as retrieved: maybe no client waits any more
        else:
            pending.done.set_result(task.result())
        self._start()
