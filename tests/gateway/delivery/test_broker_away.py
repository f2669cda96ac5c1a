"""What a handler publishes to a broker that is away: kept, and sent when it is back."""

import asyncio
import signal
from typing import Any

import pytest
from servers.mosquitto import mosquitto
from waiting import until

from gateway.delivery.outbox import Outbox
from gateway.delivery.outgoing import outgoing_of
from gateway.delivery.policy import Policy
from gateway.delivery.service import deliveries
from gateway.runtime.servers import make_outlets
from gateway.store import Message, codec
from gateway.store.sqlite import SQLiteStore
from protocols.mqtt.client.client import MQTTClient, MQTTClientSettings

LIMIT = 20.0


async def accept_all(scope: Any, receive: Any, send: Any) -> None:
    while (event := await receive())["type"] != "mqtt.disconnect":
        if event["type"] == "mqtt.connect":
            await send({"type": "mqtt.accept"})


async def test_it_leaves_when_the_broker_is_back(store: SQLiteStore, caplog: pytest.LogCaptureFixture) -> None:
    async def tried() -> bool:
        return any("e1-0 not sent" in record.message for record in caplog.records)

    with mosquitto() as broker:
        client = MQTTClient(accept_all, MQTTClientSettings(url=broker.url, retry=0.05), name="plant", state={})
        async with asyncio.timeout(LIMIT):
            await client.start()
            await until(lambda: ready(client))
            broker.stop(signal.SIGKILL)
            event = {"type": "mqtt.send", "topic": "alarms", "payload": b"too hot", "qos": 1, "retain": True}
            message = Message("e1", "mqtt", "route", "e1", 1.0, codec.encode({}, []))
            await store.put(message)
            await store.take(1, now=2.0)
            await store.finish("e1", outgoing=outgoing_of("e1", {"listener": "plant"}, [event], store.now()))
            outbox = Outbox(deliveries.get(), make_outlets([client]))
            outbox.backoff = Policy(backoff=0.05)
            outbox.start()
            await until(tried)
            broker.start()
            with broker.subscriber("alarms") as subscriber:
                assert subscriber.stdout is not None
                heard = await asyncio.to_thread(subscriber.stdout.read)
            assert b"too hot" in heard
            await until(lambda: nothing_left(store))
            await outbox.stop(LIMIT)
            await client.stop(1.0)


async def ready(client: MQTTClient) -> bool:
    return client.status.state == "ready"


async def nothing_left(store: SQLiteStore) -> bool:
    return (await store.counts()).outgoing == 0
