"""The page of an arrival shows where its handler failed, of every protocol: in bounds, and without secrets."""

import contextlib
import smtplib
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from event_data import event_data
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from servers.daemon import Daemon
from servers.ports import free_port
from servers.site import until
from servers.texts import webhook
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from gateway.arrivals.watch import MOST_TRACEBACK

HANDLERS = """
from gateway import AsyncHttpConsumer, AsyncMqttConsumer, AsyncSMSConsumer, EmailConsumer, AsyncWebsocketConsumer

def fail(what):
    password = "hunter2"
    raise ValueError(f"{what} {'x' * 50_000} token=hunter2")

class Web(AsyncHttpConsumer):
    async def handle(self, body):
        fail("http")

class Socket(AsyncWebsocketConsumer):
    async def receive(self, text):
        fail("websocket")

class Device(AsyncMqttConsumer):
    async def receive(self, topic, payload):
        fail("mqtt")

class Text(AsyncSMSConsumer):
    async def receive(self, text, media):
        fail("sms")

class Desk(EmailConsumer):
    def receive(self, message):
        fail("email")
"""
FILE = """
servers:
  web: {{protocol: http, bind: "{web}"}}
  devices: {{protocol: mqtt, bind: "{devices}", anonymous: true}}
  mail: {{protocol: smtp, bind: "{mail}"}}
  texts: {{protocol: sms, provider: generic, on: web, path: /hooks/sms, secret: s3cret, send_url: "http://127.0.0.1:9"}}
routes:
  http: handlers.Web
  websocket: handlers.Socket
  mqtt: handlers.Device
  sms: handlers.Text
  email: {{app: handlers.Desk, default: true}}
console: {{bind: "{console}"}}
"""


def ask(at: dict[str, str]) -> None:
    httpx.get(f"http://{at['web']}/broken")


def talk(at: dict[str, str]) -> None:
    with contextlib.suppress(ConnectionClosed, InvalidStatus), connect(f"ws://{at['web']}/socket") as socket:
        socket.send("hello")
        socket.recv(timeout=20)


def publish(at: dict[str, str], qos: int = 1) -> None:
    """A message that its handler fails at is never acknowledged: the server ends the connection."""
    host, _, port = at["devices"].rpartition(":")
    ends: list[object] = []
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    client.on_disconnect = client.on_publish = lambda *told: ends.append(told)
    client.connect(host, int(port))
    client.loop_start()
    client.publish("sensors/1", "21", qos=qos)
    until(lambda: ends, "it is answered, or disconnected")
    client.disconnect()
    client.loop_stop()


def text(at: dict[str, str]) -> None:
    body, headers = webhook("hello", "1")
    httpx.post(f"http://{at['web']}/hooks/sms", content=body, headers=headers)


def mail(at: dict[str, str]) -> None:
    host, _, port = at["mail"].rpartition(":")
    with smtplib.SMTP(host, int(port), timeout=20) as client, contextlib.suppress(smtplib.SMTPException):
        client.sendmail("ada@example.org", ["help@shop.example"], b"Subject: x\r\n\r\nHello\r\n")


SENDERS: dict[str, Callable[[dict[str, str]], None]] = {
    "http": ask,
    "websocket": talk,
    "mqtt": publish,
    "sms": text,
    "email": mail,
}


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The addresses of a gateway. A client watches its arrivals."""
    addresses = {name: f"127.0.0.1:{free_port()}" for name in ("web", "devices", "mail", "console")}
    folder = tmp_path_factory.mktemp("tracebacks")
    (folder / "handlers.py").write_text(HANDLERS)
    (folder / "gateway.yaml").write_text(FILE.format(**addresses))
    daemon = Daemon(folder)
    try:
        daemon.says("console  ")
        with httpx.stream("GET", f"http://{addresses['console']}/api/arrivals?follow=true&content=true", timeout=20):
            yield addresses
    finally:
        daemon.close()


def arrivals(at: dict[str, str], kind: str) -> list[dict[str, Any]]:
    answer = httpx.get(f"http://{at['console']}/api/arrivals?last=100&type={kind}")
    told = [each for each in event_data(answer.text) if "arrival" in each]
    return [{**each["arrival"], "number": each.get("number")} for each in told]


@pytest.mark.parametrize("kind", SENDERS)
def test_a_handler_that_failed_has_its_traceback(at: dict[str, str], kind: str) -> None:
    SENDERS[kind](at)
    found = until(lambda: [each for each in arrivals(at, kind) if each["error"]], lambda: str(arrivals(at, kind)))[-1]
    whole = httpx.get(f"http://{at['console']}/api/arrivals/{found['number']}").json()
    assert len(whole["traceback"]) <= MOST_TRACEBACK
    assert "in fail\n" in whole["traceback"]
    page = httpx.get(f"http://{at['console']}/live/{found['number']}")
    assert page.status_code == 200
    assert f"ValueError: {kind} " in page.text
    assert "hunter2" not in page.text
    assert len(page.text) < 4 * MOST_TRACEBACK


def test_what_is_owed_no_answer_has_none_and_its_page_says_so(at: dict[str, str]) -> None:
    publish(at, 0)
    (found,) = until(lambda: [each for each in arrivals(at, "mqtt") if each["verdict"] == "taken"], "it is taken")
    assert found["error"] == ""
    page = httpx.get(f"http://{at['console']}/live/{found['number']}").text
    assert "If its handler fails, only the log says so." in page
