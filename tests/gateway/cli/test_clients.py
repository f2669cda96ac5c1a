"""`gateway clients`, `sessions` and `retained` as an operator types them, against a daemon and real clients."""

import contextlib
import json
import re
import signal
import smtplib
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from mqtt_paho import Paho
from servers.command import completed, run
from servers.daemon import Daemon, in_background
from servers.ports import free_port
from servers.programs import program
from servers.site import until
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from gateway.console.schemas import Schemas
from gateway.console.table import operations
from gateway.control.client import Conversation

HANDLERS = """
import asyncio
from gateway import AsyncEmailConsumer, AsyncHttpConsumer, AsyncWebsocketConsumer

class Web(AsyncHttpConsumer):
    async def handle(self, body):
        if self.scope["path"] == "/slow":
            await asyncio.sleep(60)
        await self.respond(b"done")

class Chat(AsyncWebsocketConsumer):
    async def connect(self, message):
        await self.accept()

    async def receive(self, text, bytes=None):
        await self.send(text=text, bytes=bytes)

class Mail(AsyncEmailConsumer):
    async def receive(self, message):
        await asyncio.sleep(1)
"""
FILE = """
servers:
  web: {{protocol: http, bind: "127.0.0.1:{http}", compression: true}}
  devices: {{protocol: mqtt, bind: "127.0.0.1:{mqtt}", persistence: true, websocket: {{on: web}}, sys_interval: 0s}}
  mail: {{protocol: smtp, bind: "127.0.0.1:{smtp}"}}
routes:
  http: live_handlers.Web
  websocket: live_handlers.Chat
  mqtt: []
  email: live_handlers.Mail
store: sqlite:gateway.db
"""
SCHEMAS = Schemas()
HOSTILE = "evil\u202edev\u2028"
"""What a terminal must not get. Control characters are refused."""


class Place:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.http, self.mqtt, self.smtp = free_port(), free_port(), free_port()
        (folder / "live_handlers.py").write_text(HANDLERS)
        (folder / "gateway.yaml").write_text(FILE.format(http=self.http, mqtt=self.mqtt, smtp=self.smtp))
        self.daemon = Daemon(folder)
        self.daemon.says("try:")

    def says(self, *arguments: str, code: int = 0) -> str:
        done = run(self.folder, *arguments, COLUMNS="300")
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def found(self, do: str, **parameters: Any) -> list[dict[str, Any]]:
        """What the control socket answers: without a command, whose start takes its time."""
        with Conversation([self.folder / "gateway.db"], {"do": do, **parameters}) as conversation:
            (answer,) = conversation.answers()
        described = {**SCHEMAS.of(operations()[do].result), "components": {"schemas": SCHEMAS.by_name}}
        jsonschema.Draft202012Validator(described).validate(answer)
        entries: list[dict[str, Any]] = answer["entries"]
        return entries

    def clients(self, **filters: Any) -> list[dict[str, Any]]:
        return self.found("clients.list", **filters)

    def shown(self, noun: str, **names: Any) -> dict[str, Any]:
        (entry,) = self.found(f"{noun}.show", **names)
        return entry

    def paho(self, client_id: str, version: int = 5, **more: Any) -> Paho:
        return Paho(self.mqtt, client_id, version, **more)

    def retain(self, topic: str, payload: str, qos: int = 1) -> None:
        command = [program("mosquitto_pub"), "-p", str(self.mqtt), "-q", str(qos), "-t", topic, "-m", payload, "-r"]
        subprocess.run(command, timeout=20, check=True, capture_output=True)

    def is_listed(self, **filters: Any) -> Callable[[], bool]:
        return lambda: len(self.clients(**filters)) > 0


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    program("mosquitto_pub")
    place = Place(tmp_path_factory.mktemp("live"))
    try:
        yield place
    finally:
        place.daemon.close()


