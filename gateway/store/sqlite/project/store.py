"""A store in the file of a project."""

import sqlite3

from gateway.store.joined import Joined
from gateway.store.parts.project import ProjectTransactions
from gateway.store.sqlite.file.owner import Owner
from gateway.store.sqlite.project.connection import ProjectConnection, ProjectFile, Renamed
from gateway.store.sqlite.project.database import open_project
from gateway.store.sqlite.store import SQLiteStore
from gateway.store.transaction import TransactionStore


class ProjectStore(ProjectTransactions, SQLiteStore):
    """A :class:`gateway.store.interfaces.Store` in tables that the project's migrations have made."""

    def __init__(self, file: ProjectFile) -> None:
        super().__init__(file.path)
        self._file = file

    def _prepare(self) -> None:
        """Do nothing: a missing file is found when it is opened."""

    def _database(self, owner: Owner) -> tuple[ProjectConnection, str]:
        return open_project(self._file)

    def _join(self, connection: sqlite3.Connection) -> TransactionStore:
        return Joined(Renamed(connection), self.owner, self.operations, self.locks)
