"""The engine for the file of a project. It never repairs the file."""

import sqlite3

from gateway.store.interfaces import Store
from gateway.store.sqlite.project.connection import ProjectFile
from gateway.store.sqlite.project.database import fault, version_in
from gateway.store.transaction import TransactionStore
from protocols.writable import folder_fault


class ProjectEngine:
    """An :class:`gateway.store.interfaces.Engine`."""

    path = None
    """The file belongs to the project, so the gateway puts no files beside it."""

    def __init__(self, file: ProjectFile) -> None:
        self._file = file

    def __str__(self) -> str:
        return str(self._file.path)

    def store(self) -> Store:
        from gateway.store.sqlite.project.store import ProjectStore

        return ProjectStore(self._file)

    def joined(self, connection: sqlite3.Connection, owner: str = "") -> TransactionStore:
        from gateway.store.sqlite.project.joining import joined

        return joined(connection, owner)

    def open_transaction(self) -> None:
        """Return None: the engine does not know the connections of other code."""

    def exists(self) -> bool:
        """Whether the migrations have made its tables."""
        try:
            return version_in(self._file.path) > 0
        except sqlite3.Error:
            return False

    def faults(self) -> list[str]:
        """The first fault only."""
        path = self._file.path
        said = f"{path}: {found}" if (found := fault(self._file)) else folder_fault(path.resolve().parent, made=False)
        return [said] if said else []

    def check_shared(self) -> None:
        """Do nothing: a gateway does not change the tables of a project."""