def test_clients_of_every_protocol_are_listed_in_one_shape(place: Place) -> None:
    with (
        place.paho("ann"),
        connect(f"ws://127.0.0.1:{place.http}/chat/?token=hunter2"),
        smtplib.SMTP("127.0.0.1", place.smtp, timeout=20) as mail,
        socket.create_connection(("127.0.0.1", place.mqtt)),
        socket.create_connection(("127.0.0.1", place.http)),
    ):
        mail.ehlo("mx.example.net")
        until(lambda: len(place.clients()) == 5, lambda: place.says("clients", "list"))
        entries = place.clients()
        assert json.loads(place.says("clients", "list", "--json"))["total"] == 5
        assert all(
            {"server", "id", "protocol", "address", "port", "since", "user", "client_id"} < each.keys()
            for each in entries
        )
        assert sorted(
            (each["server"], each["protocol"], each["client_id"], each["doing"])
            for each in entries
            if each["client_id"]
        ) == [
            ("devices", "mqtt", "ann", "connected"),
            ("mail", "smtp", "mx.example.net", "idle"),
        ]
        assert sorted((each["protocol"], each["doing"]) for each in entries if not each["client_id"]) == [
            ("http", "idle"),
            ("mqtt", "has not said CONNECT"),
            ("websocket", "/chat/"),
        ]
        table = place.says("clients", "list", "--server", "devices")
        assert "2 in total" in table
        assert "hunter2" not in place.says("clients", "list") + json.dumps(entries)


def test_everything_about_a_client(place: Place) -> None:
    with (
        place.paho("ann", expiry=60, keepalive=33, will=("gone", b"last words", 1, True)) as ann,
        place.paho("bob", 4) as bob,
    ):
        ann.subscribe("a/#", qos=1, noLocal=True, identifier=7)
        bob.publish("a/1", b"12345", 1)
        ann.hear()
        bob.publish("a/2", b"12345", 0)
        ann.hear()
        found = place.shown("clients", ids=["ann"])
        assert {
            "version": "5.0",
            "transport": "tcp",
            "tls": False,
            "keepalive": 33.0,
            "expiry": 60.0,
            "messages_sent": 2,
            "messages_received": 0,
            "dropped": 0,
            "queued": 0,
            "subscriptions": 1,
        }.items() <= found.items()
        assert found["filters"] == [
            {"filter": "a/#", "qos": 1, "no_local": True, "retain_as_published": False, "identifiers": [7]}
        ]
        assert found["will"] == {"topic": "gone", "qos": 1, "retain": True, "delay": 0.0, "size": 10}
        assert place.shown("clients", ids=["bob"])["messages_received"] == 2
        assert place.shown("clients", ids=["bob"])["bytes_received"] > 20
        text = place.says("clients", "show", "ann", "--content", "4")
        assert "last …" in text
        assert "a/#" in text
        by_id = place.shown("clients", ids=[found["id"]])
        assert by_id["client_id"] == "ann"


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_what_came_and_went_on_a_websocket(place: Place, compression: str | None) -> None:
    with connect(f"ws://127.0.0.1:{place.http}/chat/", compression=compression) as chat:
        before = place.shown("clients", ids=[place.clients(protocol="websocket")[0]["id"]])
        assert (before["messages_received"], before["messages_sent"]) == (0, 0)
        for message in ("x" * 100, b"y" * 100, "z" * 100_000):
            chat.send(message)
            assert chat.recv(timeout=20) == message
        chat.ping().wait(20)
        after = place.shown("clients", ids=[before["id"]])
        assert (after["messages_received"], after["messages_sent"]) == (3, 3)
        came, went = (after[each] - before[each] for each in ("bytes_received", "bytes_sent"))
        if compression is None:
            heads, pong = 2 + 2 + 10, 2 + 4
            assert went == 100_200 + heads + pong
            assert came == went + 4 * 4, "a client masks its frames"
        else:
            assert 50 < went < 2000
            assert 50 < came < 2000
        assert (place.clients(by="messages_received")[0]["id"], after["doing"]) == (before["id"], "/chat/")
        assert re.search(r"messages in +3\n", place.says("clients", "show", before["id"]))


