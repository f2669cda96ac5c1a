"""Routes with ``atomic: true`` on a PostgreSQL server that ends the session in the middle of a COMMIT."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from own_services import delivering
from servers.postgresql import Database, database, postgresql
from test_guard import MAIL, deliver, email
from waiting import until

from gateway import EmailConsumer, Policy
from gateway.delivery.guard import Guard
from gateway.store import Store, engine_of


@pytest.fixture(scope="module")
def place() -> Iterator[Database]:
    """A commit on it waits for a standby that is not there, if its transaction asks for that; or for a trigger."""
    with postgresql() as server, database(server) as place:
        with server.admin() as admin:
            admin.execute(f"ALTER DATABASE {place.name} SET synchronous_commit = local")
            admin.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            admin.execute("SELECT pg_reload_conf()")
        with place.connect() as session:
            session.execute("CREATE TABLE rows (what TEXT)")
            session.execute(
                "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN IF NEW.what = 'waits' THEN PERFORM pg_sleep(60); END IF; RETURN NULL; END $$"
            )
            session.execute(
                "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON rows DEFERRABLE INITIALLY DEFERRED"
                " FOR EACH ROW EXECUTE FUNCTION wait()"
            )
        yield place
        with server.admin() as admin:
            admin.execute("ALTER SYSTEM RESET synchronous_standby_names")
            admin.execute("SELECT pg_reload_conf()")


@pytest.fixture
async def store(place: Database, anyio_backend: object) -> AsyncIterator[Store]:
    store = engine_of(place.url).store()
    await store.open()
    with place.connect() as session:
        session.execute("TRUNCATE rows, gateway_claims, gateway_outgoing")
    with delivering(store) as here:
        yield store
        here.use.transactions.close()
    await store.close()


def end_commits(place: Database, wait: str) -> int:
    """End each session that commits, and waits for ``wait``; how many."""
    with place.server.admin() as admin:
        sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND wait_event = %s"
        return len(admin.execute(sql, (place.name, wait)).fetchall())


@pytest.mark.parametrize("committed", [True, False])
async def test_the_sender_is_answered_once_it_is_known_what_the_commit_did(
    store: Store, place: Database, caplog: pytest.LogCaptureFixture, committed: bool
) -> None:
    runs: list[int] = []

    class Desk(EmailConsumer):
        def receive(self, message: Any) -> None:
            runs.append(1)
            first = len(runs) == 1
            if first and committed:
                self.connection.execute("SET LOCAL synchronous_commit = on")
            self.connection.execute("INSERT INTO rows VALUES (%s)", ["waits" if first and not committed else "mail"])
            self.send("bo@example.com", subject="re", text="thanks", from_="desk@example.org")

    app = Guard(Desk.as_asgi(), Policy(atomic=True, attempts=1), "email")
    sender = asyncio.create_task(deliver(app, email(), MAIL))
    await until(lambda: end_commits(place, "SyncRep" if committed else "PgSleep"))
    assert [event["type"] for event in await sender] == ["email.accept"]
    assert len(runs) == (1 if committed else 2)
    with place.connect() as session:
        assert session.execute("SELECT what FROM rows").fetchall() == [("mail",)]
    assert (await store.counts()).outgoing == 1
    assert "whether a transaction was committed is not known" in caplog.text
