"""Operations on notes; :mod:`gateway.store.operations` says what an operation is."""

import sqlite3
from collections.abc import Sequence

from gateway.store.calls import Swap
from gateway.store.rows import checksum, text

Database = sqlite3.Connection


def put(db: Database, calls: Sequence[tuple[str, bytes, float]]) -> list[None]:
    rows = [(text(key), value, checksum(value, text(key)), expires) for key, value, expires in calls]
    db.executemany("INSERT OR REPLACE INTO notes (key, value, checksum, expires) VALUES (?, ?, ?, ?)", rows)
    return [None] * len(calls)


def swap(db: Database, calls: Sequence[Swap]) -> list[bool]:
    return [_swap(db, call) for call in calls]


def _swap(db: Database, call: Swap) -> bool:
    if _get(db, text(call.key), call.now) != call.before:
        return False
    if call.value is None:
        db.execute("DELETE FROM notes WHERE key = ?", [text(call.key)])
    else:
        put(db, [(call.key, call.value, call.expires)])
    return True


def get(db: Database, calls: Sequence[tuple[Sequence[str], float]]) -> list[bytes | None]:
    return [
        next((found for key in keys if (found := _get(db, text(key), now)) is not None), None) for keys, now in calls
    ]


def _get(db: Database, key: str, now: float) -> bytes | None:
    """What is damaged counts as unknown."""
    row = db.execute("SELECT value, checksum FROM notes WHERE key = ? AND expires > ?", (key, now)).fetchone()
    sound = row is not None and isinstance(row[0], bytes) and checksum(row[0], key) == row[1]
    return row[0] if sound else None


def purge(db: Database, now: float, limit: int) -> int:
    sql = "DELETE FROM notes WHERE key IN (SELECT key FROM notes WHERE expires < ? LIMIT ?)"
    return db.execute(sql, (now, limit)).rowcount
