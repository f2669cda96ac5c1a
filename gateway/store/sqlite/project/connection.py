"""A connection to the file of a project. The project writes to it, too."""

import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.store.sqlite.file.connection import BUSY, LOOK_AGAIN, FairConnection
from gateway.store.sqlite.plain import Plain
from gateway.store.sqlite.project.names import in_project

IN_MEMORY = Path(":memory:")
"""The path if the project's database is in memory, as in its tests."""


@dataclass(frozen=True, slots=True)
class ProjectFile:
    """Where the file is, and how the project opens it."""

    path: Path
    first: tuple[str, ...] = ()
    """Statements for each new connection: ``init_command`` in Django."""
    busy: float = BUSY
    """Seconds to wait for another's commit."""
    alias: str = ""
    """The project's name of the database, if it is not the default one."""


class Renamed(Plain):
    """A connection of the project. It renames the tables in the statements of this engine."""

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        return super().execute(in_project(sql), parameters)

    def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
        return super().executemany(in_project(sql), parameters)


LONGEST_PAUSE = 0.05
"""Seconds between two commits of ours, at most."""


class ProjectConnection(FairConnection):
    """It renames the tables in the statements of this engine.

    The project decides whether the file has a write-ahead log.
    """

    def __init__(self, file: ProjectFile) -> None:
        self._first = file.first
        self._busy = file.busy
        self._free_until = 0.0
        self._began: float | None = None
        super().__init__(file.path, busy=file.busy)

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        return super().execute(in_project(sql), parameters)

    def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
        return super().executemany(in_project(sql), parameters)

    def begin(self, *, writes: bool = True, single: bool = False) -> None:
        """Leave the project's own writers as much time as we take: SQLite waits for the lock by sleeping, up to 0.1 s
        at a time, and trying again. A writer without pauses would have the lock at each of these tries."""
        if writes and (pause := self._free_until - time.monotonic()) > 0:
            time.sleep(pause)
        super().begin(writes=writes)
        self._began = time.monotonic() if writes else None

    def _begin_to_write(self) -> None:
        """Try more often than SQLite itself, which sleeps longer and longer: a command of the project that commits in a
        loop leaves the lock free for moments only."""
        deadline = time.monotonic() + self._busy
        self.execute("PRAGMA busy_timeout = 0")
        try:
            while not self._is_begun(last=time.monotonic() >= deadline):
                time.sleep(LOOK_AGAIN)
        finally:
            self.execute(f"PRAGMA busy_timeout = {round(self._busy * 1000)}")

    def _is_begun(self, *, last: bool) -> bool:
        try:
            self.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if last or error.sqlite_errorname != "SQLITE_BUSY":
                raise
            return False
        return True

    def commit(self) -> None:
        super().commit()
        if self._began is not None:
            now = time.monotonic()
            self._free_until = now + min(now - self._began, LONGEST_PAUSE)
