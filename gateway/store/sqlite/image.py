"""All rows of a file, read or written in one transaction; see :mod:`gateway.store.copying`."""

import contextlib
import sqlite3
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path

from gateway.store.elapsed import elapsed
from gateway.store.sqlite.file.connection import FairConnection
from gateway.store.sqlite.file.database import open_database
from gateway.store.sqlite.file.owner import Owner, others_alive
from gateway.store.sqlite.sql import clock
from gateway.store.tables import Row, Table
from gateway.store.values import StoreUnavailable
from protocols import private_files


class Image:
    """The rows of ``database``, which is in a transaction."""

    def __init__(self, database: FairConnection) -> None:
        self._database = database

    def now(self) -> float:
        return elapsed() + clock.ahead(self._database)

    def count(self, table: Table) -> int:
        return int(self._database.execute(f"SELECT count(*) FROM {table.name}").fetchone()[0])

    def rows(self, table: Table) -> Generator[Row, None, None]:
        sql = f"SELECT {', '.join(table.columns)} FROM {table.name} ORDER BY {table.order}"
        kinds = list(table.columns.values())
        for row in self._database.execute(sql):
            yield [_as(kind, value) for kind, value in zip(kinds, row, strict=True)]

    def write(self, table: Table, rows: Iterable[Row]) -> None:
        names = [*table.columns, *(["owner"] if "state" in table.columns else [])]
        sql = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
        self._database.executemany(sql, ([*row, ""] if "owner" in names else row for row in rows))


def _as(kind: type, value: object) -> object:
    """The value with the type of its column, as far as possible: a flipped bit may have changed the type."""
    if kind is bool:
        return bool(value)
    if kind is bytes and isinstance(value, str):
        return value.encode()
    if kind is str and not isinstance(value, str):
        return str(value)
    if kind in (int, float):
        return kind(value) if isinstance(value, int | float) else kind(0)
    return value


@contextlib.contextmanager
def image(path: Path) -> Iterator[Image]:
    """The file. No other process can write to it within the context. The rows are committed when the context ends
    without an exception. Raises StoreUnavailable."""
    with _opened(path) as database, _errors(path):
        database.begin()
        try:
            yield Image(database)
            database.commit()
            database.sync()
        except BaseException:
            database.rollback()
            raise


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[FairConnection]:
    with _errors(path):
        private_files.make_folder(path.parent)
        owner = Owner(path)
    try:
        if others_alive(path, owner.id):
            raise StoreUnavailable(f"{path} is in use: stop the gateway that has it open")
        database, _ = open_database(path, owner)
        with contextlib.closing(database):
            yield database
    finally:
        owner.release()


@contextlib.contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise StoreUnavailable(f"{path}: {error}") from error
