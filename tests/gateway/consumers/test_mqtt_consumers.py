"""MQTT consumers: what handlers take, captures from the topic, answers, JSON."""

import logging
from typing import Any

import pytest
from conversation import Conversation, scope

from gateway import (
    AsyncJsonMqttConsumer,
    AsyncMqttConsumer,
    JsonMqttConsumer,
    MqttConsumer,
    Policy,
    TopicRouter,
    topic,
)
from gateway.consumers.parameters import Extras, extras
from protocols import LocalProtocolError

CONNECT = {"type": "mqtt.connect", "username": None, "password": None}
DISCONNECT = {"type": "mqtt.disconnect", "reason_code": 0, "reason": "", "clean": True}


def message(topic: str, payload: bytes = b"", id: int | None = 1, **keys: Any) -> dict[str, Any]:
    qos = 0 if id is None else 1
    event = {"type": "mqtt.receive", "topic": topic, "payload": payload, "qos": qos, "retain": False, "dup": False}
    return {**event, "id": id, "properties": {}, **keys}


async def say(app: Any, *messages: dict[str, Any], **keys: Any) -> list[dict[str, Any]]:
    async with Conversation(app, scope("mqtt", **keys)) as device:
        device.say(CONNECT, *messages, DISCONNECT)
        await device.end()
        return [event for event in device.heard() if event["type"] != "mqtt.accept"]


def test_what_a_handler_takes_is_read_from_its_signature() -> None:
    def plain(self: Any, topic: str, payload: bytes) -> None: ...
    def some(self: Any, topic: str, payload: bytes, sensor: str, room: str = "", *, qos: int) -> None: ...
    def everything(self: Any, topic: str, payload: bytes, retain: bool, **captures: str) -> None: ...

    event = message("t", captures={"sensor": "7", "other": "x"})
    assert not extras(plain, given=2)
    assert extras(some, given=2) == Extras(("qos",), ("sensor", "room"), frozenset({"sensor"}))
    assert extras(some, given=2).of(event) == {"sensor": "7", "qos": 1}
    assert extras(everything, given=2).of(event) == {"sensor": "7", "other": "x", "retain": False}


async def test_captures_reach_a_handler_by_name_and_an_application_in_the_event() -> None:
    seen: list[Any] = []

    class Temperature(MqttConsumer):
        def receive(self, topic: str, payload: bytes, sensor: str, qos: int) -> None:
            seen.append((topic, sensor, qos))

    class Door(AsyncMqttConsumer):
        async def receive(self, topic: str, payload: bytes, **captures: str) -> None:
            seen.append(captures)

    async def raw(scope: Any, receive: Any, send: Any) -> None:
        while (event := await receive())["type"] != "mqtt.disconnect":
            if event["type"] == "mqtt.receive":
                seen.append(event["captures"])

    router = TopicRouter(
        [topic("sensors/{sensor}/temperature", Temperature), topic("{floor}/{door}/#", Door), topic("#", raw)]
    )
    await say(router, message("sensors/kitchen/temperature"))
    await say(router, message("1/front/open"), message("1//open"))
    await say(router, message("x", id=None))
    assert seen == [
        ("sensors/kitchen/temperature", "kitchen", 1),
        {"floor": "1", "door": "front"},
        {"floor": "1", "door": ""},
        {},
    ]


async def test_captures_of_one_message_are_its_own() -> None:
    seen: list[dict[str, str]] = []

    async def careless(scope: Any, receive: Any, send: Any) -> None:
        while (event := await receive())["type"] != "mqtt.disconnect":
            if event["type"] == "mqtt.receive":
                seen.append(dict(event["captures"]))
                event["captures"].clear()

    await say(TopicRouter([topic("{a}", careless)]), message("x", id=None), message("x", id=None))
    assert seen == [{"a": "x"}, {"a": "x"}]


def test_a_handler_that_takes_what_the_topic_does_not_capture_is_told_at_once() -> None:
    class Temperature(MqttConsumer):
        def receive(self, topic: str, payload: bytes, sensor: str, room: str = "") -> None: ...

    topic("{sensor}", Temperature)
    with pytest.raises(
        ValueError, match=r"'sensors/\+' does not capture 'sensor', which .*Temperature takes; write {se"
    ):
        topic("sensors/+", Temperature)


