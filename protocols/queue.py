"""The queue between two tasks: bounded, in order, and safe to cancel on both sides."""

from collections import deque
from collections.abc import Awaitable
from typing import Any, Generic, TypeVar

from protocols.checkpoint import checkpoints
from protocols.wakeup import Wakeup

T = TypeVar("T")


class Queue(deque[T], Generic[T]):
    """A deque that one can wait for. Nobody waits for an item while there is one.

    :meth:`put` never waits: a task that can hold its source back does so while the queue is :attr:`full`, by
    :meth:`room` or in its own way. An item leaves the queue when it is returned, so that a task that is cancelled
    while it waits takes none with it.
    """

    __slots__ = ("_closed", "_limit", "_more", "_room")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._closed = False
        self._more: Wakeup | None = None  # made when needed: most requests never wait
        self._room: Wakeup | None = None

    @property
    def full(self) -> bool:
        return len(self) >= self._limit

    @property
    def awaited(self) -> bool:
        """Whether a task waits for an item."""
        return self._more is not None and self._more.awaited

    def put(self, item: T) -> None:
        self.append(item)
        more = self._more
        if more is not None and more.waiter is not None:  # a look is cheaper than a call for each item
            more.wake()

    def close(self) -> None:
        """Note that nothing more is put. What is in the queue can still be taken."""
        self._closed = True
        for wakeup in filter(None, (self._more, self._room)):
            wakeup.wake()

    def more(self) -> Awaitable[Any]:
        """Wait until something is put, or less long; see :meth:`protocols.wakeup.Wakeup.next`. Await it at once."""
        if self._more is None:
            self._more = Wakeup()
        return self._more.next()

    async def room(self) -> None:
        """Wait until half of the queue is free, or it is closed."""
        while len(self) * 2 > self._limit and not self._closed:
            if self._room is None:
                self._room = Wakeup()
            await self._room.wait()

    async def get(self) -> T:
        """The oldest item. Raises EOFError if there is none, and will be none."""
        checkpoints.left -= 1
        if checkpoints.left < 0:
            await checkpoints.read_clock()  # before the item is taken, or a task that is cancelled here would lose it
        while not self:
            if self._closed:
                raise EOFError
            await self.more()
        return self.next()

    def next(self) -> T:
        """The oldest item of those that are there."""
        item = self.popleft()
        room = self._room
        if room is not None and room.waiter is not None and len(self) * 2 <= self._limit:
            room.wake()
        return item

    async def take(self) -> list[T]:
        """All items, at least one; none where there is none, and will be none."""
        while not self and not self._closed:
            await self.more()
        items = list(self)
        self.clear()
        if self._room is not None:
            self._room.wake()
        return items
