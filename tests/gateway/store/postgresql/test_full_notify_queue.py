"""The server's queue of notifications is full: what is put is stored, and found by looking for it."""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from psycopg import errors
from servers.postgresql import QUICK, Database, database, postgresql
from waiting import until

from gateway.store import Message, Outgoing, Store, engine_of
from gateway.store.postgresql.connection import fault
from gateway.store.writer import Fault

NOTIFICATIONS = "gateway.store.postgresql.notifications"
USAGE = "CREATE OR REPLACE FUNCTION public.pg_notification_queue_usage() RETURNS float LANGUAGE sql AS 'SELECT {}'"
"""To fill a real queue takes 8 GB; the store asks the server how full it is, and this answers in its place."""


@dataclass(frozen=True)
class Queue:
    url: str
    """Of the database."""
    fill: Callable[[], object]
    empty: Callable[[], object]


@contextlib.contextmanager
def said_to_be_full() -> Iterator[Queue]:
    with database() as place, place.connect() as session:
        session.execute(USAGE.format(0.0))
        url = f"{place.url}?options=-csearch_path%3Dpublic,pg_catalog"
        yield Queue(url, lambda: session.execute(USAGE.format(1.0)), lambda: session.execute(USAGE.format(0.0)))


@contextlib.contextmanager
def real() -> Iterator[Queue]:
    """A session that listens, in a transaction, and 8 GB of notifications that it does not read."""
    with postgresql(**QUICK) as server, database(server) as place, place.connect() as listening:
        listening.execute("LISTEN anything")
        listening.execute("BEGIN")
        yield Queue(place.url, lambda: fill(place), listening.close)


def fill(place: Database) -> None:
    with place.connect() as session, pytest.raises(errors.ProgramLimitExceeded) as full:
        while True:
            session.execute("SELECT pg_notify('anything', n || repeat('x', 7900)) FROM generate_series(1, 5000) AS n")
    assert fault(full.value) is Fault.CONFLICT


async def goes_on(queue: Queue, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, NOTIFICATIONS)
    looks: list[str] = []
    stores = [engine_of(queue.url).store() for _ in range(2)]
    for store in stores:
        await store.open()
    other, store = stores
    store.listen(lambda: looks.append("messages"), lambda: looks.append("outgoing"))
    await until(lambda: looks)
    await asyncio.to_thread(queue.fill)
    await until(lambda: len(said(caplog)) == len(stores))
    looks.clear()
    await put(other, "m")
    assert [message.id for message in await store.take(9, now=store.now())] == ["m"]
    assert [item.id for item in await store.take_outgoing(9, now=store.now())] == ["m-0"]
    assert looks == []
    await asyncio.to_thread(queue.empty)
    await until(lambda: len(said(caplog)) == 2 * len(stores), 120)
    await put(other, "n")
    await until(lambda: {*looks} == {"messages", "outgoing"}, 120)
    for each in stores:
        await each.close()
    full, *_, again = said(caplog)
    assert full.startswith(
        "the database server's queue of notifications is full, so other processes look once a second"
    )
    assert again == "the database server sends notifications again"


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == NOTIFICATIONS]


async def put(store: Store, event: str) -> None:
    await store.put(Message(event, "mqtt", "r", event, 1.0, b"x"))
    await store.put_outgoing([Outgoing(f"{event}-0", event, "sms", b"")])


async def test_a_queue_that_is_said_to_be_full(caplog: pytest.LogCaptureFixture) -> None:
    with said_to_be_full() as queue:
        await goes_on(queue, caplog)


@pytest.mark.skipif("GATEWAY_FULL_QUEUE" not in os.environ, reason="it writes 8 GB: make faults does")
@pytest.mark.timeout(900)
async def test_a_queue_that_is_full(caplog: pytest.LogCaptureFixture) -> None:
    with real() as queue:
        await goes_on(queue, caplog)
