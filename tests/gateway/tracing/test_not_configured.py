"""Without `tracing:` nothing of OpenTelemetry is imported or called, whatever is handled."""

import asyncio
import json
import smtplib
from pathlib import Path

import httpx
import pytest
from servers.ports import free_port
from servers.replaced import Replaced
from servers.site import until
from servers.traced_device import SENT, Device
from websockets.sync.client import connect

HANDLERS = """
import json
import sys

from gateway import AsyncEmailConsumer, AsyncHttpConsumer, AsyncSMSConsumer, AsyncWebsocketConsumer, MqttBatchConsumer
from gateway import HttpConsumer, MqttConsumer, aio
from gateway.spans import spans
from protocols.app_run import observed


class Told(AsyncHttpConsumer):
    async def handle(self, body):
        modules = [name for name in sys.modules if name.startswith(("opentelemetry", "gateway.tracing"))]
        hooks = {"spans.by": spans.by, "observed.by": observed.by, "observed.sends": observed.sends}
        hooks["observed.fed"] = observed.fed
        here = {"trace": (self.scope["extensions"] or {}).get("trace")} | hooks
        await self.respond(json.dumps({"modules": modules, "hooks": {key: str(value) for key, value in here.items()}}))


class Web(HttpConsumer):
    def handle(self, body):
        self.respond("done")


class Chat(AsyncWebsocketConsumer):
    async def receive(self, text, bytes=None):
        await self.send(text)


class Things(MqttConsumer):
    def receive(self, topic, payload):
        self.publish("answers/one", payload)


class Batch(MqttBatchConsumer):
    def receive_batch(self, messages):
        self.publish("answers/batch", b"yes")


class Mails(AsyncEmailConsumer):
    async def receive(self, message):
        await self.reply("Thank you.")
        await aio.publish("answers/mail", b"yes")
"""
FILE = """
servers:
  web: {protocol: http, bind: "127.0.0.1:PORT"}
  devices: {protocol: mqtt, bind: "127.0.0.1:MQTT"}
  mail: {protocol: smtp, bind: "127.0.0.1:SMTP"}
routes:
  http: [{path: "^told", app: plain_handlers.Told}, {path: "^", app: plain_handlers.Web}]
  websocket: [{path: "^", app: plain_handlers.Chat}]
  mqtt:
    - {topic: things/+, app: plain_handlers.Things}
    - {topic: kept/+, app: plain_handlers.Things, inbox: true}
    - {topic: batches/+, app: plain_handlers.Batch}
  email: [{default: true, app: plain_handlers.Mails, inbox: true}]
submission: {url: "file:out"}
store: sqlite:plain.db
log: {level: error}
"""


async def _publish(mqtt: int) -> Device:
    device = Device(mqtt)
    await device.subscribe("answers/#")
    for topic in ("things/1", "kept/1", "batches/1"):
        await device.publish(topic, traceparent=SENT)
    return device


@pytest.mark.fault
def test_no_call_and_no_import(tmp_path: Path) -> None:
    mqtt, smtp = free_port(), free_port()
    file = FILE.replace("MQTT", str(mqtt)).replace("SMTP", str(smtp))
    daemon = Replaced(tmp_path, {"gateway.yaml": file, "plain_handlers.py": HANDLERS})
    try:
        assert httpx.get(f"{daemon.url}some", headers={"traceparent": SENT}).text == "done"
        with connect(f"ws://127.0.0.1:{daemon.port}/chat") as socket:
            socket.send("hello")
            assert socket.recv() == "hello"
        device = asyncio.run(_publish(mqtt))
        with smtplib.SMTP("127.0.0.1", smtp, timeout=20) as client:
            client.sendmail(
                "a@example.net", ["b@example.org"], f"Traceparent: {SENT}\r\nFrom: a@example.net\r\n\r\nhello"
            )
        until(lambda: len(device.got) >= 4 and list((tmp_path / "out/new").glob("*")), daemon.said)
        device.close()
        told = json.loads(httpx.get(f"{daemon.url}told", headers={"traceparent": SENT}).text)
    finally:
        daemon.close()
    assert set(told["hooks"].values()) == {"None"}, told
    allowed = {"gateway.tracing", "gateway.tracing.settings", "gateway.tracing.span_counts"}
    assert set(told["modules"]) <= allowed, told
    assert {message.topic for message in device.got} == {"answers/one", "answers/batch", "answers/mail"}
    assert all(message.properties.json().get("UserProperty") is None for message in device.got)
    [mail] = (tmp_path / "out/new").glob("*")
    assert b"raceparent" not in mail.read_bytes()
