"""The inbox: stored, acknowledged, handled from the store; and what handlers send."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from conversation import Conversation, scope
from waiting import until

from gateway import (
    AsyncEmailConsumer,
    AsyncMqttConsumer,
    EmailToRouter,
    MqttConsumer,
    Policy,
    ProtocolTypeRouter,
    TopicRouter,
    regex,
    topic,
)
from gateway.delivery.current_event import current_event
from gateway.delivery.guard import Guard
from gateway.delivery.outbox import Outbox
from gateway.delivery.service import deliveries
from gateway.delivery.worker import Worker
from gateway.store import Store, StoreUnavailable
from gateway.store.sqlite import SQLiteStore

LIMIT = 10.0
CONNECT = {"type": "mqtt.connect", "username": None, "password": None}
DISCONNECT = {"type": "mqtt.disconnect", "reason_code": 0, "reason": "", "clean": True}
QUICK = Policy(inbox=True, attempts=3, backoff=0.01)


def device() -> dict[str, Any]:
    return scope("mqtt", listener="devices", username=None)


def message(name: str, payload: bytes, id: int | None = None) -> dict[str, Any]:
    return {"type": "mqtt.receive", "topic": name, "payload": payload, "qos": 1, "id": id, "properties": {}}


@contextlib.asynccontextmanager
async def working(store: Store, app: Any) -> AsyncIterator[Worker]:
    worker = Worker(deliveries.get(), app, {"shared": True})
    worker.start()
    yield worker
    await worker.stop(LIMIT)


async def publish(app: Any, *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """What is heard of ``app``. As from a server, no message comes before the application has accepted."""
    async with Conversation(app, device()) as peer:
        peer.say(CONNECT)
        accept = await peer.hear()
        peer.say(*messages, DISCONNECT)
        await peer.end()
        return [accept, *peer.heard()]


def mqtt_app(consumer: Any, policy: Policy = QUICK) -> Any:
    return ProtocolTypeRouter({"mqtt": TopicRouter([topic("#", consumer, policy=policy)])})


async def test_an_mqtt_message_is_acknowledged_when_it_is_stored_and_handled_from_there(store: SQLiteStore) -> None:
    seen: list[Any] = []

    class Reads(MqttConsumer):
        def receive(self, topic: str, payload: bytes) -> None:
            delivery = self.scope["extensions"]["delivery"]
            seen.append(
                (topic, payload, self.scope["client_id"], self.scope["state"], delivery["id"] == current_event.get())
            )
            self.publish("answers", payload)

    app = mqtt_app(Reads)
    heard = await publish(app, message("a", b"1", 7), message("b", b"2"))
    assert heard == [{"type": "mqtt.accept"}, {"type": "mqtt.ack", "id": 7}]
    assert seen == []
    assert (await store.counts()).waiting == 2
    async with working(store, app):
        await until(lambda: done(store))
    assert sorted(seen) == [("a", b"1", "t1", {"shared": True}, True), ("b", b"2", "t1", {"shared": True}, True)]
    assert (await store.counts()).outgoing == 2


async def test_a_consumer_that_asks_for_a_password_is_not_asked_again_for_what_is_stored(store: SQLiteStore) -> None:
    seen: list[bytes] = []

    class Guarded(MqttConsumer):
        def connect(self, message: Any) -> None:
            if message["password"] is None:
                self.reject(0x86)
            else:
                self.accept()

        def receive(self, topic: str, payload: bytes) -> None:
            seen.append(payload)

    app = ProtocolTypeRouter({"mqtt": Guard(Guarded.as_asgi(), QUICK, "mqtt -> Guarded")})
    async with Conversation(app, device()) as peer:
        peer.say({**CONNECT, "password": b"secret"})
        assert await peer.hear() == {"type": "mqtt.accept"}  # servers read on when they have been told so
        peer.say(message("a", b"1", 7), DISCONNECT)
        await peer.end()
        assert peer.heard() == [{"type": "mqtt.ack", "id": 7}]
    async with working(store, app):
        await until(lambda: done(store))
    assert seen == [b"1"]
    assert await store.dead() == []


async def done(store: SQLiteStore) -> bool:
    counts = await store.counts()
    return counts.waiting == counts.running == 0


async def test_a_poison_message_is_retried_then_buried_and_blocks_nobody(store: SQLiteStore) -> None:
    handled: list[bytes] = []

    class Picky(AsyncMqttConsumer):
        async def receive(self, topic: str, payload: bytes) -> None:
            if payload == b"poison":
                raise ValueError("poison")
            handled.append(payload)

    app = mqtt_app(Picky)
    await publish(app, message("t", b"poison", 1), message("t", b"good", 2))
    async with working(store, app):
        await until(lambda: done(store))
    assert handled == [b"good"]
    [dead] = await store.dead()
    assert dead.attempts == 3
    assert "poison" in dead.error


async def test_order_is_kept_by_key_and_keys_run_in_parallel(store: SQLiteStore) -> None:
    handled: list[tuple[str, bytes]] = []
    failures = [2]
    both = asyncio.Barrier(2)

    class Ordered(AsyncMqttConsumer):
        async def receive(self, topic: str, payload: bytes) -> None:
            if payload == b"0":
                async with asyncio.timeout(LIMIT):
                    await both.wait()  # passes only when both topics are here at once
            if (topic, payload) == ("a", b"1") and failures[0]:
                failures[0] -= 1
                raise ValueError("not yet")
            handled.append((topic, payload))

    app = mqtt_app(Ordered, Policy(inbox=True, backoff=0.05, order="key"))
    await publish(app, *(message(name, b"%d" % number, number + 1) for number in range(4) for name in "ab"))
    async with working(store, app):
        await until(lambda: done(store))
    for name in "ab":
        assert [payload for topic, payload in handled if topic == name] == [b"0", b"1", b"2", b"3"]


@pytest.mark.parametrize(
    "today",
    [
        ProtocolTypeRouter({"email": EmailToRouter([])}),
        ProtocolTypeRouter({"mqtt": TopicRouter([topic("other", AsyncMqttConsumer, policy=QUICK)])}),
    ],
)
async def test_what_has_no_route_any_more_is_a_dead_letter(store: SQLiteStore, today: Any) -> None:
    await publish(mqtt_app(AsyncMqttConsumer), message("a", b"1", 1))
    async with working(store, today):
        await until(lambda: has_dead(store))


async def has_dead(store: SQLiteStore) -> bool:
    return (await store.counts()).dead == 1


async def test_a_dead_letter_runs_again_through_todays_routes(store: SQLiteStore) -> None:
    handled: list[bytes] = []

    class Broken(AsyncMqttConsumer):
        async def receive(self, topic: str, payload: bytes) -> None:
            raise ValueError

    class Mended(AsyncMqttConsumer):
        async def receive(self, topic: str, payload: bytes) -> None:
            handled.append(payload)

    await publish(mqtt_app(Broken, Policy(inbox=True, attempts=1)), message("a", b"1", 1))
    async with working(store, mqtt_app(Broken, Policy(inbox=True, attempts=1))):
        await until(lambda: has_dead(store))
    [dead] = await store.dead()
    assert await store.requeue([dead.id]) == 1
    async with working(store, mqtt_app(Mended, Policy(inbox=True, attempts=1))):
        await until(lambda: done(store))
    assert handled == [b"1"]


async def test_mail_in_the_inbox_is_answered_through_the_outbox_once(store: SQLiteStore) -> None:
    runs: list[int] = []
    sent: list[Any] = []

    class Desk(AsyncEmailConsumer):
        async def receive(self, message: Any) -> None:
            runs.append(1)
            await self.send_message(b"Subject: answer\r\n\r\n", ["ann@example.com"], "desk@example.org")
            if len(runs) == 1:
                raise RuntimeError("after it had answered")

    async def submit(listener: str, event: Any) -> None:
        sent.append((listener, event["rcpt_to"]))
        if len(sent) == 1:
            raise OSError("away")

    app = ProtocolTypeRouter({"email": EmailToRouter([regex("@", Desk, policy=QUICK)])})
    mail = scope("email", listener="mail", mailbox=None, received_at=1.0)
    async with Conversation(app, mail) as server:
        server.say({"type": "email.receive", "body": b"Subject: x\r\n\r\n", "more_body": False})
        assert await server.hear() == {"type": "email.accept"}
    assert runs == []
    outbox = Outbox(deliveries.get(), {"email": submit})
    outbox.backoff = Policy(backoff=0.01)
    outbox.start()
    async with working(store, app):
        await until(lambda: all_sent(store, sent))
    await outbox.stop(LIMIT)
    assert len(runs) == 2
    assert sent == [("mail", ["ann@example.com"])] * 2  # once refused, once taken; the failed attempt's is not sent


async def all_sent(store: SQLiteStore, sent: list[Any]) -> bool:
    counts = await store.counts()
    return counts.outgoing == counts.waiting == counts.running == 0 and len(sent) > 1


async def test_what_cannot_be_stored_is_not_acknowledged(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def full(*args: Any, **kwargs: Any) -> Any:
        raise StoreUnavailable("disk full")

    monkeypatch.setattr(store, "put_all", full)
    async with Conversation(mqtt_app(AsyncMqttConsumer), device()) as peer:
        peer.say(CONNECT, message("a", b"1", 1), message("a", b"2", 2))
        assert await peer.hear() == {"type": "mqtt.accept"}
        assert (await peer.hear())["type"] == "mqtt.disconnect"
        peer.say(DISCONNECT)
        await peer.end()
        assert peer.heard() == []
    assert len(caplog.records) == 1


async def test_what_became_of_a_message_is_said_until_it_is_kept(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[int] = []
    failures = [3]
    finish = store.finish_all

    class Counts(AsyncMqttConsumer):
        async def receive(self, topic: str, payload: bytes) -> None:
            runs.append(1)

    async def sometimes(*args: Any, **kwargs: Any) -> None:
        if failures[0]:
            failures[0] -= 1
            raise StoreUnavailable("disk full")
        await finish(*args, **kwargs)

    monkeypatch.setattr("gateway.delivery.retry_until_stored.PAUSE", 0.01)
    monkeypatch.setattr(store, "finish_all", sometimes)
    app = mqtt_app(Counts)
    await publish(app, message("a", b"1", 1))
    async with working(store, app):
        await until(lambda: done(store))
    assert runs == [1]
    assert failures == [0]


@pytest.mark.parametrize("sync", [False, True])
async def test_a_handler_says_not_now_or_never_without_raising(
    store: SQLiteStore, sync: bool, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[bytes] = []

    def judge(consumer: Any, payload: bytes) -> None:
        seen.append(payload)
        if payload == b"later" and seen.count(payload) < 3:
            consumer.defer(0.01)
        if payload == b"never":
            consumer.reject_message()

    class Sync(MqttConsumer):
        def receive(self, topic: str, payload: bytes) -> None:
            judge(self, payload)

    class Async(AsyncMqttConsumer):
        async def receive(self, topic: str, payload: bytes) -> None:
            judge(self, payload)

    app = mqtt_app(Sync if sync else Async, Policy(inbox=True, attempts=1))  # a deferral is not a failure
    await publish(app, message("a", b"later", 1), message("a", b"never", 2))
    async with working(store, app):
        await until(lambda: done(store))
    assert sorted(seen) == [b"later"] * 3 + [b"never"]
    assert (await store.counts()).dead == 0
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert ["rejected by its handler" in warning for warning in warnings] == [True]


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (float("nan"), "LocalProtocolError: defer: retry_after is"),
        ("soon", "TypeError: defer: retry_after is a str"),
    ],
)
async def test_a_wish_that_is_no_number_is_the_handler_s_failure(store: SQLiteStore, wish: Any, said: str) -> None:
    class Wishes(AsyncMqttConsumer):
        async def receive(self, topic: str, payload: bytes) -> None:
            self.defer(wish)

    app = mqtt_app(Wishes, Policy(inbox=True, attempts=1))
    await publish(app, message("a", b"1", 1))
    async with working(store, app):
        await until(lambda: done(store))
    [dead] = await store.dead()
    assert said in dead.error


async def test_nothing_is_begun_beside_what_a_dead_process_had(store: SQLiteStore) -> None:
    seen: list[bytes] = []

    class Slow(AsyncMqttConsumer):
        async def receive(self, topic: str, payload: bytes) -> None:
            if payload == b"suspect":
                for _ in range(20):
                    await store.counts()
            seen.append(payload)

    app = mqtt_app(Slow)
    await of_a_dead_process(store, app, b"suspect")
    await publish(app, *(message("a", payload, 1) for payload in (b"1", b"2")))
    async with working(store, app):
        await until(lambda: done(store))
    assert seen[0] == b"suspect"
    assert sorted(seen[1:]) == [b"1", b"2"]


async def test_what_a_dead_process_had_does_not_hold_the_others_up_for_long(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.delivery.worker.TRIAL", 0.01)
    another = asyncio.Event()

    class Waits(AsyncMqttConsumer):
        async def receive(self, topic: str, payload: bytes) -> None:
            if payload == b"suspect":
                await another.wait()
            another.set()

    app = mqtt_app(Waits)
    await of_a_dead_process(store, app, b"suspect")
    await publish(app, message("a", b"another", 1))
    async with working(store, app):
        await until(lambda: done(store))


async def of_a_dead_process(store: SQLiteStore, app: Any, payload: bytes) -> None:
    """A message that a process had taken when it ended."""
    await publish(app, message("a", payload, 1))
    gone = SQLiteStore(store.path)
    await gone.open()
    await gone.take(1, now=time.time())
    await gone.close()
    assert await store.recover() == 1


async def test_stopping_leaves_what_does_not_finish_to_the_next_start(store: SQLiteStore) -> None:
    started = asyncio.Event()

    class Hangs(AsyncMqttConsumer):
        async def receive(self, topic: str, payload: bytes) -> None:
            started.set()
            await asyncio.sleep(100)

    app = mqtt_app(Hangs)
    await publish(app, message("a", b"1", 1))
    worker = Worker(deliveries.get(), app, {})
    worker.start()
    async with asyncio.timeout(LIMIT):
        await started.wait()
    assert worker.active() == {"stored messages": 1}
    await worker.stop(0.01)
    counts = await store.counts()
    assert counts.waiting + counts.running == 1


async def test_an_inbox_asks_the_application_about_everything_that_is_no_message(store: SQLiteStore) -> None:
    """Subscriptions in the middle of its messages: none is lost, and reading goes on."""

    async def careful(scope: Any, receive: Any, send: Any) -> None:
        while (event := await receive())["type"] != "mqtt.disconnect":
            if event["type"] == "mqtt.connect":
                await send({"type": "mqtt.accept", "subscribe": True})
            elif event["type"] == "mqtt.subscribe":
                await send({"type": "mqtt.suback", "id": event["id"], "reason_codes": [0x87]})

    asked = {"type": "mqtt.subscribe", "id": 9, "filters": [("a/#", 1)], "properties": {}}
    heard = await publish(Guard(careful, QUICK, "mqtt -> careful"), message("a", b"1", 1), asked, message("a", b"2", 2))
    assert {"type": "mqtt.suback", "id": 9, "reason_codes": [0x87]} in heard
    assert [event["id"] for event in heard if event["type"] == "mqtt.ack"] == [1, 2]


@pytest.mark.parametrize(("seconds", "backoff", "attempts"), [(-3600.0, 0.2, 2), (3600.0, 60.0, 1)])
async def test_a_clock_that_is_set_makes_nothing_due_later_or_earlier(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch, seconds: float, backoff: float, attempts: int
) -> None:
    runs: list[int] = []
    real = time.time

    class Fails(AsyncMqttConsumer):
        async def receive(self, topic: str, payload: bytes) -> None:
            runs.append(1)
            monkeypatch.setattr("time.time", lambda: real() + seconds)
            if len(runs) == 1:
                raise RuntimeError("not yet")

    app = mqtt_app(Fails, Policy(attempts=5, backoff=backoff))
    await publish(app, message("t", b"1", 1))
    async with working(store, app):
        await until(lambda: _waits(store))
        await asyncio.sleep(1.5 if attempts == 1 else 0)
        if attempts == 2:
            await until(lambda: done(store))
    assert len(runs) == attempts


async def _waits(store: SQLiteStore) -> bool:
    """For its second attempt, or it is gone."""
    waiting = [each for each in await store.waiting() if each.state == "waiting" and each.attempts]
    return bool(waiting) or await done(store)
