"""A process hears at once that another has put something into the store."""

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest
from servers.postgresql import Database, emptied
from servers.site import until
from test_owners import beaten

from gateway.store import ClaimState, Message, Outgoing, Store, engine_of
from gateway.store.postgresql import listener
from gateway.store.postgresql.place import Place

pytestmark = pytest.mark.timeout(60)


def a_message(event: str) -> Message:
    return Message(event, "mqtt", "r", event, 1.0, b"x")


@pytest.fixture
def place() -> Database:
    return emptied()


@pytest.fixture
async def stores(place: Database) -> AsyncIterator[tuple[Store, Store]]:
    store, other = engine_of(place.url).store(), engine_of(place.url).store()
    await store.open()
    await other.open()
    yield store, other
    await other.close()
    await store.close()


class Heard:
    def __init__(self, store: Store) -> None:
        self.messages, self.outgoing = asyncio.Event(), asyncio.Event()
        store.listen(self.messages.set, self.outgoing.set)

    async def begins(self) -> None:
        """Wait until it listens: it says once that there may be something."""
        await self.messages.wait()
        self.messages.clear()
        self.outgoing.clear()


def test_the_test_whether_notifications_arrive_finds_its_own(
    place: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It comes together with the answer to the statement that has sent it."""
    monkeypatch.setattr(listener, "TEST", 0.1)
    monkeypatch.setattr(listener, "ARRIVES", 1.0)
    looks, nonces, token_hex = list[str](), list[str](), secrets.token_hex

    def noted(size: int) -> str:
        nonces.append(token_hex(size))
        return nonces[-1]

    monkeypatch.setattr(secrets, "token_hex", noted)
    listening = listener.Listener(Place(place.url), lambda what, _: looks.append(what))
    until(lambda: len(nonces) == 3, "two tests have ended")
    listening.close()
    assert (looks, caplog.text) == ([""], ""), "it has listened once, and goes on"


async def test_what_another_puts_is_heard_and_what_we_put_is_not(place: Database, stores: tuple[Store, Store]) -> None:
    store, other = stores
    heard = Heard(store)
    async with asyncio.timeout(20):
        await heard.begins()
        await beaten(place)
        await store.put(a_message("ours"))
        await other.put_outgoing([Outgoing("o-0", "o", "sms", b"")])
        await heard.outgoing.wait()
        assert not heard.messages.is_set()
        await other.put(a_message("theirs"))
        await heard.messages.wait()


async def test_a_session_that_listens_and_is_ended_is_replaced(place: Database, stores: tuple[Store, Store]) -> None:
    store, other = stores
    heard = Heard(store)
    async with asyncio.timeout(40):
        await heard.begins()
        place.server.terminate(place.name)
        await heard.begins()
        await beaten(place)
        await other.put(a_message("theirs"))
        await heard.messages.wait()


async def test_what_a_store_has_when_it_closes_is_heard_and_taken_at_once(place: Database) -> None:
    url = place.url
    store, leaving = engine_of(url).store(), engine_of(url).store()
    await store.open()
    await leaving.open()
    await leaving.put(a_message("m"))
    await leaving.put_outgoing([Outgoing("o-0", "o", "sms", b"")])
    assert await leaving.take(1, now=leaving.now())
    assert await leaving.take_outgoing(1, now=leaving.now())
    assert (await leaving.claim("key", id="c", now=leaving.now(), ttl=60)).state is ClaimState.OURS
    heard = Heard(store)
    async with asyncio.timeout(20):
        await heard.begins()
        await leaving.close()
        await heard.messages.wait()
        await heard.outgoing.wait()
    assert [message.id for message in await store.take(1, now=store.now())] == ["m"]
    assert [item.id for item in await store.take_outgoing(1, now=store.now())] == ["o-0"]
    assert (await store.claim("key", id="d", now=store.now(), ttl=60)).state is ClaimState.OURS
    await store.close()


async def test_what_the_last_store_had_is_told_of_by_the_next(place: Database) -> None:
    store = engine_of(place.url).store()
    await store.open()
    await store.put(a_message("m"))
    assert await store.take(1, now=store.now())
    await store.close()
    assert await store.open() == "1 that an earlier process had not finished are tried again"
    await store.close()


async def test_what_is_given_back_is_heard(place: Database, stores: tuple[Store, Store]) -> None:
    store, other = stores
    await other.put(a_message("m"))
    [taken] = await other.take(1, now=other.now())
    heard = Heard(store)
    async with asyncio.timeout(20):
        await heard.begins()
        await other.dead_letter(taken, error="E")
        assert await other.requeue(["m"]) == 1
        await heard.messages.wait()