ASKS = {"response_topic": "answers/7", "correlation_data": b"\x01", "user_property": [("a", "b")]}


async def test_a_reply_goes_to_the_topic_that_was_asked_for() -> None:
    class Clock(MqttConsumer):
        def receive(self, topic: str, payload: bytes, properties: Any) -> None:
            assert self.answerable == ("response_topic" in properties)
            self.reply("12:00", qos=1)

    heard = await say(Clock.as_asgi(), message("time", properties=ASKS), message("time", id=2))
    answer = {"type": "mqtt.send", "topic": "answers/7", "payload": b"12:00", "qos": 1, "retain": False}
    assert heard == [
        {**answer, "properties": {"correlation_data": b"\x01"}},
        {"type": "mqtt.ack", "id": 1},
        {"type": "mqtt.ack", "id": 2},
    ]


@pytest.mark.parametrize("asked", ["$SYS/broker", "a/#", "+", "", None])
async def test_a_device_cannot_have_us_answer_where_it_could_not_publish(asked: Any) -> None:
    class Clock(AsyncMqttConsumer):
        async def receive(self, topic: str, payload: bytes) -> None:
            await self.reply("12:00")

    assert await say(Clock.as_asgi(), message("time", id=None, properties={"response_topic": asked})) == []


class Sums(JsonMqttConsumer):
    def receive_json(self, topic: str, content: Any, qos: int) -> None:
        self.publish_json("sum", {"sum": sum(content)}, qos=qos, properties={"content_type": "application/json"})


class AsyncSums(AsyncJsonMqttConsumer):
    async def receive_json(self, topic: str, content: Any, qos: int) -> None:
        await self.publish_json("sum", {"sum": sum(content)}, qos=qos, properties={"content_type": "application/json"})


@pytest.mark.parametrize("consumer", [Sums, AsyncSums])
async def test_json_in_and_out(consumer: Any, caplog: pytest.LogCaptureFixture) -> None:
    broken = (b"", b"secret", b"\xff", b"[NaN]", b"[" * 100_000)
    sent = [message("n", b"[1, 2]"), *(message("n", payload, id) for id, payload in enumerate(broken, 2))]
    with caplog.at_level(logging.WARNING, "gateway"):
        heard = await say(consumer.as_asgi(), *sent, message("n", b"secret", None), message("n", b"[]", 9))
    sums = [event for event in heard if event["type"] == "mqtt.send"]
    assert [(event["payload"], event["properties"]) for event in sums] == [
        (b'{"sum": 3}', {"content_type": "application/json"}),
        (b'{"sum": 0}', {"content_type": "application/json"}),
    ]
    assert [event for event in heard if event["type"] == "mqtt.ack"] == [
        {"type": "mqtt.ack", "id": 1},
        *({"type": "mqtt.ack", "id": id, "reason_code": 0x99} for id in range(2, 7)),
        {"type": "mqtt.ack", "id": 9},
    ]
    assert len(caplog.messages) == 6
    assert "mqtt t1: rejected, not JSON (n, 6 bytes)" in caplog.messages
    assert "secret" not in caplog.text


async def test_what_cannot_be_json_is_not_published() -> None:
    class Wrong(AsyncJsonMqttConsumer):
        async def receive_json(self, topic: str, content: Any) -> None:
            await self.publish_json("n", float("nan"))

    with pytest.raises(ValueError, match="JSON"):
        await say(Wrong.as_asgi(), message("n", b"1"))


@pytest.mark.parametrize("app", [MqttConsumer, AsyncMqttConsumer, TopicRouter([topic("#", MqttConsumer)])])
async def test_an_authentication_method_that_nobody_knows_is_refused(app: Any) -> None:
    """MQTT-4.12.0-1: who is accepted with one was authenticated by it."""
    app = app.as_asgi() if hasattr(app, "as_asgi") else app
    async with Conversation(app, scope("mqtt", properties={"authentication_method": "SCRAM-SHA-1"})) as device:
        device.say(CONNECT)
        assert await device.hear() == {"type": "mqtt.reject", "reason_code": 0x8C}


