"""Tests of handlers.py, without a server: asgiref plays it. Run pytest."""

import asyncio
from typing import Any

import handlers
from asgiref.testing import ApplicationCommunicator

from gateway import TopicRouter, topic

devices = TopicRouter([topic("sensors/{room}/temperature", handlers.Thermometer)])
MQTT = {"type": "mqtt", "role": "server", "client_id": "hall-1", "properties": {}, "extensions": {}}
EMAIL = {
    "type": "email",
    "mail_from": "ann@example.net",
    "rcpt_to": ["house@example.org"],
    "headers": [],
    "extensions": {},
}
SMS = {"type": "sms", "sender": "+447700900123", "recipient": "+447700900999", "country": "GB", "extensions": {}}
WEBSOCKET = {"type": "websocket", "path": "/live/", "headers": [], "query_string": b"", "subprotocols": []}


async def publish(payload: bytes) -> dict[str, Any]:
    """Connect as a device and publish; return the acknowledgement."""
    device = ApplicationCommunicator(devices, MQTT)
    await device.send_input({"type": "mqtt.connect", "username": None, "password": None})
    await device.receive_output(timeout=5)
    message = {
        "topic": "sensors/hall/temperature",
        "payload": payload,
        "qos": 1,
        "retain": False,
        "dup": False,
        "id": 1,
    }
    await device.send_input({"type": "mqtt.receive", **message, "properties": {}})
    acknowledgement = await device.receive_output(timeout=5)
    await device.send_input({"type": "mqtt.disconnect", "reason_code": 0, "reason": "", "clean": True})
    await device.wait(timeout=5)
    return acknowledgement


async def answer(handler: Any, scope: dict[str, Any], event: dict[str, Any]) -> dict[str, Any]:
    """Deliver one event; return the first event that the handler sends."""
    peer = ApplicationCommunicator(handler.as_asgi(), scope)
    await peer.send_input(event)
    return await peer.receive_output(timeout=5)


async def watch(payload: bytes) -> list[str]:
    """Open the page, publish, and return what the page has shown."""
    page = ApplicationCommunicator(handlers.Live.as_asgi(), WEBSOCKET)
    await page.send_input({"type": "websocket.connect"})
    assert (await page.receive_output(timeout=5))["type"] == "websocket.accept"
    shown = [(await page.receive_output(timeout=5))["text"]]
    await publish(payload)
    shown.append((await page.receive_output(timeout=5))["text"])
    await page.send_input({"type": "websocket.disconnect", "code": 1000})
    await page.wait(timeout=5)
    return shown


def test_a_reading_is_acknowledged_and_shown() -> None:
    handlers.temperatures.clear()
    assert asyncio.run(watch(b"21.5")) == ["Nothing has been measured yet.", "hall: 21.5 °C"]


def test_a_mail_is_answered() -> None:
    handlers.temperatures.update(hall=20)
    mail = "From: ann@example.net\r\nTo: house@example.org\r\nSubject: Warm?\r\n\r\nHow warm is it?\r\n"
    event = {"type": "email.receive", "body": mail.encode(), "more_body": False}
    assert b"hall: 20.0" in asyncio.run(answer(handlers.AnswerMail, EMAIL, event))["message"]


def test_a_text_is_answered() -> None:
    handlers.temperatures.update(hall=20)
    event = {"type": "sms.receive", "text": "Warm?", "media": []}
    assert "hall: 20.0" in asyncio.run(answer(handlers.AnswerText, SMS, event))["text"]
