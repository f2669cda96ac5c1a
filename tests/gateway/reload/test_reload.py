"""`gateway run --reload`: what you save is served, and a mistake changes nothing."""

import os
import signal
import socket
import threading
from collections.abc import Iterator

import paho.mqtt.client as mqtt
import pytest
from servers.edited import Edited
from servers.ports import free_port
from servers.site import until
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

FILE = """
servers:
  web: {protocol: http, bind: "127.0.0.1:PORT"}
  devices: {protocol: mqtt, bind: "127.0.0.1:MQTT", anonymous: true, persistence: true}
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
            await asyncio.sleep(1)
        if self.scope["path"] == "/pid":
            return await self.respond(str(os.getpid()).encode())
        template = Path("templates/page.txt").read_text().strip()
        await self.respond(f"VERSION {edited_words.WORD} {template}".encode())

class Chat(AsyncWebsocketConsumer):
    async def connect(self, message):
        await self.accept()

class Device(AsyncMqttConsumer):
    async def receive(self, topic, payload):
        Path("received").write_bytes(payload)
"""
WORDS = 'WORD = "hello"\n'
GOOD = "one hello page"


def handlers(version: str) -> str:
    return HANDLERS.replace("VERSION", version)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edited]:
    global FILE
    FILE = FILE.replace("MQTT", str(free_port()))
    files = {
        "gateway.yaml": FILE,
        "edited_handlers.py": handlers("one"),
        "edited_words.py": WORDS,
        "templates/page.txt": "page",
    }
    daemon = Edited(tmp_path_factory.mktemp("edited"), files)
    yield daemon
    daemon.close()


@pytest.fixture
def edited(daemon: Edited) -> Edited:
    """The daemon with its files as they were at first."""
    daemon.write("gateway.yaml", FILE)
    daemon.write("edited_handlers.py", handlers("one"))
    daemon.write("edited_words.py", WORDS)
    daemon.write("templates/page.txt", "page")
    daemon.answers(GOOD)
    return daemon


def test_what_you_save_is_served_and_nobody_is_refused(edited: Edited) -> None:
    answers: list[str] = []
    done = threading.Event()

    def visit() -> None:
        while not done.is_set():
            answers.append(edited.answer())

    visitor = threading.Thread(target=visit)
    visitor.start()
    edited.write("edited_handlers.py", handlers("two"))
    edited.answers("two hello page")
    done.set()
    visitor.join()
    assert set(answers) <= {GOOD, "two hello page"}
    assert "edited_handlers.py" in edited.said().rpartition("reloaded")[2]


def test_a_module_that_a_handler_imports_counts(edited: Edited) -> None:
    edited.write("edited_words.py", 'WORD = "howdy"\n')
    edited.answers("one howdy page")


def test_a_template_counts(edited: Edited) -> None:
    edited.write("templates/page.txt", "other")
    edited.answers("one hello other")


def test_the_file_counts(edited: Edited) -> None:
    times = edited.said().count("reloaded")
    edited.write("gateway.yaml", f"{FILE}threads: 7\n")
    edited.says("reloaded", times + 1)
    assert "gateway.yaml" in edited.said().rpartition("reloaded")[2]


def test_two_edits_of_one_second_and_one_size_are_two_versions(edited: Edited) -> None:
    for word in ("aaaaa", "bbbbb", "ccccc"):
        edited.write("edited_words.py", f'WORD = "{word}"\n')
        edited.answers(f"one {word} page")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("edited_handlers.py", "class Web(:\n", "edited_handlers.py:1"),
        ("edited_words.py", "import no_such_module\n", "no_such_module"),
        ("gateway.yaml", "servers: {web: {protocol: htp}}\n", "did you mean 'http'"),
        ("edited_words.py", 'WORD = "x"\nraise SystemExit(7)\n', "SystemExit"),
    ],
)
def test_a_mistake_is_shown_and_the_version_before_keeps_running(
    edited: Edited, name: str, text: str, said: str
) -> None:
    before = len(edited.said())
    edited.write(name, text)
    until(lambda: "keeps running" in edited.said()[before:], edited.said)
    assert said in edited.said()[before:]
    assert edited.answer() == GOOD


def test_a_start_that_fails_half_way_leaves_the_version_before_as_it_was(edited: Edited) -> None:
    """A server cannot have its address, and by then the version before has stopped what cannot exist twice."""
    before = len(edited.said())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        other = f"  other: {{protocol: mqtt, bind: '127.0.0.1:{port}', anonymous: true, persistence: true}}\nroutes:"
        edited.write("gateway.yaml", FILE.replace("routes:", other))
        until(lambda: "keeps running" in edited.said()[before:], edited.said)
    assert edited.answer() == GOOD
    _publish(edited, b"after")


def test_connections_are_told_as_at_a_stop(edited: Edited) -> None:
    with connect(f"ws://127.0.0.1:{edited.port}/") as client:
        edited.write("edited_words.py", 'WORD = "later"\n')
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=20)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code in (1001, 1012)
    edited.answers("one later page")


def test_a_request_that_runs_is_finished_by_the_version_that_it_came_to(edited: Edited) -> None:
    answers: list[str] = []
    visitor = threading.Thread(target=lambda: answers.append(edited.answer("slow")))
    visitor.start()
    edited.write("edited_words.py", 'WORD = "later"\n')
    edited.answers("one later page")
    visitor.join()
    assert answers == [GOOD]


def test_what_cannot_exist_twice_moves_on(edited: Edited) -> None:
    """An MQTT server with stored state: its successor has the sessions."""
    _publish(edited, b"first")
    edited.write("edited_words.py", 'WORD = "moved"\n')
    edited.answers("one moved page")
    _publish(edited, b"second")


def _publish(edited: Edited, payload: bytes) -> None:
    port = int(FILE.partition("127.0.0.1:")[2].partition("127.0.0.1:")[2].partition('"')[0])
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="device", clean_session=False)
    client.connect("127.0.0.1", port)
    client.loop_start()
    client.publish("a", payload, qos=1).wait_for_publish(20)
    client.disconnect()
    client.loop_stop()
    until(lambda: (edited.folder / "received").read_bytes() == payload, edited.said)


def test_a_process_that_dies_is_started_at_the_next_change(edited: Edited) -> None:
    before = len(edited.said())
    os.kill(int(edited.answer("pid")), signal.SIGKILL)
    until(lambda: "starts when a file changes" in edited.said()[before:], edited.said)
    edited.write("edited_words.py", 'WORD = "again"\n')
    edited.answers("one again page")


def test_what_does_not_belong_to_it_changes_nothing(edited: Edited) -> None:
    before = edited.said().count("reloaded")
    for name in ("var/upload.py.txt", "notes.md", "data.sqlite3", ".hidden.py", "edited_handlers.py~"):
        edited.write(name, "x")
    edited.write("edited_words.py", 'WORD = "seen"\n')
    edited.answers("one seen page")
    assert edited.said().count("reloaded") == before + 1
