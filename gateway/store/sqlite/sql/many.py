"""Statements over many rows. Between two statements the event loop's thread may take the interpreter, and the store's
thread waits to get it back: the fewer statements, the faster both."""

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

MOST_ROWS = 64
"""Rows of one statement, at most."""


def execute_values(db: sqlite3.Connection, sql: str, rows: Sequence[tuple[object, ...]]) -> list[tuple[Any, ...]]:
    """Execute ``sql`` with ``VALUES (?, ?), (?, ?)`` for ``rows`` where it says ``VALUES``; return what it selects."""
    found: list[tuple[Any, ...]] = []
    for start in range(0, len(rows), MOST_ROWS):
        found += _execute(db, sql, rows[start : start + MOST_ROWS])
    return found


def insert_values(db: sqlite3.Connection, sql: str, rows: Sequence[tuple[object, ...]]) -> int:
    """Execute ``sql`` in the same way for at most ``MOST_ROWS`` rows; return how many rows it inserts."""
    return _execute(db, sql, rows).rowcount


def _execute(db: sqlite3.Connection, sql: str, rows: Sequence[tuple[object, ...]]) -> sqlite3.Cursor:
    return db.execute(_statement(sql, len(rows), len(rows[0])), [value for row in rows for value in row])


@lru_cache(1024)
def _statement(sql: str, rows: int, columns: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return sql.replace("VALUES", f"VALUES {', '.join([row] * rows)}")
