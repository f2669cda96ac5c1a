"""The SQLite file of a project, with the gateway's tables among its own."""

import contextlib
import sqlite3
from pathlib import Path

from gateway.store.project import vendor


def migrated(path: Path, journal: str = "delete") -> Path:
    """Make the file at ``path``; its own table has a name that the gateway also has, in files of its own."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute(f"PRAGMA journal_mode = {journal}")
        database.execute("CREATE TABLE messages (theirs TEXT)")
        vendor("sqlite").migrate(database.execute, have=0, to=vendor("sqlite").NEWEST)
    return path
