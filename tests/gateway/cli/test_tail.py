"""`gateway tail`, `record` and `replay` as a user types them, against a daemon and real clients of every protocol."""

import contextlib
import json
import os
import re
import signal
import smtplib
import stat
import subprocess
import sys
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import httpx
import pytest
from servers.command import run
from servers.daemon import Daemon
from servers.ports import free_port
from servers.programs import program
from servers.site import ROOT, unstamped, until
from websockets.sync.client import connect

HANDLERS = """
from gateway import AsyncHttpConsumer, AsyncMqttConsumer, AsyncWebsocketConsumer, EmailConsumer, SMSConsumer, publish

class Web(AsyncHttpConsumer):
    async def handle(self, body):
        await self.respond(b"done", status=418 if self.scope["path"] == "/teapot" else 200)

class Account(AsyncHttpConsumer):
    async def handle(self, body):
        known = dict(self.scope["headers"]).get(b"cookie") == b"session=hunter2"
        await self.respond(b"", status=200 if known else 403)

class Echo(AsyncWebsocketConsumer):
    async def connect(self, message):
        await self.accept()
    async def receive(self, text, bytes=None):
        await self.send(text=f"echo {text}")

class Thermometer(AsyncMqttConsumer):
    async def receive(self, topic, payload):
        float(payload)

class Tickets(EmailConsumer):
    def receive(self, message):
        self.reply("We have it.")

class Orders(EmailConsumer):
    def receive(self, message):
        publish("orders/new", "1")
        if message["Subject"] == "crash":
            raise KeyError("order")

class Texts(SMSConsumer):
    def receive(self, text, media):
        publish("texts/new", "1")
        self.reply(f"thank you for {text}")
"""
FILE = """
servers:
  web: {{protocol: http, bind: "127.0.0.1:{http}"}}
  devices: {{protocol: mqtt, bind: "127.0.0.1:{mqtt}"}}
  mail: {{protocol: smtp, bind: "127.0.0.1:{smtp}"}}
  texts: {{protocol: sms, provider: generic, on: web, path: /hooks/sms, insecure: true}}
routes:
  http: [{{path: "^account", app: tail_handlers.Account}}, {{path: "^$|^teapot|^seen", app: tail_handlers.Web}}]
  websocket: [{{path: "^echo/$", app: tail_handlers.Echo}}]
  mqtt:
    - {{topic: "sensors/+/temperature", app: tail_handlers.Thermometer}}
    - {{topic: "kept/+", app: tail_handlers.Thermometer, inbox: true}}
  email:
    - {{address: orders@example.org, app: tail_handlers.Orders, inbox: true, backoff: 1h}}
    - {{domain: example.org, app: tail_handlers.Tickets}}
  sms: tail_handlers.Texts
submission: file:outbox
log: {{arrivals: {arrivals}}}
"""
CLIENT = {"env": os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}, "text": True}


class Place:
    """A folder with a gateway, and clients that talk to it."""

    def __init__(self, folder: Path, *, arrivals: bool = True) -> None:
        self.folder = folder
        self.http, self.mqtt, self.smtp = free_port(), free_port(), free_port()
        (folder / "tail_handlers.py").write_text(HANDLERS)
        ports = {"http": self.http, "mqtt": self.mqtt, "smtp": self.smtp}
        (folder / "gateway.yaml").write_text(FILE.format(**ports, arrivals=str(arrivals).lower()))

    def get(self, path: str, **headers: str) -> int:
        return httpx.get(f"http://127.0.0.1:{self.http}{path}", headers=headers).status_code

    def publish(self, topic: str, payload: str, qos: int = 1) -> None:
        command = [program("mosquitto_pub"), "-h", "127.0.0.1", "-p", str(self.mqtt), "-q", str(qos), "-i", "dev1"]
        subprocess.run([*command, "-t", topic, "-m", payload], timeout=20, capture_output=True, check=False)

    def mail(self, to: str, subject: str) -> None:
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = "ann@example.net", to, subject
        mail["Message-ID"] = f"<{subject}@example.net>"
        mail.set_content(f"My password=hunter2 is in {subject}.")
        with smtplib.SMTP("127.0.0.1", self.smtp, timeout=20) as client, contextlib.suppress(smtplib.SMTPException):
            client.send_message(mail)

    def text(self, text: str) -> None:
        said = {"from": "+447700900123", "to": "+447700900999", "id": text, "text": text}
        httpx.post(f"http://127.0.0.1:{self.http}/hooks/sms", json=said)

    def echo(self, text: str) -> None:
        with connect(f"ws://127.0.0.1:{self.http}/echo/") as socket:
            socket.send(text)
            assert socket.recv(20) == f"echo {text}"

    def everything(self) -> None:
        assert self.get("/teapot?token=hunter2") == 418
        assert self.get("/account", Cookie="session=hunter2") == 200
        self.echo("hello")
        self.publish("sensors/7/temperature", "21.5")
        self.publish("sensors/7/temperature", "20.5", qos=0)
        self.publish("kept/7", "19")
        self.mail("help@example.org", "printer")
        self.mail("orders@example.org", "crash")
        self.text("hi")
        assert self.get("/nowhere") == 404


