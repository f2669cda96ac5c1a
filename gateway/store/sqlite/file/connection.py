"""A connection that waits for the write lock in its turn.

SQLite itself waits by sleeping and looking again. A process that commits without pause takes the lock back before one
that sleeps looks, and that one gets "database is locked" in the end. So there is a turnstile before the lock: the
process that is next holds a lock file, from before it asks for the write lock until it has it. A process that commits
and wants to write again has to queue behind it.
"""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from gateway.store.sqlite.file.owner import locked_within, turnstile

BUSY = 5.0
"""Seconds to wait for another process's commit."""
LOOK_AGAIN = 0.0005
"""Seconds between two looks at a lock that somebody else has; a commit takes longer than that on most disks."""


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file is at ``path``; None if there is none."""
    try:
        facts = os.stat(path)
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


class FairConnection(sqlite3.Connection):
    """A connection to the database at ``path``. Each statement is a transaction of its own until ``begin``."""

    def __init__(self, path: Path) -> None:
        """Raises OSError or sqlite3.Error."""
        super().__init__(path, timeout=BUSY, isolation_level=None, check_same_thread=False, cached_statements=256)
        try:
            self._path = path
            self._syncs = True  # as open_database() says
            self._file = _identity(path)
            self._turnstile = os.fdopen(turnstile(path), "rb")
        except OSError:
            super().close()
            raise

    def close(self) -> None:
        super().close()
        self._turnstile.close()

    def begin(self, *, writes: bool = True, syncs: bool = True) -> None:
        """Begin to write, in turn with every other process, or to read, which delays no other process. Unless it
        ``syncs``, the commit returns before it is on disk: the death of this process does not undo it, a power cut may,
        and then also a later commit of that kind, but never one that syncs, which takes all before it along. Raises
        sqlite3.OperationalError for SQLITE_BUSY, and if the file is no longer at its path, where the next start would
        not find it."""
        if not writes:
            self.execute("BEGIN")
            return
        if syncs != self._syncs:
            self.execute(f"PRAGMA synchronous = {'FULL' if syncs else 'NORMAL'}")
            self._syncs = syncs
        if _identity(self._path) != self._file:  # SQLite itself would write on in a file that has no name
            raise sqlite3.OperationalError(f"{self._path} was deleted, moved or replaced while it was open")
        with self.turn():
            self.execute("BEGIN IMMEDIATE")

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
