"""Batches: gathered across connections, acknowledged together, and one poisoned message sinks nobody else."""

import asyncio
import contextlib
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from conversation import LIMIT, Conversation, scope
from own_services import installed
from test_mqtt_consumers import CONNECT, DISCONNECT, message, say
from waiting import until

from gateway import (
    AsyncMqttBatchConsumer,
    InMemoryChannelLayer,
    MqttBatchConsumer,
    MqttMessage,
    TopicRouter,
    topic,
)
from gateway.layers import channel_layer


def acks(events: list[dict[str, Any]]) -> list[int]:
    return [event["id"] for event in events if event["type"] == "mqtt.ack"]


@contextlib.asynccontextmanager
async def devices(app: Any, count: int) -> Any:
    async with contextlib.AsyncExitStack() as stack:
        made = [
            await stack.enter_async_context(Conversation(app, scope("mqtt", client_id=f"d{i}"))) for i in range(count)
        ]
        for device in made:
            device.say(CONNECT)
            assert (await device.hear())["type"] == "mqtt.accept"
        yield made


async def leave(*gone: Conversation) -> None:
    for device in gone:
        device.say(DISCONNECT)
        await device.end()


class Keeps(AsyncMqttBatchConsumer):
    max_delay = 60.0
    max_batch = 4

    def __init__(self, batches: list[list[MqttMessage]]) -> None:
        self.batches = batches

    async def receive_batch(self, messages: Sequence[MqttMessage]) -> None:
        self.batches.append(list(messages))


async def test_a_full_batch_is_handled_at_once_and_all_its_connections_are_told() -> None:
    batches: list[list[MqttMessage]] = []
    async with devices(Keeps.as_asgi(batches=batches), 2) as (one, two):
        one.say(message("a", b"1", 1), message("a", b"2", 2), message("a", b"3", None))
        two.say(message("b", b"4", 1))
        assert [await one.hear(), await one.hear(), await two.hear()] == [
            {"type": "mqtt.ack", "id": 1},
            {"type": "mqtt.ack", "id": 2},
            {"type": "mqtt.ack", "id": 1},
        ]
        await leave(one, two)
    assert [[(each.payload, each.scope["client_id"], each.qos) for each in batch] for batch in batches] == [
        [(b"1", "d0", 1), (b"2", "d0", 1), (b"3", "d0", 0), (b"4", "d1", 1)]
    ]


async def test_few_messages_wait_for_others_no_longer_than_they_may() -> None:
    class Patient(Keeps):
        max_delay = 0.01

    batches: list[list[MqttMessage]] = []
    assert acks(await say(Patient.as_asgi(batches=batches), message("a", id=1), message("a", id=2))) == [1, 2]
    assert sum(map(len, batches)) == 2


async def test_a_connection_that_ends_is_not_over_before_its_messages_are_handled() -> None:
    class Patient(Keeps):
        max_delay = 0.05

        async def disconnect(self, message: Any) -> None:
            assert self.batches, "the disconnect came before the messages"

    batches: list[list[MqttMessage]] = []
    await say(Patient.as_asgi(batches=batches), message("a", b"last words", None))
    assert batches[0][0].payload == b"last words"


async def test_sync_batches_run_on_one_thread_and_what_they_publish_leaves_before_the_acknowledgement() -> None:
    layer = InMemoryChannelLayer()
    channel = await layer.new_channel()
    await layer.group_add("batches", channel)

    class Sums(MqttBatchConsumer):
        max_batch = 3
        max_delay = 60.0

        def receive_batch(self, messages: Sequence[MqttMessage]) -> None:
            assert threading.current_thread().name.startswith("handler")
            total = sum(int(each.payload) for each in messages)
            self.publish("sum", str(total))
            self.group_send("batches", {"type": "sum", "sum": total})

    with installed({channel_layer: layer}):
        heard = await say(Sums.as_asgi(), *(message("n", b"%d" % id, id) for id in (1, 2, 3)))
    assert [event["type"] for event in heard] == ["mqtt.send", *["mqtt.ack"] * 3]
    assert heard[0]["payload"] == b"6"
    async with asyncio.timeout(LIMIT):
        assert (await layer.receive(channel))["sum"] == 6


@pytest.mark.parametrize("form", ["sync", "async"])
async def test_a_poisoned_message_fails_alone_and_takes_only_its_own_connection_along(form: str) -> None:
    calls: list[list[bytes]] = []

    def handle(self: Any, messages: Sequence[MqttMessage]) -> None:
        calls.append([each.payload for each in messages])
        if b"poison" in calls[-1]:
            raise ValueError("poison")

    async def handle_async(self: Any, messages: Sequence[MqttMessage]) -> None:
        handle(self, messages)

    base, method = (MqttBatchConsumer, handle) if form == "sync" else (AsyncMqttBatchConsumer, handle_async)
    consumer: Any = type("Poisoned", (base,), {"receive_batch": method, "max_batch": 4, "max_delay": 60.0})
    async with devices(consumer.as_asgi(), 2) as (good, bad):
        bad.say(message("t", b"poison", 1))
        good.say(message("t", b"a", 1), message("t", b"b", 2))
        bad.say(message("t", b"later", 2))
        assert [await good.hear(), await good.hear()] == [{"type": "mqtt.ack", "id": 1}, {"type": "mqtt.ack", "id": 2}]
        with pytest.raises(ValueError, match="poison"):
            await bad.hear()
        assert not bad.heard()
        await leave(good)
        bad.task.exception()
        bad.task = asyncio.ensure_future(asyncio.sleep(0))
    assert sorted(calls[0]) == [b"a", b"b", b"later", b"poison"]
    assert sorted(map(tuple, calls[1:])) == [(b"a",), (b"b",), (b"poison",)], "what came after the poison comes again"


