"""Copies all of a store into an empty one, of the same engine or another.

No gateway may use either store during the copy. If the copy fails or is interrupted, the target stays empty.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, closing
from typing import Protocol, cast

from gateway.store.interfaces import Engine
from gateway.store.tables import TABLES, Row, Table
from gateway.store.values import StoreUnavailable


class Source(Protocol):
    """The store to read from. No process changes it during the copy."""

    def now(self) -> float:
        """Unix time by the store's clock."""

    def count(self, table: Table) -> int: ...

    def rows(self, table: Table) -> Generator[Row, None, None]:
        """All rows, in the order in which they were stored."""


class Target(Protocol):
    """The store to write to. The rows are committed when its context ends without an exception."""

    def now(self) -> float:
        """Unix time by the store's clock."""

    def count(self, table: Table) -> int: ...

    def write(self, table: Table, rows: Iterable[Row]) -> None: ...


class CopiedEngine(Engine, Protocol):
    """An engine with stores that can be copied. Both methods raise StoreUnavailable, also if a process has the store
    open."""

    def source(self) -> AbstractContextManager[Source]: ...

    def target(self) -> AbstractContextManager[Target]: ...


Progress = Callable[[int, int], object]
"""Called with the number of rows copied so far, and the number of all rows."""


def copy(source: Engine, target: Engine, progress: Progress) -> dict[str, int]:
    """Copy everything. Return the number of rows by the name of their table. Raises StoreUnavailable."""
    if str(source) == str(target):
        raise StoreUnavailable(f"{source} cannot be copied into itself")
    with _copied(source).source() as old, _copied(target).target() as new:
        if held := [f"{count} rows of {table.name}" for table in TABLES if (count := new.count(table))]:
            raise StoreUnavailable(f"{target} holds {', '.join(held)}: copy into an empty store")
        counts = {table.name: old.count(table) for table in TABLES}
        copied = _Copied(sum(counts.values()), progress, round(new.now() - old.now()))
        for table in TABLES:
            with closing(old.rows(table)) as rows:
                new.write(table, copied.rows(table, rows))
        return counts


def _copied(engine: Engine) -> CopiedEngine:
    if not hasattr(engine, "source"):
        raise StoreUnavailable(f"{engine} cannot be copied: name the database itself, as sqlite:FILE or postgresql://")
    return cast("CopiedEngine", engine)


class _Copied:
    """Converts and counts the rows on their way to the target."""

    def __init__(self, total: int, progress: Progress, ahead: int) -> None:
        self._total, self._progress, self._ahead = total, progress, ahead
        self._done = 0

    def rows(self, table: Table, rows: Iterable[Row]) -> Iterator[Row]:
        for row in rows:
            table.settle(row)
            table.shift(row, self._ahead)
            self._done += 1
            if not self._done % 1000 or self._done == self._total:
                self._progress(self._done, self._total)
            yield row
