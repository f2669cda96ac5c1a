"""The gateway of a file on free ports, for real clients; what leaves is in its outbox."""

import queue
import smtplib
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import httpx
import paho.mqtt.client as paho
import pytest
from servers.site import until
from websockets.sync.client import connect

from gateway.testing import GatewayLiveServer, Publication
from protocols import BindError

HANDLERS = """
import asyncio
import sys

from gateway import AsyncMqttConsumer, EmailConsumer, HttpConsumer, SMSConsumer, WebsocketConsumer

calls = []


class Hello(HttpConsumer):
    def handle(self, body):
        self.respond("hello")


class Echo(WebsocketConsumer):
    def receive(self, text):
        self.send(text)


class Devices(AsyncMqttConsumer):
    async def receive(self, topic, payload):
        if topic == "ends":
            asyncio.create_task(end_later()).add_done_callback(asyncio.Task.exception)
        await self.publish("seen", payload, qos=1)


async def end_later():
    sys.exit("by mistake")


class Mail(EmailConsumer):
    def receive(self, message):
        calls.append(message.subject)
        if calls.count(message.subject) == 1:
            raise ValueError("not yet")
        self.reply("done")


class Texts(SMSConsumer):
    def receive(self, text, media):
        self.reply("you wrote " + text)
"""
FILE = """
servers:
  web: {protocol: http, bind: "127.0.0.1:1"}
  devices: {protocol: mqtt, bind: "127.0.0.1:1", persistence: true, websocket: {on: web, path: /mqtt}, anonymous: true}
  broker: {protocol: mqtt-client, url: "mqtt://127.0.0.1:1", subscribe: ["#"]}
  inward: {protocol: smtp, bind: "127.0.0.1:2"}
  texts: {protocol: sms, provider: generic, on: web, path: /hook, insecure: true, send_url: "http://127.0.0.1:1/"}
submission: smtp://127.0.0.1:1
store: sqlite:/nowhere/at/all.db
console: {bind: "127.0.0.1:3"}
routes:
  http: live_handlers.Hello
  websocket: live_handlers.Echo
  mqtt: [{topic: "stored/#", app: live_handlers.Devices, inbox: true}, {topic: "#", app: live_handlers.Devices}]
  email: [{default: true, app: live_handlers.Mail, inbox: true, attempts: 2, backoff: 1h}]
  sms: [{default: true, app: live_handlers.Texts, inbox: true}]
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("live")
    (folder / "live_handlers.py").write_text(HANDLERS)
    (folder / "gateway.yaml").write_text(FILE)
    path = list(sys.path)
    yield folder / "gateway.yaml"
    sys.path[:] = path


@pytest.fixture(scope="module")
def server(file: Path) -> Iterator[GatewayLiveServer]:
    with GatewayLiveServer(file) as server:
        yield server


def test_http_and_websocket(server: GatewayLiveServer) -> None:
    assert urllib.request.urlopen(server.url, timeout=10).read() == b"hello"
    with connect(f"{server.ws_url}/echo") as websocket:
        websocket.send("hello")
        assert websocket.recv(timeout=10) == "hello"


def test_mqtt(server: GatewayLiveServer) -> None:
    heard: queue.Queue[tuple[str, bytes]] = queue.Queue()
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.on_message = lambda client, data, message: heard.put((message.topic, message.payload))
    host, port = server.address("devices").split(":")
    client.connect(host, int(port))
    client.subscribe("seen", qos=1)
    client.loop_start()
    client.publish("plain", b"1", qos=1)
    assert heard.get(timeout=10) == ("seen", b"1")
    server.outbox.clear()
    client.publish("stored/1", b"2", qos=1)
    assert heard.get(timeout=10) == ("seen", b"2"), "what is stored goes to the subscribers, too"
    client.disconnect()
    client.loop_stop()
    assert server.outbox == [Publication("seen", b"2", 1)]


def test_a_task_that_exits_does_not_end_it(server: GatewayLiveServer, caplog: pytest.LogCaptureFixture) -> None:
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    host, port = server.address("devices").split(":")
    client.connect(host, int(port))
    client.loop_start()
    client.publish("ends", b"1", qos=1).wait_for_publish(10)
    client.disconnect()
    client.loop_stop()
    until(lambda: "a task has raised SystemExit; the gateway goes on" in caplog.messages, lambda: caplog.text)
    server.settle()
    assert urllib.request.urlopen(server.url, timeout=10).read() == b"hello"


def test_mail_in_its_time(server: GatewayLiveServer) -> None:
    server.outbox.clear()
    with smtplib.SMTP(*server.address("inward").split(":")) as client:
        client.sendmail("ann@example.net", "x@example.org", "From: ann@example.net\r\nSubject: once\r\n\r\nHello\r\n")
    server.settle()
    assert server.outbox == []
    server.move_time(3700)
    assert [mail.subject for mail in server.outbox.mails] == ["Re: once"]


def test_a_text_that_is_answered_later(server: GatewayLiveServer) -> None:
    server.outbox.clear()
    text = {"from": "+442079460123", "to": "+447700900999", "id": "m1", "text": "hello"}
    assert httpx.post(f"{server.url}/hook", json=text).status_code < 300
    server.settle()
    assert [(each.text, each.to) for each in server.outbox.texts] == [("you wrote hello", "+442079460123")]


def test_two_beside_each_other_and_one_that_cannot_start(server: GatewayLiveServer, file: Path) -> None:
    with GatewayLiveServer(file) as other:
        assert other.url != server.url
        assert other.outbox == []
        assert httpx.get(other.url).text == httpx.get(server.url).text == "hello"

    broken = GatewayLiveServer(file)
    broken.gateway._made.servers.named("web").listener.bind = "unix:/nowhere/at/all.sock"
    with pytest.raises(BindError), broken:
        pass


def test_one_that_does_not_run_is_named(file: Path) -> None:
    with GatewayLiveServer(file) as server:
        pass
    with pytest.raises(RuntimeError, match=r"gateway\.yaml is not running: write with GatewayLiveServer"):
        server.settle()
