"""Opens, checks and repairs the file and migrates it to today's schema, one process at a time."""

import contextlib
import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from gateway.store.sqlite.file.connection import FairConnection
from gateway.store.sqlite.file.owner import Owner, is_alive, opening, others_alive
from gateway.store.sqlite.file.salvage import salvage
from gateway.store.sqlite.file.wal import commits, wal_of
from gateway.store.sqlite.sql.clock import set_clock
from gateway.store.sqlite.sql.schema import MIGRATIONS, TooNew, is_whole, migrate, version_of
from gateway.store.sqlite.sql.upkeep import dead_owners, give_back
from gateway.store.values import StoreUnavailable
from protocols import private_files

_DAMAGE = ("SQLITE_CORRUPT", "SQLITE_NOTADB")


def open_database(path: Path, owner: Owner) -> tuple[FairConnection, str]:
    """The database, ready for use, and what was found, in one line. Raises StoreUnavailable."""
    try:
        with opening(path):
            return _opened(path, alone=not others_alive(path, owner.id))
    except TooNew as error:
        raise StoreUnavailable(f"{path} cannot be used: {error}") from error
    except (OSError, sqlite3.Error) as error:
        raise StoreUnavailable(f"{path}: {error}") from error


def check_shared(path: Path) -> None:
    """Raises StoreUnavailable if another process has the file open, and :func:`open_database` would migrate it. Call it
    where this process has not opened the file (:mod:`gateway.store.sqlite.file.held`)."""
    if not others_alive(path, ""):
        return
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            version = version_of(database)
    except sqlite3.Error as error:
        raise StoreUnavailable(f"{path}: {error}") from error
    if version < len(MIGRATIONS):
        change = f"it has version {version}, and this release makes version {len(MIGRATIONS)} of it"
        raise StoreUnavailable(f"{path}: {change}, which the process that uses it could not open again: restart that")


def _opened(path: Path, *, alone: bool) -> tuple[FairConnection, str]:
    found = [*_tightened(path)]
    try:
        database, lost = _checked(path, alone=alone)
        found += [lost] if lost else []
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorname", "") not in _DAMAGE:
            raise
        if not alone:
            raise StoreUnavailable(f"{path} is damaged ({error}) and another process has it open: stop that") from error
        database, said = _repaired(path, str(error))
        found.append(said)
    found.append(started(database, path))
    return database, "; ".join(filter(None, found))


def started(database: FairConnection, path: Path) -> str:
    """Set the store's clock, and give back what dead owners had. What was given back, in one line."""
    set_clock(database)
    dead = dead_owners(database, partial(is_alive, path))
    given_back = _recovered(database, dead) if dead else 0
    database.sync()
    return f"{given_back} that an earlier process had not finished are tried again" if dead else ""


def _tightened(path: Path) -> Iterator[str]:
    """Files that earlier releases made readable for all become their owner's. Rights of a group stay."""
    ours = [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm")]
    ours += path.parent.glob(f"{path.name}*.damaged-*")
    if readable := [each for each in ours if private_files.is_open_to_all(each)]:
        names = ", ".join(sorted(each.name for each in readable))
        try:
            for each in readable:
                private_files.tighten(each)
            yield f"every user of this machine could read {names}: now its owner alone can (mode 600)"
        except OSError as error:
            yield f"every user of this machine can read {names}: {error.strerror}; give it mode 600"


def _checked(path: Path, *, alone: bool) -> tuple[FairConnection, str]:
    """The database, sound and of today's version. Raises sqlite3.DatabaseError if it is damaged."""
    with contextlib.ExitStack() as on_error:
        database = _connected(path)
        on_error.callback(database.close)
        lost = _lost_commits(database, path) if alone else ""
        said = database.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if said != "ok":
            raise _damaged(said.replace("\n", " "))
        with database.turn():
            migrate(database)
        if not is_whole(database):
            raise _damaged("its schema is not ours")
        on_error.pop_all()
        return database, lost


def _damaged(said: str) -> sqlite3.DatabaseError:
    """The exception that SQLite itself would raise."""
    error = sqlite3.DatabaseError(said)
    error.sqlite_errorname = "SQLITE_CORRUPT"
    return error


def _connected(path: Path) -> FairConnection:
    private_files.create(path)  # its write-ahead log and the index of that get its mode
    database = FairConnection(path)
    database.text_factory = _text
    return database


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")  # a flipped bit is found by the checksum, not by the decoder


def _lost_commits(database: sqlite3.Connection, path: Path) -> str:
    """What the write-ahead log held and SQLite did not take, in one line."""
    page_size = database.execute("PRAGMA page_size").fetchone()[0]
    wal = wal_of(path)
    written = commits(wal, page_size)
    taken = database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1]
    lost = sum(number > taken for number in written)
    if not lost:
        return ""
    kept = _aside(wal)
    private_files.create(kept)
    shutil.copyfile(wal, kept)
    return f"{lost} damaged commits at the end of {wal.name}: lost, unless just being written ({kept.name})"


def _aside(path: Path) -> Path:
    return path.with_name(
        f"{path.name}.damaged-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{time.time_ns() % 10**6}"
    )


def _repaired(path: Path, error: str) -> tuple[FairConnection, str]:
    """A new database with what can be read of the damaged one, which gets another name."""
    moved = _aside(path)
    path.rename(moved)
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(moved.with_name(moved.name + suffix))
    database, _ = _checked(path, alone=False)
    with contextlib.closing(sqlite3.connect(moved, isolation_level=None)) as old:
        old.text_factory = _text
        read = salvage(old, database)
    return database, f"{path.name} was damaged ({error}) and is kept as {moved.name}; {read}"


def _recovered(database: FairConnection, dead: Sequence[str]) -> int:
    database.begin()
    returned = give_back(database, dead)
    database.execute("COMMIT")
    return returned
