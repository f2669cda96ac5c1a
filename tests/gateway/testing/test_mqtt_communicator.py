"""Connections of devices, and ours to a broker."""

from typing import Any

import pytest

from gateway import AsyncMqttConsumer, JsonMqttConsumer, MqttConsumer, TopicRouter, topic
from gateway.testing import MqttCommunicator, Publication
from protocols import LocalProtocolError


class Door(MqttConsumer):
    def connect(self, message: Any) -> None:
        if message["username"] == "mallory" or message["password"] == b"wrong":
            self.reject(0x86)
        else:
            self.accept()

    def subscribe(self, filters: list[tuple[str, int]]) -> list[int]:
        return [0x87 if name.startswith("secret/") else qos for name, qos in filters]


class Thermometer(MqttConsumer):
    def receive(self, topic: str, payload: bytes, room: str) -> None:
        if payload == b"cold":
            self.reject_message(0x83, "no number")
        else:
            self.publish(f"screens/{room}", f"{float(payload):.1f}", qos=1, retain=True)


devices = TopicRouter([topic("sensors/{room}/temperature", Thermometer)])


async def test_a_reading_is_published_and_acknowledged() -> None:
    async with MqttCommunicator(devices, "k1") as device:
        assert await device.connect() == (True, 0)
        assert await device.publish("sensors/hall/temperature", "21.53") == 0
        assert await device.publish("sensors/hall/temperature", b"cold") == 0x83
        wanted = Publication("screens/hall", b"21.5", 1, retain=True)
        assert await device.receive_message() == wanted
        assert device.outbox == [wanted]
        assert await device.receive_nothing(timeout=0.01)


async def test_who_may_connect_and_subscribe() -> None:
    for wrong in ({"username": "mallory"}, {"password": "wrong"}):
        async with MqttCommunicator(Door, **wrong) as device:
            assert await device.connect() == (False, 0x86)
    async with MqttCommunicator(Door) as device:
        await device.connect()
        assert await device.subscribe("screens/#", "secret/#", qos=1) == [1, 0x87]

    class AsksNothing(AsyncMqttConsumer):
        pass

    async with MqttCommunicator(AsksNothing) as device:
        await device.connect()
        assert await device.subscribe("a/#", qos=2) == [2]


async def test_a_crash_comes_out_of_the_publication() -> None:
    async with MqttCommunicator(devices) as device:
        await device.connect()
        with pytest.raises(ValueError, match="could not convert"):
            await device.publish("sensors/hall/temperature", "warm", timeout=3600)
        device.stop(exceptions=False)


async def test_json_and_qos_0() -> None:
    class Doubles(JsonMqttConsumer):
        def receive_json(self, topic: str, content: Any) -> None:
            self.publish_json("out", content * 2)

    with pytest.raises(TimeoutError, match=r"sent no mqtt\.send within 0\.01 s"):
        await (device := MqttCommunicator(Doubles)).receive_message(timeout=0.01)
    await device.connect()
    assert await device.publish("in", "[1]", qos=0) == 0
    assert await device.receive_json_from() == [1, 1]
    assert await device.publish_json("in", "a") == 0
    assert await device.receive_json_from() == "aa"
    await device.disconnect()


async def test_an_application_that_acknowledges_late_or_what_never_came() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "mqtt.accept"})
        events = [await receive(), await receive()]
        for event in reversed(events):
            await send({"type": "mqtt.ack", "id": event["id"]})
        await send({"type": "mqtt.ack", "id": 77})

    device = MqttCommunicator(app)
    await device.connect()
    first, second = await device.send_message("a"), await device.send_message("b", qos=2)
    assert [await device.receive_ack(second), await device.receive_ack(first)] == [0, 0]
    with pytest.raises(LocalProtocolError, match="no message 77"):
        await device.wait()


async def test_our_connection_to_a_broker_subscribes() -> None:
    heard: list[Any] = []

    class Bridge(AsyncMqttConsumer):
        async def connect(self, message: Any) -> None:
            await self.accept()
            await self._emit({"type": "mqtt.subscribe", "filters": [("plant/#", 1)]})

        async def receive(self, topic: str, payload: bytes) -> None:
            heard.append((topic, payload))

        async def disconnect(self, message: Any) -> None:
            heard.append(message["reason_code"])

    broker = MqttCommunicator(Bridge, role="client", listener="plant")
    assert (broker.scope["role"], broker.scope["listener"]) == ("client", "plant")
    assert await broker.connect() == (True, 0)
    assert (await broker.receive_output())["filters"] == [("plant/#", 1)]
    assert await broker.publish("plant/1", b"x") == 0
    await broker.disconnect(0x8B, clean=False)
    assert heard == [("plant/1", b"x"), 0x8B]


async def test_the_application_disconnects() -> None:
    class Drops(AsyncMqttConsumer):
        async def receive(self, topic: str, payload: bytes) -> None:
            await self.close(0x8D)

    async with MqttCommunicator(Drops) as device:
        await device.connect()
        await device.send_message("a", qos=0)
        assert (await device.receive_output())["reason_code"] == 0x8D
        await device.wait()


async def test_what_no_device_can_publish_is_an_error_of_the_test() -> None:
    number: Any = 21.5
    async with MqttCommunicator(MqttConsumer) as device:
        await device.connect()
        with pytest.raises(TypeError, match=r"publish: payload is a float; write bytes or text, such as str\(value\)"):
            await device.publish("a", number)
        with pytest.raises(LocalProtocolError, match=r"without \+ and #"):
            await device.publish("a/#", "x")
