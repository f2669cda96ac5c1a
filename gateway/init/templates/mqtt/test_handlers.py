"""Tests of handlers.py, without a server. Run pytest."""

import asyncio

import pytest
from gateway import TopicRouter, topic
from gateway.testing import MqttCommunicator

import handlers

devices = TopicRouter([topic("sensors/{room}/temperature", handlers.Thermometer)])


async def publish(payload: str) -> MqttCommunicator:
    """Connect as a device, publish, and wait for the acknowledgement."""
    async with MqttCommunicator(devices) as device:
        await device.connect()
        await device.publish("sensors/hall/temperature", payload)
    return device


def test_a_reading_is_acknowledged() -> None:
    assert not asyncio.run(publish("21.5")).outbox


def test_a_room_that_is_too_warm_raises_the_alarm() -> None:
    (alarm,) = asyncio.run(publish("31")).outbox
    assert (alarm.topic, alarm.payload.decode()) == ("alarms/hall", "31.0 °C")


def test_what_is_not_a_number_is_not_acknowledged() -> None:
    with pytest.raises(ValueError, match="could not convert"):
        asyncio.run(publish("warm"))
