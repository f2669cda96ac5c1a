"""Mistakes of handlers, as the log of a daemon tells of them. One daemon makes them all at once."""

import json
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from servers.gateway_process import GatewayProcess
from servers.ports import free_port
from servers.site import until
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

HANDLERS = """
import asyncio
from gateway import *

class Silent(AsyncWebsocketConsumer):
    async def connect(self, message):
        pass

class SilentThread(WebsocketConsumer):
    def connect(self, message):
        pass

class SilentDoor(MqttConsumer):
    def connect(self, message):
        pass

class SilentProof(AsyncMqttConsumer):
    async def authenticate(self, data):
        pass

class RawDoor(AsyncConsumer):
    async def mqtt_connect(self, message):
        pass

class RawReader(AsyncConsumer):
    async def mqtt_connect(self, message):
        await self.send({"type": "mqtt.accept"})

    async def mqtt_receive(self, message):
        pass

class LateReader(AsyncConsumer):
    async def mqtt_connect(self, message):
        await self.send({"type": "mqtt.accept"})

    async def mqtt_receive(self, message):
        self.task = asyncio.create_task(self.later(message["id"]))

    async def later(self, id):
        await asyncio.sleep(0.05)
        await self.send({"type": "mqtt.ack", "id": id})

class RawPage(SyncConsumer):
    def http_request(self, message):
        pass

class DoubleDoor(MqttConsumer):
    def connect(self, message):
        self.accept()
        self.accept()  # a second time

CONSUMERS = SilentDoor, SilentProof, RawDoor, RawReader, LateReader, DoubleDoor
CLIENTS = {each.__name__: each.as_asgi() for each in CONSUMERS}

async def deaf(scope, receive, send):
    if scope["type"] != "lifespan":
        await ignore(receive)

async def ignore(receive):
    while not (await receive())["type"].endswith(".disconnect"):
        pass


CLIENTS["Deaf"] = deaf

class Twice(HttpConsumer):
    def handle(self, body):
        self.respond("one")
        self.respond_json("two")

class Hasty(AsyncWebsocketConsumer):
    async def connect(self, message):
        await self.send("before")

async def devices(scope, receive, send):
    await CLIENTS[scope["client_id"]](scope, receive, send)

class Forgetful(AsyncWebsocketConsumer):
    async def receive(self, text=None, bytes=None):
        if text == "statement":
            self.send("never sent")
        if text == "lines":
            self.send(
                "never"
                " sent",
            )
        if text == "kept":
            kept = self.send("never sent")
        await self.send("done")

class Member(AsyncWebsocketConsumer):
    async def connect(self, message):
        await self.group_add("all")
        await self.accept()

    async def receive(self, text=None, bytes=None):
        await self.group_send("all", {"type": text, "text": text})

    @layer_event("chat.message")
    async def on_message(self, message):
        await self.send(message["text"])

class Notify(HttpConsumer):
    def handle(self, body):
        self.group_send("all", {"type": "chat.mesage", "text": "from a thread"})
        self.respond_json({"told": True})

class Announce(HttpConsumer):
    def handle(self, body):
        group_send("all", {"type": "chat.massage", "text": "from anywhere"})
        self.respond_json({"told": True})

async def crash(scope, receive, send):
    raise KeyError("order")  # as imported

class Application:
    async def __call__(self, scope, receive, send):
        raise KeyError("order")

app = Application()
"""
CONFIG = """
servers:
  web: {protocol: http, bind: "127.0.0.1:WEB"}
  devices: {protocol: mqtt, bind: "127.0.0.1:DEVICES"}
routes:
  mqtt: shop.devices
  http:
    - {path: page, app: shop.RawPage}
    - {path: deaf, app: shop.deaf}
    - {path: twice, app: shop.Twice}
    - {path: notify, app: "shop:Notify"}
    - {path: announce, app: shop.Announce}
    - {path: crash, app: shop.crash}
    - {path: other, app: shop.app}
  websocket:
    - {path: silent, app: shop.Silent}
    - {path: thread, app: shop.SilentThread}
    - {path: forgetful, app: shop.Forgetful}
    - {path: deaf, app: shop.deaf}
    - {path: hasty, app: shop.Hasty}
    - {path: member, app: shop.Member}
"""


