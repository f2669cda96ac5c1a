"""What a running gateway does for the store itself; see :class:`gateway.store.interfaces.UpkeepStore`."""

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

from gateway.store.figures import Holdings
from gateway.store.sqlite.file.database import dead_owners, recover
from gateway.store.sqlite.session import StoreSession
from gateway.store.sqlite.sql import claims, clock, messages, notes
from gateway.store.sqlite.sql.holdings import holdings
from gateway.store.values import KEEP, KEEP_HISTORIES

PURGE = 10_000
"""Rows that one commit forgets: other calls want theirs in between."""


COUNTING = 0.01
"""The part of its time for which a store counts what it holds, at most."""


class SQLiteUpkeep(StoreSession):
    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self._holdings = Holdings()
        self._count_again = 0.0

    async def holdings(self) -> Holdings:
        if time.monotonic() >= self._count_again:
            self._holdings, took = await self._read(holdings, None)
            self._count_again = time.monotonic() + took / COUNTING
        return self._holdings

    async def probe(self) -> None:
        await self._run(_probe, None)

    async def recover(self) -> int:
        return await self._run(_recover, self.path)

    async def purge(self, *, now: float) -> int:
        total = 0
        while count := await self._run(_purge, now):
            total += count
        return total


def _probe(db: sqlite3.Connection, calls: Sequence[None]) -> list[None]:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    db.execute(f"PRAGMA user_version = {version}")  # the page is written and committed, though it is the same
    return [None] * len(calls)


def _recover(db: sqlite3.Connection, calls: Sequence[Path]) -> list[int]:
    return [recover(db, dead_owners(db, path)) for path in calls]


def _purge(db: sqlite3.Connection, calls: Sequence[float]) -> list[int]:
    for now in calls:
        clock.seen(db, now)
    return [
        messages.purge(db, now - KEEP, KEEP_HISTORIES, PURGE)
        + claims.purge(db, now, PURGE)
        + notes.purge(db, now, PURGE)
        for now in calls
    ]
