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
from gateway.store import Message, Outgoing, codec
from gateway.store.calls import LATE
from gateway.store.sqlite import SQLiteStore
from protocols.errors import Away
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


async def test_a_gateway_without_its_broker_leaves_what_is_due_to_one_that_has_it(store: SQLiteStore) -> None:
    """It fails at once, so it would take nearly everything, and each time that it fails the pause would double."""
    mine, others = Reached(), Reached()
    outbox = Outbox(deliveries.get(), {"mqtt": mine})
    await store.put_outgoing([publication(0, store.now() - LATE)])
    mine.is_up = False
    assert await taken(outbox) == ["p0-0"]
    await outbox.handle(next(iter(outbox.running.values())))
    outbox.running.clear()
    await store.put_outgoing([publication(number, store.now()) for number in range(1, 4)])
    assert await taken(outbox) == []
    other = Outbox(deliveries.get(), {"mqtt": others})
    assert await taken(other) == ["p1-0", "p2-0", "p3-0"]
    await store.put_outgoing([publication(4, store.now())])
    mine.is_up = True
    assert await taken(outbox) == ["p4-0"]


class Reached:
    """An outlet to a broker that is reached, or not."""

    is_up = True

    async def __call__(self, listener: str, event: Any) -> None:
        if not self.is_up:
            raise Away("the broker is away", lambda: self.is_up)


def publication(number: int, since: float) -> Outgoing:
    content = codec.encode({"listener": "plant"}, [{"type": "mqtt.send", "topic": "t", "payload": b""}])
    return Outgoing(f"p{number}-0", f"p{number}", "mqtt", content, lane="mqtt plant", since=since)


async def taken(outbox: Outbox) -> list[str]:
    items = await outbox.due(outbox.store.now())
    outbox.running |= {item.id: item for item in items}
    return [item.id for item in items]
