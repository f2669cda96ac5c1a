"""Tests of handlers.py, without a server: asgiref plays it. Run pytest."""

import asyncio
from typing import Any

import handlers
import pytest
from asgiref.testing import ApplicationCommunicator

from gateway import TopicRouter, topic

devices = TopicRouter([topic("sensors/{room}/temperature", handlers.Thermometer)])
SCOPE = {"type": "mqtt", "role": "server", "client_id": "hall-1", "properties": {}, "extensions": {}}


async def publish(payload: bytes, events: int) -> list[dict[str, Any]]:
    """Connect as a device and publish; return the events that the handler sends."""
    device = ApplicationCommunicator(devices, SCOPE)
    await device.send_input({"type": "mqtt.connect", "username": None, "password": None})
    assert (await device.receive_output(timeout=5))["type"] == "mqtt.accept"
    message = {
        "topic": "sensors/hall/temperature",
        "payload": payload,
        "qos": 1,
        "retain": False,
        "dup": False,
        "id": 1,
    }
    await device.send_input({"type": "mqtt.receive", **message, "properties": {}})
    sent = [await device.receive_output(timeout=5) for _ in range(events)]
    await device.send_input({"type": "mqtt.disconnect", "reason_code": 0, "reason": "", "clean": True})
    await device.wait(timeout=5)
    return sent


def test_a_reading_is_acknowledged() -> None:
    (acknowledgement,) = asyncio.run(publish(b"21.5", events=1))
    assert acknowledgement["type"] == "mqtt.ack"


def test_a_room_that_is_too_warm_raises_the_alarm() -> None:
    alarm, acknowledgement = asyncio.run(publish(b"31", events=2))
    assert (alarm["topic"], alarm["payload"]) == ("alarms/hall", "31.0 °C".encode())
    assert acknowledgement["type"] == "mqtt.ack"


def test_what_is_not_a_number_is_not_acknowledged() -> None:
    with pytest.raises(ValueError, match="could not convert"):
        asyncio.run(publish(b"warm", events=1))
