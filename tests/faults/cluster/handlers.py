"""The application on each host. Each run of a handler writes down when it began and when it ended, in a file that all
hosts share and no fault reaches."""

import asyncio
import os
import random
import time
from typing import Any

import gateway
from gateway import aio

HOST = os.environ["CLUSTER_HOST"]
SLOWEST = float(os.environ.get("CLUSTER_SLOWEST", "0.05"))
"""Seconds."""
INSERT = os.environ["CLUSTER_INSERT"]
"""The statement that writes what was said and its event id into the store's database."""
BOOK = os.open(os.environ["CLUSTER_BOOK"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def note(step: str, what: str, event: str = "-") -> None:
    """Write a line, in one write."""
    os.write(BOOK, f"{time.monotonic():.4f} {HOST} {step} {what} {event}\n".encode())


def event_of(consumer: Any) -> str:
    extensions = consumer.scope.get("extensions", {})
    event: str = extensions.get("delivery", extensions.get("event", {})).get("id", "-")
    return event


def handle(consumer: Any, what: str) -> None:
    event = event_of(consumer)
    note("begin", what, event)
    time.sleep(random.random() * SLOWEST)
    note("end", what, event)


class Order(gateway.AsyncHttpConsumer):
    """``POST /order/NAME`` publishes NAME; ``POST /say/NAME`` tells it to every page."""

    async def handle(self, body: bytes) -> None:
        _, action, what = self.scope["path"].split("/")
        if action == "say":
            await aio.group_send("room", {"type": "said", "what": what})
        else:
            note("begin", what)
            await asyncio.sleep(random.random() * SLOWEST)
            await aio.publish("out/order", what, qos=1, via="plant")
            note("end", what)
        await self.respond(b"done")


class Page(gateway.AsyncWebsocketConsumer):
    async def connect(self, message: Any) -> None:
        await self.group_add("room")
        await self.accept()

    @gateway.layer_event("said")
    async def said(self, message: dict[str, Any]) -> None:
        await self.send(text=message["what"])


class Reading(gateway.MqttConsumer):
    def receive(self, topic: str, payload: bytes) -> None:
        handle(self, payload.decode())


class Device(Reading):
    """Of our own broker. What it says is told to all devices."""

    def receive(self, topic: str, payload: bytes) -> None:
        super().receive(topic, payload)
        self.publish("told/all", payload, qos=1)


class Ignored(gateway.AsyncMqttConsumer):
    """What we have published ourselves."""


class Mail(gateway.EmailConsumer):
    def receive(self, message: Any) -> None:
        handle(self, message["Subject"])


class Text(gateway.SMSConsumer):
    """It sends something on, which leaves if its handler is done."""

    def receive(self, text: str, media: Any) -> None:
        handle(self, text)
        gateway.publish("out/text", text, qos=1, via="plant")


class AtomicMail(Mail):
    """Its row, what it sends and its end are one transaction."""

    def receive(self, message: Any) -> None:
        super().receive(message)
        self.connection.execute(INSERT, [message["Subject"], event_of(self)])
        gateway.publish("out/atomic", message["Subject"], qos=1, via="plant")


class AtomicReading(Reading):
    def receive(self, topic: str, payload: bytes) -> None:
        super().receive(topic, payload)
        self.connection.execute(INSERT, [payload.decode(), event_of(self)])
        self.publish("out/atomic", payload, qos=1)