SCRAM = {"authentication_method": "SCRAM-SHA-256", "authentication_data": b"first"}


class Scram(MqttConsumer):
    def connect(self, message: Any) -> None:
        raise AssertionError("not for a device that names a method")

    def authenticate(self, data: bytes | None) -> None:
        if data == b"first":
            self.challenge(b"challenge")
        elif data == b"answer":
            self.accept({"authentication_data": b"proof"})
        else:
            self.reject(0x86)


class AsyncScram(AsyncMqttConsumer):
    async def authenticate(self, data: bytes | None) -> None:
        if data == b"first":
            await self.challenge(b"challenge")
        elif data == b"answer":
            await self.accept({"authentication_data": b"proof"})
        else:
            await self.reject(0x86)


def step(data: bytes, code: int = 0x18) -> dict[str, Any]:
    return {"type": "mqtt.auth", "reason_code": code, "data": data, "properties": {}}


@pytest.mark.parametrize("consumer", [Scram, AsyncScram])
async def test_a_consumer_that_knows_authentication_methods_gets_their_steps(consumer: Any) -> None:
    proof = {"authentication_data": b"proof"}
    async with Conversation(consumer.as_asgi(), scope("mqtt", properties=SCRAM)) as device:
        device.say(CONNECT)
        assert await device.hear() == {"type": "mqtt.auth", "data": b"challenge"}
        device.say(step(b"answer"))
        assert await device.hear() == {"type": "mqtt.accept", "properties": proof}
        device.say(step(b"first", 0x19))  # anew
        assert await device.hear() == {"type": "mqtt.auth", "data": b"challenge"}
        device.say(step(b"answer"))
        assert await device.hear() == {"type": "mqtt.auth", "reason_code": 0, "properties": proof}
        device.say(step(b"first", 0x19), step(b"guess"))
        await device.hear()
        assert await device.hear() == {"type": "mqtt.disconnect", "reason_code": 0x87}, "DISCONNECT has no 0x86"
        device.say(DISCONNECT)
        await device.end()


async def test_a_wrong_answer_is_rejected() -> None:
    async with Conversation(Scram.as_asgi(), scope("mqtt", properties=SCRAM)) as device:
        device.say(CONNECT, step(b"guess"))
        assert [await device.hear(), await device.hear()] == [
            {"type": "mqtt.auth", "data": b"challenge"},
            {"type": "mqtt.reject", "reason_code": 0x86},
        ]


async def test_a_message_from_the_store_is_of_a_device_that_has_authenticated() -> None:
    class Reads(MqttConsumer):
        def authenticate(self, data: bytes | None) -> None:
            raise AssertionError("there is nobody who could answer")

    delivered = scope("mqtt", properties=SCRAM, extensions={"delivery": {"id": "e", "attempt": 1, "first_received": 1}})
    async with Conversation(Reads.as_asgi(), delivered) as store:
        store.say(CONNECT, message("a"))
        assert [(await store.hear())["type"], (await store.hear())["type"]] == ["mqtt.accept", "mqtt.ack"]


class Reader(MqttConsumer):
    answer: Any = None

    def subscribe(self, filters: Any) -> Any:
        self.publish("asked", repr(filters))
        return self.answer


class AsyncReader(AsyncMqttConsumer):
    answer: Any = None

    async def subscribe(self, filters: Any) -> Any:
        await self.publish("asked", repr(filters))
        return self.answer


def ask(id: int, *filters: tuple[str | None, int]) -> dict[str, Any]:
    return {"type": "mqtt.subscribe", "id": id, "filters": list(filters), "properties": {}}


@pytest.mark.parametrize("base", [Reader, AsyncReader])
@pytest.mark.parametrize(("answer", "codes"), [(None, [2, 0x8F, 0]), ([1, 0x87], [1, 0x8F, 0x87])])
async def test_a_consumer_with_subscribe_is_asked_before_the_device_is_answered(
    base: Any, answer: Any, codes: list[int]
) -> None:
    consumer: Any = type("Asked", (base,), {"answer": answer})
    async with Conversation(consumer.as_asgi(), scope("mqtt")) as device:
        device.say(CONNECT, ask(7, ("a/#", 2), (None, 1), ("b", 0)))
        assert await device.hear() == {"type": "mqtt.accept", "subscribe": True}
        assert (await device.hear())["payload"] == b"[('a/#', 2), ('b', 0)]"
        assert await device.hear() == {"type": "mqtt.suback", "id": 7, "reason_codes": codes}


