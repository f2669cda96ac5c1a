"""What code without a scope sends: kept with the handler's "done", stored at once, or sent at once."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest
from own_services import delivering, installed
from test_guard import MAIL as RECEIVED
from test_guard import TEXT, deliver, email, sms
from waiting import until

from gateway import (
    AsyncEmailConsumer,
    AsyncMqttBatchConsumer,
    EmailConsumer,
    MqttBatchConsumer,
    MqttMessage,
    SMSConsumer,
    aio,
    group_send,
    publish,
    send_mail,
    send_text,
)
from gateway.delivery.direct import DirectSender
from gateway.delivery.guard import guarded
from gateway.delivery.outgoing_servers import OutgoingServers
from gateway.delivery.policy import Policy
from gateway.delivery.worker import Worker
from gateway.event_sender import sender
from gateway.layers import InMemoryChannelLayer, channel_layer
from gateway.scopes.email.delivery import EmailDelivery
from gateway.store import Message, codec
from gateway.store.sqlite import SQLiteStore
from protocols.errors import LocalProtocolError, NotSent
from protocols.mail.events import send_event

SERVERS = OutgoingServers(
    {
        "email": {"": {"listener": ""}},
        "mqtt": {"devices": {"listener": "devices"}, "plant": {"listener": "plant"}},
        "sms": {"texts": {"listener": "texts", "provider": "twilio", "number": "+447700900000"}},
    },
    {},
)
MAIL = send_event("", ["b@x.org"], b"Subject: hi\r\n\r\nhello\r\n")


class Outlet:
    """Takes everything."""

    def __init__(self, error: Exception | None = None) -> None:
        self.taken: list[Mapping[str, Any]] = []
        self.listeners: list[str] = []
        self.error = error

    async def __call__(self, listener: str, event: Mapping[str, Any]) -> None:
        if self.error is not None:
            raise self.error
        self.taken.append(event)
        self.listeners.append(listener)


@contextlib.contextmanager
def sending(outlet: Outlet, here: Any = None) -> Iterator[DirectSender]:
    direct = DirectSender(dict.fromkeys(("email", "mqtt", "sms"), outlet), SERVERS, here)
    with installed({sender: direct}):
        yield direct


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLiteStore]:
    made = SQLiteStore(tmp_path / "gateway.db")
    await made.open()
    yield made
    await made.close()


async def test_without_a_store_it_is_sent_while_the_caller_waits() -> None:
    with sending(outlet := Outlet()) as direct:
        with pytest.raises(RuntimeError, match="has not started"):
            direct.send(MAIL)
        direct.start()
        await asyncio.to_thread(direct.send, MAIL)
    (sent,) = outlet.taken
    assert sent["message"].startswith(f"Message-ID: <{sent['id']}@".encode()), "the same however often it is tried"


async def test_a_failure_is_the_callers() -> None:
    with sending(Outlet(NotSent("away"))) as direct:
        direct.start()
        with pytest.raises(NotSent, match="away"):
            await asyncio.to_thread(direct.send, MAIL)
        with pytest.raises(LocalProtocolError, match="malformed"):
            await asyncio.to_thread(direct.send, {**MAIL, "mail_from": "nobody"})
        with pytest.raises(RuntimeError, match="several servers that send mqtt; write via= and one of devices, plant"):
            await asyncio.to_thread(publish, "a", "b")
        nothing = DirectSender({}, OutgoingServers({}, {"email": "write submission"}), None)
        with pytest.raises(RuntimeError, match="nothing in this gateway sends email; write submission"):
            await nothing.asend(MAIL)


async def test_on_the_loop_it_is_an_error_or_it_is_sent_later(caplog: pytest.LogCaptureFixture) -> None:
    with sending(outlet := Outlet()) as direct:
        direct.start()
        with pytest.raises(RuntimeError, match="call it on a thread"):
            direct.send(MAIL)
        direct.send(MAIL, wait=False)
        await until(lambda: len(outlet.taken) == 1)
        outlet.error = NotSent("away")
        direct.send(MAIL, wait=False)
        await direct.stop(1.0)
    assert [record.getMessage() for record in caplog.records] == ["email to b@x.org not sent: away"]


async def test_with_a_store_it_is_stored_when_the_call_returns(store: SQLiteStore) -> None:
    with delivering(store) as here, sending(outlet := Outlet(), here) as direct:
        direct.start()
        await asyncio.to_thread(direct.send, MAIL)
        (item,) = await store.outgoing()
    assert (item.recipient, item.lane, outlet.taken) == ("b@x.org", "email", [])


# In batches of MQTT messages, which have a policy each.


class Batch(MqttBatchConsumer):
    """Sends one mail for each batch."""

    def receive_batch(self, messages: Sequence[MqttMessage]) -> None:
        sender.get().send(MAIL)
        BATCHES.append([message.topic for message in messages])
        if any(message.payload == b"bad" for message in messages):
            raise RuntimeError("a bad one")
        if messages[0].payload == b"later":
            messages[0].defer(60.0)


class AsyncBatch(AsyncMqttBatchConsumer):
    async def receive_batch(self, messages: Sequence[MqttMessage]) -> None:
        Batch.receive_batch(self, messages)


BATCHES: list[list[str]] = []


def stored(id_: str, payload: bytes) -> Message:
    scope = {
        "type": "mqtt", "asgi": {"version": "3.0"}, "listener": "devices", "client": None, "server": None,
        "extensions": {}, "role": "server", "protocol_version": "5.0", "client_id": id_, "username": None,
        "clean_start": True, "keepalive": 0, "session_present": False, "will": None, "properties": {},
        "transport": "tcp",
    }  # fmt: skip
    event = {
        "type": "mqtt.receive", "topic": id_, "payload": payload, "qos": 1, "retain": False, "dup": False, "id": 1,
        "properties": {},
    }  # fmt: skip
    return Message(id=id_, type="mqtt", route="r", key=id_, received=0.0, content=codec.encode(scope, [event]))


@pytest.mark.parametrize("consumer", [Batch, AsyncBatch])
@pytest.mark.parametrize(
    ("payloads", "mails"), [((b"a", b"b"), 1), ((b"later", b"b"), 1), ((b"later",), 0), ((b"bad",), 0)]
)
async def test_what_a_batch_sends_leaves_with_a_message_that_is_done(
    store: SQLiteStore, consumer: Any, payloads: Sequence[bytes], mails: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    BATCHES.clear()
    app = guarded(consumer.as_asgi(), Policy(attempts=1), "r")
    await store.put_all([stored(f"m{number}", payload) for number, payload in enumerate(payloads)])
    with delivering(store) as here, sending(Outlet(), here) as direct:
        direct.start()
        worker = Worker(here, app, {})
        worker.start()

        async def settled() -> bool:
            counts = await store.counts()
            return bool(BATCHES) and counts.running == 0

        await until(settled)
        await worker.stop(5.0)
    assert [[f"m{number}" for number in range(len(payloads))]] == BATCHES
    assert len(await store.outgoing()) == mails


async def test_a_task_that_outlives_a_batch_that_failed_sends_for_itself(
    store: SQLiteStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    failed, tasks = asyncio.Event(), set()

    async def late() -> None:
        await failed.wait()
        await aio.send_text("+447700900123", "late", via="texts")

    class Failing(AsyncMqttBatchConsumer):
        async def receive_batch(self, messages: Sequence[MqttMessage]) -> None:
            tasks.add(asyncio.create_task(late()))
            raise ValueError

    await store.put_all([stored("m0", b"x")])
    with delivering(store) as here, sending(Outlet(), here) as direct:
        direct.start()
        worker = Worker(here, guarded(Failing.as_asgi(), Policy(attempts=1), "r"), {})
        worker.start()

        async def is_dead() -> bool:
            return (await store.counts()).dead == 1

        await until(is_dead)
        failed.set()
        await asyncio.gather(*tasks)
        await worker.stop(5.0)
    assert [item.recipient for item in await store.outgoing()] == ["+447700900123"]


async def test_a_thread_that_outlives_its_handler_sends_for_itself(store: SQLiteStore) -> None:
    """What it sends is not lost with an attempt that has ended."""
    go_on, done = threading.Event(), threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        loop = asyncio.get_running_loop()
        loop.run_in_executor(None, copy_context().run, late)
        await send({"type": "email.accept"})

    def late() -> None:
        go_on.wait(10.0)
        sender.get().send(MAIL)
        done.set()

    with delivering(store) as here, sending(Outlet(), here) as direct:
        direct.start()
        scope = {"type": "email", "listener": "mail", "extensions": {}, "mail_from": "", "rcpt_to": []}
        outcome = await EmailDelivery().attempt(app, scope, []).outcome()
        go_on.set()
        await asyncio.to_thread(done.wait, 10.0)
        assert (outcome.outgoing, outcome.error) == ([], None)
        assert len(await store.outgoing()) == 1


# The public helpers.


async def test_without_a_store_each_helper_is_done_when_the_other_side_has_it() -> None:
    with sending(outlet := Outlet()) as direct:
        direct.start()
        ids = [
            await asyncio.to_thread(publish, "a/b", "on", retain=True, via="plant"),
            await aio.send_text("+447700900123", "hello"),
            await aio.send_mail("ann@example.org", text="x" * 100_000, from_="Shop <shop@example.org>"),
        ]
    assert [event["id"] for event in outlet.taken] == [f"{id_}-0" for id_ in ids]
    assert outlet.listeners == ["plant", "texts", ""]
    assert [event["type"] for event in outlet.taken] == ["mqtt.send", "sms.send", "email.send"]
    assert outlet.taken[1]["from"] == "+447700900000"
    assert outlet.taken[2]["mail_from"] == "shop@example.org", "bounces go to the address that it is from"


async def test_a_loop_of_the_applications_own_waits_for_the_gateways(store: SQLiteStore) -> None:
    with delivering(store) as here, sending(Outlet(), here) as direct:
        direct.start()
        id_ = await asyncio.to_thread(lambda: asyncio.run(aio.publish("a", b"b", via="devices")))
        (item,) = await store.outgoing()
    assert (item.message, item.lane) == (id_, "mqtt devices")


RETURNED: list[str] = []


def send_all(mark: str) -> None:
    RETURNED.append(publish(f"a/{mark}", mark, via="plant"))
    RETURNED.append(send_mail("ann@example.org", subject=mark, from_="shop@example.org"))
    RETURNED.append(send_text("+447700900123", mark * 1000))


class Sends(EmailConsumer):
    def receive(self, message: Any) -> None:
        send_all(f"{len(RETURNED)}")
        if len(RETURNED) == 3:
            raise RuntimeError("not yet")


class AsyncSends(AsyncEmailConsumer):
    async def receive(self, message: Any) -> None:
        mark = f"{len(RETURNED)}"
        RETURNED.append(await aio.publish(f"a/{mark}", mark, via="plant"))
        RETURNED.append(await aio.send_mail("ann@example.org", subject=mark, from_="shop@example.org"))
        RETURNED.append(await aio.send_text("+447700900123", mark * 1000))
        if len(RETURNED) == 3:
            raise RuntimeError("not yet")


@pytest.mark.parametrize("consumer", [Sends, AsyncSends])
async def test_in_a_handler_with_a_policy_it_is_committed_with_the_done_and_only_then(
    store: SQLiteStore, consumer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Each item leaves by its own server, whatever the message came through, and a long text is in parts."""
    caplog.set_level(logging.CRITICAL)
    RETURNED.clear()
    with delivering(store) as here, sending(outlet := Outlet(), here) as direct:
        direct.start()
        app = guarded(consumer.as_asgi(), Policy(attempts=5), "r")
        assert [event["type"] for event in await deliver(app, email(), RECEIVED)] == ["email.defer"]
        assert await store.outgoing() == []
        assert [event["type"] for event in await deliver(app, email(), RECEIVED)] == ["email.accept"]
    items = sorted(await store.outgoing(), key=lambda item: item.id)
    assert [item.lane for item in items] == ["mqtt plant", "email", "sms texts"]
    assert {item.message for item in items} == {*RETURNED}
    assert items[0].recipient == "a/3"
    assert outlet.taken == []


