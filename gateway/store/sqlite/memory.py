"""A store in memory, for tests. Its clock can be moved."""

import contextlib
import secrets
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gateway.store.sqlite.file.connection import FairConnection
from gateway.store.sqlite.file.owner import Owner
from gateway.store.sqlite.sql.clock import set_clock
from gateway.store.sqlite.sql.schema import migrate
from gateway.store.sqlite.store import Opened, SQLiteStore
from gateway.store.states import BEHIND, RUNNING, WAITING


class _Connection(FairConnection):
    """A connection to a database that no other process has. In a database in memory one transaction does not wait for
    another: ``turn`` makes them wait."""

    def __init__(self, name: str, turn: threading.Lock) -> None:
        uri = f"file:{name}?mode=memory&cache=shared"
        sqlite3.Connection.__init__(self, uri, uri=True, isolation_level=None, check_same_thread=False)
        self._path = Path(":memory:")
        self._file = None
        self._turn = turn
        self._is_ours = False

    def begin(self, *, writes: bool = True, single: bool = False) -> None:
        self._turn.acquire()
        self._is_ours = True
        self.execute("BEGIN")

    def commit(self) -> None:
        super().commit()
        self._end_turn()

    def rollback(self) -> None:
        super().rollback()
        self._end_turn()

    def _end_turn(self) -> None:
        if self._is_ours:
            self._is_ours = False
            self._turn.release()

    def close(self) -> None:
        sqlite3.Connection.close(self)

    def sync(self) -> None:
        pass

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        yield


class _Owner(Owner):
    """The only owner of a store in memory."""

    def __init__(self) -> None:
        self.id = secrets.token_hex(8)

    def release(self) -> None:
        pass


class MemoryStore(SQLiteStore):
    """A :class:`gateway.store.interfaces.Store` without a file."""

    def __init__(self) -> None:
        super().__init__(":memory:")
        self._moved = 0.0
        self._name = secrets.token_hex(8)
        self._turn = threading.Lock()

    def _opened(self) -> Opened:
        database = self._for_handlers()
        migrate(database)
        set_clock(database)
        return database, _Owner(), ""

    def _for_handlers(self) -> FairConnection:
        return _Connection(self._name, self._turn)

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        return await self._run(_execute, (sql, parameters))

    def now(self) -> float:
        return super().now() + self._moved

    def move(self, seconds: float) -> None:
        """Let the clock be ``seconds`` later. What has become due is taken at the next look."""
        if seconds < 0:
            raise ValueError(f"the clock only goes forward, and {seconds:g} is negative")
        self._moved += seconds

    async def recover(self) -> int:
        """Do nothing: no other process has this store."""
        return 0

    async def due_now(self) -> int:
        """How many messages and outgoing items run, or are due."""
        return await self._read(_due, self.now())


def _execute(db: sqlite3.Connection, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[list[Any]]:
    return [db.execute(sql, parameters).fetchall() for sql, parameters in calls]


def _due(db: sqlite3.Connection, calls: Sequence[float]) -> list[int]:
    return [int(db.execute(_DUE, {"now": now}).fetchone()[0]) for now in calls]


_DUE = f"""SELECT
    (SELECT count(*) FROM messages WHERE state = {RUNNING}
        OR (state IN ({WAITING}, {BEHIND}) AND due <= :now)) +
    (SELECT count(*) FROM outgoing AS item WHERE state = {RUNNING} OR (state = {WAITING} AND due <= :now
        AND NOT EXISTS (SELECT 1 FROM resting WHERE resting.lane = item.lane AND until > :now)
        AND NOT EXISTS (SELECT 1 FROM outgoing WHERE id = item.behind)))"""
