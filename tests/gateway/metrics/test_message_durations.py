"""How long messages of a device took until they were acknowledged: each id has the time of its own message."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mqtt_raw import Packet, Raw, connect, publish
from servers.measured import Measured

FILE = """
servers: {devices: {protocol: mqtt, bind: "127.0.0.1:PORT_devices", anonymous: true}}
routes:
  mqtt:
    - {topic: turns/#, app: handlers.Turns}
    - {topic: both/#, app: handlers.both}
    - {topic: batch/#, app: handlers.Batch}
    - {topic: kept/#, app: handlers.Turns, inbox: true}
store: sqlite:gateway.db
log: {level: error}
"""
HANDLERS = """
import asyncio
from pathlib import Path
from gateway import AsyncMqttBatchConsumer, AsyncMqttConsumer

async def go(name):
    while not Path(name).exists():
        await asyncio.sleep(0.02)

class Turns(AsyncMqttConsumer):
    async def receive(self, topic, payload):
        if payload == b"slow":
            await go("go")

class Batch(AsyncMqttBatchConsumer):
    async def receive_batch(self, messages):
        await go("go")
        for message in messages:
            if message.payload == b"no":
                message.reject(0x99)

async def both(scope, receive, send):
    # Acknowledges the second of two messages first.
    await receive()
    await send({"type": "mqtt.accept"})
    first, second = await receive(), await receive()
    await send({"type": "mqtt.ack", "id": second["id"]})
    await go("go")
    await send({"type": "mqtt.ack", "id": first["id"]})
    await receive()
"""
NAME = "gateway_routed_message_duration_seconds"
LONG = 0.6
"""Seconds that a slow message takes at least. Buckets end at 0.5 and at 60."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Measured]:
    running = Measured(tmp_path, FILE, HANDLERS)
    yield running
    running.close()


def of(app: str, topic: str) -> dict[str, str]:
    return {"server": "devices", "type": "mqtt", "route": f"{topic}/# -> handlers.{app}"}


def device(site: Measured, client_id: str = "one") -> Raw:
    raw = Raw(site.port["devices"], 5)
    raw.say(connect(5, client_id, clean=client_id != "same"))
    assert heard(raw).kind == "CONNACK"
    return raw


def heard(raw: Raw) -> Packet:
    packet = raw.hear()
    assert packet is not None, "it has closed the connection"
    return packet


def slow(site: Measured, place: dict[str, str]) -> float:
    """How many took half a second or longer."""
    return site.number(f"{NAME}_count", **place) - site.number(f"{NAME}_bucket", **place, le="0.5")


def let_go(site: Measured) -> None:
    time.sleep(LONG)  # the messages take at least as long
    (site.folder / "go").touch()


def test_an_id_that_is_used_again(site: Measured) -> None:
    place = of("Turns", "turns")
    with device(site) as raw:
        began = time.monotonic()
        raw.say(publish(5, "turns/1", b"slow", 1, 7))
        site.becomes(1, "gateway_routed_messages_total", **place)
        let_go(site)
        assert heard(raw).kind == "PUBACK"
        for _ in range(3):
            raw.say(publish(5, "turns/1", b"x", 1, 7))
            assert heard(raw).kind == "PUBACK"
        passed = time.monotonic() - began
        site.becomes(4, f"{NAME}_count", **place)
        assert slow(site, place) >= 1
        assert LONG <= site.number(f"{NAME}_sum", **place) <= passed, "one came after the other"


def test_two_that_end_out_of_order(site: Measured) -> None:
    place = of("both", "both")
    with device(site) as raw:
        raw.say(publish(5, "both/1", b"x", 1, 1))
        site.becomes(1, "gateway_routed_messages_total", **place)
        raw.say(publish(5, "both/1", b"x", 1, 2))
        assert heard(raw).id == 2
        site.becomes(1, f"{NAME}_count", **place)
        before = site.number(f"{NAME}_sum", **place)
        let_go(site)
        assert heard(raw).id == 1
        site.becomes(2, f"{NAME}_count", **place)
        assert site.number(f"{NAME}_sum", **place) - before >= LONG


def test_a_client_that_is_taken_over(site: Measured) -> None:
    """The first connection ends without an acknowledgement: only the repetition on the second has a duration."""
    place = of("Turns", "turns")
    with device(site, "same") as old:
        old.say(publish(5, "turns/1", b"slow", 1, 7))
        site.becomes(1, "gateway_routed_messages_total", **place)
        with device(site, "same") as new:
            assert heard(old).kind == "DISCONNECT"
            new.say(publish(5, "turns/1", b"slow", 1, 7, dup=True))
            site.becomes(2, "gateway_routed_messages_total", **place)
            let_go(site)
            assert heard(new).kind == "PUBACK"
            site.becomes(1, f"{NAME}_count", **place)
    site.becomes(0, "gateway_in_flight", server="devices", type="mqtt")
    assert site.number(f"{NAME}_count", **place) == 1
    assert slow(site, place) == 1


def test_a_batch(site: Measured) -> None:
    place = of("Batch", "batch")
    with device(site) as raw:
        raw.say(b"".join(publish(5, "batch/1", b"no" if each == 3 else b"x", 1, each) for each in range(1, 6)))
        site.becomes(5, "gateway_routed_messages_total", **place)
        let_go(site)
        assert {heard(raw).id for _ in range(5)} == {1, 2, 3, 4, 5}
        site.becomes(4, "gateway_routed_message_answers_total", **place, verdict="accepted")
        assert site.number("gateway_routed_message_answers_total", **place, verdict="rejected") == 1
        assert 1 <= site.number(f"{NAME}_count", **place) == slow(site, place) <= 5, "the first is timed"


def test_a_route_with_an_inbox_is_done_when_it_has_stored(site: Measured) -> None:
    place = of("Turns", "kept")
    with device(site) as raw:
        raw.say(publish(5, "kept/1", b"slow", 1, 1))
        assert heard(raw).kind == "PUBACK"
        site.becomes(1, f"{NAME}_count", **place)
        site.becomes(1, "gateway_store_messages", state="running")
        delivered = {"type": "mqtt", "route": place["route"]}
        let_go(site)
        site.becomes(1, "gateway_delivery_duration_seconds_count", **delivered)
        assert site.number("gateway_delivery_duration_seconds_sum", **delivered) >= LONG
