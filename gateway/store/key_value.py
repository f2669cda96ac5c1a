"""What a server keeps of its own state: values by key, in a space of its own. In SQL."""

import logging
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.store.owner import is_alive
from gateway.store.rows import checksum, listed, text

logger = logging.getLogger(__name__)

Database = sqlite3.Connection
Changes = Mapping[str, bytes | None]

_ROWS = 128
"""Rows of one INSERT."""
_PUT = "INSERT INTO kept (space, key, value, checksum) VALUES"
_ANEW = "ON CONFLICT (space, key) DO UPDATE SET value = excluded.value, checksum = excluded.checksum"


class Taken(ValueError):
    """Another process that lives has the space."""


@dataclass(frozen=True, slots=True)
class Opening:
    path: Path
    owner: str
    space: str


def load(db: Database, calls: Sequence[Opening]) -> list[dict[str, bytes]]:
    """Everything in a space, which is the caller's from now on. Raises Taken where it is another's."""
    return [_load(db, call) for call in calls]


def _load(db: Database, call: Opening) -> dict[str, bytes]:
    space = text(call.space)
    found = db.execute("SELECT owner FROM spaces WHERE space = ?", [space]).fetchone()
    if found is not None and found[0] != call.owner and is_alive(call.path, str(found[0])):
        raise Taken(f"{call.space} is kept by another gateway that is running")
    db.execute("INSERT OR REPLACE INTO spaces (space, owner) VALUES (?, ?)", (space, call.owner))
    return dict(_sound(space, db.execute("SELECT key, value, checksum FROM kept WHERE space = ?", [space])))


def _sound(space: str, rows: Iterable[tuple[str, Any, int]]) -> Iterable[tuple[str, bytes]]:
    damaged = 0
    for key, value, total in rows:
        if isinstance(value, bytes) and checksum(value, space, key) == total:
            yield key, value
        else:
            damaged += 1
    if damaged:
        logger.error("store: %d records of %s are damaged and left out", damaged, space)


def keep(db: Database, calls: Sequence[tuple[str, Changes]]) -> list[None]:
    for space, changes in calls:
        _remove(db, text(space), [key for key, value in changes.items() if value is None])
        _write(db, text(space), [(text(key), value) for key, value in changes.items() if value is not None])
    return [None] * len(calls)


def _remove(db: Database, space: str, keys: Sequence[str]) -> None:
    if keys:
        sql = "DELETE FROM kept WHERE space = ? AND key IN (SELECT value FROM json_each(?))"
        db.execute(sql, (space, listed(map(text, keys))))


def _write(db: Database, space: str, rows: Sequence[tuple[str, bytes]]) -> None:
    for start in range(0, len(rows), _ROWS):
        part = rows[start : start + _ROWS]
        values = [field for key, value in part for field in (space, key, value, checksum(value, space, key))]
        places = ", ".join(["(?,?,?,?)"] * len(part))
        db.execute(f"{_PUT} {places} {_ANEW}", values)
