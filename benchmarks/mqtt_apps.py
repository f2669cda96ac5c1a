"""The MQTT servers to measure: ``python -m benchmarks.mqtt_apps ours|amqtt PORT``."""

import asyncio
import logging
import sys
from typing import Any

import uvloop

from protocols.mqtt import MQTTServer, MQTTSettings


async def consumer(scope: Any, receive: Any, send: Any) -> None:
    """Accepts everybody; handles each message, then acknowledges it."""
    if scope["type"] != "mqtt":
        return
    while True:
        event = await receive()
        match event["type"]:
            case "mqtt.receive":
                await handle(event["topic"], event["payload"])
                if event["id"] is not None:
                    await send({"type": "mqtt.ack", "id": event["id"]})
            case "mqtt.connect":
                await send({"type": "mqtt.accept"})
            case _:
                return


async def handle(topic: str, payload: bytes) -> None:
    """An async handler that has nothing to wait for."""


async def ours(port: int) -> None:
    async with MQTTServer(consumer, MQTTSettings(bind=f"127.0.0.1:{port}")):
        await asyncio.Event().wait()


async def amqtt(port: int) -> None:
    from amqtt.broker import Broker

    logging.disable(logging.CRITICAL)
    listener = {"type": "tcp", "bind": f"127.0.0.1:{port}"}
    plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
    broker = Broker({"listeners": {"default": listener}, "plugins": plugins})
    await broker.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    name, number = sys.argv[1:]
    uvloop.run({"ours": ours, "amqtt": amqtt}[name](int(number)))
