"""What a client of the control socket has not read yet, within bounds."""

from collections import deque
from typing import Generic, TypeVar

from protocols.wakeup import Wakeup

T = TypeVar("T")


class Backlog(Generic[T]):
    """Keeps items until they are taken. When it is full, it drops further items and counts them."""

    def __init__(self, room: int) -> None:
        self.room = room
        """How much there is room for."""
        self._items: deque[tuple[T, int]] = deque()
        self._missed = 0
        self._wakeup = Wakeup()

    def put(self, item: T, size: int = 1) -> None:
        """Keep ``item``, which takes ``size`` of the room. Never waits."""
        if size > self.room:
            self._missed += 1
        else:
            self.room -= size
            self._items.append((item, size))
        self._wakeup.wake()

    def miss(self) -> None:
        """Count an item that could not be made."""
        self._missed += 1
        self._wakeup.wake()

    async def take(self) -> tuple[int, list[T]]:
        """Wait until there is something, and return how many items were missed since the last time, and all that are
        kept: those that were missed came after them."""
        while not (self._items or self._missed):
            await self._wakeup.wait()
        missed, self._missed = self._missed, 0
        items = [item for item, _ in self._items]
        self.room += sum(size for _, size in self._items)
        self._items.clear()
        return missed, items
