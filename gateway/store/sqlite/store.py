"""A store in one SQLite file."""

import sqlite3
from pathlib import Path
from typing import ClassVar

from gateway.store.joined import Joined, Locks
from gateway.store.operations import Operations
from gateway.store.parts.whole import WholeStore
from gateway.store.sqlite.file.connection import FairConnection
from gateway.store.sqlite.file.database import open_database
from gateway.store.sqlite.file.owner import Owner, is_alive
from gateway.store.sqlite.plain import Plain
from gateway.store.sqlite.sql import (
    claims,
    clock,
    history,
    key_value,
    locks,
    lookup,
    messages,
    notes,
    outgoing,
    put,
    spaces,
    upkeep,
)
from gateway.store.transaction import TransactionStore
from gateway.store.values import StoreUnavailable
from gateway.store.writer import Fault
from protocols import private_files

Opened = tuple[FairConnection, Owner, str]


class SQLiteStore(WholeStore):
    """A :class:`gateway.store.interfaces.Store` in the file at ``path``."""

    operations: ClassVar[Operations] = Operations(
        put, messages, claims, outgoing, key_value, spaces, notes, lookup, history, upkeep
    )

    locks: ClassVar[Locks] = locks
    handlers_at_once: ClassVar[int | None] = 1  # there is one write lock

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.path = Path(path)

    def __str__(self) -> str:
        return str(self.path)

    def _opened(self) -> Opened:
        try:
            self._prepare()
            owner = Owner(self.path)
        except OSError as error:
            raise StoreUnavailable(f"{self.path}: {error.strerror}") from error
        try:
            database, found = self._connected(owner)
            return database, owner, found
        except BaseException:
            owner.release()
            raise

    def _connected_again(self, owner: Owner) -> FairConnection:
        return self._connected(owner)[0]

    def _connected(self, owner: Owner) -> tuple[FairConnection, str]:
        """Open the file and read its clock. It may be another file than at the first time."""
        database, found = self._database(owner)
        self._ahead = clock.ahead(database)
        return database, found

    def _prepare(self) -> None:
        """Raises OSError."""
        private_files.make_folder(self.path.parent)

    def _database(self, owner: Owner) -> tuple[FairConnection, str]:
        """Raises StoreUnavailable."""
        return open_database(self.path, owner)

    def _for_handlers(self) -> FairConnection:
        return FairConnection(self.path)

    def _joined(self, database: FairConnection) -> TransactionStore:
        """Reset the factories for rows and texts: an earlier handler may have set its own."""
        database.row_factory, database.text_factory = None, str
        return Joined(Plain(database), self.owner, self.operations, self.locks)

    def _fault(self, error: Exception) -> Fault:
        if not isinstance(error, sqlite3.Error | StoreUnavailable) or isinstance(error, _OWN_FAULT):
            return Fault.OWN
        return Fault.PASSING if getattr(error, "sqlite_errorname", "") in _PASSING else Fault.LOST

    def _is_alive(self, owner: str) -> bool:
        return is_alive(self.path, owner)


_OWN_FAULT = (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError, sqlite3.DataError)
"""Errors that are the call's fault, not the database's."""
_PASSING = ("SQLITE_FULL", "SQLITE_BUSY", "SQLITE_LOCKED")
"""Errors after which the connection is as good as before."""
