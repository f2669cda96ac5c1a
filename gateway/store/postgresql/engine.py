"""PostgreSQL, as ``postgresql://USER:PASSWORD@HOST/DATABASE`` names it."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.store.copying import Source, Target
from gateway.store.interfaces import Engine, Store
from gateway.store.transaction import TransactionStore
from gateway.store.values import StoreUnavailable

if TYPE_CHECKING:
    from gateway.store.postgresql.place import Place


def parse(url: str, folder: Path) -> Engine:
    try:
        from gateway.store.postgresql.place import Place
    except ImportError as error:
        raise ValueError("psycopg is not installed; pip install 'asgi-gateway[postgres]'") from error
    return PostgreSQLEngine(Place(url))


class PostgreSQLEngine:
    """An :class:`gateway.store.interfaces.Engine` for the database at ``place``."""

    path = None

    def __init__(self, place: "Place") -> None:
        self._place = place

    def __str__(self) -> str:
        return str(self._place)

    def store(self) -> Store:
        from gateway.store.postgresql.store import PostgreSQLStore

        return PostgreSQLStore(self._place)

    def joined(self, connection: Any, owner: str = "") -> TransactionStore:
        from gateway.store.joined import Joined
        from gateway.store.postgresql.connection import Plain
        from gateway.store.postgresql.store import PostgreSQLStore

        return Joined(Plain(connection), owner, PostgreSQLStore.operations, PostgreSQLStore.locks)

    def open_transaction(self) -> None:
        """Return None: the engine does not know the connections of other code."""

    def exists(self) -> bool:
        import psycopg

        from gateway.store.postgresql.sql import schema

        try:
            with self._session() as session:
                return schema.exists(session)
        except psycopg.Error:
            return True  # it cannot be told: ``open`` says why

    def faults(self) -> list[str]:
        return list(self._faults())

    def _faults(self) -> Iterator[str]:
        import psycopg

        from gateway.store.postgresql.refusals import stays
        from gateway.store.postgresql.sql import schema

        try:
            with self._session() as session:
                self._check(session)
        except (schema.Unsuitable, psycopg.ProgrammingError) as error:
            yield f"{self}: {' '.join(str(error).split())}"
        except psycopg.OperationalError as error:
            if stays(said := " ".join(str(error).split())):
                yield f"{self}: {said}"

    def _check(self, session: Any) -> None:
        """Raises Unsuitable if ``open`` cannot succeed."""
        from gateway.store.postgresql.sql import schema

        schema.check(session)

    def check_shared(self) -> None:
        import psycopg

        from gateway.store.postgresql.sql import schema

        try:
            with self._session() as session:
                if schema.exists(session):
                    schema.check_shared(session)
        except (psycopg.Error, schema.Unsuitable) as error:
            raise StoreUnavailable(f"{self}: {' '.join(str(error).split())}") from error

    def source(self) -> AbstractContextManager[Source]:
        from gateway.store.postgresql.image import image

        return image(self._place, writes=False)

    def target(self) -> AbstractContextManager[Target]:
        from gateway.store.postgresql.image import image

        return image(self._place, writes=True)

    def _session(self) -> Any:
        from gateway.store.postgresql.connection import connect

        return connect(self._place, autocommit=True)
