"""All rows of a database, read or written in one transaction; see :mod:`gateway.store.copying`."""

import contextlib
import time
from collections.abc import Generator, Iterable, Iterator
from typing import Any

import psycopg
from psycopg import sql

from gateway.store.postgresql.connection import Session, connect
from gateway.store.postgresql.owner import SILENT
from gateway.store.postgresql.place import Place
from gateway.store.postgresql.sql import owners, schema
from gateway.store.postgresql.sql.rows import indexed
from gateway.store.rows import checksum, outgoing_checksum, text
from gateway.store.tables import KEPT, MESSAGES, OUTGOING, Row, Table
from gateway.store.values import StoreUnavailable

LIMIT = 600.0
"""Seconds to wait for one answer: the last one comes when every index is written."""
_TYPES = {str: "text", float: "float8", bytes: "bytea", int: "int8", bool: "bool"}
_NARROW = {"state": "int2", "attempts": "int4", "priority": "int4"}
_READ = sql.SQL("COPY (SELECT {} FROM {} ORDER BY {}) TO STDOUT (FORMAT BINARY)")
_WRITE = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)")


class Image:
    """The rows of the database of ``session``, which is in a transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def now(self) -> float:
        return owners.now(self._session)

    def count(self, table: Table) -> int:
        query = sql.SQL("SELECT count(*) FROM {}").format(_name(table))
        return int((self._session.execute(query).fetchone() or (0,))[0])

    def rows(self, table: Table) -> Generator[Row, None, None]:
        names, order = _names(table.columns), _names(table.order.split(", "))
        with self._session.cursor().copy(_READ.format(names, _name(table), order)) as copy:
            copy.set_types(_types(table))
            for row in copy.rows():
                yield list(row)

    def write(self, table: Table, rows: Iterable[Row]) -> None:
        more = {"name": str} if table is KEPT else {}
        with self._session.cursor().copy(_WRITE.format(_name(table), _names([*table.columns, *more]))) as copy:
            copy.set_types([*_types(table), *["text"] * len(more)])
            for row in rows:
                copy.write_row(_as_indexed(table, [text(each) if isinstance(each, str) else each for each in row]))


def _name(table: Table) -> sql.Identifier:
    return sql.Identifier(f"gateway_{table.name}")


def _names(names: Iterable[str]) -> sql.Composable:
    return sql.SQL(", ").join(map(sql.Identifier, names))


def _types(table: Table) -> list[str]:
    return [_NARROW.get(name, _TYPES[kind]) for name, kind in table.columns.items()]


def _as_indexed(table: Table, row: Row) -> Row:
    """The row, with keys that an index can hold. A sound row gets the checksum of its new key."""
    if table is KEPT:
        return [*row, indexed(row[table.at("key")])]
    for name in ("key", "lane", "failed_as"):
        if name in table.columns and (key := indexed(row[table.at(name)])) != row[table.at(name)]:
            sound = "checksum" in table.columns and _checksum(table, row) == row[table.at("checksum")]
            row[table.at(name)] = key
            if sound:
                row[table.at("checksum")] = _checksum(table, row)
    return row


def _checksum(table: Table, row: Row) -> int:
    """The checksum of a sound row."""

    def values(*names: str) -> list[Any]:
        return [row[table.at(name)] for name in names]

    if table is MESSAGES:
        return checksum(*values("content", "id", "type", "route", "key", "subject", "received"))
    if table is OUTGOING:
        return outgoing_checksum(*values("content", "id", "message", "kind", "lane", "behind"))
    if table.name == "claims":
        return checksum(*values("result", "key", "id", "received"))
    return checksum(*values("value", "key"))


@contextlib.contextmanager
def image(place: Place, *, writes: bool) -> Iterator[Image]:
    """The database. No other process can write to it within the context. The rows are committed when the context ends
    without an exception. Raises StoreUnavailable."""
    try:
        with contextlib.closing(connect(place, autocommit=True)) as session:
            session.limit = LIMIT
            schema.check_server(session)
            schema.migrate(session)
            before = _watched(session)
            with session.transaction():
                _lock(session, "EXCLUSIVE" if writes else "SHARE")
                if any(before.get(owner) != beats for owner, beats in owners.beats(session).items()):
                    raise StoreUnavailable(f"{place} is in use: stop the gateways that have it open")
                yield Image(session)
    except (psycopg.Error, schema.Unsuitable) as error:
        raise StoreUnavailable(f"{place}: {' '.join(str(error).split())}") from error


def _lock(session: Session, mode: str) -> None:
    """Lock the tables until the transaction ends. Owners that live cannot beat in this time."""
    session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    for setting in ("lock_timeout = '10s'", "statement_timeout = 0", "idle_in_transaction_session_timeout = 0"):
        session.execute(f"SET LOCAL {setting}".encode())
    names = ", ".join(schema.TABLES)
    session.execute(f"LOCK TABLE {names} IN {mode} MODE".encode())


def _watched(session: Session) -> owners.Beats:
    """The beats of the owners some time ago. Owners that live have beaten since."""
    if before := owners.beats(session):
        time.sleep(SILENT)
    return before
