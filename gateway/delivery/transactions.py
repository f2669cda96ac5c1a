"""Transactions of handlers, each on a thread of its own: everything sync that a handler does runs there."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from contextvars import copy_context
from typing import Any, TypeVar

from asgiref.sync import AsyncToSync, SyncToAsync, ThreadSensitiveContext

from gateway.atomic import RunAgain, current_transaction
from gateway.delivery.retry_until_stored import retry_until_stored
from gateway.delivery.time_limit import NoThread
from gateway.store import (
    LeaseLost,
    Mark,
    NotCommitted,
    OutcomeUnknown,
    Transaction,
    TransactionalStore,
    TransactionStore,
)
from gateway.threads import Pinned, pinned, thread_pool

logger = logging.getLogger(__name__)
R = TypeVar("R")

Lock = Callable[[TransactionStore], Mark]
"""Locks what a handler is to handle: the first statement of its transaction."""
End = Callable[[TransactionStore, Mark], None]
"""Says in the transaction what became of it: the last statement."""


class NoTransaction(NoThread):
    """The handler was not begun, or everything that it did is undone, and not by a fault of its own."""


class _Thread(ThreadPoolExecutor):
    """A thread with a connection. It starts with the first call."""

    def __init__(self, transaction: Transaction) -> None:
        super().__init__(max_workers=1, thread_name_prefix="atomic")
        self.transaction = transaction
        self.is_connected = False
        """Whether a transaction has been begun on its connection."""


class Transactions:
    """All transactions of one store. As many handlers have one at once as the gateway has threads, or as the store
    allows."""

    def __init__(self, store: TransactionalStore) -> None:
        self.store = store
        self._idle: list[_Thread] = []
        self._places: asyncio.Semaphore | None = None

    async def begin(self, locks: Sequence[Lock]) -> "Running":
        """Begin a transaction on a free thread. Raises LeaseLost if something is no longer ours, NoTransaction if the
        database cannot begin one now."""
        if self._places is None:
            self._places = asyncio.Semaphore(self.store.transaction().at_once or thread_pool.get().size)
        await self._places.acquire()
        running = Running(self, self._idle.pop() if self._idle else _Thread(self.store.transaction()))
        try:
            await running.begin(locks)
        except LeaseLost:
            await running.roll_back()
            raise
        except Exception as error:
            conflict = running.is_conflict(error)
            is_new = conflict or running.give_up_connection()
            await running.roll_back()
            if conflict:
                raise RunAgain(str(error)) from error
            if not is_new:
                return await self.begin(locks)
            raise NoTransaction(f"no transaction could be begun: {error}") from error
        except BaseException:
            running.abandon()
            raise
        return running

    def give_back(self, thread: _Thread) -> None:
        assert self._places is not None
        self._idle.append(thread)
        self._places.release()

    def close(self) -> None:
        """Close the connections. Handlers that still run have theirs until the process ends."""
        idle, self._idle = self._idle, []
        for thread in idle:
            thread.submit(thread.transaction.close)
            thread.shutdown(wait=False)


class Running:
    """A transaction that has begun; a :class:`gateway.atomic.CurrentTransaction`."""

    def __init__(self, home: Transactions, thread: _Thread) -> None:
        self._home = home
        self._thread = thread
        self._locks: Sequence[Lock] = ()
        self._marks: Sequence[Mark] = ()
        self._store: TransactionStore | None = None
        self._after: list[Callable[[], Awaitable[None]]] = []
        self._loop = asyncio.get_running_loop()
        self.is_over = False
        self.thread: int | None = None

    @property
    def driver_connection(self) -> Any:
        return self._thread.transaction.connection

    @property
    def store(self) -> Any:
        return self._store

    async def on_thread(self, function: Callable[[], R]) -> R:
        if getattr(AsyncToSync.executors, "current", None) is not None:  # the thread waits for us: asgiref gets there
            return await SyncToAsync(function, thread_sensitive=True)()
        return await self._on_thread(function)

    async def _on_thread(self, function: Callable[[], R]) -> R:
        return await asyncio.wrap_future(self._thread.submit(copy_context().run, function))

    def after_commit(self, call: Callable[[], Awaitable[None]]) -> None:
        self._after.append(call)

    async def begin(self, locks: Sequence[Lock]) -> None:
        self._locks = locks
        await self._on_thread(self._begin)

    def _begin(self) -> None:
        self.thread = threading.get_ident()
        self._store = self._thread.transaction.begin()
        self._marks = [lock(self._store) for lock in self._locks]
        self._thread.is_connected = True

    @asynccontextmanager
    async def entered(self) -> AsyncIterator[None]:
        """Let everything sync that runs in this context run on the thread of the transaction, also what asgiref takes
        to a thread, such as the ORM of Django in async code."""
        token = current_transaction.set(self)
        try:
            if thread_pool.get().is_shared:
                self.thread = None  # a test's code has one thread, which is not ours
                yield
            else:
                async with self._pinned():
                    yield
        finally:
            current_transaction.reset(token)

    @asynccontextmanager
    async def _pinned(self) -> AsyncIterator[None]:
        thread = Pinned(self._thread)
        token = pinned.set(thread)
        try:
            async with ThreadSensitiveContext(executor=self._thread):
                yield
        finally:
            thread.is_over = True
            pinned.reset(token)

    async def commit(self, ends: Sequence[End | None]) -> None:
        """Say what became of everything that was locked, and commit. None: it is as it was.

        Raises RunAgain if another transaction was in the way, and what else the database or the store raises.
        """
        self.is_over = True
        try:
            await self._on_thread(lambda: self._commit(ends))
        except OutcomeUnknown as error:
            await self.roll_back()
            await self._look(error)
        except asyncio.CancelledError:
            self.abandon()  # it is committed, or not: the store knows
            raise
        except Exception as error:
            raise await self.undone(error) from error
        else:
            self._home.give_back(self._thread)
        await self._tell()

    def _commit(self, ends: Sequence[End | None]) -> None:
        assert self._store is not None
        self._thread.transaction.check()
        for mark, end in zip(self._marks, ends, strict=True):
            if end is not None:
                end(self._store, mark)
        self._thread.transaction.commit()

    async def _look(self, error: OutcomeUnknown) -> None:
        """Return if the transaction was committed. Raises RunAgain if it was not, and LeaseLost if another process has
        taken the message over in the meantime and has not handled it."""
        logger.warning("whether a transaction was committed is not known, and looked up: %s", error)
        await retry_until_stored(self._home.store.probe)
        while True:
            try:
                again = await self._home.begin(self._locks)
            except LeaseLost as lost:
                if lost.is_done:
                    return
                raise
            except (NoTransaction, RunAgain):
                await asyncio.sleep(1.0)
                continue
            await again.roll_back()
            raise RunAgain(str(error)) from error

    async def _tell(self) -> None:
        for call in self._after:
            try:
                await call()
            except Exception as error:
                logger.error("not sent after the commit: %s: %s", type(error).__name__, error, extra={"lost": True})

    def is_conflict(self, error: BaseException) -> bool:
        return self._thread.transaction.is_conflict(error)

    async def undone(self, error: BaseException) -> BaseException:
        """Undo everything because of ``error``. Return the error that says what that means: RunAgain, NoTransaction if
        the connection was lost, or ``error`` itself."""
        conflict, broken = self.is_conflict(error), self._thread.transaction.is_broken
        await self.roll_back()
        if conflict:
            return RunAgain(str(error))
        if isinstance(error, NotCommitted):
            return NoTransaction(f"the database could not commit: {error}")
        return NoTransaction(f"the connection to the database was lost: {error}") if broken else error

    async def roll_back(self) -> None:
        """Undo everything. A thread that is still at work for the handler does it when that is done."""
        await asyncio.shield(asyncio.wrap_future(self.abandon()))

    def give_up_connection(self) -> bool:
        """Let the next transaction begin on another: the database may have ended this one, or a handler may have left
        it in a state, such as another role, in which nothing can be begun. Return whether it was new."""
        is_new, self._thread.is_connected = not self._thread.is_connected, False
        self._thread.submit(self._thread.transaction.roll_back)
        self._thread.submit(self._thread.transaction.close)
        return is_new

    def abandon(self) -> "Future[None]":
        """Begin to do the same, and do not wait."""
        self.is_over = True
        future = self._thread.submit(self._thread.transaction.roll_back)
        future.add_done_callback(lambda _: self._give_back_from_thread())
        return future

    def _give_back_from_thread(self) -> None:
        with suppress(RuntimeError):  # the loop is closed: its gateway has ended
            self._loop.call_soon_threadsafe(self._home.give_back, self._thread)
