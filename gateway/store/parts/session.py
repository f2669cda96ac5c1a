"""An open store of one process: its writer, its owner's id, its clock."""

import abc
import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, ClassVar, Protocol, TypeVar

from gateway.store.elapsed import elapsed
from gateway.store.figures import Commits
from gateway.store.operations import Operations
from gateway.store.values import Outgoing, OutgoingSummary, StoreUnavailable, Summary
from gateway.store.writer import Connection, Fault, Operation, Writer, always, never
from protocols.wakeup import Wakeup

Call = TypeVar("Call")
Result = TypeVar("Result")
Dated = TypeVar("Dated", Summary, OutgoingSummary, Outgoing)


class Owner(Protocol):
    """Owns what an open store has taken and claimed. Other processes can see whether it is alive."""

    @property
    def id(self) -> str: ...

    def release(self) -> None:
        """End. Every process sees it as dead from now on."""


Opened = tuple[Connection, Any, str]
"""The connection, its owner, and what was found in the store."""


class StoreSession(abc.ABC):
    """What all parts of a store share. An engine implements the abstract methods. Several processes may have one store
    open."""

    operations: ClassVar[Operations]
    """The engine's operations."""

    def __init__(self) -> None:
        self.commits = Commits()
        self._open: tuple[Writer, Owner] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._held: dict[str, str] = {}
        """The owner's id under which each namespace was loaded, or last changed."""
        self._losses, self._lost = 0, Wakeup()
        """How often other processes have declared this one dead, so that it has lost all that it had."""
        self._ahead = time.time() - elapsed()
        """The store's clock minus :func:`elapsed`."""

    @abc.abstractmethod
    def __str__(self) -> str:
        """The name of the store's place for people, without passwords."""

    @abc.abstractmethod
    def _opened(self) -> Opened:
        """Create, migrate and check, and begin to be an owner; in a thread. Sets the clock. Raises
        StoreUnavailable."""

    @abc.abstractmethod
    def _connected_again(self, owner: Any) -> Connection:
        """Connect once more, for the same owner; in the store's thread. Raises StoreUnavailable."""

    @abc.abstractmethod
    def _fault(self, error: Exception) -> Fault:
        """What an exception of an operation, or of a connection, means."""

    @abc.abstractmethod
    def _is_alive(self, owner: str) -> bool:
        """Whether the owner with this id is alive; in the store's thread."""

    async def open(self) -> str:
        opening = asyncio.ensure_future(asyncio.to_thread(self._opened))
        try:
            database, owner, found = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_unwanted)  # a thread cannot be cancelled
            raise
        self._open = Writer(database, lambda: self._connected_again(owner), self._fault, self.commits), owner
        return found

    async def close(self) -> None:
        """Close the store. If this is cancelled, the store closes in the background."""
        self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        if self._open is not None:
            (writer, owner), self._open = self._open, None
            await writer.close()
            await asyncio.to_thread(owner.release)

    def now(self) -> float:
        return elapsed() + self._ahead

    def listen(self, messages: Callable[[], None], outgoing: Callable[[], None]) -> None:
        """See :class:`gateway.store.interfaces.WakingStore`. Most engines get no wake-ups."""
        return None  # noqa: RET501 - shows that this is not a forgotten abstract method

    def _set_forward(self) -> int:
        """Seconds by which the machine's clock was set forward since the store's clock began. The two differ by less
        than a second by themselves."""
        return round(time.time() - self.now())

    def _by_machine_clock(self, found: list[Dated]) -> list[Dated]:
        """Convert ``due`` to the machine's clock as it is now."""
        forward = self._set_forward()
        return [replace(each, due=each.due + forward) if forward and each.due else each for each in found]

    def _run(
        self,
        operation: Operation[Call, Result],
        call: Call,
        *,
        undo: Operation[Result, None] | None = None,
        syncs: Callable[[Result], bool] = always,
    ) -> Coroutine[Any, Any, Result]:
        """Run an operation in the store's thread. Not a coroutine function itself: each level costs every call."""
        if self._open is None:
            raise StoreUnavailable(f"{self} is not open")
        return self._open[0].run(operation, call, undo=undo, syncs=syncs)

    def _read(
        self, operation: Operation[Call, Result], call: Call, syncs: Callable[[Result], bool] = never
    ) -> Coroutine[Any, Any, Result]:
        """Run an operation that only reads. It does not wait for writing processes, and they do not wait for it. What
        it finds need not be on disk yet, unless ``syncs`` returns True for the result."""
        if self._open is None:
            raise StoreUnavailable(f"{self} is not open")
        return self._open[0].run(operation, call, reads=True, syncs=syncs)

    @property
    def calls_waiting(self) -> int:
        return 0 if self._open is None else self._open[0].waiting

    @property
    def owner(self) -> str:
        return self._owner

    @property
    def _owner(self) -> str:
        return "" if self._open is None else self._open[1].id


def _close_unwanted(opening: "asyncio.Future[Opened]") -> None:
    """Close what was opened for a caller that has been cancelled meanwhile: in a thread, because the owner of a store
    on a server tells the server that it ends."""
    if not opening.cancelled() and opening.exception() is None:
        opening.get_loop().run_in_executor(None, _end, *opening.result()[:2])


def _end(database: Connection, owner: Owner) -> None:
    database.close()
    owner.release()
