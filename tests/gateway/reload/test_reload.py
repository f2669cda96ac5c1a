"""`gateway run --reload`: what you save is served, and a mistake changes nothing.

The tests share one supervisor. Each saves something of its own, and begins with whatever version serves.
"""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from itertools import count

import paho.mqtt.client as mqtt
import pytest
from servers.edited import Edited
from servers.ports import free_port
from servers.site import until
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

DEVICES = free_port()
FILE = f"""
servers:
  web: {{protocol: http, bind: "127.0.0.1:PORT"}}
  devices: {{protocol: mqtt, bind: "127.0.0.1:{DEVICES}", anonymous: true, persistence: true}}
routes:
  http: edited_handlers.Web
  websocket: edited_handlers.Chat
  mqtt: edited_handlers.Device
"""
HANDLERS = """
import asyncio, os
from pathlib import Path
from gateway import AsyncHttpConsumer, AsyncMqttConsumer, AsyncWebsocketConsumer
import edited_words

class Web(AsyncHttpConsumer):
    async def handle(self, body):
        if self.scope["path"] == "/slow":
            Path("asked").touch()
            await asyncio.sleep(0.5)
        if self.scope["path"] == "/pid":
            return await self.respond(str(os.getpid()).encode())
        template = Path("templates/page.txt").read_text()
        await self.respond(f"one {edited_words.WORD} {template}".encode())

class Chat(AsyncWebsocketConsumer):
    async def connect(self, message):
        await self.accept()

class Device(AsyncMqttConsumer):
    async def receive(self, topic, payload):
        Path("received").write_bytes(payload)
"""
_words = (f"word{number:03}" for number in count())


def other_word(edited: Edited) -> str:
    """Save another word in a module that the handler imports. Words are equally long."""
    word = next(_words)
    edited.write("edited_words.py", f'WORD = "{word}"\n')
    return word


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edited]:
    words = f'WORD = "{next(_words)}"\n'
    files = {
        "gateway.yaml": FILE,
        "edited_handlers.py": HANDLERS,
        "edited_words.py": words,
        "templates/page.txt": "page",
    }
    edited = Edited(tmp_path_factory.mktemp("edited"), files)
    until(edited.answer, edited.said)
    yield edited
    edited.close()


def test_what_you_save_is_served_and_nobody_is_refused(edited: Edited) -> None:
    before, answers, done = edited.answer(), set[str](), threading.Event()
    times = edited.said().count("reloaded")

    def visit() -> None:
        while not done.is_set():
            answers.add(edited.answer())

    visitor = threading.Thread(target=visit)
    visitor.start()
    edited.write("edited_handlers.py", HANDLERS.replace("one", "two"))
    edited.answers(after := before.replace("one", "two"))
    done.set()
    visitor.join()
    assert answers == {before, after}
    edited.says("reloaded", times + 1)  # after the first answer
    assert "edited_handlers.py" in edited.said().rpartition("reloaded")[2]


def test_two_edits_of_one_second_and_one_size_are_two_versions(edited: Edited) -> None:
    """Python takes a compiled module for right if the size and the second are."""
    for _ in range(2):
        edited.has(other_word(edited))


def test_a_template_and_the_file_count_and_nothing_that_the_gateway_writes(edited: Edited) -> None:
    times = edited.said().count("reloaded")
    for name in ("var/upload.py.txt", "notes.md", "data.sqlite3", ".hidden.py", "edited_handlers.py~"):
        edited.write(name, "x")
    edited.write("templates/page.txt", "another page")
    edited.says("reloaded", times + 1)
    assert "page.txt" in edited.said().rpartition("reloaded")[2]
    edited.write("gateway.yaml", f"{FILE}threads: 7\n")
    edited.says("reloaded", times + 2)
    assert "gateway.yaml" in edited.said().rpartition("reloaded")[2]
    assert edited.said().count("reloaded") == times + 2


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("edited_handlers.py", "class Web(:\n", "edited_handlers.py:1"),
        ("edited_words.py", "import no_such_module\nraise SystemExit(7)\n", "no_such_module"),
        ("gateway.yaml", "servers: {web: {protocol: htp}}\n", "did you mean 'http'"),
    ],
)
def test_a_mistake_is_shown_and_the_version_before_keeps_running(
    edited: Edited, name: str, text: str, said: str
) -> None:
    before, answer, right = len(edited.said()), edited.answer(), (edited.folder / name).read_text()
    edited.write(name, text)
    until(lambda: "keeps running" in edited.said()[before:], edited.said)
    assert said in edited.said()[before:]
    assert edited.answer() == answer
    edited.write(name, right)


def test_a_start_that_fails_half_way_leaves_the_version_before_as_it_was(edited: Edited) -> None:
    """A server cannot have its address, and by then the version before has stopped what cannot exist twice."""
    before, answer = len(edited.said()), edited.answer()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        other = f"  other: {{protocol: mqtt, bind: '127.0.0.1:{port}', anonymous: true, persistence: true}}\nroutes:"
        edited.write("gateway.yaml", FILE.replace("routes:", other))
        until(lambda: "keeps running" in edited.said()[before:], edited.said)
    assert edited.answer() == answer
    publish(edited, b"after")
    edited.write("gateway.yaml", FILE)


def test_connections_are_told_and_requests_are_finished_by_the_version_that_they_came_to(edited: Edited) -> None:
    before, answers = edited.answer(), list[str]()
    visitor = threading.Thread(target=lambda: answers.append(edited.answer("slow")))
    visitor.start()
    until((edited.folder / "asked").exists, edited.said)
    with connect(f"ws://127.0.0.1:{edited.port}/") as client:
        word = other_word(edited)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=20)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code in (1001, 1012)
    visitor.join()
    assert answers == [before]
    edited.has(word)


def test_what_cannot_exist_twice_moves_on(edited: Edited) -> None:
    """An MQTT server with stored state: its successor has the sessions."""
    publish(edited, b"first")
    edited.has(other_word(edited))
    publish(edited, b"second")


def publish(edited: Edited, payload: bytes) -> None:
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="device", clean_session=False)
    client.connect("127.0.0.1", DEVICES)
    client.loop_start()
    client.publish("a", payload, qos=1).wait_for_publish(20)
    client.disconnect()
    client.loop_stop()
    until(lambda: (edited.folder / "received").read_bytes() == payload, edited.said)


def test_an_edit_replaces_one_that_has_not_been_imported_yet(edited: Edited) -> None:
    """The first one never ends; the version before serves meanwhile."""
    answer = edited.answer()
    edited.write("edited_words.py", "import time\nopen('importing', 'w').close()\ntime.sleep(3600)\n")
    until((edited.folder / "importing").exists, edited.said)
    assert edited.answer() == answer
    edited.has(other_word(edited))


def test_a_process_that_dies_is_started_at_the_next_change(edited: Edited) -> None:
    before = len(edited.said())
    os.kill(int(edited.answer("pid")), signal.SIGKILL)
    until(lambda: "starts when a file changes" in edited.said()[before:], edited.said)
    edited.has(other_word(edited))
