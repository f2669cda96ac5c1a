"""A database that cannot be used: one sentence says why, `gateway check` says it too, and no password is shown."""

import contextlib

import pytest
from servers.pgbouncer import pgbouncer
from servers.ports import free_port
from servers.postgresql import ESCAPED, PASSWORD, Database
from store_contract import a_message
from waiting import until

from gateway.store import Store, StoreUnavailable, engine_of
from gateway.store.postgresql.sql import schema


async def refused(url: str) -> str:
    """What ``open`` says, which is also what ``faults`` says; nothing if it says nothing."""
    engine = engine_of(url)
    faults = engine.faults()
    with pytest.raises(StoreUnavailable) as refusal:
        await engine.store().open()
    said = str(refusal.value)
    assert said in (faults or [said])
    for secret in (PASSWORD, ESCAPED, "wr0ng"):
        assert secret not in f"{said}{faults}{engine}{refusal.getrepr(style='long')}"
    assert "\n" not in said
    return said if faults else f"passing: {said}"


async def test_a_wrong_password(place: Database) -> None:
    said = await refused(place.url.replace(ESCAPED, "wr0ng"))
    assert said.startswith(f"postgresql://gateway:***@127.0.0.1:{place.server.port}/{place.name}: ")
    assert 'password authentication failed for user "gateway"' in said


async def test_no_such_database(place: Database) -> None:
    assert 'database "nothing" does not exist' in await refused(place.server.url("nothing"))


async def test_no_such_user(place: Database) -> None:
    assert 'authentication failed for user "nobody"' in await refused(place.url.replace("gateway:", "nobody:"))


async def test_no_server_may_be_there_by_the_time(place: Database) -> None:
    said = await refused(place.url.replace(str(place.server.port), str(free_port())))
    assert said.startswith("passing: ")
    assert "Connection refused" in said


async def test_a_database_with_tables_of_our_names(place: Database) -> None:
    with place.connect() as session:
        session.execute("CREATE TABLE gateway_outgoing (id serial)")
    assert "has a table gateway_outgoing that is not ours; use another schema" in await refused(place.url)


async def test_tables_of_ours_that_somebody_has_changed(place: Database) -> None:
    with place.connect() as session:
        schema.migrate(session)
        session.execute("ALTER TABLE gateway_messages RENAME COLUMN key TO keys")
    assert "the table gateway_messages in schema public is not as ours is" in await refused(place.url)


async def test_a_later_release_has_changed_it(place: Database) -> None:
    with place.connect() as session:
        schema.migrate(session)
        session.execute("UPDATE gateway_version SET version = 99, oldest = 99")
    assert "a later release has made version 99 of its tables" in await refused(place.url)


async def test_a_server_that_is_too_old(place: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "OLDEST_SERVER", 160000)
    assert "its server is PostgreSQL 15, and 16 is the oldest that works; upgrade it" in await refused(place.url)


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1", "EUC_JP"])
async def test_a_database_that_cannot_keep_every_text(place: Database, encoding: str) -> None:
    """Nothing is made in it. The text of the user's name and password is UTF-8 to such a server, too."""
    name = f"{place.name}_{encoding.lower()}"
    with place.server.admin() as admin, contextlib.ExitStack() as after:
        admin.execute(
            f"CREATE DATABASE {name} OWNER gateway ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0 "
            "STRATEGY file_copy"
        )
        after.callback(admin.execute, f"DROP DATABASE {name} WITH (FORCE)")
        said = await refused(place.server.url(name))
        assert said.endswith(f"its encoding is {encoding}, which cannot keep every text; make one with ENCODING 'UTF8'")
        with place.server.admin(name) as session:
            assert session.execute("SELECT count(*) FROM pg_tables WHERE tablename ^@ 'gateway'").fetchone() == (0,)


async def test_a_user_who_may_make_no_tables(place: Database) -> None:
    with place.server.admin(place.name) as admin, contextlib.ExitStack() as after:
        admin.execute("CREATE ROLE guest LOGIN PASSWORD 'wr0ng'")
        after.callback(admin.execute, "DROP ROLE guest")
        said = await refused(place.url.replace(f"gateway:{ESCAPED}", "guest:wr0ng"))
        assert "guest may not make tables" in said


async def test_a_schema_that_is_not_there(place: Database) -> None:
    assert "no schema of its search_path exists" in await refused(f"{place.url}?options=-csearch_path%3Dnowhere")


async def test_a_pooler_that_lets_no_transaction_pass(place: Database) -> None:
    with pgbouncer(place, "statement") as url:
        said = await refused(url)
    assert "transaction blocks not allowed" in said
    assert "set pool_mode to transaction or session" in said


async def test_a_store_that_is_open_refuses_once_a_later_release_has_changed_it(place: Database) -> None:
    store = engine_of(place.url).store()
    await store.open()
    await store.put(a_message())
    with place.connect() as session:
        session.execute("UPDATE gateway_version SET version = 99, oldest = 99")
        with pytest.raises(StoreUnavailable, match="run the later release"):
            await store.probe()
        await until(lambda: is_refused(store))
        assert (await store.counts()).waiting >= 1, "it can be read"
        session.execute("UPDATE gateway_version SET version = %(now)s, oldest = %(now)s", {"now": schema.VERSION})
    await until(lambda: is_stored(store))
    await store.close()


async def is_stored(store: Store) -> bool:
    with contextlib.suppress(StoreUnavailable):
        await store.put(a_message())
        return True
    return False


async def is_refused(store: Store) -> bool:
    return not await is_stored(store)


@pytest.mark.parametrize(
    "password",
    ["se@cret", "se/cret", "se/cr?et=x", 'se"cret%zz', "se%cret", "12/cret?x", "se@[cret"],
)
def test_a_password_without_escapes_is_not_shown(password: str) -> None:
    with pytest.raises(ValueError, match=r"is not a store") as refusal:
        engine_of(f"postgresql://gateway:{password}@db.example.org/mail")
    assert "cret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        ("sslmode=foo", 'invalid sslmode value: "foo"'),
        ("keepalives_idle=x&connect_timeout=x", "bad value for connect_timeout"),
        ("options=-c%20nothing%3D1", 'unrecognized configuration parameter "nothing"'),
    ],
)
async def test_a_parameter_that_libpq_or_the_server_refuses(place: Database, parameter: str, expected: str) -> None:
    said = await refused(f"{place.url}?{parameter}")
    assert expected in said
    assert not said.startswith("passing: ")
