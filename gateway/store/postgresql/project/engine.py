"""The engine for the database of a project."""

from gateway.store.interfaces import Store
from gateway.store.postgresql.engine import PostgreSQLEngine
from gateway.store.postgresql.place import Place
from gateway.store.postgresql.project.tables import check
from gateway.store.postgresql.sql import schema


class ProjectEngine(PostgreSQLEngine):
    """An :class:`gateway.store.interfaces.Engine` that makes and changes no tables. ``alias`` as in the store."""

    def __init__(self, place: Place, alias: str) -> None:
        super().__init__(place)
        self._alias = alias

    def store(self) -> Store:
        from gateway.store.postgresql.project.store import ProjectStore

        return ProjectStore(self._place, self._alias)

    def _check(self, session: schema.Database) -> None:
        check(session, self._alias)

    def check_shared(self) -> None:
        """Do nothing: a gateway does not change the tables of a project."""