class Rejects(SMSConsumer):
    def receive(self, text: str, media: Any) -> None:
        self.reply("no")
        publish("a", "b", via="plant")
        self.reject()


async def test_a_rejected_text_is_not_answered_and_what_else_its_handler_sent_leaves(store: SQLiteStore) -> None:
    with delivering(store) as here, sending(Outlet(), here) as direct:
        direct.start()
        app = guarded(Rejects.as_asgi(), Policy(attempts=5), "r")
        assert [event["type"] for event in await deliver(app, sms(provider="twilio"), TEXT)] == ["sms.reject"]
    assert [item.lane for item in await store.outgoing()] == ["mqtt plant"]


async def test_a_group_is_reached_from_a_thread_from_the_loop_and_from_a_loop_of_the_applications_own() -> None:
    layer = InMemoryChannelLayer()
    await layer.group_add("live", channel := await layer.new_channel())
    with sending(Outlet()) as direct, installed({channel_layer: layer}):
        direct.start()
        await asyncio.to_thread(group_send, "live", {"type": "a"})
        await aio.group_send("live", {"type": "b"})
        assert [(await layer.receive(channel))["type"] for _ in "ab"] == ["a", "b"]
        await asyncio.to_thread(lambda: asyncio.run(aio.group_send("live", {"type": "c"})))
        assert (await layer.receive(channel))["type"] == "c"
