"""A year's traffic, compressed: what comes and goes leaves the tables as large as they were in the first days."""

import asyncio
from collections.abc import Iterator

import pytest
from crashing import SEEDS
from servers.postgresql import QUICK, Database, database, postgresql

from gateway.store import Message, Outgoing, Store, engine_of

pytestmark = pytest.mark.fault

DAYS, BATCH = (16, 100) if len(SEEDS) < 10 else (60, 500)
"""Days, and a tenth of the messages of each: 300,000 messages in `make faults`. A table that keeps everything grows
to five times its size of the first days."""
FIRST = 3
TABLES = ("gateway_messages", "gateway_claims", "gateway_outgoing")
_DAY = 90_000.0


@pytest.fixture
def place() -> Iterator[Database]:
    with postgresql(**QUICK, autovacuum_naptime="1s") as server, database(server) as place:
        yield place


async def a_day(store: Store, day: int) -> None:
    for batch in range(10):
        now = store.now()
        names = [f"{day}-{batch}-{number}" for number in range(BATCH)]
        messages = [
            Message(name, "mqtt", "r", f"k{number % 200}", now, b"x" * 300) for number, name in enumerate(names)
        ]
        await asyncio.gather(*(store.put_once(each, key=each.id, now=now, ttl=60.0) for each in messages))
        while taken := await store.take(BATCH, now=now + 1):
            *rest, last = [each.id for each in taken]
            await store.finish_all(rest)
            await store.finish(last, outgoing=[Outgoing(f"{last}-0", last, "sms", b"x" * 300)])
        for item in await store.take_outgoing(100, now=now + 1):
            await store.finish_outgoing(item.id)
    await store.purge(now=store.now() + _DAY)


def sizes(place: Database) -> dict[str, int]:
    """The bytes of each table, its indexes included."""
    with place.connect() as session:
        rows = session.execute(
            "SELECT name, pg_total_relation_size(name::regclass) FROM unnest(%s::text[]) AS name", [[*TABLES]]
        )
        return dict(rows.fetchall())


@pytest.mark.timeout(600)
async def test_what_comes_and_goes_leaves_no_larger_tables(place: Database) -> None:
    store = engine_of(place.url).store()
    await store.open()
    seen = []
    for day in range(DAYS):
        await a_day(store, day)
        seen.append(sizes(place))
    await store.close()
    for table in TABLES:
        largest = max(each[table] for each in seen[:FIRST])
        assert seen[-1][table] <= 3 * largest, (table, seen)
    with place.connect() as session:
        found = session.execute("SELECT sum(autovacuum_count) FROM pg_stat_user_tables").fetchone()
    assert found is not None
    assert found[0] > 0