def line(code: str, nth: int = 1) -> int:
    """The number of the line in which ``code`` is for the nth time."""
    found = [number for number, text in enumerate(HANDLERS.splitlines(), 1) if code in text]
    return found[nth - 1]


def method(name: str, code: str) -> int:
    """The number of the first line with ``code`` in the class ``name``."""
    return next(n for n, text in enumerate(HANDLERS.splitlines(), 1) if code in text and n > line(f"class {name}("))


def mqtt_connect(client_id: str, properties: bytes = b"") -> bytes:
    """A CONNECT of MQTT 5."""
    name = client_id.encode()
    head = b"\0\4MQTT\5\2\0\0" + bytes([len(properties)]) + properties + len(name).to_bytes(2) + name
    return b"\x10" + bytes([len(head)]) + head


PUBLISH = b"\x32\x07\0\x01t\0\x07\0x"
"""At QoS 1, under the id 7."""


class Mistaken:
    """The daemon, all of whose mistakes have been made."""

    def __init__(self, folder: Path) -> None:
        self.web, self.devices = free_port(), free_port()
        config = CONFIG.replace("WEB", str(self.web)).replace("DEVICES", str(self.devices))
        self.process = GatewayProcess(folder, "shop", HANDLERS, config)

    @property
    def log(self) -> str:
        return self.process.output()

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.web}/{path}", timeout=20)

    def websocket(self, path: str) -> ClientConnection:
        return connect(f"ws://127.0.0.1:{self.web}/{path}", open_timeout=20)

    def device(self, client_id: str, more: bytes = b"", properties: bytes = b"") -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self.devices), timeout=20)
        made.sendall(mqtt_connect(client_id, properties) + more)
        return made

    def handshake(self, path: str) -> socket.socket:
        """A WebSocket that waits for its answer."""
        made = socket.create_connection(("127.0.0.1", self.web), timeout=20)
        key = "Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n"
        key += "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        made.sendall(f"GET /{path} HTTP/1.1\r\nHost: x\r\n{key}\r\n".encode())
        return made

    def says(self, words: str) -> None:
        until(lambda: words in self.log, lambda: f"{words!r} is in the log:\n{self.log}")


AUTHENTICATION = b"\x15\0\5SCRAM"
"""The property that names a method."""