async def test_messages_may_be_refused_or_deferred_one_by_one() -> None:
    class Picky(AsyncMqttBatchConsumer):
        max_batch = 3

        async def receive_batch(self, messages: Sequence[MqttMessage]) -> None:
            messages[0].reject(0x99)
            messages[1].defer(5)

    stored = {"delivery": {"id": "e", "attempt": 1, "first_received": 1.0}}  # where there is somebody to keep it
    app = Picky.as_asgi()
    assert await asyncio.gather(*(say(app, message("a", id=id), extensions=stored) for id in (1, 2, 3))) == [
        [{"type": "mqtt.ack", "reason_code": 0x99, "id": 1}],
        [{"type": "mqtt.defer", "retry_after": 5, "id": 2}],
        [{"type": "mqtt.ack", "id": 3}],
    ]


async def test_a_verdict_of_a_batch_that_failed_is_not_that_of_its_messages() -> None:
    class Undecided(AsyncMqttBatchConsumer):
        max_delay = 60.0
        max_batch = 2

        async def receive_batch(self, messages: Sequence[MqttMessage]) -> None:
            if len(messages) > 1:
                messages[0].reject()
                raise ConnectionError("the database is away")

    async with devices(Undecided.as_asgi(), 1) as (device,):
        device.say(message("a", b"1", 1), message("a", b"2", 2))
        assert [await device.hear(), await device.hear()] == [{"type": "mqtt.ack", "id": each} for each in (1, 2)]
        await leave(device)


async def test_a_batch_that_takes_long_holds_its_connections_back() -> None:
    release = asyncio.Event()
    sizes: list[int] = []

    class Slow(AsyncMqttBatchConsumer):
        max_batch = 4
        max_delay = 0.0

        async def receive_batch(self, messages: Sequence[MqttMessage]) -> None:
            sizes.append(len(messages))
            await release.wait()

    async with devices(Slow.as_asgi(), 3) as peers:
        for peer in peers:
            peer.say(*(message("a", id=id) for id in range(1, 21)))
        await until(lambda: sizes)
        for _ in range(100):
            await asyncio.sleep(0)
        taken = sum(20 - peer.inbox.qsize() for peer in peers)
        assert taken <= 4 + 4 + len(peers)
        release.set()
        await leave(*peers)
        assert [acks(peer.heard()) for peer in peers] == [list(range(1, 21))] * 3
    assert max(sizes) == 4
    assert sum(sizes) == 60


async def test_a_connection_that_is_cancelled_takes_back_what_still_waits() -> None:
    batches: list[list[MqttMessage]] = []
    async with devices(Keeps.as_asgi(batches=batches), 2) as (one, two):
        one.say(message("a", b"1", 1), message("a", b"2", 2))
        await until(lambda: not one.inbox.qsize())
        await asyncio.sleep(0)
        one.task.cancel()
        await asyncio.gather(one.task, return_exceptions=True)
        two.say(*(message("b", b"%d" % id, id) for id in (3, 4, 5, 6)))
        assert [(await two.hear())["id"] for _ in range(4)] == [3, 4, 5, 6]
        await leave(two)
    assert [[each.payload for each in batch] for batch in batches] == [[b"3", b"4", b"5", b"6"]]


async def test_when_every_connection_is_cancelled_so_is_the_batch() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    class Endless(AsyncMqttBatchConsumer):
        max_delay = 0.0

        async def receive_batch(self, messages: Sequence[MqttMessage]) -> None:
            began.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

    app = Endless.as_asgi()
    async with devices(app, 1) as (device,):
        device.say(message("a"))
        async with asyncio.timeout(LIMIT):
            await began.wait()
        device.task.cancel()
        async with asyncio.timeout(LIMIT):
            await ended.wait()


async def test_a_batch_knows_what_its_topics_captured_and_each_route_has_its_own() -> None:
    batches: list[list[MqttMessage]] = []
    quick: Any = type("Quick", (Keeps,), {"max_delay": 0.0})
    router = TopicRouter(
        [topic("in/{room}", quick.as_asgi(batches=batches)), topic("out/{place}", quick.as_asgi(batches=batches))]
    )
    await say(router, message("in/hall", id=1), message("out/yard", id=2))
    captured = [[dict(each.captures) for each in batch] for batch in batches]
    assert sorted(captured, key=str) == [[{"place": "yard"}], [{"room": "hall"}]]


@pytest.mark.parametrize(
    ("extensions", "said", "event"),
    [({}, {}, None), ({}, {"event": "e1"}, "e1"), ({"delivery": {"id": "e2", "attempt": 1}}, {}, "e2")],
    ids=["QoS 1", "QoS 2", "policy"],
)
async def test_a_message_has_its_event_id(extensions: Any, said: dict[str, str], event: str | None) -> None:
    batches: list[list[MqttMessage]] = []
    quick: Any = type("Quick", (Keeps,), {"max_delay": 0.0})
    async with Conversation(quick.as_asgi(batches=batches), scope("mqtt", extensions=extensions)) as device:
        device.say(CONNECT, message("a", **said), DISCONNECT)
        await device.end()
    assert [[each.event for each in batch] for batch in batches] == [[event]]


def test_a_batch_is_tested_without_a_gateway() -> None:
    class Rows(MqttBatchConsumer):
        rows: list[bytes] = []

        def receive_batch(self, messages: Sequence[MqttMessage]) -> None:
            self.rows.extend(each.payload for each in messages)

    Rows().receive_batch([MqttMessage("a", b"1"), MqttMessage("b", b"2")])
    assert Rows.rows == [b"1", b"2"]
