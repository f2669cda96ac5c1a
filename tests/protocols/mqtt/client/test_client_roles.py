"""One consumer class in both roles, and our own server as the broker."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from client_desk import App, client, ready
from waiting import until

from gateway.consumers import AsyncMqttConsumer, MqttConsumer
from protocols.errors import Disconnected
from protocols.mqtt import MQTTServer, MQTTSettings


class AsyncEcho(AsyncMqttConsumer):
    async def receive(self, topic: str, payload: bytes) -> None:
        HANDLED.append((self.scope["role"], topic, payload))
        await self.publish(f"{self.scope['role']}/{topic}", payload.upper(), qos=1)


class Echo(MqttConsumer):
    def receive(self, topic: str, payload: bytes) -> None:
        HANDLED.append((self.scope["role"], topic, payload))
        self.publish(f"{self.scope['role']}/{topic}", payload.upper(), qos=1)


HANDLED: list[tuple[str, str, bytes]] = []


@contextlib.asynccontextmanager
async def broker(app: Any, **settings: Any) -> AsyncIterator[str]:
    async with MQTTServer(app, MQTTSettings(bind="127.0.0.1:0", **settings), state={}) as server:
        yield f"mqtt://{server.address}"


@pytest.mark.parametrize("consumer", [AsyncEcho, Echo])
@pytest.mark.parametrize("version", ["5.0", "3.1.1"])
async def test_one_class_serves_devices_and_a_broker(consumer: Any, version: str) -> None:
    """The server runs the class for the device that publishes; its client, a gateway elsewhere, for what it hears."""
    HANDLED.clear()
    heard = App()
    async with (
        broker(consumer.as_asgi()) as url,
        client(heard, url, subscribe=("server/#", "client/#"), client_id="ear", version=version) as ear,
        client(consumer.as_asgi(), url, subscribe=("t/#",), client_id="gateway", version=version) as gateway,
        client(App(), url, subscribe=(), client_id="device", version=version) as device,
    ):
        for each in (ear, gateway, device):
            await ready(each)
        await device.publish({"type": "mqtt.send", "topic": "t/1", "payload": b"hello", "qos": 1})
        await until(lambda: len(heard.payloads()) >= 2)
        await until(lambda: not gateway.active() and not ear.active())
    handled = [each for each in HANDLED if each[1] == "t/1"]
    assert sorted(handled) == [("client", "t/1", b"hello"), ("server", "t/1", b"hello")]
    assert heard.payloads()[:2] == [b"HELLO", b"HELLO"]


@pytest.mark.parametrize("version", ["5.0", "3.1.1"])
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_our_own_server_is_a_broker(version: str, qos: int) -> None:
    app = App()
    async with broker(App()) as url, client(app, url, version=version, qos=qos, parallel=2) as server:
        await ready(server)
        for number in range(50):
            topic = f"t/{number % 5}"
            await server.publish({"type": "mqtt.send", "topic": topic, "payload": b"%d" % number, "qos": qos})
        await until(lambda: len(app.payloads()) == 50)
        await until(lambda: server.active() == {})
    received = [event for event in app.events if event["type"] == "mqtt.receive"]
    assert {event["qos"] for event in received} == {qos}
    for topic in {event["topic"] for event in received}:
        numbers = [int(event["payload"]) for event in received if event["topic"] == topic]
        assert numbers == sorted(numbers)


async def test_our_own_server_keeps_the_session_of_a_client_that_crashed() -> None:
    broken = [True]

    async def handle(event: Any, send: Any) -> None:
        if event["payload"] == b"3" and broken and broken.pop():
            raise RuntimeError("handler")

    app = App(handle)
    async with (
        broker(App()) as url,
        client(app, url, qos=2) as server,
        client(App(), url, subscribe=(), client_id="device") as device,
    ):
        await ready(server)
        await ready(device)
        for number in range(10):
            await device.publish({"type": "mqtt.send", "topic": "t", "payload": b"%d" % number, "qos": 2})
        await until(lambda: app.payloads()[-1:] == [b"9"] and not server.active())
    counts = {payload: app.payloads().count(payload) for payload in app.payloads()}
    assert counts == {b"%d" % number: 2 if number == 3 else 1 for number in range(10)}


@pytest.mark.parametrize("version", ["5.0", "3.1.1"])
async def test_our_own_server_takes_a_client_back_whose_message_it_has_not_handled(version: str) -> None:
    """The client keeps no messages: it releases what it was cut off with, and that is not held against it."""
    broken = [True]

    async def handle(event: Any, send: Any) -> None:
        if broken and broken.pop():
            raise RuntimeError("handler")

    app = App(handle)
    message = {"type": "mqtt.send", "topic": "t", "payload": b"x", "qos": 2}
    async with broker(app) as url, client(App(), url, subscribe=(), version=version) as device:
        await ready(device)
        with pytest.raises(Disconnected):
            await device.publish(message)
        await until(lambda: len(app.scopes) == 2)
        await ready(device)
        for _ in range(3):
            await device.publish(message)
    assert app.payloads() == [b"x"] * 4
    assert len(app.scopes) == 2


async def test_two_members_of_a_share_split_the_messages() -> None:
    one, two = App(), App()
    async with (
        broker(App()) as url,
        client(one, url, subscribe=("$share/g/t/#",), client_id="one") as first,
        client(two, url, subscribe=("$share/g/t/#",), client_id="two") as second,
        client(App(), url, subscribe=(), client_id="device") as device,
    ):
        for each in (first, second, device):
            await ready(each)
        for number in range(20):
            await device.publish({"type": "mqtt.send", "topic": "t", "payload": b"%d" % number, "qos": 1})
        await until(lambda: len(one.payloads()) + len(two.payloads()) == 20)
        await asyncio.sleep(0.05)
    assert sorted(map(int, one.payloads() + two.payloads())) == list(range(20))
    assert one.payloads()
    assert two.payloads()
