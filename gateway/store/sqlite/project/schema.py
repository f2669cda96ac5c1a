"""The tables in a project's file. Django's migrations make them; a gateway only looks at their version."""

import sqlite3
from collections.abc import Callable, Iterator

from gateway.store.project import VERSIONS
from gateway.store.sqlite.project.names import TABLES, in_project
from gateway.store.sqlite.sql.schema import MIGRATIONS

NEWEST = len(MIGRATIONS)
"""The version of the tables that this release uses."""


def migrate(execute: Callable[[str], object], *, have: int, to: int) -> None:
    """Bring the tables from version ``have`` to version ``to`` by ``execute``, within its caller's transaction. Version
    0 has no tables."""
    for script in MIGRATIONS[have:to]:
        for statement in _statements(script):
            execute(in_project(statement))
    if have >= to:
        return
    if have == 0:
        execute(f"CREATE TABLE {VERSIONS} (version INTEGER NOT NULL)")
        execute(f"INSERT INTO {VERSIONS} VALUES ({to})")
    else:
        execute(f"UPDATE {VERSIONS} SET version = {to}")


def remove(execute: Callable[[str], object]) -> None:
    """Drop all tables of the gateway, and what is in them."""
    for table in TABLES:
        execute(f"DROP TABLE {in_project(table)}")
    execute(f"DROP TABLE {VERSIONS}")


def version_of(database: sqlite3.Connection) -> int:
    """Return the version of the gateway's tables; 0 if there are no tables. Raises sqlite3.Error."""
    found = database.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", [VERSIONS]).fetchone()
    return int(database.execute(f"SELECT max(version) FROM {VERSIONS}").fetchone()[0] or 0) if found else 0


def _statements(script: str) -> Iterator[str]:
    """Split a script into statements. Its only semicolons are at their ends."""
    return filter(None, map(str.strip, script.split(";")))