def test_one_that_is_not_there(place: Place) -> None:
    assert place.says("clients", "show", "nobody", code=1) == "there is none by that name\n"
    assert place.says("clients", "disconnect", "nobody") == "no client fits\n"


def test_a_client_is_disconnected_with_the_reason_and_its_will(place: Place) -> None:
    with place.paho("bob") as bob, place.paho("ann", will=("gone", b"with will", 1, False), expiry=60) as ann:
        bob.subscribe("gone")
        assert place.says("clients", "disconnect", "ann", "--yes") == "1 disconnected\n"
        assert ann.lost.get(timeout=10) == 0x98
        assert bob.hear()[1] == b"with will"
    assert place.shown("sessions", client_ids=["ann"])["connected"] is False
    place.daemon.says("clients.disconnect by uid")


@pytest.mark.parametrize(
    ("do", "chosen"),
    [
        ("clients disconnect", ["--client", "audited-client"]),
        ("sessions delete", ["--client", "audited-session"]),
        ("retained delete", ["--filter", "audited/topic"]),
    ],
)
def test_a_removal_is_one_line_of_the_log(place: Place, do: str, chosen: list[str]) -> None:
    place.says(*do.split(), *chosen, "--yes")
    name = do.replace(" ", ".")
    place.daemon.says(f"{name} by uid")
    (line,) = [each for each in place.daemon.lines if name in each and chosen[1] in each]
    assert re.search(r'by uid \d+: 0, \{"(client_id|filter)": "audited', line), line


def test_a_client_is_disconnected_without_its_will(place: Place) -> None:
    with place.paho("bob") as bob, place.paho("ann", 4, will=("gone", b"unheard", 1, False)) as ann:
        bob.subscribe("gone")
        assert place.says("clients", "disconnect", "ann", "--without-will", "--yes") == "1 disconnected\n"
        ann.lost.get(timeout=10)
        bob.publish("gone", b"nothing before this", 1)
        assert bob.hear()[1] == b"nothing before this"


def test_disconnecting_by_filter_counts_and_asks_first(place: Place) -> None:
    with place.paho("test-1") as one, place.paho("test-2") as two, place.paho("other") as other:
        asked = place.says("clients", "disconnect", "--client", "test-*", code=1)
        assert "Disconnect 2 clients?" in asked
        assert one.lost.empty()
        assert place.says("clients", "disconnect", "--client", "test-*", "--yes") == "2 disconnected\n"
        assert {one.lost.get(timeout=10), two.lost.get(timeout=10)} == {0x98}
        assert other.lost.empty()
    said = "write at least one filter; the name of the server is one, too\n"
    assert place.says("clients", "disconnect", "--yes", code=2) == said


def test_a_websocket_is_closed_with_1008(place: Place) -> None:
    with connect(f"ws://127.0.0.1:{place.http}/chat/") as socket_:
        until(place.is_listed(protocol="websocket"), "it is listed")
        assert place.says("clients", "disconnect", "--protocol", "websocket", "--yes") == "1 disconnected\n"
        with pytest.raises(ConnectionClosed) as closed:
            socket_.recv(10)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "closed by an operator")


def test_a_request_is_cut_and_an_idle_connection_closed(place: Place) -> None:
    outcomes: list[str] = []
    thread = in_background(f"http://127.0.0.1:{place.http}/slow?token=hunter2", outcomes)
    with httpx.Client() as client:
        client.get(f"http://127.0.0.1:{place.http}/")
        until(
            lambda: {each["doing"] for each in place.clients(server="web")} == {"GET /slow", "idle"},
            lambda: place.says("clients", "list"),
        )
        assert place.says("clients", "disconnect", "--server", "web", "--yes") == "2 disconnected\n"
    thread.join(10)
    assert outcomes
    assert outcomes != ["done"]
    until(lambda: not place.clients(server="web"), "both are gone")


