"""The server's queue of notifications is full: what is put is stored, and found by looking for it."""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator

import pytest
from psycopg import errors
from servers.postgresql import QUICK, Database, database, postgresql
from waiting import until

from gateway.store import Message, Outgoing, Store, engine_of
from gateway.store.postgresql.connection import fault
from gateway.store.writer import Fault

USAGE = "CREATE OR REPLACE FUNCTION public.pg_notification_queue_usage() RETURNS float LANGUAGE sql AS 'SELECT {}'"
"""To fill a real queue takes 8 GB; the store asks the server how full it is, and this answers in its place."""


@contextlib.contextmanager
def said_to_be_full() -> Iterator[tuple[str, Callable[[], None]]]:
    with database() as place, place.connect() as session:
        session.execute(USAGE.format(1.0))
        url = f"{place.url}?options=-csearch_path%3Dpublic,pg_catalog"
        yield url, lambda: session.execute(USAGE.format(0.0)) and None


@contextlib.contextmanager
def filled() -> Iterator[tuple[str, Callable[[], None]]]:
    """A session that listens, in a transaction, and 8 GB of notifications that it does not read."""
    with postgresql(**QUICK) as server, database(server) as place, place.connect() as listening:
        listening.execute("LISTEN anything")
        listening.execute("BEGIN")
        with pytest.raises(errors.ProgramLimitExceeded) as full:
            fill(place)
        assert fault(full.value) is Fault.CONFLICT
        yield place.url, listening.close


def fill(place: Database) -> None:
    with place.connect() as session:
        while True:
            session.execute("SELECT pg_notify('anything', n || repeat('x', 7900)) FROM generate_series(1, 5000) AS n")


async def heard(place: str, mend: Callable[[], None], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    looks: list[str] = []
    stores = [engine_of(place).store() for _ in range(2)]
    for store in stores:
        await store.open()
    other, store = stores
    store.listen(lambda: looks.append("messages"), lambda: looks.append("outgoing"))
    await until(lambda: looks)
    await until(lambda: len(caplog.records) == len(stores))
    looks.clear()
    await put(other, "m")
    assert [message.id for message in await store.take(9, now=store.now())] == ["m"]
    assert [item.id for item in await store.take_outgoing(9, now=store.now())] == ["m-0"]
    assert looks == []
    mend()
    await until(lambda: len(caplog.records) == 2 * len(stores))
    await put(other, "n")
    await until(lambda: {*looks} == {"messages", "outgoing"})
    for each in stores:
        await each.close()
    full, *_, again = [record.getMessage() for record in caplog.records]
    assert full.startswith(
        "the database server's queue of notifications is full, so other processes look once a second"
    )
    assert again == "the database server sends notifications again"


async def put(store: Store, event: str) -> None:
    await store.put(Message(event, "mqtt", "r", event, 1.0, b"x"))
    await store.put_outgoing([Outgoing(f"{event}-0", event, "sms", b"")])


async def test_a_queue_that_is_said_to_be_full(caplog: pytest.LogCaptureFixture) -> None:
    with said_to_be_full() as (place, mend):
        await heard(place, mend, caplog)


@pytest.mark.skipif("GATEWAY_FULL_QUEUE" not in os.environ, reason="it writes 8 GB: make faults does")
@pytest.mark.timeout(900)
async def test_a_queue_that_is_full(caplog: pytest.LogCaptureFixture) -> None:
    with filled() as (place, mend):
        await heard(place, mend, caplog)