@pytest.fixture(scope="module")
def mistaken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mistaken]:
    made = Mistaken(tmp_path_factory.mktemp("mistaken"))
    made.process.start()
    try:
        until(lambda: "valid" in made.log, lambda: f"it starts:\n{made.log}")
        with ExitStack() as waiting:
            for path in ("silent", "thread", "deaf"):
                waiting.enter_context(made.handshake(path))
            for name in ("SilentDoor", "RawDoor", "Deaf"):
                waiting.enter_context(made.device(name))
            waiting.enter_context(made.device("SilentProof", properties=AUTHENTICATION))
            for name in ("RawReader", "LateReader"):
                waiting.enter_context(made.device(name, PUBLISH))
            for path in ("page", "deaf"):
                page = waiting.enter_context(socket.create_connection(("127.0.0.1", made.web)))
                page.sendall(f"GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            yield made
    finally:
        made.process.stop(signal.SIGKILL)


def test_what_a_peer_still_waits_for_is_told(mistaken: Mistaken) -> None:
    for subject, name, code, answer in (
        ("websocket /silent", "Silent.connect", "def connect", "self.accept() or self.close()"),
        ("websocket /thread", "SilentThread.connect", "def connect", "self.accept() or self.close()"),
        ("mqtt SilentDoor", "SilentDoor.connect", "def connect", "self.accept() or self.reject()"),
        (
            "mqtt SilentProof",
            "SilentProof.authenticate",
            "def authenticate",
            "self.challenge(), self.accept() or self.reject()",
        ),
        ("mqtt RawDoor", "RawDoor.mqtt_connect", "def mqtt_connect", 'self.send({"type": "mqtt.accept"})'),
        (
            "mqtt RawReader",
            "RawReader.mqtt_receive",
            "def mqtt_receive",
            'self.send({"type": "mqtt.ack", "id": event["id"]})',
        ),
        (
            "http GET /page",
            "RawPage.http_request",
            "def http_request",
            'self.send({"type": "http.response.start", ...})',
        ),
    ):
        place = f"shop.py:{method(name.partition('.')[0], code)}"
        mistaken.says(f"{subject}: {name} ({place}) has returned without {answer}; its peer is still waiting -> shop.")
    assert mistaken.log.count("has returned without") == 7
    assert "LateReader" not in mistaken.log


def test_so_is_an_application_that_is_no_consumer(mistaken: Mistaken) -> None:
    for subject in ("websocket /deaf", "mqtt Deaf", "http GET /deaf"):
        place = f"shop.py:{line('while not (await receive())')}"
        mistaken.says(f"{subject}: the application waits at {place} and has not answered; its peer is still waiting")
    assert mistaken.log.count("the application waits at") == 3


def test_a_forgotten_await_is_told_by_its_line(mistaken: Mistaken) -> None:
    with mistaken.websocket("forgetful") as peer:
        for text in ("statement", "lines", "kept"):
            peer.send(text)
            assert peer.recv(20) == "done"
    first = line('self.send("never sent")')
    mistaken.says(f'shop.py:{first}: await is forgotten, and nothing was done: self.send("never sent")')
    mistaken.says(f"shop.py:{first + 2}: await is forgotten, and nothing was done: self.send(")
    place = f"Forgetful.receive (shop.py:{method('Forgetful', 'def receive')})"
    mistaken.says(f"{place}: await is forgotten before a call, which has done nothing")


def test_a_helper_at_the_wrong_time_says_so_in_its_own_words(mistaken: Mistaken) -> None:
    assert mistaken.get("twice").text == "one"
    with pytest.raises(InvalidStatus), mistaken.websocket("hasty"):
        pass
    with mistaken.device("DoubleDoor") as device:
        device.makefile("rb").read()  # until it is disconnected
    for target, code, said in (
        (
            "http GET /twice -> shop.Twice",
            'respond_json("two")',
            "respond_json: the response is complete, and a request",
        ),
        (
            "websocket /hasty -> shop.Hasty",
            'send("before")',
            "send: the connection is not accepted; call self.accept()",
        ),
        ("mqtt DoubleDoor -> shop.devices", "# a second time", "accept: the connection is accepted already"),
    ):
        mistaken.says(f"{target}: LocalProtocolError {said}")
        mistaken.says(f"shop.py:{line(code)}")


def test_a_layer_message_that_nobody_handles_names_its_sender_and_ends_nobody(mistaken: Mistaken) -> None:
    with mistaken.websocket("member") as first, mistaken.websocket("member") as second:
        for path in ("notify", "announce"):
            assert json.loads(mistaken.get(path).content) == {"told": True}
        first.send("websocket.disconnect")
        first.send("chat.message")
        assert first.recv(20) == second.recv(20) == "chat.message"
    said = "websocket /member: Member has no @layer_event method for "
    notify, announce, member = line('"chat.mesage"'), line('"chat.massage"'), line('{"type": text')
    mistaken.says(f"{said}'chat.mesage', sent at shop.py:{notify}; did you mean 'chat.message'? The message is dropped")
    mistaken.says(f"{said}'chat.massage', sent at shop.py:{announce}; did you mean")
    mistaken.says(f"{said}'websocket.disconnect', sent at shop.py:{member}; it has 'chat.message'. The message is")
    assert mistaken.log.count("chat.mesage'") == 1, "two members, one line"


def test_targets_are_named_as_the_file_writes_them(mistaken: Mistaken) -> None:
    assert mistaken.get("other").status_code == 500
    mistaken.says("http GET /other -> shop.app: KeyError 'order'")
    shown = re.findall(r"^  (\S+) +(\S+) +-> +(\S+)$", mistaken.log, re.MULTILINE)
    assert ("http", "other", "shop.app") in shown
    assert ("http", "notify", "shop:Notify") in shown


def test_a_handlers_code_is_shown_as_it_was_imported(mistaken: Mistaken) -> None:
    raised = line("raise KeyError", 1)
    file = mistaken.process.folder / "shop.py"
    file.write_text("# a comment\n" * 200 + HANDLERS)
    assert mistaken.get("crash").status_code == 500
    mistaken.says(f'shop.py:{raised}  raise KeyError("order")  # as imported')
