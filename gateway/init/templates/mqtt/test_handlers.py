"""Tests of the whole gateway: gateway.yaml with its routes and handlers, in memory. Run pytest."""

import asyncio
from pathlib import Path

import pytest
from gateway.testing import InMemoryGateway, Publication

FILE = Path(__file__).with_name("gateway.yaml")


async def publish(payload: str) -> list[Publication]:
    """Connect as a device, publish, and wait for the acknowledgement; return what the handler has published."""
    async with InMemoryGateway(FILE) as gateway, gateway.mqtt("hall-1") as device:
        await device.connect()
        await device.publish("sensors/hall/temperature", payload)
    return gateway.outbox.publications


def test_a_reading_is_acknowledged() -> None:
    assert asyncio.run(publish("21.5")) == []


def test_a_room_that_is_too_warm_raises_the_alarm() -> None:
    (alarm,) = asyncio.run(publish("31"))
    assert (alarm.topic, alarm.payload.decode()) == ("alarms/hall", "31.0 °C")


def test_what_is_not_a_number_is_not_acknowledged() -> None:
    with pytest.raises(ValueError, match="could not convert"):
        asyncio.run(publish("warm"))
