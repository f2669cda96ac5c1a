"""The one thread that talks to the database. All calls that wait at a moment share one commit, and one fdatasync."""

import asyncio
import contextlib
import logging
import queue
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol, TypeVar

from gateway.store.figures import Commits
from gateway.store.values import StoreUnavailable
from protocols.wakeup import Wakeup

logger = logging.getLogger(__name__)

Call = TypeVar("Call")
Result = TypeVar("Result")
Operation = Callable[[Any, Sequence[Call]], Sequence[Result]]
"""Does all calls of it that one commit holds, on the engine's connection; see :mod:`gateway.store.operations`."""

BATCH = 1000
"""Calls in one commit, at most."""
WAITING = 10_000
"""Calls that wait for the thread, at most; others wait until they may be queued."""
CONFLICTS = 20
"""How often the calls of one commit are tried while other transactions are in the way."""
UNDO_AGAIN = 1.0
"""Seconds until an undo is tried once more."""
MOST_TROUBLES = 20
"""Errors that are remembered, so that each is logged once."""


class Connection(Protocol):
    """An engine's connection to its database."""

    def begin(self, *, writes: bool = True, single: bool = False) -> None:
        """Begin a transaction. ``single``: the one statement that changes something needs none around it."""

    def commit(self) -> None:
        """Commit it: its changes survive this process. Raises if that is not certain."""

    def rollback(self) -> None:
        """Undo the transaction, if one is open."""

    def sync(self) -> None:
        """Wait until every commit is on disk."""

    def close(self) -> None: ...


class Fault(Enum):
    """What an exception means."""

    OWN = "own"
    """The call is wrong. The store works."""
    CONFLICT = "conflict"
    """Another transaction was in the way. The same calls may succeed now."""
    PASSING = "passing"
    """The store is unavailable. Its connection can be used again."""
    LOST = "lost"
    """The store is unavailable. A new connection is needed."""
    CUT = "cut"
    """The connection ended before the commit. Nothing was done, and the calls may run on another connection."""
    UNKNOWN = "unknown"
    """The connection ended during the commit. The calls may be committed."""


def always(outcome: object) -> bool:
    """The caller gets every outcome after it is on disk."""
    return True


def never(outcome: object) -> bool:
    """The caller may get an outcome before it is on disk."""
    return False


@dataclass(slots=True, eq=False)
class Job:
    operation: Operation[Any, Any]
    call: Any
    future: "asyncio.Future[Any]"
    undo: "Operation[Any, None] | None" = None
    reads: bool = False
    """Whether it changes nothing."""
    syncs: Callable[[Any], bool] = always
    """Whether an outcome waits until it is on disk."""
    outcome: Any = None


