"""The table that handlers write into, in the transaction that ends their message. It has no unique index: a row that is
there twice would show."""

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any

import psycopg

from gateway.store.states import DEAD

TABLE = "CREATE TABLE effects (what text, event text)"


class Effects:
    """``url``: that of the gateways' store."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._is_file = url.startswith("sqlite:")
        self.insert = f"INSERT INTO effects VALUES ({'?, ?' if self._is_file else '%s, %s'})"  # noqa: S608 -- no input

    def _execute(self, sql: str) -> list[Any]:
        if not self._is_file:
            with psycopg.connect(self._url) as session:
                found = session.execute(sql)
                return found.fetchall() if found.description else []
        with contextlib.closing(sqlite3.connect(self._url.removeprefix("sqlite:"), timeout=20)) as file, file:
            return file.execute(sql).fetchall()

    def make(self) -> None:
        """Once the gateways have made their store."""
        self._execute(TABLE)

    def backlog(self) -> list[tuple[Any, ...]]:
        """What there is in the store that waits for its handler, or to leave: id, state, owner, attempts, when it is
        due, and the last error. A hundred of each at most."""
        return self._items(f"state < {DEAD}")

    def dead(self) -> list[tuple[Any, ...]]:
        """The same of dead letters."""
        return self._items(f"state = {DEAD}")

    def _items(self, condition: str) -> list[tuple[Any, ...]]:
        before, columns = "" if self._is_file else "gateway_", "id, state, owner, attempts, due, error"
        tables = (f"{before}messages", f"{before}outgoing")
        return [
            row
            for table in tables
            for row in self._execute(f"SELECT {columns} FROM {table} WHERE {condition} LIMIT 100")  # noqa: S608 -- no input
        ]

    def rows(self) -> list[tuple[str, str]]:
        """(what, event id) of each."""
        return self._execute("SELECT what, event FROM effects")


def not_once(rows: Iterable[tuple[str, str]], acknowledged: Collection[str]) -> list[str]:
    """Return what has not one row for each event, or none at all. A mail is one event; QoS 1 may make two of a
    message."""
    kept = list(rows)
    events, found = Counter(event for _, event in kept), Counter(what for what, _ in kept)
    wrong = [f"event {event} has {count} rows" for event, count in events.items() if count > 1]
    wrong += [f"{what} has no row" for what in acknowledged if not found[what]]
    mails = {what: count for what, count in found.items() if "qos1" not in what}
    return wrong + [f"{what} has {count} rows" for what, count in mails.items() if count > 1]
