"""`gateway reload --code`: the next process has the sessions and retained messages of a server without persistence."""

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from servers.ports import free_port
from servers.replaced import Replaced
from servers.site import PATIENCE

DEVICES = free_port()
FILE = f"""
servers:
  web: {{protocol: http, bind: "127.0.0.1:PORT"}}
  devices: {{protocol: mqtt, bind: "127.0.0.1:{DEVICES}", anonymous: true}}
  browsers: {{protocol: mqtt, bind: "127.0.0.1:0", anonymous: true, websocket: {{on: web}}}}
routes:
  http: sessions_handlers.page
  mqtt: sessions_handlers.Device
"""
HANDLERS = """
import os
from gateway import AsyncMqttConsumer

async def page(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})

class Device(AsyncMqttConsumer):
    async def receive(self, topic, payload):
        pass
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replaced]:
    folder = tmp_path_factory.mktemp("sessions")
    running = Replaced(folder, {"gateway.yaml": FILE, "sessions_handlers.py": HANDLERS})
    yield running
    running.close()


class Heard:
    """A client, and what it hears."""

    def __init__(self, client_id: str, *, clean: bool = False) -> None:
        self.connected: queue.Queue[tuple[bool, int]] = queue.Queue()
        self.ended: queue.Queue[int] = queue.Queue()
        self.messages: queue.Queue[tuple[str, bytes, int, bool]] = queue.Queue()
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv5)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = self._on_connect
        self.client.on_disconnect = self._on_disconnect
        self.client.on_message = self._on_message
        properties = mqtt.Properties(mqtt.PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 0 if clean else 3600
        self.client.connect("127.0.0.1", DEVICES, clean_start=clean, properties=properties)

    def _on_connect(self, client: Any, data: Any, flags: Any, code: Any, properties: Any) -> None:
        self.connected.put((flags.session_present, code.value))

    def _on_disconnect(self, client: Any, data: Any, flags: Any, code: Any, properties: Any) -> None:
        self.ended.put(code.value)

    def _on_message(self, client: Any, data: Any, message: Any) -> None:
        self.messages.put((message.topic, message.payload, message.qos, message.retain))

    def subscribe(self, topic: str, qos: int) -> None:
        subscribed: queue.Queue[Any] = queue.Queue()
        self.client.on_subscribe = lambda *_: subscribed.put(None)
        self.client.subscribe(topic, qos)
        subscribed.get(timeout=PATIENCE)

    def publish(self, topic: str, payload: bytes, qos: int, *, retain: bool = False) -> None:
        self.client.publish(topic, payload, qos, retain).wait_for_publish(PATIENCE)

    def hears(self) -> tuple[str, bytes, int, bool]:
        return self.messages.get(timeout=PATIENCE)


@contextmanager
def client(client_id: str, *, clean: bool = False) -> Iterator[Heard]:
    heard = Heard(client_id, clean=clean)
    heard.client.loop_start()
    try:
        yield heard
    finally:
        heard.client.disconnect()
        heard.client.loop_stop()


def test_what_waits_for_a_client_that_is_away_and_what_is_retained_pass_over(running: Replaced) -> None:
    with client("away") as away:
        assert away.connected.get(timeout=PATIENCE) == (False, 0)
        away.subscribe("a/+", 2)
    with client("publisher", clean=True) as publisher:
        publisher.publish("a/kept", b"0", 1, retain=True)
        for number in range(1, 6):
            publisher.publish("a/x", b"%d" % number, 2)
    for _ in range(2):  # also what a process has itself from the one before
        assert running.reload().returncode == 0, running.said()
    with client("away") as away:
        assert away.connected.get(timeout=PATIENCE) == (True, 0)
        assert [away.hears()[:2] for _ in range(6)] == [
            ("a/kept", b"0"),
            *(("a/x", b"%d" % number) for number in range(1, 6)),
        ]
        away.publish("a/last", b"", 2)
        assert away.hears()[:2] == ("a/last", b"")  # and nothing between
    with client("late", clean=True) as late:
        late.subscribe("a/kept", 1)
        assert late.hears() == ("a/kept", b"0", 1, True)


def test_a_client_that_is_there_is_told_and_finds_its_session(running: Replaced) -> None:
    with client("there") as there:
        assert there.connected.get(timeout=PATIENCE) == (False, 0)
        there.subscribe("b", 1)
        assert running.reload().returncode == 0, running.said()
        assert there.ended.get(timeout=PATIENCE) in (0x8B, 0x9C, 0x9D)
        assert there.connected.get(timeout=PATIENCE) == (True, 0)
        there.publish("b", b"x", 1)
        assert there.hears() == ("b", b"x", 1, False)


def test_a_process_that_does_not_come_up_gives_the_sessions_back(running: Replaced) -> None:
    """The next one fails when it has taken them over: the address of its last server is in use."""
    right = (running.folder / "gateway.yaml").read_text()
    with client("back") as back:
        assert back.connected.get(timeout=PATIENCE) == (False, 0)
        back.subscribe("c", 1)
    with client("publisher", clean=True) as publisher:
        publisher.publish("c", b"x", 1)
    other = f'  more: {{protocol: mqtt, bind: "127.0.0.1:{running.port}", anonymous: true}}\nroutes:'
    running.write("gateway.yaml", right.replace("routes:", other))
    said = running.reload()
    running.write("gateway.yaml", right)
    assert "servers.more" in said.stderr
    with client("back") as back:
        assert back.connected.get(timeout=PATIENCE) == (True, 0)
        assert back.hears()[:2] == ("c", b"x")


def test_a_server_that_gets_persistence_begins_with_what_was_in_memory(running: Replaced, tmp_path: Path) -> None:
    right = (running.folder / "gateway.yaml").read_text()
    with client("kept") as kept:
        assert kept.connected.get(timeout=PATIENCE) == (False, 0)
        kept.subscribe("d", 1)
    with client("publisher", clean=True) as publisher:
        publisher.publish("d", b"x", 1)
    text = right.replace("anonymous: true}\n  browsers", "anonymous: true, persistence: true}\n  browsers")
    running.write("gateway.yaml", f"store: sqlite:{tmp_path}/gateway.db\n{text}")
    assert running.reload().returncode == 0, running.said()
    with client("kept") as kept:
        assert kept.connected.get(timeout=PATIENCE) == (True, 0)
        assert kept.hears()[:2] == ("d", b"x")
