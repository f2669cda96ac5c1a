"""A connection whose messages go to the store: what is not a message goes to the application, in order."""

import asyncio
import logging
from typing import Any

import pytest
from client_desk import LIMIT, App, Peer, client, scripted
from conversation import Conversation
from test_worker import CONNECT, DISCONNECT, QUICK, device, message, mqtt_app
from waiting import until

from gateway import AsyncMqttConsumer, MqttConsumer
from gateway.delivery.guard import Guard
from gateway.store import StoreUnavailable, codec
from gateway.store.sqlite import SQLiteStore

SCRAM = {"authentication_method": "SCRAM-SHA-256", "authentication_data": b"first"}


def inbox(target: Any) -> Guard:
    return Guard(target.as_asgi() if hasattr(target, "as_asgi") else target, QUICK, "mqtt -> test")


def ask(id: int, *filters: tuple[str, int]) -> dict[str, Any]:
    return {"type": "mqtt.subscribe", "id": id, "filters": list(filters), "properties": {}}


async def waiting(store: SQLiteStore) -> int:
    return (await store.counts()).waiting


async def test_what_is_no_message_reaches_the_application_in_order(store: SQLiteStore) -> None:
    heard: list[Any] = []

    async def listens(scope: Any, receive: Any, send: Any) -> None:
        while heard[-1:] != ["mqtt.disconnect"]:
            event = await receive()
            heard.append(event["type"])
            if event["type"] == "mqtt.connect":
                await send({"type": "mqtt.accept", "subscribe": True})
            if event["type"] == "mqtt.subscribe":
                await send({"type": "mqtt.suback", "id": event["id"], "reason_codes": [0]})

    leave = {"type": "mqtt.unsubscribe", "filters": ["a"], "properties": {}}
    async with Conversation(inbox(listens), device()) as peer:
        peer.say(CONNECT, message("t", b"1", 1), ask(2, ("a", 0)), message("t", b"2", 2), leave, DISCONNECT)
        await peer.end()
        acks = [event["id"] for event in peer.heard() if event["type"] == "mqtt.ack"]
    assert heard == ["mqtt.connect", "mqtt.subscribe", "mqtt.unsubscribe", "mqtt.disconnect"]
    assert acks == [1, 2]
    assert await waiting(store) == 2


async def test_a_device_may_authenticate_in_steps(store: SQLiteStore) -> None:
    class Scram(MqttConsumer):
        def authenticate(self, data: bytes | None) -> None:
            self.challenge(b"who?") if data == b"first" else self.accept()

    async with Conversation(inbox(Scram), {**device(), "properties": SCRAM}) as peer:
        peer.say(CONNECT)
        assert await peer.hear() == {"type": "mqtt.auth", "data": b"who?"}
        peer.say({"type": "mqtt.auth", "reason_code": 0x18, "data": b"ann", "properties": {}})
        assert await peer.hear() == {"type": "mqtt.accept"}
        peer.say(message("t", b"1", 1))
        assert await peer.hear() == {"type": "mqtt.ack", "id": 1}
        peer.say(DISCONNECT)
        await peer.end()
    [kept] = await store.take(10, now=2e9, busy=set())
    scope_kept, _ = codec.decode(kept.content)
    assert scope_kept["properties"] == {"authentication_method": "SCRAM-SHA-256"}, "its proof is not for the disk"


async def test_an_application_that_crashes_is_heard_as_if_it_ran_alone(store: SQLiteStore) -> None:
    class Door(AsyncMqttConsumer):
        async def subscribe(self, filters: Any) -> None:
            raise ValueError("no such shop")

    with pytest.raises(ValueError, match="no such shop"):
        async with Conversation(inbox(Door), device()) as peer:
            peer.say(CONNECT, ask(1, ("a", 0)))
            await peer.end()


