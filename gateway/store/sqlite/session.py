"""One process's hold on the database: open or not, its writer, its owner's id, its clock."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from gateway.store.figures import Commits
from gateway.store.sqlite.file.connection import FairConnection
from gateway.store.sqlite.file.database import open_database
from gateway.store.sqlite.file.owner import Owner
from gateway.store.sqlite.sql import clock
from gateway.store.sqlite.writer import Operation, Writer, always, never
from gateway.store.values import Outgoing, OutgoingSummary, StoreUnavailable, Summary
from protocols import private_files

Call = TypeVar("Call")
Result = TypeVar("Result")
Dated = TypeVar("Dated", Summary, OutgoingSummary, Outgoing)

Opened = tuple[FairConnection, Owner, str]
"""The connection, its owner, and what was found in the file."""


class StoreSession:
    """What all parts of the engine share. Several processes may have ``path`` open."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.commits = Commits()
        self._open: tuple[Writer, Owner] | None = None
        self._ahead = time.time() - clock.elapsed()

    async def open(self) -> str:
        opening = asyncio.ensure_future(asyncio.to_thread(self._opened))
        try:
            database, owner, found = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_unwanted)  # a thread cannot be cancelled
            raise
        self._open = Writer(database, lambda: self._connected(owner)[0], self.commits), owner
        return found

    def _connected(self, owner: Owner) -> tuple[FairConnection, str]:
        """Open the file and read its clock. It may be another file than at the first time."""
        database, found = open_database(self.path, owner)
        self._ahead = clock.ahead(database)
        return database, found

    def _opened(self) -> Opened:
        try:
            private_files.make_folder(self.path.parent)
            owner = Owner(self.path)
        except OSError as error:
            raise StoreUnavailable(f"{self.path}: {error.strerror}") from error
        try:
            database, found = self._connected(owner)
            return database, owner, found
        except BaseException:
            owner.release()
            raise

    async def close(self) -> None:
        if self._open is not None:
            (writer, owner), self._open = self._open, None
            await writer.close()
            owner.release()

    def now(self) -> float:
        return clock.elapsed() + self._ahead

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
            raise StoreUnavailable(f"{self.path} is not open")
        return self._open[0].run(operation, call, undo=undo, syncs=syncs)

    def _read(
        self, operation: Operation[Call, Result], call: Call, syncs: Callable[[Result], bool] = never
    ) -> Coroutine[Any, Any, Result]:
        """Run an operation that only reads. It waits for no process that writes, and none waits for it. What it finds
        need not be on disk yet, unless ``syncs`` says of the result that it has to be."""
        if self._open is None:
            raise StoreUnavailable(f"{self.path} is not open")
        return self._open[0].run(operation, call, reads=True, syncs=syncs)

    @property
    def calls_waiting(self) -> int:
        return 0 if self._open is None else self._open[0].waiting

    @property
    def _owner(self) -> str:
        return "" if self._open is None else self._open[1].id


def _close_unwanted(opening: "asyncio.Future[Opened]") -> None:
    """Close what was opened for a caller that has been cancelled meanwhile."""
    if not opening.cancelled() and opening.exception() is None:
        database, owner, _ = opening.result()
        database.close()
        owner.release()
