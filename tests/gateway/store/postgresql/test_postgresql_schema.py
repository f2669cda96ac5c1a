"""The tables are made once, by one process, and those of others are left alone."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from servers.postgresql import Database

from gateway.store.postgresql.sql import schema
from gateway.store.postgresql.sql.schema import Migration, Unsuitable, check_server, check_writable, exists, migrate


def versions(place: Database) -> list[tuple[int, int]]:
    with place.connect() as session:
        return list(session.execute("SELECT version, oldest FROM gateway_version"))


def test_they_are_made_once_also_by_processes_that_begin_together(place: Database) -> None:
    def begin(number: int) -> None:
        with place.connect() as session:
            migrate(session)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(begin, range(8)))
    assert versions(place) == [(schema.VERSION, schema.MIGRATIONS[-1].oldest)]
    with place.connect() as session:
        assert exists(session)


def test_a_store_is_in_the_current_schema(place: Database) -> None:
    with place.connect() as session:
        session.execute("CREATE SCHEMA desk")
        migrate(session)
    with place.connect(options="-c search_path=desk,public") as session:
        assert not exists(session)
        migrate(session)
        found = session.execute("SELECT count(*) FROM pg_class WHERE relname = 'gateway_messages'").fetchone()
    assert found == (2,)


def test_a_schema_that_does_not_exist(place: Database) -> None:
    with place.connect(options="-c search_path=nowhere") as session, pytest.raises(Unsuitable, match="no schema of"):
        migrate(session)


@pytest.mark.parametrize("table", schema.TABLES)
def test_a_table_of_the_same_name_is_not_touched(place: Database, table: str) -> None:
    with place.connect() as session:
        session.execute(f"CREATE TABLE {table} (id integer)")
        with pytest.raises(Unsuitable, match=rf"table {table}.* ours"):
            migrate(session)
        assert session.execute("SELECT count(*) FROM pg_class WHERE relname LIKE 'gateway%%'").fetchone() == (1,)


@pytest.mark.parametrize("table", [table for table in schema.TABLES if table != "gateway_version"])
def test_a_table_that_somebody_has_changed_is_named(place: Database, table: str) -> None:
    with place.connect() as session:
        migrate(session)
        session.execute(f"DROP TABLE {table}")
        session.execute(f"CREATE TABLE {table} (id integer)")
        with pytest.raises(Unsuitable, match=f"the table {table} in schema public is not as ours is"):
            migrate(session)


def test_the_columns_that_are_checked_are_those_that_are_made(place: Database) -> None:
    with place.connect() as session:
        migrate(session)
        assert schema._columns(session) == schema._ours()


def test_a_user_who_may_make_no_table(place: Database) -> None:
    with place.server.admin(place.name) as admin:
        admin.execute("CREATE ROLE guest LOGIN PASSWORD 'guest'")
        try:
            with psycopg.connect(place.url, user="guest", password="guest", autocommit=True) as session:
                with pytest.raises(Unsuitable, match="guest may not make tables in schema public"):
                    migrate(session)
                assert not exists(session)
        finally:
            admin.execute("DROP ROLE guest")


LATER = Migration("ALTER TABLE gateway_messages ADD COLUMN tenant text NOT NULL DEFAULT ''", oldest=1)
BREAKING = Migration("ALTER TABLE gateway_messages ALTER COLUMN owner DROP DEFAULT", oldest=3)


def test_an_older_release_works_on_beside_a_later_one_as_long_as_it_may(
    place: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with place.connect() as session:
        migrate(session)
        older = schema.MIGRATIONS
        monkeypatch.setattr(schema, "MIGRATIONS", (*older, LATER))
        monkeypatch.setattr(schema, "VERSION", 2)
        migrate(session)
        assert versions(place) == [(2, 1)]
        monkeypatch.setattr(schema, "VERSION", 1)
        check_writable(session)
        migrate(session)
        monkeypatch.setattr(schema, "MIGRATIONS", (*older, LATER, BREAKING))
        monkeypatch.setattr(schema, "VERSION", 3)
        migrate(session)
        monkeypatch.setattr(schema, "VERSION", 1)
        for refused in (check_writable, migrate):
            with pytest.raises(Unsuitable, match=r"later release has made version 3 .* run the later release"):
                refused(session)
        monkeypatch.setattr(schema, "MIGRATIONS", older)
    assert versions(place) == [(3, 3)]


def test_a_migration_that_fails_leaves_nothing_half(place: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Migration("CREATE TABLE gateway_half (id integer); SELECT 1 / 0", oldest=1)
    with place.connect() as session:
        monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, broken))
        monkeypatch.setattr(schema, "VERSION", 2)
        with pytest.raises(psycopg.errors.DivisionByZero):
            migrate(session)
        assert not exists(session)
        assert session.execute("SELECT to_regclass('gateway_half')").fetchone() == (None,)


def test_a_migration_does_not_wait_for_ever(place: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "LOCK_TIMEOUT", "100ms")
    with place.connect() as holder, place.connect() as session, holder.transaction():
        holder.execute("SELECT pg_advisory_xact_lock(%s)", [schema.LOCK])
        with pytest.raises(Unsuitable, match=r"another session has locked its tables .* end that session"):
            migrate(session)


def test_a_server_that_is_too_old_or_keeps_not_every_text(place: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with place.connect() as session:
        check_server(session)
        monkeypatch.setattr(schema, "OLDEST_SERVER", 160000)
        with pytest.raises(Unsuitable, match=r"its server is PostgreSQL 15, and 16 is the oldest"):
            check_server(session)
    monkeypatch.undo()
    with place.server.admin() as admin:
        admin.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
        try:
            with place.server.admin("latin") as session, pytest.raises(Unsuitable, match="encoding is LATIN1"):
                check_server(session)
        finally:
            admin.execute("DROP DATABASE latin")
