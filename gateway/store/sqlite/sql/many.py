"""Statements over many rows. Between two statements the event loop's thread may take the interpreter, and the store's
thread waits to get it back: the fewer statements, the faster both."""

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

_ROWS = 64
"""Rows of one statement."""


def execute_values(db: sqlite3.Connection, sql: str, rows: Sequence[tuple[object, ...]]) -> list[tuple[Any, ...]]:
    """Execute ``sql`` with ``VALUES (?, ?), (?, ?)`` for ``rows`` where it says ``VALUES``; return what it selects."""
    found: list[tuple[Any, ...]] = []
    for start in range(0, len(rows), _ROWS):
        some = rows[start : start + _ROWS]
        found += db.execute(_statement(sql, len(some), len(some[0])), [value for row in some for value in row])
    return found


@lru_cache(1024)
def _statement(sql: str, rows: int, columns: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return sql.replace("VALUES", f"VALUES {', '.join([row] * rows)}")
