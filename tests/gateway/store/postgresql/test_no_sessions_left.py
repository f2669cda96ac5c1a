"""The server has no session to spare: a store says so in one line, tries again, and loses nothing."""

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from servers.postgresql import PASSWORD, QUICK, Database, PostgreSQL, postgresql
from waiting import until

from gateway.store import Message, Store, StoreUnavailable, engine_of
from gateway.store.postgresql import store as postgresql_store

pytestmark = pytest.mark.timeout(90)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    with postgresql(max_connections="8", superuser_reserved_connections="2", max_wal_senders="0", **QUICK) as server:
        yield server


@contextlib.contextmanager
def all_taken(place: Database) -> Iterator[None]:
    held: list[psycopg.Connection[Any]] = []
    try:
        with pytest.raises(psycopg.OperationalError):
            while True:
                held.append(place.connect())
        yield
    finally:
        for each in held:
            each.close()


def a_message(event: str) -> Message:
    return Message(event, "mqtt", "r", event, 1.0, b"x")


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_store_is_opened_as_soon_as_there_is_one(place: Database, caplog: pytest.LogCaptureFixture) -> None:
    store = engine_of(place.url).store()
    with all_taken(place):
        assert not engine_of(place.url).faults(), "the file is right"
        opening = asyncio.ensure_future(store.open())
        await until(lambda: lines(caplog))
    await opening
    await store.put(a_message("opened"))
    await store.close()
    [said] = lines(caplog)
    assert said.startswith("the store cannot be opened yet; trying again for 10 s: ")
    assert PASSWORD not in said


async def test_a_store_is_not_opened_for_ever(
    place: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_store, "STARTING", 0.5)
    with all_taken(place), pytest.raises(StoreUnavailable, match="remaining connection slots are reserved"):
        await engine_of(place.url).store().open()
    assert len(lines(caplog)) == 1


async def test_a_store_that_has_lost_its_own_gets_them_again(place: Database, caplog: pytest.LogCaptureFixture) -> None:
    store = engine_of(place.url).store()
    await store.open()
    await store.put(a_message("before"))
    place.server.terminate(place.name)
    with all_taken(place):
        for number in range(50):
            with pytest.raises(StoreUnavailable):
                await store.put(a_message(f"refused {number}"))
            await asyncio.sleep(0.01)
        assert len(lines(caplog)) == 1, lines(caplog)
    await until(lambda: is_stored(store, "after"))
    taken: set[str] = set()

    async def all_are_there() -> bool:
        taken.update(message.id for message in await store.take(99, now=store.now()))
        return {"before", "after"} <= taken

    await until(all_are_there)
    assert not any(id.startswith("refused") for id in taken)
    await store.close()


async def is_stored(store: Store, event: str) -> bool:
    with contextlib.suppress(StoreUnavailable):
        await store.put(a_message(event))
        return True
    return False
