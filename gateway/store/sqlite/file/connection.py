"""A connection that waits for the write lock in its turn, and for the disk when it is told to.

SQLite itself waits by sleeping and looking again. A process that commits without pause takes the lock back before one
that sleeps looks, and that one gets "database is locked" in the end. So there is a turnstile before the lock: the
process that is next holds a lock file, from before it asks for the write lock until it has it. A process that commits
and wants to write again has to queue behind it.
"""

import contextlib
import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from gateway.store.sqlite.file import held
from gateway.store.sqlite.file.held import file_at
from gateway.store.sqlite.file.owner import locked_within, turnstile
from gateway.store.sqlite.file.wal import wal_of

logger = logging.getLogger(__name__)

BUSY = 5.0
"""Seconds to wait for another process's commit."""
LOOK_AGAIN = 0.0005
"""Seconds between two looks at a lock that somebody else has; a commit takes longer than that on most disks."""
_SETTINGS = (
    "PRAGMA synchronous = NORMAL",  # only checkpoints sync by themselves; FairConnection.sync() does it for commits
    "PRAGMA journal_size_limit = 67108864",
    "PRAGMA wal_autocheckpoint = 4000",
)
_sync = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync()


class FairConnection(sqlite3.Connection):
    """A connection to the database at ``path``. Each statement is a transaction of its own until ``begin``."""

    _first: Sequence[str] = ("PRAGMA journal_mode = WAL",)
    """The first statements. Some network file systems cannot have a write-ahead log."""

    def __init__(self, path: Path, *, busy: float | None = None) -> None:
        """``busy``: seconds to wait for another's lock, by default ``BUSY``. Raises OSError or sqlite3.Error."""
        super().__init__(
            path,
            timeout=BUSY if busy is None else busy,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        try:
            self._path = path
            self._file = file_at(path)
            self._turnstile = os.fdopen(turnstile(path), "rb")
        except OSError:
            super().close()
            raise
        held.hold(self._file)
        self._log: BinaryIO | None = None
        self._is_torn = False
        """Whether a sync of the log has failed."""
        try:
            for statement in (*self._first, *_SETTINGS):
                self.execute(statement)
            self._has_log = self.execute("PRAGMA journal_mode").fetchone() == ("wal",)
            if not self._has_log:  # each commit syncs by itself, and EXTRA syncs the folder, too
                self.execute("PRAGMA synchronous = EXTRA")
        except sqlite3.Error:
            self.close()
            raise

    def close(self) -> None:
        super().close()
        self._turnstile.close()
        held.release(self._file)
        self._file = None
        if self._log is not None:
            self._log.close()

    def begin(self, *, writes: bool = True, single: bool = False) -> None:
        """Begin to write, in turn with every other process, or to read, which delays no other process. Raises
        sqlite3.OperationalError for SQLITE_BUSY, and if the file is no longer at its path, where the next start would
        not find it."""
        if not writes:
            self.execute("BEGIN")
            return
        if file_at(self._path) != self._file:  # SQLite itself would write on in a file that has no name
            raise sqlite3.OperationalError(f"{self._path} was deleted, moved or replaced while it was open")
        with self.turn():
            self._begin_to_write()

    def _begin_to_write(self) -> None:
        self.execute("BEGIN IMMEDIATE")

    def sync(self) -> None:
        """Wait until every commit is on disk, also those of other processes. Raises sqlite3.OperationalError if they
        may not be.

        A commit is what SQLite has appended to its write-ahead log, or has moved from there into the database by a
        checkpoint, which syncs both files. So a sync of the log as it is now is all that synchronous=FULL would add.
        """
        if not self._has_log:
            return
        try:
            if not self._is_torn:
                self._sync_log()
        except OSError as error:
            self._is_torn = True
            logger.error("%s: its log cannot be synced: %s", self._path, error.strerror)
        if self._is_torn:
            self._empty_log()
            self._is_torn = False

    def _sync_log(self) -> None:
        if self._log is None:
            self._log = wal_of(self._path).open("rb")
        _sync(self._log.fileno())

    def _empty_log(self) -> None:
        """Let SQLite move every commit into the database, which it syncs. After an error the system forgets that a page
        is to be written, so another sync of the log would succeed, and a part of the log would be missing. Whatever
        fails here, the connection stays: another would not know of it."""
        try:
            with self.turn():
                busy = self.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            trouble = "another process reads it" if busy else ""
        except sqlite3.OperationalError as failed:  # the first try meets the error of the log once more
            trouble = str(failed)
        if trouble:
            error = sqlite3.OperationalError(f"{self._path}: its log cannot be synced, and not be emptied: {trouble}")
            error.sqlite_errorname = "SQLITE_BUSY"
            raise error

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Be the next that gets the write lock, after ``BUSY`` seconds at most: a process that was stopped while it
        was next does not stop the others, which then try without a turn."""
        ours = locked_within(BUSY, self._turnstile.fileno(), look_again=LOOK_AGAIN)
        try:
            yield
        finally:
            if ours:
                fcntl.flock(self._turnstile, fcntl.LOCK_UN)
