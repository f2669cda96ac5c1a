"""PgBouncer between the gateway and its database: it works, or is refused in words."""

import asyncio
import logging
from collections.abc import Iterator

import pytest
from servers.pgbouncer import pgbouncer
from servers.postgresql import Database
from store_contract import a_message, ids
from waiting import until

from gateway.store import Engine, Outgoing, StoreUnavailable, engine_of
from gateway.store.postgresql.connection import connect
from gateway.store.postgresql.place import Place


@pytest.fixture(params=["transaction", "session"])
def url(request: pytest.FixtureRequest, place: Database) -> Iterator[str]:
    with pgbouncer(place, request.param, size=8) as url:
        yield url


@pytest.fixture
def engine(url: str) -> Engine:
    return engine_of(url)


def test_a_pooler_is_noticed(url: str, place: Database) -> None:
    with connect(Place(url)) as pooled, connect(Place(place.url)) as direct:
        assert pooled.is_pooled
        assert not direct.is_pooled


async def test_two_processes_share_the_work_through_it(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is prepared under a name, nothing is set for a session, and no notification is waited for."""
    caplog.set_level(logging.INFO)
    one, two = engine.store(), engine.store()
    assert await one.open() == await two.open() == ""
    looks: list[str] = []
    two.listen(lambda: looks.append("messages"), lambda: looks.append("outgoing"))
    try:
        for _ in range(5):
            now = one.now()
            await asyncio.gather(*(one.put(a_message()) for _ in range(50)))
            taken = [await store.take(30, now=now) for store in (one, two)]
            assert len({*ids(taken[0]), *ids(taken[1])}) == 50
            for store, messages in zip((one, two), taken, strict=True):
                items = [Outgoing(f"{id}-0", id, "sms", b"") for id in ids(messages)]
                await store.finish(items[0].message, outgoing=items[:1])
                await store.finish_all(ids(messages[1:]))
                assert [each.id for each in await store.take_outgoing(9, now=now)] == [items[0].id]
                await store.finish_outgoing(items[0].id)
            claim = await two.claim("key", id="e", now=now, ttl=60)
            await two.settle(claim, result=b"done")
        await until(lambda: {"messages", "outgoing"} <= set(looks))
        assert await one.acquire("role")
        assert not await two.acquire("role")
        assert (await two.counts()).running == 0
        await one.probe()
        await one.purge(now=one.now())
    finally:
        await one.close()
        await two.close()
    assert [record.getMessage() for record in caplog.records if "through the pooler" in record.getMessage()] == [
        f"{engine}: no notifications come through the pooler: the store is polled every 0.2 s for what other processes "
        "put there"
    ]


async def test_transactions_of_handlers_go_through_it(engine: Engine, place: Database) -> None:
    """Two at once: one commits its rows, the end of its message and what it sends; the other rolls back."""
    store = engine.store()
    await store.open()
    with place.connect() as session:
        session.execute("CREATE TABLE effects (message text)")
        await store.put_all([a_message("m1"), a_message("m2")])
        taken = await store.take(2, now=store.now())
        transactions = [store.transaction() for _ in taken]
        begun = [transaction.begin() for transaction in transactions]
        for message, transaction, joined in zip(taken, transactions, begun, strict=True):
            mark = joined.begin(message)
            transaction.connection.execute("INSERT INTO effects VALUES (%s)", [message.id])
            joined.finish(mark, [Outgoing(f"{message.id}-0", message.id, "sms", b"")])
        transactions[0].commit()
        transactions[1].roll_back()
        assert session.execute("SELECT message FROM effects").fetchall() == [("m1",)]
    assert [each.id for each in await store.outgoing()] == ["m1-0"]
    assert (await store.get("m1"), (await store.counts()).running) == (None, 1)
    for transaction in transactions:
        transaction.close()
    await store.close()


async def test_other_clients_of_the_pool_find_no_setting_of_ours(place: Database) -> None:
    with pgbouncer(place, "transaction", size=1) as url:
        store = engine_of(url).store()
        with connect(Place(url), autocommit=True) as other:
            await store.open()
            await store.put(a_message())
            await store.take(1, now=store.now())
            found = [other.execute(f"SHOW {name}").fetchone() for name in ("statement_timeout", "enable_seqscan")]
            await store.close()
    assert found == [("0",), ("on",)]


async def test_statement_mode_is_refused_in_words(place: Database) -> None:
    with pgbouncer(place, "statement") as url, pytest.raises(StoreUnavailable, match="transaction blocks not allowed"):
        await engine_of(url).store().open()
