"""Consumers behind Mosquitto: ``python -m benchmarks.mqtt_client_apps ours|gmqtt PORT`` starts both.

Each handles a message, then acknowledges it, and says ``done`` after every :data:`RECEIPT` of them.
"""

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RECEIPT = 100
DONE, SAID = "done", b"x"


async def consumer(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "mqtt":
        return
    await receive()
    await send({"type": "mqtt.accept"})
    handled = 0
    while (event := await receive())["type"] == "mqtt.receive":
        await handle(event["topic"], event["payload"])
        await send({"type": "mqtt.ack", "id": event["id"]})
        handled += 1
        if not handled % RECEIPT:
            await send({"type": "mqtt.send", "topic": DONE, "payload": SAID})


async def handle(topic: str, payload: bytes) -> None:
    """An async handler that has nothing to wait for."""


async def ours(port: int) -> None:
    from protocols.mqtt.client.client import MQTTClient, MQTTClientSettings

    settings = MQTTClientSettings(url=f"mqtt://127.0.0.1:{port}", subscribe=("sensors/#",), clean_start=True)
    async with MQTTClient(consumer, settings):
        await asyncio.Event().wait()


async def gmqtt(port: int) -> None:
    """Its PUBACK after an async handler, which is how it is written where nothing may be lost."""
    from gmqtt import Client

    handled = 0

    async def on_message(client: Any, topic: str, payload: bytes, qos: int, properties: Any) -> int:
        nonlocal handled
        await handle(topic, payload)
        handled += 1
        if not handled % RECEIPT:
            client.publish(DONE, SAID)
        return 0

    client = Client("bench", optimistic_acknowledgement=False)
    client.on_message = on_message
    await client.connect("127.0.0.1", port)
    client.subscribe("sensors/#", qos=1)
    await asyncio.Event().wait()


def behind_mosquitto(name: str, port: str) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mosquitto.conf"
        file.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n")
        server = subprocess.Popen(["mosquitto", "-c", str(file)])
        wait_for(int(port))
        client = subprocess.Popen([sys.executable, "-m", "benchmarks.mqtt_client_apps", f"only-{name}", port])
        try:
            signal.sigwait({signal.SIGTERM, signal.SIGINT})
        finally:
            for process in (client, server):
                process.kill()
                process.wait()


def wait_for(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)


if __name__ == "__main__":
    name, number = sys.argv[1:]
    if name.startswith("only-"):
        import uvloop

        uvloop.run({"only-ours": ours, "only-gmqtt": gmqtt}[name](int(number)))
    else:
        behind_mosquitto(name, number)
