"""What two processes, or a process and its database, do at the same moment."""

import asyncio
import contextlib
import os
import resource
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from lost_commit import cut_after_the_next_commit
from servers.postgresql import Database
from store_contract import a_message, ids
from test_owners import beaten, opened
from waiting import until

from gateway.store import ClaimState, OutcomeUnknown, Outgoing, Store
from gateway.store.postgresql.connection import Session, connect
from gateway.store.postgresql.place import Place
from gateway.store.postgresql.sql import keys, rows

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
async def store(place: Database) -> AsyncIterator[Store]:
    async with opened(place.url) as store:
        yield store


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """The next file has a number above 1023."""
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before, 2048), most))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1024)]
    yield
    for each in held:
        os.close(each)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))


async def test_a_gateway_with_more_than_a_thousand_clients_connects(place: Database, many_descriptors: None) -> None:
    async with opened(place.url) as one, opened(place.url) as two, asyncio.timeout(30):
        heard = asyncio.Event()
        two.listen(heard.set, heard.set)
        await one.put(a_message("m"))
        await heard.wait()
        heard.clear()
        await until(lambda: _listens(place))
        await one.put(a_message("n"))
        await heard.wait()
        transaction = two.transaction()
        transaction.begin()
        transaction.roll_back()
        transaction.close()


def _listens(place: Database) -> bool:
    with place.server.admin() as admin:
        found = admin.execute("SELECT 1 FROM pg_stat_activity WHERE datname = %s AND query ^@ 'LISTEN'", [place.name])
        return found.fetchone() is not None


async def test_who_cannot_look_at_the_others_takes_no_lease_of_theirs(place: Database, store: Store) -> None:
    assert await store.acquire("role")
    before = set(place.server.sessions(place.name))
    async with opened(place.url) as other, asyncio.timeout(60):
        await other.put(a_message())
        with place.server.admin() as admin:
            admin.execute(f"ALTER DATABASE {place.name} CONNECTION LIMIT 0")
            admin.execute(
                """SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> ALL(%s)
                AND query NOT LIKE '%%INSERT INTO gateway_messages%%'""",
                [place.name, list(before)],
            )
            found = [True]
            while len(_owners(place)) > 1:
                found.append(not await other.acquire("role"))
            admin.execute(f"ALTER DATABASE {place.name} CONNECTION LIMIT -1")
        assert all(found), "its owner lived"
        assert not await other.acquire("role")


def _owners(place: Database) -> list[tuple[Any, ...]]:
    with place.server.admin(place.name) as admin:
        return admin.execute("SELECT id FROM gateway_owners").fetchall()


async def test_what_is_stored_before_a_session_ends_is_acknowledged(
    place: Database, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = Session.execute

    def execute_and_end(session: Session, query: Any, *args: Any) -> Any:
        done = execute(session, query, *args)
        if session.autocommit and "INSERT INTO gateway_messages" in str(query):
            monkeypatch.setattr(Session, "execute", execute)
            place.server.terminate(place.name)
        return done

    async with opened(place.url), asyncio.timeout(60):  # which is to be told
        await beaten(place)
        monkeypatch.setattr(Session, "execute", execute_and_end)
        await store.put(a_message("m"))
        assert ids(await store.waiting()) == ["m"]


async def test_a_claim_that_its_handler_has_locked_is_busy_at_once(place: Database, store: Store) -> None:
    async with opened(place.url) as other, asyncio.timeout(60):
        claim = await store.claim("key", id="event", now=store.now(), ttl=60)
        transaction = store.transaction()
        transaction.begin().begin_claim(claim)
        for each in (store, other):
            repeated = await each.claim("key", id="again", now=each.now(), ttl=60)
            assert (repeated.id, repeated.state) == ("event", ClaimState.BUSY)
        transaction.roll_back()
        transaction.close()


async def test_a_transaction_is_begun_although_its_session_was_ended_while_it_was_idle(
    place: Database, store: Store
) -> None:
    await store.put(a_message("m"))
    [message] = await store.take(1, now=store.now())
    transaction = store.transaction()
    transaction.begin()
    transaction.roll_back()
    with place.server.admin() as admin:
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", [transaction.connection.info.backend_pid])
    transaction.begin().begin(message)
    transaction.roll_back()
    transaction.close()


async def test_an_answer_to_a_handlers_commit_that_is_lost_leaves_its_outcome_unknown(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put(a_message("m"))
    [message] = await store.take(1, now=store.now())
    transaction = store.transaction()
    joined = transaction.begin()
    joined.finish(joined.begin(message))
    cut_after_the_next_commit(monkeypatch)
    with pytest.raises(OutcomeUnknown):
        transaction.commit()
    transaction.close()
    assert await store.get("m") is None


async def test_keys_without_a_first_message_are_found_some_at_a_time(
    place: Database, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "AT_A_TIME", 2)
    with contextlib.closing(connect(Place(place.url), autocommit=True)) as session:
        session.execute(
            """INSERT INTO gateway_messages (id, type, route, key, subject, received, content, checksum, state)
            SELECT 'm' || n, 'mqtt', 'r', 'key ' || n, '', 1, '', 0, 2 FROM generate_series(1, 5) AS n"""
        )
        steps = [""]
        while len(steps) == 1 or steps[-1]:
            steps.append(keys.set_heads(session, steps[-1]))
        assert steps == ["", "key 2", "key 4", ""]
        assert session.execute("SELECT count(*) FROM gateway_messages WHERE state = 0").fetchone() == (5,)


async def test_what_is_too_much_for_one_statement_takes_several(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "STATEMENT_BYTES", 100)
    messages = [a_message(f"m{number}", content=b"x" * 60) for number in range(5)]
    await store.put_all(messages)
    taken = await store.take(9, now=store.now())
    assert ids(taken) == ids(messages)
    items = [Outgoing(f"m0-{number}", "m0", "sms", b"x" * 150) for number in range(3)]
    await store.finish("m0", outgoing=items)
    assert [each.id for each in await store.outgoing()] == ["m0-0", "m0-1", "m0-2"]
