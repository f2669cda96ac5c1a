"""Owners of what is taken and claimed: each open store is one, alive as long as it holds the lock on its own file.

The kernel gives the lock up when the process dies, however it dies; no heartbeat, no clock.
"""

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from protocols import private_files

SHARED_LOCKS = ("open", "next")
"""Lock files that belong to no owner."""
OPENING = 60.0
"""Seconds to wait for others that open the file. A check takes some 5 s a gigabyte."""
LOOK_AGAIN = 0.02
"""Seconds between two looks at a lock that somebody else has."""


class Owner:
    """A random id, and the lock beside the database that shows that its process is alive."""

    def __init__(self, database: Path) -> None:
        """Raises OSError if the folder cannot be written."""
        self.id = secrets.token_hex(8)
        self._path = lock_path(database, self.id)
        self._fd = _locked(self._path)

    def release(self) -> None:
        """Dead from now on, for every process. If the file cannot be removed, the process that finds it removes it."""
        with contextlib.suppress(OSError):  # the file system is read-only by now, or away
            self._path.unlink(missing_ok=True)
        os.close(self._fd)


def is_alive(database: Path, owner: str) -> bool:
    """Whether a process holds the lock of ``owner``; the file of a dead one is removed."""
    path = lock_path(database, owner)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return True  # it cannot be told: what may be another's is left alone
    try:
        if free := _is_free(fd):
            path.unlink(missing_ok=True)
        return not free
    finally:
        os.close(fd)


def others_alive(database: Path, owner: str) -> bool:
    """Whether an owner other than ``owner`` has the database open."""
    database = database.resolve()
    prefix, suffix = f"{database.name}.", ".lock"
    ids = [path.name[len(prefix) : -len(suffix)] for path in database.parent.glob(f"{prefix}*{suffix}")]
    alive = [each for each in ids if each not in (owner, *SHARED_LOCKS) and is_alive(database, each)]
    return bool(alive)  # all are looked at: the files of dead ones go


@contextlib.contextmanager
def opening(database: Path) -> Iterator[None]:
    """One process at a time checks, migrates and repairs, while no other begins to use the file. Raises OSError, after
    ``OPENING`` seconds if another is not done by then: it may have been stopped."""
    fd = _shared_lock(database, "open")
    try:
        if not locked_within(OPENING, fd, look_again=LOOK_AGAIN):
            raise TimeoutError(f"another process has been opening it for {OPENING:g} s; end that if it is stopped")
        yield
    finally:
        os.close(fd)


def turnstile(database: Path) -> int:
    """A descriptor for the lock of the process that writes next (:mod:`gateway.store.sqlite.file.connection`)."""
    return _shared_lock(database, "next")


def locked_within(seconds: float, fd: int, *, look_again: float) -> bool:
    """Wait for the lock on ``fd`` for ``seconds`` at most; whether it is ours now."""
    deadline = time.monotonic() + seconds
    while not (ours := _is_free(fd)) and time.monotonic() < deadline:
        time.sleep(look_again)
    return ours


def _is_free(fd: int) -> bool:
    """Whether no other has the lock: then it is ours now."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _shared_lock(database: Path, name: str) -> int:
    """A descriptor of a lock file that all processes use."""
    path = lock_path(database, name)
    private_files.create(path)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def lock_path(database: Path, owner: str) -> Path:
    """It is beside the file itself: who comes by a symbolic link finds the same locks."""
    database = database.resolve()
    return database.with_name(f"{database.name}.{owner}.lock")


def _locked(path: Path) -> int:
    """A descriptor that holds the lock on the file at ``path``."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(fd).st_ino:
                return fd
        os.close(fd)  # somebody who looked for dead owners removed it between the open and the lock
