"""Takes what is due from the store and runs it, a limited number at a time."""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from typing import ClassVar, Generic, TypeVar

from gateway.delivery.notifier import Notifier
from gateway.store import Clock, Message, Outgoing, StoreUnavailable
from protocols.tasks import Tasks, is_thrown_away
from protocols.wakeup import Wakeup

Item = TypeVar("Item", Message, Outgoing)

LOOK_AGAIN = 1.0
"""Seconds between two looks at the store: another process may have put something there."""


class Poller(ABC, Generic[Item]):
    """Each place is free again as soon as its item is done; ``notifier`` says that there may be another."""

    noun: ClassVar[str]
    """What its items are called, for the operator."""
    size: ClassVar[int]
    """Items that run at once; more wait in the store."""

    def __init__(self, clock: Clock, notifier: Notifier) -> None:
        self._clock = clock
        self.running: dict[str, Item] = {}
        """What runs, by id."""
        self._tasks = Tasks(self.noun)
        self._notifier = notifier
        self._wakeup = Wakeup()
        self.is_notified = False
        """Whether there was a notification since the last look at the store."""
        notifier.listen(self.look)
        self.is_stopping = False
        """If set, nothing more is taken."""
        self.is_over = False
        """If set, nothing more is run."""
        self._taking: asyncio.Task[None] | None = None

    @abstractmethod
    async def due(self, now: float) -> list[Item]:
        """Take at most ``room`` items from the store, whose clock says ``now``. Raises StoreUnavailable."""

    @abstractmethod
    async def handle(self, item: Item) -> None:
        """Run it, and say to the store what became of it."""

    async def next_due(self) -> float | None:
        """The time at which there is something to take again, if that is known to be soon. Raises StoreUnavailable."""
        return None

    @property
    def room(self) -> int:
        return self.size - len(self.running)

    def active(self) -> dict[str, int]:
        return {self.noun: len(self.running)} if self.running else {}

    def start(self) -> None:
        self._taking = self._tasks.spawn(self._take(), name="take")

    def retire(self) -> None:
        """Take nothing more. What runs goes on until :meth:`stop`."""
        self.is_stopping = True
        self.look()

    def resume(self) -> None:
        """Take again what is due: there is no successor after :meth:`retire`."""
        self.is_stopping = False
        if self._taking is not None and self._taking.done():
            self._taking = self._tasks.spawn(self._take(), name="take")

    async def stop(self, grace: float) -> None:
        """Take nothing more, let what runs finish; what does not is left to the next start, its attempt counted."""
        self.retire()
        deadline = asyncio.get_running_loop().time() + grace
        while self.room < self.size and (left := deadline - asyncio.get_running_loop().time()) > 0:
            self.is_notified = False
            await self._wait(left)
        self._notifier.forget(self.look)
        self.is_over = True
        await self._tasks.cancel()

    async def _take(self) -> None:
        while not self.is_stopping:
            self.is_notified = False
            taken: list[Item] = []
            with contextlib.suppress(StoreUnavailable):  # the store's own log has said so
                taken = await self.due(self._clock.now())
            for item in taken:
                self.begin(item)
            if not (taken and self.room):
                await self._rest()

    def begin(self, item: Item) -> None:
        """Run ``item``, which has a place from now on."""
        self.running[item.id] = item
        self._tasks.spawn(self._run(item), name=item.id)

    async def _rest(self) -> None:
        """Wait until there is room, or something may be due."""
        seconds = LOOK_AGAIN
        if self.room:
            with contextlib.suppress(StoreUnavailable):
                due = await self.next_due()
                seconds = LOOK_AGAIN if due is None else min(max(due - self._clock.now(), 0.01), LOOK_AGAIN)
        await self._wait(seconds)

    def look(self) -> None:
        """There may be something in the store, or room for it."""
        self.is_notified = True
        self._wakeup.wake()

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self.is_notified:
                    await self._wakeup.wait()

    async def _run(self, item: Item) -> None:
        task = asyncio.current_task()
        try:
            await self.handle(item)
        except GeneratorExit as error:  # of a task or a thread that its handler has waited for: it ends all that waits
            if is_thrown_away(task):
                raise
            await self.broken(item, error)
        finally:
            self.ended(item)

    async def broken(self, item: Item, error: BaseException) -> None:
        """Say to the store that ``error`` has ended :meth:`handle`, and everything that it waited for."""
        raise error

    def ended(self, item: Item) -> None:
        """Its place is free."""
        del self.running[item.id]
        self.look()