class Writer:
    """Runs operations in one thread. ``connect`` connects again after an error with unknown effect; ``fault`` says what
    an exception means; ``commits`` counts."""

    def __init__(
        self,
        database: Connection,
        connect: Callable[[], Connection],
        fault: Callable[[Exception], Fault],
        commits: Commits | None = None,
    ) -> None:
        self._connect = connect
        self._fault = fault
        self._commits = commits or Commits()
        self._loop = asyncio.get_running_loop()
        self._waiting = 0
        self._room = Wakeup()
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()  # from the loop to a thread, which has no loop
        self._troubles: set[str] = set()
        """What it has logged since it last worked."""
        self._thread = threading.Thread(target=self._run, args=[database], name="store", daemon=True)
        self._thread.start()

    async def run(
        self,
        operation: Operation[Call, Result],
        call: Call,
        *,
        undo: Operation[Result, None] | None = None,
        reads: bool = False,
        syncs: Callable[[Result], bool] = always,
    ) -> Result:
        """Return the result of the operation for ``call``. Raises StoreUnavailable, or what the operation raised for
        this call.

        What is committed survives the death of the process. It is on disk when this returns, unless ``syncs`` says of
        the result that it need not be; then the next call that syncs brings it there.

        A call is carried out even if its caller is cancelled meanwhile; ``undo`` gets a result that reaches nobody.
        """
        while self._waiting >= WAITING:
            await self._room.wait()
        self._waiting += 1
        future: asyncio.Future[Result] = self._loop.create_future()
        self._jobs.put(Job(operation, call, future, undo, reads, syncs))
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None and undo is not None:
                self._undo(undo, future.result())
            raise
        finally:
            self._waiting -= 1
            if self._waiting * 2 <= WAITING:  # not for each: all that wait are woken
                self._room.wake()

    @property
    def waiting(self) -> int:
        """Calls that are not over yet."""
        return self._waiting

    async def close(self) -> None:
        """Finish the queued calls, undo results that no caller receives, and end the thread. If this is
        cancelled, the thread ends without the undoing."""
        try:
            with contextlib.suppress(StoreUnavailable):
                await self.run(_nothing, None, reads=True)
        finally:
            self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    # In the loop's thread.

    def _resolve(self, batch: list[Job]) -> None:
        for job in batch:
            if not job.future.done():
                if isinstance(job.outcome, Exception):
                    job.future.set_exception(job.outcome)
                else:
                    job.future.set_result(job.outcome)
            elif job.undo is not None and not isinstance(job.outcome, Exception):
                self._undo(job.undo, job.outcome)

    def _undo(self, undo: Operation[Any, None], result: Any) -> None:
        def undone(future: "asyncio.Future[Any]") -> None:
            if not future.cancelled() and future.exception() is not None:
                self._loop.call_later(UNDO_AGAIN, self._undo, undo, result)

        future = self._loop.create_future()
        future.add_done_callback(undone)
        self._jobs.put(Job(undo, result, future))

    # In the store's thread.

    def _run(self, database: Connection | None) -> None:
        closing = False
        while not closing:
            batch, closing = self._batch()
            if batch:
                database = self._settle(database, batch)
            closing = closing or self._loop.is_closed()  # before the store was closed: no caller is left
        if database is not None:
            database.close()

    def _batch(self) -> tuple[list[Job], bool]:
        """The jobs that wait now, at least one, and whether they are the last."""
        batch: list[Job] = []
        while len(batch) < BATCH and (not batch or not self._jobs.empty()):
            job = self._jobs.get()
            if job is None:
                return batch, True
            batch.append(job)
        return batch, False

    def _settle(self, database: Connection | None, batch: list[Job]) -> Connection | None:
        """Give every job its outcome. Return the connection to use next; None if a new one is needed."""
        untold, began, before = batch, time.perf_counter(), database
        try:
            if database is None:
                database = self._connect()
            self._commit(database, batch)
            untold = self._tell_early(batch)
            if untold:
                database.sync()
            self._count(batch, time.perf_counter() - began)
            self._note_success(untold)
        except Exception as error:
            fault = self._fault(error)
            if fault is Fault.OWN and len(batch) > 1:  # one call cannot be done: the others must not fail with it
                middle = len(batch) // 2
                return self._settle(self._settle(database, batch[:middle]), batch[middle:])
            if fault is Fault.CUT and before is not None:
                _close(before)
                return self._settle(None, batch)
            if fault is Fault.OWN:
                batch[0].outcome = error
            else:
                if fault is Fault.UNKNOWN:
                    self._undo_unknown(untold)
                database = self._unavailable(database, untold, error, lost=fault is not Fault.PASSING)
        self._tell(untold)
        return database

    def _commit(self, database: Connection, batch: list[Job]) -> None:
        for tried in range(1, CONFLICTS + 1):
            try:
                _commit(database, batch)
            except Exception as error:
                if self._fault(error) is not Fault.CONFLICT or tried == CONFLICTS:
                    raise
                time.sleep(random.uniform(0, 0.001 * tried))  # noqa: S311 - so that two do not meet again
            else:
                return

    def _tell_early(self, batch: list[Job]) -> list[Job]:
        """Tell what is committed and need not be on disk. Returns the jobs that wait for the disk."""
        waiting = [job for job in batch if job.syncs(job.outcome)]
        if len(waiting) < len(batch):
            self._tell([job for job in batch if not job.syncs(job.outcome)])
        return waiting

    def _tell(self, jobs: list[Job]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._resolve, jobs)

    def _count(self, batch: list[Job], seconds: float) -> None:
        if not all(job.reads for job in batch):
            self._commits.seconds.observe(seconds)
            self._commits.calls.observe(len(batch))

    def _note_success(self, jobs: list[Job]) -> None:
        if self._troubles and not all(job.reads for job in jobs):  # a full disk can be read
            self._commits.is_failing = False
            logger.info("the store works again")
            self._troubles.clear()

    def _undo_unknown(self, batch: list[Job]) -> None:
        """Undo what may have been taken for callers that get StoreUnavailable."""
        for job in batch:
            if job.undo is not None and job.outcome is not None:
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    self._loop.call_soon_threadsafe(self._undo, job.undo, job.outcome)

    def _unavailable(
        self, database: Connection | None, batch: list[Job], error: Exception, *, lost: bool
    ) -> Connection | None:
        self._commits.failed += 1
        self._commits.is_failing = True
        trouble = str(error)
        if trouble not in self._troubles:
            logger.error("the store is unavailable: %s", trouble)
            if len(self._troubles) >= MOST_TROUBLES:  # some name a process or a row, and differ each time
                self._troubles.clear()
            self._troubles.add(trouble)
        for job in batch:
            job.outcome = StoreUnavailable(trouble)
        if database is None or not lost:
            return database
        _close(database)
        return None


def _close(database: Connection) -> None:
    with contextlib.suppress(Exception):  # it is lost anyhow
        database.close()


def _nothing(database: Any, calls: Sequence[None]) -> Sequence[None]:
    return calls


Marked = TypeVar("Marked", bound=Callable[..., Any])


def is_single(whether: Callable[[Any], bool]) -> Callable[[Marked], Marked]:
    """Mark an operation that is one statement if ``whether`` returns True for its calls. It then runs without a
    transaction, which saves time. If the connection ends during the statement, its result is unknown, and ``undo``
    cannot undo it."""

    def marked(operation: Marked) -> Marked:
        operation.is_single = whether  # type: ignore[attr-defined] # functions may have attributes
        return operation

    return marked


def _is_single(together: Mapping[Operation[Any, Any], list[Job]]) -> bool:
    if len(together) > 1:
        return False
    [(operation, jobs)] = together.items()
    whether = getattr(operation, "is_single", None)
    return whether is not None and whether([job.call for job in jobs])


def _commit(database: Connection, batch: list[Job]) -> None:
    """Commit the batch. Calls of one operation run together, in their order. The calls of a batch overlap in time, so
    operations may run in any order."""
    together: dict[Operation[Any, Any], list[Job]] = defaultdict(list)
    for job in batch:
        together[job.operation].append(job)
    database.begin(writes=not all(job.reads for job in batch), single=_is_single(together))
    try:
        for operation, jobs in together.items():
            for job, outcome in zip(jobs, operation(database, [job.call for job in jobs]), strict=True):
                job.outcome = outcome
        database.commit()
    except BaseException:
        database.rollback()
        raise