def test_a_mail_that_is_handled_is_answered_first(place: Place) -> None:
    with socket.create_connection(("127.0.0.1", place.smtp), 20) as mail:
        file = mail.makefile("rb")
        mail.sendall(b"HELO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n")
        while not file.readline().startswith(b"354"):
            pass
        mail.sendall(b"Subject: x\r\n\r\nx\r\n.\r\n")
        until(lambda: any(each["doing"] == "its message is handled" for each in place.clients()), "it is handled")
        assert place.says("clients", "disconnect", "--server", "mail", "--yes") == "1 disconnected\n"
        assert [line[:3] for line in file] == [b"250", b"421"]


def test_a_mail_server_that_is_idle_gets_421(place: Place) -> None:
    with socket.create_connection(("127.0.0.1", place.smtp), 20) as mail, mail.makefile("rb") as file:
        file.readline()
        assert place.says("clients", "disconnect", "--protocol", "smtp", "--yes") == "1 disconnected\n"
        assert [line[:3] for line in file] == [b"421"]


def test_names_of_strangers_reach_no_terminal(place: Place) -> None:
    names = {HOSTILE: HOSTILE, "x" * 256: "x" * 60_000, "dev-*": "dev", "--help": "--help", "é€": "é€"}
    with contextlib.ExitStack() as there:
        for client_id, topic in names.items():
            client = there.enter_context(place.paho(client_id, 4, expiry=60))
            client.subscribe(f"{topic}/x")
            client.publish(topic, b"\x1b[31mred\n", 1, retain=True)
        for text in (
            place.says("clients", "list"),
            place.says("sessions", "list"),
            place.says("retained", "list"),
            place.says("clients", "show", "--", HOSTILE),
            place.says("sessions", "show", "--", "x" * 256),
            place.says("retained", "show", "--", "--help"),
        ):
            assert {"\x1b", "\u202e", "\u2028"}.isdisjoint(text)
            assert max(map(len, text.splitlines())) < 1000
        assert place.shown("clients", ids=["dev-*"])["client_id"] == "dev-*"
        assert place.says("sessions", "delete", "--yes", "--", *names) == "5 deleted\n"
    assert place.says("retained", "delete", "--yes", "--", *names.values()) == "5 deleted\n"


def test_paths_of_strangers_reach_no_terminal(place: Place) -> None:
    with connect(f"ws://127.0.0.1:{place.http}/%1b[31m%0aINFO%20forged"):
        until(place.is_listed(protocol="websocket"), "it is listed")
        text = place.says("clients", "list")
        assert "/\\x1b[31m INFO forged" in text
        assert "\x1b" not in text


def test_what_is_wrong_can_be_looked_for(place: Place) -> None:
    with place.paho("bob") as bob:
        with place.paho("ann", expiry=60) as ann:
            ann.subscribe("orders/#", qos=1)
        for number in range(3):
            bob.publish("orders/new", b"%d" % number, 1)
        away = json.loads(place.says("sessions", "list", "--away", "--queued", "--by", "queued_bytes", "--json"))[
            "entries"
        ]
        assert [(each["client_id"], each["queued"], each["persistent"]) for each in away] == [("ann", 3, True)]
        assert [each["client_id"] for each in place.found("sessions.list", topic="orders/7")] == ["ann"]
        assert [each["client_id"] for each in place.found("sessions.list", connected=True)] == ["bob"]
        assert "away, ends in" in place.says("sessions", "list", "--client", "ann")
        assert place.clients(dropped=True) == []
        assert [each["client_id"] for each in place.clients(by="messages_received", limit=1)] == ["bob"]
    assert place.says("sessions", "delete", "ann", "--yes") == "1 deleted\n"


