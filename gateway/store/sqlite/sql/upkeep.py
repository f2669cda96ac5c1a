"""What a running gateway does for the store itself; :mod:`gateway.store.operations` says what an operation is."""

import sqlite3
from collections.abc import Sequence

from gateway.store.calls import IsAlive
from gateway.store.elapsed import elapsed
from gateway.store.sqlite.sql import claims, clock, messages, notes, outgoing
from gateway.store.sqlite.sql.holdings import holdings
from gateway.store.values import KEEP, KEEP_HISTORIES

__all__ = ["dead_owners", "give_back", "holdings", "probe", "purge", "recover"]

Database = sqlite3.Connection

PURGE = 10_000
"""Rows that one commit forgets: other calls want theirs in between."""
TABLES = (messages, claims, outgoing)


def probe(db: Database, calls: Sequence[None]) -> list[None]:
    clock.seen(db, clock.ahead(db) + elapsed())  # later each time: SQLite writes no page that stays the same
    return [None] * len(calls)


def recover(db: Database, calls: Sequence[IsAlive]) -> list[int]:
    return [give_back(db, dead_owners(db, is_alive)) for is_alive in calls]


def dead_owners(db: Database, is_alive: IsAlive) -> list[str]:
    """Dead owners that still have something taken or claimed."""
    owners = {str(owner) for table in TABLES for owner in table.owners(db)}
    return [owner for owner in owners if not is_alive(owner)]


def give_back(db: Database, dead: Sequence[str]) -> int:
    """Give back what ``dead`` owners had, within the present transaction; how many."""
    return sum(table.recover(db, dead) for table in TABLES)


def purge(db: Database, calls: Sequence[float]) -> list[int]:
    for now in calls:
        clock.seen(db, now)
    return [
        messages.purge(db, now - KEEP, KEEP_HISTORIES, PURGE)
        + claims.purge(db, now, PURGE)
        + notes.purge(db, now, PURGE)
        for now in calls
    ]
