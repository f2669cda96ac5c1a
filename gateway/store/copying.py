"""Copies all of a store into an empty one, of the same engine or another.

No gateway may use either while it lasts. What fails or is interrupted leaves the target as empty as it was.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, closing
from typing import Protocol, cast

from gateway.store.interfaces import Engine
from gateway.store.tables import TABLES, Row, Table
from gateway.store.values import StoreUnavailable


class Source(Protocol):
    """A store whose rows are read, and which nobody changes meanwhile."""

    def now(self) -> float:
        """Unix time by the store's clock."""

    def count(self, table: Table) -> int: ...

    def rows(self, table: Table) -> Generator[Row, None, None]:
        """All rows, in the order in which they came."""


class Target(Protocol):
    """A store that gets rows, all of them when its context ends without an exception."""

    def now(self) -> float:
        """Unix time by the store's clock."""

    def count(self, table: Table) -> int: ...

    def write(self, table: Table, rows: Iterable[Row]) -> None: ...


class CopiedEngine(Engine, Protocol):
    """An engine whose stores can be copied. Both raise StoreUnavailable, also if a process has the store open."""

    def source(self) -> AbstractContextManager[Source]: ...

    def target(self) -> AbstractContextManager[Target]: ...


Progress = Callable[[int, int], object]
"""Called with how many rows are copied, and how many there are."""


def copy(source: Engine, target: Engine, progress: Progress) -> dict[str, int]:
    """Copy everything; how many rows, by the name of their table. Raises StoreUnavailable."""
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
    """Rows as the target gets them, counted."""

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