def test_retained_messages_are_listed_shown_and_deleted(place: Place) -> None:
    with place.paho("bob") as bob:
        place.retain("old/1", "text", 2)
        place.retain("old/2", "x" * 2000, 0)
        place.retain("new", "x")
        found = json.loads(place.says("retained", "list", "old/#", "--json"))["entries"]
        assert [(each["topic"], each["size"], each["qos"]) for each in found] == [("old/1", 4, 2), ("old/2", 2000, 0)]
        assert [each["topic"] for each in place.found("retained.list", by="size", limit=1)] == ["old/2"]
        assert "payload      text" in place.says("retained", "show", "old/1")
        assert place.shown("retained", topics=["old/2"])["payload"] == {"text": "x" * 1024, "whole": False}
        bob.subscribe("old/#")
        assert {bob.hear()[0], bob.hear()[0]} == {"old/1", "old/2"}
        assert "Delete 2 retained messages?" in place.says("retained", "delete", "--filter", "old/#", code=1)
        assert place.says("retained", "delete", "--filter", "old/#", "--yes") == "2 deleted\n"
        bob.publish("old/1", b"nothing before this", 1)
        assert bob.hear()[1] == b"nothing before this"
        assert [each["topic"] for each in place.found("retained.list")] == ["new"]
        assert place.says("retained", "delete", "new", "nowhere", "--yes") == "1 deleted\n"
    wrong = "'a/#/b' is not a topic filter; write one such as sensors/# or sensors/+/status\n"
    assert place.says("retained", "list", "a/#/b", code=2) == wrong
    assert place.says("clients", "list", "--address", "nowhere", code=2).startswith("address: write an address")


def test_the_shell_completes_clients_and_topics(place: Place) -> None:
    with place.paho("thermometer-7"), place.paho("evil\n"):
        place.retain("house/door", "open")
        assert completed(place.folder, "gateway clients show ther") == ["thermometer-7"]
        assert completed(place.folder, "gateway sessions delete thermo") == ["thermometer-7"]
        assert "house/door" in completed(place.folder, "gateway retained show ")
    assert place.says("retained", "delete", "house/door", "--yes") == "1 deleted\n"


def test_a_page_after_the_other(place: Place) -> None:
    with place.paho("bob") as bob:
        for number in range(30):
            bob.publish(f"page/{number:02}", b"x", 0, retain=True)
        until(lambda: len(place.found("retained.list", filter="page/#")) == 30, "all are there")
        assert "7 of 30; -n 30 shows all" in place.says("retained", "list", "page/#", "-n", "7")
    assert place.says("retained", "delete", "--filter", "page/#", "--yes") == "30 deleted\n"


@pytest.mark.parametrize("command", ["clients list", "sessions list", "retained list", "clients disconnect x --yes"])
def test_where_no_gateway_runs(tmp_path: Path, command: str) -> None:
    (tmp_path / "gateway.yaml").write_text("servers: {}\nroutes: {}\n")
    done = run(tmp_path, *command.split())
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "no gateway runs with this file; gateway run starts it\n"


def test_what_was_deleted_is_not_back_after_kill_9(tmp_path: Path) -> None:
    place = Place(tmp_path)
    try:
        with place.paho("bob") as bob, place.paho("kept", expiry=600), place.paho("deleted", expiry=600) as deleted:
            deleted.subscribe("orders/#", qos=1)
            deleted.cut()
            bob.publish("orders/1", b"x", 1)
            bob.publish("status", b"x", 1, retain=True)
            bob.publish("kept", b"x", 1, retain=True)
            place.says("sessions", "delete", "deleted", "--yes")
            place.says("retained", "delete", "status", "--yes")
            place.daemon.process.send_signal(signal.SIGKILL)
            place.daemon.wait()
        place.daemon.close()
        place.daemon = Daemon(tmp_path)
        place.daemon.says("try:")
        assert [each["client_id"] for each in place.found("sessions.list")] == ["kept"]
        assert [each["topic"] for each in place.found("retained.list")] == ["kept"]
        with place.paho("deleted", clean=False, expiry=600) as deleted:
            assert not deleted.present
    finally:
        place.daemon.close()
