"""The tables, and the migrations that bring an older file to them.

Names in SQL are those of the first release: while an older gateway still has the file open, a migration may add columns
and tables, but not rename them.
"""

import contextlib
import sqlite3

FIRST = """
CREATE TABLE messages (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL, route TEXT NOT NULL, key TEXT NOT NULL, subject TEXT NOT NULL,
    received REAL NOT NULL, content BLOB NOT NULL, checksum INTEGER NOT NULL,
    state INTEGER NOT NULL, owner TEXT NOT NULL DEFAULT '', attempts INTEGER NOT NULL,
    due REAL NOT NULL, error TEXT NOT NULL DEFAULT '', story TEXT NOT NULL DEFAULT ''
);
CREATE INDEX messages_due ON messages (state, due);
CREATE INDEX messages_key ON messages (key, seq) WHERE key <> '' AND state < 3;
CREATE TABLE claims (
    seq INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, id TEXT NOT NULL,
    state INTEGER NOT NULL, owner TEXT NOT NULL, attempts INTEGER NOT NULL,
    received REAL NOT NULL, expires REAL NOT NULL, result BLOB NOT NULL, checksum INTEGER NOT NULL,
    story TEXT NOT NULL DEFAULT ''
);
CREATE INDEX claims_id ON claims (id);
CREATE INDEX claims_expires ON claims (state, expires);
CREATE TABLE outgoing (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, message TEXT NOT NULL, kind TEXT NOT NULL,
    content BLOB NOT NULL, checksum INTEGER NOT NULL,
    state INTEGER NOT NULL, owner TEXT NOT NULL DEFAULT '', attempts INTEGER NOT NULL,
    due REAL NOT NULL, error TEXT NOT NULL DEFAULT ''
);
CREATE INDEX outgoing_due ON outgoing (state, due);
"""

LANES = """
ALTER TABLE outgoing ADD COLUMN lane TEXT NOT NULL DEFAULT '';
ALTER TABLE outgoing ADD COLUMN behind TEXT NOT NULL DEFAULT '';
DROP INDEX outgoing_due;
CREATE INDEX outgoing_due ON outgoing (state, lane, due);
"""

KEPT = """
CREATE TABLE kept (
    seq INTEGER PRIMARY KEY, space TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, checksum INTEGER NOT NULL,
    UNIQUE (space, key)
);
CREATE TABLE spaces (seq INTEGER PRIMARY KEY, space TEXT NOT NULL UNIQUE, owner TEXT NOT NULL);
"""

ALONE = """
ALTER TABLE messages ADD COLUMN alone INTEGER NOT NULL DEFAULT 0;
CREATE INDEX messages_alone ON messages (state) WHERE alone AND state < 2;
"""

LIVES = """
ALTER TABLE outgoing ADD COLUMN since REAL NOT NULL DEFAULT 0;
ALTER TABLE outgoing ADD COLUMN recipient TEXT NOT NULL DEFAULT '';
UPDATE outgoing SET since = coalesce(
    (SELECT received FROM messages WHERE messages.id = outgoing.message),
    (SELECT received FROM claims WHERE claims.id = outgoing.message),
    CAST(strftime('%s', 'now') AS REAL));
CREATE INDEX outgoing_behind ON outgoing (behind) WHERE behind <> '';
CREATE TABLE resting (lane TEXT NOT NULL PRIMARY KEY, until REAL NOT NULL, error TEXT NOT NULL);
"""

ALIKE = """
ALTER TABLE claims ADD COLUMN failed_as TEXT NOT NULL DEFAULT '';
CREATE INDEX claims_failed ON claims (failed_as) WHERE state = 1 AND failed_as <> '';
"""

CLOCK = """
CREATE TABLE clock (seq INTEGER PRIMARY KEY, boot TEXT NOT NULL, ahead REAL NOT NULL, seen REAL NOT NULL);
"""

NOTES = """
CREATE TABLE notes (
    key TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL, checksum INTEGER NOT NULL, expires REAL NOT NULL
);
CREATE INDEX notes_expires ON notes (expires);
"""

PRIORITY = """
ALTER TABLE messages ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
CREATE INDEX messages_later ON messages (due) WHERE priority <> 0 AND state = 0 AND due >= 1.0;
"""

MIGRATIONS = (FIRST, LANES, KEPT, ALONE, LIVES, ALIKE, CLOCK, NOTES, PRIORITY)
"""Number n makes version n + 1 of version n. Never changed once released: append."""


class TooNew(Exception):
    """The file was written by a later release."""


def check_version(version: int) -> None:
    """Raises TooNew."""
    if version > len(MIGRATIONS):
        raise TooNew(f"it has version {version} and this release knows {len(MIGRATIONS)}; run the newer release again")


def version_in(header: bytes) -> int:
    """The version of the file that begins with ``header`` (SQLite's file format, 1.3); 0 if it is not a database."""
    return int.from_bytes(header[60:64], "big") if header.startswith(b"SQLite format 3\0") else 0


def version_of(db: sqlite3.Connection) -> int:
    """The version of an open file, also if its latest change is still in the write-ahead log."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def migrate(db: sqlite3.Connection) -> None:
    """Bring the file to today's version; all of it or nothing. Raises TooNew."""
    version = version_of(db)
    check_version(version)
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        db.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT;")


def is_whole(db: sqlite3.Connection) -> bool:
    """Whether all tables of a new file are there: a flipped bit in a column's name passes SQLite's own check. Handlers
    may have tables of their own in it."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as new:
        migrate(new)
        return _tables(db) >= _tables(new)


def _tables(db: sqlite3.Connection) -> set[tuple[str, ...]]:
    return set(db.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"))