@pytest.mark.parametrize("answer", [{"type": "mqtt.accept"}, None])
async def test_an_application_that_returns_ends_the_connection_and_what_was_said_is_kept(
    store: SQLiteStore, answer: Any
) -> None:
    async def leaves(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if answer:
            await send(answer)
            await receive()

    async with Conversation(inbox(leaves), device()) as peer:
        peer.say(CONNECT)
        if answer:
            assert await peer.hear() == answer
            peer.say(message("t", b"1", 1))
            assert await peer.hear() == {"type": "mqtt.ack", "id": 1}
            peer.say(ask(1, ("a", 0)))
        await peer.end()
    assert await waiting(store) == bool(answer)


@pytest.mark.parametrize("answer", ["mqtt.accept", "mqtt.reject"])
async def test_behind_a_router_nothing_is_kept_before_the_application_has_accepted(
    store: SQLiteStore, answer: str
) -> None:
    """The router accepts the device, and each application hears of it with its first message."""
    release = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await release.wait()
        await send({"type": answer})
        await receive()

    async with Conversation(mqtt_app(slow), device()) as peer:
        peer.say(CONNECT)
        assert await peer.hear() == {"type": "mqtt.accept"}
        peer.say(message("t", b"1", 1))
        await asyncio.sleep(0.05)
        assert (await waiting(store), peer.heard()) == (0, [])
        release.set()
        if answer == "mqtt.accept":
            assert await peer.hear() == {"type": "mqtt.ack", "id": 1}
            assert await waiting(store) == 1
        else:
            assert (await peer.hear())["type"] == "mqtt.disconnect"
            assert await waiting(store) == 0
        peer.say(DISCONNECT)
        await peer.end()


async def test_an_application_that_is_behind_holds_back_reading(store: SQLiteStore) -> None:
    release = asyncio.Event()
    heard: list[int] = []

    class Slow(AsyncMqttConsumer):
        async def unsubscribe(self, filters: Any) -> None:
            await release.wait()
            heard.append(len(filters))

    leave = {"type": "mqtt.unsubscribe", "filters": ["a"], "properties": {}}
    async with Conversation(inbox(Slow), device()) as peer:
        peer.say(CONNECT, *[leave] * 1000)
        await until(lambda: peer.inbox.qsize() <= 800)
        await asyncio.sleep(0.02)
        assert peer.inbox.qsize() > 500
        release.set()
        peer.say(DISCONNECT)
        await peer.end()
    assert len(heard) == 1000


async def test_where_nothing_can_be_stored_the_device_is_told_in_words_that_disconnect_has(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def full(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("disk full")

    monkeypatch.setattr(SQLiteStore, "put_all", full)
    async with Conversation(inbox(AsyncMqttConsumer), device()) as peer:
        peer.say(CONNECT, message("t", b"1", 1))
        await peer.end()
        assert peer.heard() == [{"type": "mqtt.accept"}, {"type": "mqtt.disconnect", "reason_code": 0x89}]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


# QoS 2: an event id that lives as long as the exchange.


def twice(payload: bytes, *, dup: bool, event: str = "e1", id: int = 5) -> dict[str, Any]:
    return {**message("t", payload, id), "qos": 2, "dup": dup, "retain": False, "event": event}


async def say(*events: dict[str, Any]) -> list[int]:
    async with Conversation(inbox(AsyncMqttConsumer), device()) as peer:
        peer.say(CONNECT, *events, DISCONNECT)
        await peer.end()
        return [event["id"] for event in peer.heard() if event["type"] == "mqtt.ack"]


async def test_at_qos_2_the_event_id_is_the_server_s(store: SQLiteStore) -> None:
    assert await say(twice(b"1", dup=False)) == [5]
    [kept] = await store.take(10, now=2e9, busy=set())
    assert kept.id == "e1"


async def test_a_repetition_is_acknowledged_again_and_stored_once(store: SQLiteStore) -> None:
    assert await say(twice(b"1", dup=False)) == [5]
    assert await say(twice(b"1", dup=True), twice(b"2", dup=False, event="e2", id=6)) == [5, 6]
    assert await waiting(store) == 2


async def test_a_repetition_of_what_is_handled_by_now_is_not_handled_again(store: SQLiteStore) -> None:
    await say(twice(b"1", dup=False))
    await store.take(10, now=2e9, busy=set())
    await store.finish("e1", outgoing=[])
    assert await say(twice(b"1", dup=True)) == [5]
    assert await waiting(store) == 0


async def test_a_repetition_of_what_was_never_stored_is_stored(store: SQLiteStore) -> None:
    assert await say(twice(b"1", dup=True)) == [5]
    assert await waiting(store) == 1


async def test_a_batch_that_is_stored_while_our_connection_to_a_broker_ends_is_not_stored_again(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At QoS 2: the next connection says PUBREC for each of its messages, and not for the first one alone."""
    numbers = range(1, 21)
    begun, gone = asyncio.Event(), asyncio.Event()
    put_all = store.put_all

    async def slowly(*arguments: Any, **keys: Any) -> Any:
        begun.set()
        await gone.wait()
        return await put_all(*arguments, **keys)

    monkeypatch.setattr(store, "put_all", slowly)

    async def first(peer: Peer) -> None:
        await peer.welcome()
        for number in numbers:
            peer.publish(number, b"%d" % number)
        await begun.wait()

    async def second(peer: Peer) -> None:
        await peer.welcome(session=True)
        for number in numbers:
            peer.publish(number, b"%d" % number, dup=True)
        assert sorted([(await peer.read())[2] for _ in numbers]) == [*numbers]

    app = App()
    async with scripted(first, second) as (url, over), client(inbox(app), url, subscribe=(), qos=2):
        await until(lambda: "mqtt.disconnect" in [event["type"] for event in app.events])
        gone.set()
        await asyncio.wait_for(over.wait(), LIMIT)
    assert await waiting(store) == len(numbers)
