"""MQTT consumers: what handlers take, captures from the topic, answers, JSON."""

import logging
from typing import Any

import pytest
from conversation import Conversation, scope

from gateway import AsyncJsonMqttConsumer, AsyncMqttConsumer, JsonMqttConsumer, MqttConsumer, TopicRouter, topic
from gateway.consumers.parameters import Extras, extras

CONNECT = {"type": "mqtt.connect", "username": None, "password": None}
DISCONNECT = {"type": "mqtt.disconnect", "reason_code": 0, "reason": "", "clean": True}


def message(topic: str, payload: bytes = b"", id: int | None = 1, **keys: Any) -> dict[str, Any]:  # noqa: A002
    qos = 0 if id is None else 1
    event = {"type": "mqtt.receive", "topic": topic, "payload": payload, "qos": qos, "retain": False, "dup": False}
    return {**event, "id": id, "properties": {}, **keys}


async def say(app: Any, *messages: dict[str, Any]) -> list[dict[str, Any]]:
    async with Conversation(app, scope("mqtt")) as device:
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
    sent = [message("n", b"[1, 2]"), *(message("n", payload, id) for id, payload in enumerate(broken, 2))]  # noqa: A001
    with caplog.at_level(logging.WARNING, "gateway"):
        heard = await say(consumer.as_asgi(), *sent, message("n", b"secret", None), message("n", b"[]", 9))
    sums = [event for event in heard if event["type"] == "mqtt.send"]
    assert [(event["payload"], event["properties"]) for event in sums] == [
        (b'{"sum": 3}', {"content_type": "application/json"}),
        (b'{"sum": 0}', {"content_type": "application/json"}),
    ]
    assert [event for event in heard if event["type"] == "mqtt.ack"] == [
        {"type": "mqtt.ack", "id": 1},
        *({"type": "mqtt.ack", "id": id, "reason_code": 0x99} for id in range(2, 7)),  # noqa: A001
        {"type": "mqtt.ack", "id": 9},
    ]
    assert len(caplog.messages) == 6
    assert "mqtt t1: refused, no JSON (n, 6 bytes)" in caplog.messages
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
    app = app.as_asgi() if isinstance(app, type) else app
    async with Conversation(app, scope("mqtt", properties={"authentication_method": "SCRAM-SHA-1"})) as device:
        device.say(CONNECT)
        assert await device.hear() == {"type": "mqtt.reject", "reason_code": 0x8C}


async def test_a_consumer_that_knows_authentication_methods_gets_their_steps() -> None:
    class Scram(AsyncMqttConsumer):
        async def connect(self, message: Any) -> None:
            await self._emit({"type": "mqtt.auth", "data": b"challenge"})

        async def mqtt_auth(self, event: Any) -> None:
            await (self.accept() if event["data"] == b"answer" else self.reject())

    async with Conversation(Scram.as_asgi(), scope("mqtt", properties={"authentication_method": "X"})) as device:
        device.say(CONNECT)
        assert await device.hear() == {"type": "mqtt.auth", "data": b"challenge"}
        device.say({"type": "mqtt.auth", "reason_code": 0x18, "data": b"answer", "properties": {}})
        assert await device.hear() == {"type": "mqtt.accept"}
        device.say(DISCONNECT)
        await device.end()
