"""A store in the database of a project."""

from typing import Any

from gateway.store.joined import Joined
from gateway.store.parts.project import ProjectTransactions
from gateway.store.postgresql.connection import Plain
from gateway.store.postgresql.place import Place
from gateway.store.postgresql.project.tables import check
from gateway.store.postgresql.sql import schema
from gateway.store.postgresql.store import PostgreSQLStore
from gateway.store.transaction import TransactionStore


class ProjectStore(ProjectTransactions, PostgreSQLStore):
    """A :class:`gateway.store.interfaces.Store`. ``alias``: the project's name of the database, if it is not the
    default one."""

    def __init__(self, place: Place, alias: str) -> None:
        super().__init__(place)
        self._alias = alias

    def _prepare(self, session: schema.Database) -> None:
        check(session, self._alias)

    def _join(self, connection: Any) -> TransactionStore:
        return Joined(Plain(connection), self.owner, self.operations, self.locks)