@pytest.mark.parametrize("answer", [[], [0], [0, 1, 2], True, "0"])
async def test_an_answer_that_does_not_fit_is_the_consumer_s_mistake(answer: Any) -> None:
    asked: Any = type("Asked", (Reader,), {"answer": answer})
    with pytest.raises((TypeError, ValueError), match=r"Asked\.subscribe \(.*:\d+\): .*a reason code for each"):
        async with Conversation(asked.as_asgi(), scope("mqtt")) as device:
            device.say(CONNECT, ask(7, ("a/#", 2), (None, 1), ("b", 0)))
            await device.end()


async def test_a_consumer_may_hear_who_unsubscribes() -> None:
    left: list[Any] = []

    class Hears(AsyncMqttConsumer):
        async def unsubscribe(self, filters: Any) -> None:
            left.extend(filters)

    async with Conversation(Hears.as_asgi(), scope("mqtt")) as device:
        device.say(
            CONNECT, ask(1, ("a", 1)), {"type": "mqtt.unsubscribe", "filters": ["a"], "properties": {}}, DISCONNECT
        )
        await device.end()
        assert [event["type"] for event in device.heard()] == ["mqtt.accept", "mqtt.suback"]
    assert left == ["a"]


@pytest.mark.parametrize("method", ["subscribe", "unsubscribe", "authenticate"])
@pytest.mark.parametrize("policy", [Policy(), Policy(inbox=True)])
def test_what_nobody_would_call_behind_a_topic_is_told_at_once(method: str, policy: Policy) -> None:
    consumer = type("Door", (MqttConsumer,), {method: lambda self, it: None})
    with pytest.raises(ValueError, match=rf"Door has {method}\(\), which nobody calls behind a topic"):
        TopicRouter([topic("#", consumer, policy)])


async def test_an_application_that_asks_behind_a_topic_is_told() -> None:
    async def asks(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "mqtt.accept", "subscribe": True})

    with pytest.raises(LocalProtocolError, match="nobody is asked"):
        await say(TopicRouter([topic("#", asks)]), message("a"))


async def test_what_a_consumer_says_in_words_of_mqtt_5() -> None:
    class Words(MqttConsumer):
        def connect(self, message: Any) -> None:
            self.accept({"server_keep_alive": 30})

        def receive(self, topic: str, payload: bytes) -> None:
            if topic == "never":
                self.reject_message(0x97, "enough for today")
            else:
                self.close(0x98, {"reason_string": "come again tomorrow"})

    async with Conversation(Words.as_asgi(), scope("mqtt")) as device:
        device.say(CONNECT, message("never", id=3), message("close", id=None))
        assert await device.hear() == {"type": "mqtt.accept", "properties": {"server_keep_alive": 30}}
        said = {"reason_string": "enough for today"}
        assert await device.hear() == {"type": "mqtt.ack", "id": 3, "reason_code": 0x97, "properties": said}
        said = {"reason_string": "come again tomorrow"}
        assert await device.hear() == {"type": "mqtt.disconnect", "reason_code": 0x98, "properties": said}


@pytest.mark.parametrize(("code", "told"), [(0x86, 0x87), (0x9C, 0x9C)])
async def test_a_rejection_behind_a_topic_closes_with_a_code_that_disconnect_has(code: int, told: int) -> None:
    elsewhere = {"server_reference": "other.example.org"}

    class Elsewhere(MqttConsumer):
        def connect(self, message: Any) -> None:
            self.reject(code, elsewhere)

    async with Conversation(TopicRouter([topic("#", Elsewhere)]), scope("mqtt")) as device:
        device.say(CONNECT, message("a"))
        assert await device.hear() == {"type": "mqtt.accept"}
        assert await device.hear() == {"type": "mqtt.disconnect", "reason_code": told, "properties": elsewhere}
