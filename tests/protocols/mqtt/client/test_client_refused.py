"""A broker that refuses what a handler publishes: the message that caused it is acknowledged all the same."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client_desk import LIMIT, App, client, ready
from servers.mosquitto import Mosquitto, mosquitto
from waiting import until

from gateway.consumers import AsyncMqttBatchConsumer, AsyncMqttConsumer, MqttConsumer
from protocols.errors import AccountRefused, Disconnected, NotSent, PermanentFailure

HANDLED: list[str] = []


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """It lets everybody read, and write below ``t`` alone."""
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite t/#\n")
    acl.chmod(0o700)
    with mosquitto(lines=(f"acl_file {acl}",)) as started:
        HANDLED.clear()
        yield started


class Async(AsyncMqttConsumer):
    async def receive(self, topic: str, payload: bytes) -> None:
        await self.publish("forbidden", payload, qos=1)
        HANDLED.append(payload.decode())


class Sync(MqttConsumer):
    def receive(self, topic: str, payload: bytes) -> None:
        self.publish("forbidden", payload, qos=1)
        HANDLED.append(payload.decode())


class Batch(AsyncMqttBatchConsumer):
    async def receive_batch(self, messages: Any) -> None:
        for message in messages:
            await self.publish("forbidden", message.payload, qos=1)
        HANDLED.extend(message.payload.decode() for message in messages)


@pytest.mark.parametrize("consumer", [Async, Sync, Batch])
async def test_its_handler_does_not_fail(broker: Mosquitto, consumer: Any, caplog: pytest.LogCaptureFixture) -> None:
    """With its session: what is not acknowledged would come again."""
    keeps = {"clean_start": False, "session_expiry": 60, "client_id": "keeper"}
    async with client(consumer.as_asgi(), broker.url, **keeps) as server:
        await ready(server)
        await asyncio.to_thread(broker.publish, "t/1", "one", "-q", "1")
        await asyncio.to_thread(broker.publish, "t/1", "two", "-q", "1")
        await until(lambda: len(HANDLED) == 2 and not server.active())
    app = App()
    async with client(app, broker.url, **keeps) as server:
        await ready(server)
        await asyncio.to_thread(broker.publish, "t/1", "three", "-q", "1")
        await until(lambda: b"three" in app.payloads())
    assert app.payloads() == [b"three"]
    assert HANDLED == ["one", "two"]
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    said = "publication to forbidden not sent: the broker refused a message to 'forbidden': not authorized"
    assert lines == [f"mqtt keeper: {said}"] * 2


class Waits(AsyncMqttConsumer):
    async def receive(self, topic: str, payload: bytes) -> None:
        with pytest.raises(PermanentFailure, match="not authorized"):
            await self.publish("forbidden", payload, qos=1, wait=True)
        HANDLED.append("waited")


class SyncWaits(MqttConsumer):
    def receive(self, topic: str, payload: bytes) -> None:
        with pytest.raises(NotSent, match="not authorized"):
            self.publish("forbidden", payload, qos=1, wait=True)
        HANDLED.append("waited")


@pytest.mark.parametrize("consumer", [Waits, SyncWaits])
async def test_a_handler_that_waits_learns_of_it(broker: Mosquitto, consumer: Any) -> None:
    async with client(consumer.as_asgi(), broker.url) as server:
        await ready(server)
        await asyncio.to_thread(broker.publish, "t/1", "one", "-q", "1")
        await until(lambda: HANDLED == ["waited"])


async def test_a_login_that_is_refused_is_no_broker_that_is_away() -> None:
    with mosquitto(users={"me": "right"}) as broker:
        async with client(App(), broker.url, username="me", password=None) as server:
            await until(lambda: "refused us" in server.status.detail)
            with pytest.raises(AccountRefused, match="the broker refused us: not authorized"):
                await server.publish({"type": "mqtt.send", "topic": "t", "payload": b"", "qos": 1})
        async with client(App(), "mqtt://127.0.0.1:1") as server:
            await asyncio.wait_for(until(lambda: server.status.detail), LIMIT)
            with pytest.raises(Disconnected):
                await server.publish({"type": "mqtt.send", "topic": "t", "payload": b"", "qos": 1})
