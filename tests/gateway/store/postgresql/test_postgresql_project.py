"""The contracts, kept by the engine in the PostgreSQL database of a project."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from servers.postgresql import PASSWORD, USER, Database, database, emptied
from store_contract import StoreContract
from transaction_contract import TransactionContract

from gateway.store import Engine, Store, StoreUnavailable
from gateway.store.postgresql.project.engine import ProjectEngine
from gateway.store.project import vendor


def engine_in(place: Database, alias: str = "") -> Engine:
    return vendor("postgresql").engine(conninfo_to_dict(place.url), alias)


def migrated() -> Database:
    """A database whose tables are empty."""
    place = emptied()
    if not engine_in(place).exists():
        migrate(place)
    return place


def migrate(place: Database) -> None:
    with place.connect() as session:
        vendor("postgresql").migrate(session.execute, have=0, to=vendor("postgresql").NEWEST)


class TestPostgreSQLProject(StoreContract):
    @pytest.fixture
    def engine(self) -> Engine:
        return engine_in(migrated())

    async def test_the_engine_knows_whether_there_is_a_store_and_makes_none(self) -> None:  # type: ignore[override]  # it makes its database
        with database() as place:
            engine = engine_in(place, "queue")
            said = "it has no tables for the gateway; run: manage.py migrate gateway --database queue"
            assert not engine.exists()
            assert [fault.endswith(said) for fault in engine.faults()] == [True]
            with pytest.raises(StoreUnavailable, match="it has no tables for the gateway"):
                await engine.store().open()
            assert not engine.exists()
            migrate(place)
            assert engine.exists()
            assert engine.faults() == []


class TestPostgreSQLProjectTransactions(TransactionContract):
    @pytest.fixture
    def place(self) -> Database:
        return migrated()

    @pytest.fixture
    def engine(self, place: Database) -> Engine:
        return engine_in(place)

    @pytest.fixture
    def connection(self, place: Database, store: Store) -> Iterator[Any]:
        with place.connect(cursor_factory=psycopg.ClientCursor) as connection:
            connection.execute("DROP TABLE IF EXISTS rows")
            connection.execute("CREATE TABLE rows (what TEXT)")
            yield connection


def test_the_session_is_the_one_that_django_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service, a Unix socket, options, and the role that Django takes on."""
    with database() as place:
        migrate(place)
        with place.server.admin(place.name) as admin:
            admin.execute(f'CREATE ROLE "{place.name} owner" ROLE {USER}')
            admin.execute(f'GRANT ALL ON ALL TABLES IN SCHEMA public TO "{place.name} owner"')
        services = tmp_path / "services"
        services.write_text(f"[shop]\nhost={place.server.folder}\nport={place.server.port}\ndbname={place.name}\n")
        monkeypatch.setenv("PGSERVICEFILE", str(services))
        given = {"service": "shop", "user": USER, "password": PASSWORD, "options": "-c work_mem=5MB"}
        django_s_own = {"assume_role": f"{place.name} owner", "pool": True, "cursor_factory": psycopg.ClientCursor}
        engine = vendor("postgresql").engine({**given, **django_s_own})
        assert engine.faults() == []
        assert engine.exists()
        assert PASSWORD not in str(engine)
        assert isinstance(engine, ProjectEngine)
        with engine._session() as session:
            asked = "SELECT current_user, current_setting('work_mem'), current_database()"
            assert session.execute(asked).fetchone() == (f"{place.name} owner", "5MB", place.name)
        with place.server.admin(place.name) as admin:
            admin.execute(f'DROP OWNED BY "{place.name} owner"')
            admin.execute(f'DROP ROLE "{place.name} owner"')
