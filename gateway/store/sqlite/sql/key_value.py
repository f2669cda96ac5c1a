"""Operations on the state of servers; :mod:`gateway.store.operations` says what an operation is."""

import sqlite3
from collections.abc import Sequence

from gateway.store.calls import Hold, NamespaceInUse, Save
from gateway.store.rows import checksum, sound_records, text
from gateway.store.sqlite.sql.rows import listed
from gateway.store.sqlite.sql.spaces import acquire

Database = sqlite3.Connection

_ROWS = 128
"""Rows of one INSERT."""
_PUT = "INSERT INTO kept (space, key, value, checksum) VALUES"
_OR_REPLACE = "ON CONFLICT (space, key) DO UPDATE SET value = excluded.value, checksum = excluded.checksum"


def load(db: Database, calls: Sequence[Hold]) -> list[dict[str, bytes]]:
    """Everything in a namespace, which is the caller's from now on. Raises NamespaceInUse."""
    return [_load(db, call) for call in calls]


def _load(db: Database, call: Hold) -> dict[str, bytes]:
    if not acquire(db, [call])[0]:
        raise NamespaceInUse(f"{call.name} is kept by another gateway that is running")
    namespace = text(call.name)
    rows = db.execute("SELECT key, value, checksum FROM kept WHERE space = ?", [namespace])
    return dict(sound_records(namespace, rows))


def save(db: Database, calls: Sequence[Save]) -> list[None]:
    for call in calls:
        namespace = text(call.namespace)
        _remove(db, namespace, [key for key, value in call.changes.items() if value is None])
        _write(db, namespace, [(text(key), value) for key, value in call.changes.items() if value is not None])
    return [None] * len(calls)


def _remove(db: Database, namespace: str, keys: Sequence[str]) -> None:
    if keys:
        sql = "DELETE FROM kept WHERE space = ? AND key IN (SELECT value FROM json_each(?))"
        db.execute(sql, (namespace, listed(map(text, keys))))


def _write(db: Database, namespace: str, rows: Sequence[tuple[str, bytes]]) -> None:
    for start in range(0, len(rows), _ROWS):
        part = rows[start : start + _ROWS]
        values = [field for key, value in part for field in (namespace, key, value, checksum(value, namespace, key))]
        places = ", ".join(["(?,?,?,?)"] * len(part))
        db.execute(f"{_PUT} {places} {_OR_REPLACE}", values)
