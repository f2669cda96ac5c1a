"""A handler's connection, for the store's statements. Their rows are tuples, whatever row factory the handler has
set."""

import sqlite3
from typing import Any


class Plain:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        return self._cursor().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
        return self._cursor().executemany(sql, parameters)

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def _cursor(self) -> sqlite3.Cursor:
        cursor = self._connection.cursor()
        cursor.row_factory = None
        return cursor
