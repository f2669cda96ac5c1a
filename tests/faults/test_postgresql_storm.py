"""Fifty gateways lose their database at one moment, and connect again: what was acknowledged is there, and the server
is not flooded."""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Iterator
from functools import partial

import pytest
from servers.postgresql import Database, database, postgresql
from waiting import until

from gateway.store import Message, Store, StoreUnavailable, engine_of

pytestmark = [pytest.mark.fault, pytest.mark.timeout(180)]
GATEWAYS = 50 if int(os.environ.get("FAULT_SEEDS", "1")) > 1 else 12


@pytest.fixture
def place() -> Iterator[Database]:
    """A server with room for all, but not for twice as many."""
    with postgresql(max_connections=str(GATEWAYS * 3 + 5)) as server, database(server) as found:
        yield found


@contextlib.asynccontextmanager
async def opened(url: str) -> AsyncIterator[list[Store]]:
    stores = [engine_of(url).store() for _ in range(GATEWAYS)]
    await asyncio.gather(*(store.open() for store in stores))
    for store in stores:
        store.listen(lambda: None, lambda: None)
    yield stores
    await asyncio.gather(*(store.close() for store in stores))


async def test_a_server_that_restarts_gets_all_of_them_back(place: Database, caplog: pytest.LogCaptureFixture) -> None:
    acknowledged: list[str] = []
    async with opened(place.url) as stores:

        async def put(number: int, store: Store) -> bool:
            event = f"{number}-{len(acknowledged)}"
            with contextlib.suppress(StoreUnavailable):
                await store.put(Message(event, "mqtt", "r", event, 1.0, b"x"))
                acknowledged.append(event)
                return True
            return False

        async def all_put() -> bool:
            return all(await asyncio.gather(*(put(*each) for each in enumerate(stores))))

        assert await all_put()
        await asyncio.to_thread(place.server.stop)
        assert not await all_put()
        await asyncio.sleep(2)
        place.server.start()
        for number, store in enumerate(stores):
            await until(partial(put, number, store), 60)
        taken = await stores[0].take(10 * len(acknowledged), now=stores[0].now())
        assert {message.id for message in taken} >= {*acknowledged}
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    for each in {*errors}:
        assert errors.count(each) <= GATEWAYS, "each says it once"