class Command:
    """A command that runs until it is interrupted; what it prints is in two files."""

    def __init__(self, place: Place, *arguments: str) -> None:
        self._out, self._err = place.folder / "command.out", place.folder / "command.err"
        with self._out.open("w") as out, self._err.open("w") as err:
            command = [sys.executable, "-m", "gateway", *arguments]
            self.process = subprocess.Popen(command, cwd=place.folder, stdout=out, stderr=err, **CLIENT)

    @property
    def out(self) -> str:
        return unstamped(self._out.read_text())

    @property
    def err(self) -> str:
        return self._err.read_text()

    def says(self, words: str) -> None:
        until(lambda: words in self.out + self.err, lambda: f"{words!r} in {self.out}{self.err}")

    def ended(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(20)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(20)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    program("mosquitto_pub")
    place = Place(tmp_path_factory.mktemp("tail"))
    daemon = Daemon(place.folder)
    try:
        daemon.says("try:")
        yield place
    finally:
        daemon.close()


@pytest.fixture
def commands() -> Iterator[list[Command]]:
    started: list[Command] = []
    yield started
    for each in started:
        each.close()


@pytest.fixture(scope="module")
def recording(place: Place) -> Path:
    """Some traffic of every kind, recorded."""
    file = place.folder / "traffic.jsonl"
    command = Command(place, "record", file.name)
    try:
        command.says("recording; Ctrl+C ends it")
        place.everything()
        until(lambda: file.read_text().count("\n") == 1 + 10 + 2, lambda: f"two attempts, too: {file.read_text()}")
        assert command.ended() == 0
    finally:
        command.close()
    assert command.err.splitlines()[1:] == ["10 arrivals in traffic.jsonl"]
    return file


def test_what_arrived_and_what_became_of_it(place: Place, recording: Path) -> None:
    done = run(place.folder, "tail")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [re.sub(r" +", " ", line) for line in unstamped(done.stdout).splitlines()]

    def told(*words: str) -> bool:
        return any(all(word in line for word in words) for line in lines)

    assert told("http ", "GET /teapot", "tail_handlers.Web 418"), done.stdout
    assert told("mqtt ", "dev1 -> sensors/7/temperature", "tail_handlers.Thermometer acknowledged"), done.stdout
    assert told("email ", "ann@example.net -> help@example.org", "tail_handlers.Tickets accepted"), done.stdout
    assert told("email ", "ann@example.net -> orders@example.org", "next in 3600 s", "KeyError 'order'"), done.stdout
    assert told("sms ", "+447700900123", "tail_handlers.Texts accepted"), done.stdout
    assert "hunter2" not in done.stdout


def test_only_a_type_or_a_route(place: Place, recording: Path) -> None:
    told = run(place.folder, "tail", "--type", "email", "--route", "ORDERS", "--json", "-n", "1")
    (line,) = told.stdout.splitlines()
    assert {"type": "email", "what": "orders@example.org"}.items() <= json.loads(line).items()


def test_only_from_an_address(place: Place, recording: Path) -> None:
    """It is that of the other side, whatever the protocol names as the sender."""
    told = run(place.folder, "tail", "--address", "127.0.0.0/8", "--json", "-n", "1000")
    arrivals = [json.loads(line) for line in told.stdout.splitlines()]
    assert {each["type"] for each in arrivals} == {"http", "websocket", "mqtt", "email", "sms"}
    assert {each["address"] for each in arrivals} == {"127.0.0.1"}
    for elsewhere in ("10.0.0.0/8", "unix", "::1"):
        told = run(place.folder, "tail", "--address", elsewhere)
        assert (told.stdout, told.stderr) == ("", "no arrival fits; gateway tail without filters shows all\n")
    told = run(place.folder, "tail", "--address", "10.0.0.0/99")
    assert (told.returncode, told.stderr[:55]) == (2, "address: write an address, a network such as 10.0.0.0/8")


def test_it_follows_until_it_is_interrupted(place: Place, commands: list[Command]) -> None:
    commands.append(command := Command(place, "tail", "--follow", "-n", "0", "--type", "http"))
    until(lambda: place.get("/seen") and "GET /seen" in command.out, lambda: command.out + command.err)
    assert command.ended() == 0
    assert (command.err, "Aborted" in command.out) == ("", False)


def test_where_no_gateway_runs(tmp_path: Path) -> None:
    Place(tmp_path)
    done = run(tmp_path, "tail", "--follow")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "no gateway runs with this file; gateway run starts it\n"


def test_a_recording_has_no_secrets_and_is_private(recording: Path) -> None:
    assert stat.S_IMODE(recording.stat().st_mode) == 0o600
    text = recording.read_text()
    assert "hunter2" not in text
    assert "celsius" not in text
    assert '"topic": "kept/7"' in text


def test_the_same_code_gives_the_same_verdicts(place: Place, recording: Path) -> None:
    """Without its cookie one request is refused: that is told, and is no difference of the code."""
    sent = sorted((place.folder / "outbox").rglob("*"))
    done = run(place.folder, "replay", recording.name, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["replayed"], found["unsent"]) == (10, {"email": 1, "mqtt": 1, "sms": 1})
    (difference,) = found["differences"]
    assert (difference["what"], difference["left_out"]) == ("GET /account", ["cookie"])
    assert difference["then"]["answer"] == "200"
    assert difference["now"] == {"answer": "403", "outcome": "", "target": "tail_handlers.Account", "error": ""}
    assert sorted((place.folder / "outbox").rglob("*")) == sent, "nothing has left"


def test_other_code_gives_other_verdicts(place: Place, recording: Path, tmp_path: Path) -> None:
    """The daemon's own store is not touched."""
    (tmp_path / "gateway.yaml").write_text((place.folder / "gateway.yaml").read_text())
    changed = (
        HANDLERS.replace("status=418", "status=404")
        .replace("float(payload)", "float(payload + b'x')")
        .replace('self.reply("We have it.")', "self.reject('no')")
        .replace('raise KeyError("order")', "pass")
        .replace("await self.accept()", "await self.close()")
    )
    (tmp_path / "tail_handlers.py").write_text(changed)
    done = run(tmp_path, "replay", str(recording))
    assert done.returncode == 1, done.stdout + done.stderr
    told = re.sub(r" +", " ", done.stdout)
    assert (
        "10 arrivals replayed, 4 with another verdict, 3 more may differ because something was left out; not sent:"
        in told
    )
    for words in (
        "GET /teapot 418 => 404",
        "ann@example.net -> help@example.org accepted => rejected, 550",
        "orders@example.org stored, then next in 3600 s (KeyError 'order') => stored, then done",
        "acknowledged => not acknowledged (ValueError could not convert string to float: b'21.5x')",
        "kept/7 stored, then done => stored, then next in",
        "/echo/ closed, 1000 => rejected, 403",
    ):
        assert words in told, done.stdout
    rows = [row for row in done.stdout.splitlines() if " => " in row]
    begins = {found.end() for row in rows if (found := re.match(r"\S+ +\S+ +\S+ +", row))}
    assert len(begins) == 1, "the rows are aligned from the first one on"
    assert not (tmp_path / "var").exists()


def test_a_file_that_is_no_recording(place: Place) -> None:
    done = run(place.folder, "replay", "gateway.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "gateway.yaml: line 1: it is no recording of gateway record\n"
