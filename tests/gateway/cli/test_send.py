"""`gateway send` says what became of what it sent: which route and which application took it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.command import run
from servers.daemon import Daemon
from servers.ports import free_port
from typer.testing import CliRunner

from gateway.cli import send

HANDLERS = """
from gateway import AsyncEmailConsumer, AsyncMqttConsumer, AsyncSMSConsumer, AsyncWebsocketConsumer

async def shop(scope, receive, send):
    if scope["path"] == "/shop/old":
        await send({"type": "http.response.start", "status": 302, "headers": [(b"location", b"/shop")]})
        await send({"type": "http.response.body"})
        return
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"open"})

class Chat(AsyncWebsocketConsumer):
    async def receive(self, text):
        await self.send(text.upper())

class Sensors(AsyncMqttConsumer):
    async def receive(self, topic, payload):
        pass

class Help(AsyncEmailConsumer):
    async def receive(self, message):
        if message["subject"] == "broken":
            raise KeyError("ticket")

class Texts(AsyncSMSConsumer):
    async def receive(self, text, media):
        pass
"""
FILE = """
servers:
  web: {{protocol: http, bind: "127.0.0.1:{http}"}}
  devices: {{protocol: mqtt, bind: "127.0.0.1:{mqtt}"}}
  mail: {{protocol: smtp, bind: "127.0.0.1:{smtp}"}}
  texts: {{protocol: sms, provider: generic, on: web, path: /hooks/sms, secret: s3cret}}
routes:
  http: [{{path: "^shop", app: send_handlers.shop}}]
  websocket: [{{path: "^chat/", app: send_handlers.Chat}}]
  mqtt: [{{topic: sensors/+, app: send_handlers.Sensors}}, {{topic: kept, app: send_handlers.Sensors, inbox: true}}]
  email: [{{address: help@example.org, app: send_handlers.Help}}]
  sms: [{{sender: "+44", app: send_handlers.Texts}}]
log: {{arrivals: true}}
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("send")
    (folder / "send_handlers.py").write_text(HANDLERS)
    (folder / "gateway.yaml").write_text(FILE.format(http=free_port(), mqtt=free_port(), smtp=free_port()))
    daemon = Daemon(folder)
    try:
        daemon.says("try:")
        yield daemon
    finally:
        daemon.close()


MILLISECONDS = re.compile(r"\d+\.\d ms")


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        ("mqtt sensors/1 21.5", "acknowledged; sensors/+ -> send_handlers.Sensors took it: acknowledged, N ms", 0),
        ("mqtt kept 21.5", "acknowledged; kept -> send_handlers.Sensors took it: stored, N ms", 0),
        ("mqtt elsewhere 21.5", "acknowledged; no route took it", 1),
        ("http /shop", "200 OK; ^shop -> send_handlers.shop took it: 200, N ms\nopen", 0),
        ("http /shop/old", "200 OK; ^shop -> send_handlers.shop took it: 200, N ms\nopen", 0),
        ("http /nowhere", "404 Not Found; no route took it\nNot Found", 1),
        (
            "websocket /chat/ hello --quiet 0.2",
            "connected; ^chat/ -> send_handlers.Chat took it: accepted, N ms\nHELLO",
            0,
        ),
        ("websocket /nowhere", "refused: 403 Forbidden; no route took it", 1),
        ("sms +447700900123 Hi", "200 OK; +44 -> send_handlers.Texts took it: accepted, N ms", 0),
        ("sms +33612345678 Salut", "200 OK; no route took it", 1),
        (
            "email help@example.org Hello --subject broken",
            "451 4.3.0 Temporary failure, please try again later; "
            "help@example.org -> send_handlers.Help took it: deferred, N ms, KeyError 'ticket'",
            1,
        ),
    ],
    ids=lambda value: value.split(" --")[0] if isinstance(value, str) and "took" not in value else "",
)
def test_it_says_which_route_took_it(
    gateway: Daemon, arguments: str, said: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(gateway.folder)
    done = CliRunner().invoke(send.app, [*arguments.split(), "--expect-route"])  # in this process, which is quicker
    assert MILLISECONDS.sub("N ms", done.output).startswith(said)
    assert done.exit_code == code


def test_json_has_the_arrival_and_the_log_its_line(gateway: Daemon) -> None:
    done = run(
        gateway.folder, "send", "email", "help@example.org", "It does not print", "--subject", "Printer", "--json"
    )
    sent = json.loads(done.stdout)
    assert sent["taken"]
    assert sent["arrival"]["id"] in sent["summary"]
    assert (sent["arrival"]["route"], sent["arrival"]["target"]) == ("help@example.org", "send_handlers.Help")
    gateway.says(f"{sent['arrival']['id']}  ann@example.net -> help@example.org")
    [line] = [line for line in gateway.lines if sent["arrival"]["id"] in line]
    assert re.fullmatch(
        r"email +\S+  ann@example.net -> help@example.org +help@example.org -> send_handlers.Help +"
        r"accepted +\d+\.\d ms",
        line,
    )


def test_without_an_answer_the_route_is_not_known(gateway: Daemon, tmp_path: Path) -> None:
    """The file of a gateway that another user runs, say: it is found by its address, and not by its socket."""
    (tmp_path / "gateway.yaml").write_text((gateway.folder / "gateway.yaml").read_text())
    (tmp_path / "send_handlers.py").write_text(HANDLERS)
    done = run(tmp_path, "send", "mqtt", "sensors/1", "21.5", "--expect-route")
    assert done.stdout == "acknowledged\n"
    assert done.stderr.startswith("which route took it is not known: no gateway runs with this file")
    assert done.returncode == 1
