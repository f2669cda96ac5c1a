"""The command, in its own process as a user types it; `send` against a running daemon and real handlers."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers.command import completed, run, without_route
from servers.daemon import Daemon
from servers.ports import free_port
from servers.site import ROOT

from gateway import __version__
from gateway.cli.explain import read_subject, scope_of
from gateway.cli.root import command as whole_command
from gateway.cli.terminal import command_of
from gateway.runtime.banner import VERSION

HANDLERS = """
from gateway import AsyncHttpConsumer, AsyncMqttConsumer, AsyncWebsocketConsumer, EmailConsumer, SMSConsumer

class Web(AsyncHttpConsumer):
    async def handle(self, body):
        if self.scope["path"] == "/teapot":
            await self.respond(b"short and stout", status=418)
        else:
            await self.respond(f"{self.scope['method']} {self.scope['path']} {body.decode()}".encode())

class Echo(AsyncWebsocketConsumer):
    async def connect(self, message):
        await self.accept()
    async def receive(self, text, bytes=None):
        await self.send(text=f"echo {text}")

class Thermometer(AsyncMqttConsumer):
    async def receive(self, topic, payload):
        if payload == b"wrong":
            raise ValueError("not a temperature")
        print("reading", topic, payload.decode(), flush=True)

class Tickets(EmailConsumer):
    def receive(self, message):
        print("mail", self.scope["rcpt_to"], message["Subject"], flush=True)

class Texts(SMSConsumer):
    def receive(self, text, media):
        self.reply(f"thank you for {text}")
"""
FILE = """
servers:
  web: {{protocol: http, bind: "127.0.0.1:{http}"}}
  devices: {{protocol: mqtt, bind: "127.0.0.1:{mqtt}"}}
  mail: {{protocol: smtp, bind: "127.0.0.1:{smtp}"}}
  twilio: {{protocol: sms, provider: twilio, on: web, path: /hooks/twilio, auth_token: hunter2}}
  generic: {{protocol: sms, provider: generic, on: web, path: /hooks/sms, secret: hunter2}}
routes:
  http: cli_handlers.Web
  websocket: [{{path: "^echo/$", app: cli_handlers.Echo}}]
  mqtt: [{{topic: "sensors/{{sensor}}/temperature", app: cli_handlers.Thermometer}}]
  email: [{{domain: example.org, app: cli_handlers.Tickets}}]
  sms:
    - {{sender: +44, app: cli_handlers.Texts}}
    - {{keyword: join, app: cli_handlers.Texts}}
    - {{sender: HDFCBK, app: cli_handlers.Texts}}
    - {{recipient: +4420, app: cli_handlers.Texts}}
    - {{default: true, app: cli_handlers.Texts}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    (folder / "cli_handlers.py").write_text(HANDLERS)
    (folder / "gateway.yaml").write_text(FILE.format(http=free_port(), mqtt=free_port(), smtp=free_port()))
    return folder


@pytest.fixture(scope="module")
def daemon(folder: Path) -> Iterator[Daemon]:
    daemon = Daemon(folder)
    daemon.says("try:")
    yield daemon
    daemon.close()


def test_check(folder: Path) -> None:
    done = run(folder, "check")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "gateway 0.1  gateway.yaml: 5 servers, 9 routes, valid\n"


def test_check_starts_nothing(folder: Path, daemon: Daemon) -> None:
    assert run(folder, "check").returncode == 0, "its addresses are in use, which check must not notice"


def test_check_with_mistakes(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text("servers: {web: {protocol: htp}}\napplication: json.dumps\n")
    done = run(tmp_path, "check")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "gateway.yaml:1:27: error: unknown protocol 'htp'" in done.stderr
    found = json.loads(run(tmp_path, "check", "--json").stdout)
    assert found["valid"] is False
    assert [(each["line"], each["column"]) for each in found["diagnostics"]] == [(1, 27), (2, 14)]


@pytest.mark.parametrize(
    "command",
    [
        "check",
        "routes",
        "explain http:/",
        "send http /",
        "waiting",
        "show x",
        "dead list",
        "dead show x",
        "outgoing list",
    ],
)
def test_mistakes_in_the_file_are_json_where_json_is_asked_for(tmp_path: Path, command: str) -> None:
    (tmp_path / "gateway.yaml").write_text("store: 5\nservers: {web: {protocol: htp}}\napplication: json.dumps\n")
    done = run(tmp_path, *command.split(), "--json")
    assert (done.returncode, done.stderr) == (2, "")
    found = json.loads(done.stdout)
    assert found["valid"] is False
    assert found["diagnostics"][0]["file"] == "gateway.yaml"


@pytest.mark.parametrize("arguments", [["-c", "other.yaml", "check"], ["check", "-c", "other.yaml"]])
def test_another_file(folder: Path, arguments: list[str]) -> None:
    (folder / "other.yaml").write_text((folder / "gateway.yaml").read_text())
    assert "other.yaml: 5 servers" in run(folder, *arguments).stdout


def test_the_file_of_the_environment(folder: Path, tmp_path: Path) -> None:
    (other := tmp_path / "other").mkdir()
    (other / "gateway.yaml").touch()
    done = run(other, "check", GATEWAY_CONFIG=str(folder / "gateway.yaml"))
    assert done.returncode == 0, done.stderr


def test_no_file(tmp_path: Path) -> None:
    done = run(tmp_path, "run")
    assert done.returncode == 2
    assert (
        "gateway.yaml:1:1: error: there is no such file; looked at in this order: -c FILE, $GATEWAY_CONFIG (not set)"
        in done.stderr
    )
    assert "; `gateway init` makes one" in done.stderr


def test_routes(folder: Path) -> None:
    done = run(folder, "routes")
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "http",
        "websocket",
        "mqtt",
        "email",
        *["sms"] * 5,
    ]
    listed = json.loads(run(folder, "routes", "--json").stdout)
    assert listed[2] == {
        "type": "mqtt",
        "pattern": "sensors/{sensor}/temperature",
        "target": "cli_handlers.Thermometer",
    }


@pytest.mark.parametrize(
    ("subject", "target", "why"),
    [
        ("http:/anything", "cli_handlers.Web", "takes everything"),
        ("websocket:/echo/", "cli_handlers.Echo", "^echo/$"),
        ("mqtt:sensors/1/temperature", "cli_handlers.Thermometer", "sensors/{sensor}/temperature, with sensor = '1'"),
        ("email:ann@example.org", "cli_handlers.Tickets", "@example.org"),
        (
            "sms:+447700900123",
            "cli_handlers.Texts",
            "that the sender begins with, +44 is the longest",
        ),
        ("sms:+15005550006: Join!", "cli_handlers.Texts", "that matches is keyword JOIN: the text begins with it"),
        ("sms:hdfcbk", "cli_handlers.Texts", "that matches is HDFCBK: the sender has this name"),
        (
            "sms:+15005550006 to +442079460018",
            "cli_handlers.Texts",
            "the recipient begins with, +4420 is the longest",
        ),
        ("sms:+15005550006", "cli_handlers.Texts", "default"),
    ],
)
def test_explain(folder: Path, subject: str, target: str, why: str) -> None:
    done = run(folder, "explain", subject)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{subject} -> {target}: ")
    assert why in done.stdout


@pytest.mark.parametrize(
    ("short", "subject"),
    [
        ("ann@example.org", "email:ann@example.org"),
        ("mail:ann@example.org", "email:ann@example.org"),
        ("mailto:ann@example.org", "email:ann@example.org"),
        ("ws:/echo/", "websocket:/echo/"),
        ("ws://127.0.0.1:8000/echo/?a=b", "websocket:/echo/"),
        ("https://example.org/anything", "http:/anything"),
        ("/anything", "http:/anything"),
        ("+447700900123", "sms:+447700900123"),
        ("+44 7700 900123", "sms:+44 7700 900123"),
        ("tel:+447700900123", "sms:+447700900123"),
        ("sensors/1/temperature", "mqtt:sensors/1/temperature"),
    ],
)
def test_explain_in_short(short: str, subject: str) -> None:
    kind, text = read_subject(short)
    scope, in_full = scope_of(kind, text, {}), scope_of(*read_subject(subject), {})
    assert scope == in_full


def test_explain_says_how_it_was_understood(folder: Path) -> None:
    assert run(folder, "explain", "ann@example.org").stdout.startswith("email:ann@example.org -> cli_handlers.Tickets")


@pytest.mark.parametrize("subject", ["websocket:/", "mqtt:sensors/1", "email:ann@example.net"])
def test_explain_what_no_route_takes(folder: Path, subject: str) -> None:
    done = run(folder, "explain", subject, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["target"] is None


@pytest.mark.parametrize(
    ("subject", "words"),
    [
        ("carrier-pigeon:3", "is not understood"),
        ("email:", "is not understood"),
        ("email:ann", "'ann' is not a mail address"),
        ("email:Ann <ann@example.org>", "'Ann <ann@example.org>' is not a mail address"),
        ("mqtt:sensors/+", "'sensors/+' is not a topic"),
        ("htp:/x", "'htp:/x' is not understood"),
        ("temperature", "'temperature' is not understood"),
    ],
)
def test_explain_what_is_not_understood(folder: Path, subject: str, words: str) -> None:
    done = run(folder, "explain", subject)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_explain_sees_a_path_as_a_server_does(folder: Path) -> None:
    done = run(folder, "explain", "websocket:/%65cho/?token=1#top", "--json")
    assert json.loads(done.stdout)["target"] == "cli_handlers.Echo"


@pytest.mark.parametrize("command", [["check"], ["routes"], ["explain", "http:/x"]])
def test_what_a_module_prints_is_not_the_answer(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "cli_printing.py").write_text("print('hello')\nasync def app(scope, receive, send): ...")
    (tmp_path / "gateway.yaml").write_text("servers: {web: {protocol: http}}\nroutes: {http: cli_printing.app}")
    done = run(tmp_path, *command, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)
    assert done.stderr == "hello\n"


def test_ctrl_c_says_which_module_it_waited_for(tmp_path: Path) -> None:
    (tmp_path / "cli_slow.py").write_text("import time\nprint('waiting', flush=True)\ntime.sleep(60)")
    (tmp_path / "gateway.yaml").write_text("servers: {web: {protocol: http}}\nroutes: {http: cli_slow.app}")
    command = [sys.executable, "-m", "gateway", "run"]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=40)
    assert process.returncode == 130
    assert re.fullmatch(r"interrupted at cli_slow\.py:[23]\n", error)


def test_a_reader_that_leaves(tmp_path: Path) -> None:
    lines = "".join(f"  - {{topic: 'x/{n}', app: cli_many.app}}\n" for n in range(3000))
    (tmp_path / "cli_many.py").write_text("async def app(scope, receive, send): ...")
    (tmp_path / "gateway.yaml").write_text(f"servers: {{d: {{protocol: mqtt}}}}\nroutes:\n mqtt:\n{lines}")
    command = [sys.executable, "-m", "gateway", "routes"]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "x/0" in process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


@pytest.mark.parametrize("locale", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "cp1252"}, {"PYTHONIOENCODING": "ascii"}])
def test_words_in_any_locale(folder: Path, tmp_path: Path, locale: dict[str, str]) -> None:
    (tmp_path / "gateway.yaml").write_text("servers: {日本: {protocol: http}}\nroutes: {http: a.日本}")
    for command in (["check"], ["check", "--json"], ["--help"], ["explain", "--help"], ["bogus"]):
        done = run(tmp_path, *command, **locale)
        assert "Traceback" not in done.stderr
        assert done.stdout or done.stderr
        assert "--json" not in command or json.loads(done.stdout)["diagnostics"][0]["message"].startswith(
            "'日本' is not a name"
        )


def test_send_mqtt(folder: Path, daemon: Daemon) -> None:
    done = run(folder, "send", "mqtt", "sensors/7/temperature", "21.5")
    assert (done.returncode, without_route(done.stdout)) == (0, "acknowledged\n"), done.stderr
    assert "reading sensors/7/temperature 21.5" in daemon.text


def test_send_mqtt_that_no_handler_takes(folder: Path, daemon: Daemon) -> None:
    done = run(folder, "send", "mqtt", "sensors/7/temperature", "wrong")
    said = "not acknowledged: the gateway closed the connection\n"
    assert (done.returncode, without_route(done.stdout)) == (1, said), done.stderr


def test_send_email(folder: Path, daemon: Daemon) -> None:
    done = run(folder, "send", "email", "help@example.org", "It does not print", "--subject", "Printer")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("250 ")
    assert "mail ['help@example.org'] Printer" in daemon.text


def test_send_email_to_nobody(folder: Path, daemon: Daemon) -> None:
    done = run(folder, "send", "email", "help@example.net", "--json")
    assert done.returncode == 1
    sent = json.loads(done.stdout)
    assert sent["taken"] is False
    assert sent["summary"].startswith("550 ")


@pytest.mark.parametrize("server", ["twilio", "generic"])
def test_send_sms(folder: Path, daemon: Daemon, server: str) -> None:
    done = run(folder, "send", "sms", "+447700900123", "hello", "--server", server)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("200 OK; ")
    assert "thank you for hello" in done.stdout


def test_send_http(folder: Path, daemon: Daemon) -> None:
    assert without_route(run(folder, "send", "http", "/a").stdout) == "200 OK\nGET /a \n"
    assert without_route(run(folder, "send", "http", "/a", "-d", "x").stdout) == "200 OK\nPOST /a x\n"
    assert run(folder, "send", "http", "/teapot").returncode == 1


def test_send_websocket(folder: Path, daemon: Daemon) -> None:
    done = run(folder, "send", "websocket", "/echo/", "one", "two", "--quiet", "0.5")
    assert (done.returncode, without_route(done.stdout)) == (0, "connected\necho one\necho two\n"), done.stderr
    assert run(folder, "send", "websocket", "/nowhere/").returncode == 1


@pytest.mark.parametrize(
    "what", [["mqtt", "t"], ["email", "a@example.org"], ["sms", "+44", "x"], ["http", "/"], ["websocket", "/"]]
)
def test_send_where_nobody_listens(tmp_path: Path, what: list[str]) -> None:
    (tmp_path / "gateway.yaml").write_text(FILE.format(http=free_port(), mqtt=free_port(), smtp=free_port()))
    done = run(tmp_path, "send", *what)
    assert (done.returncode, done.stdout) == (1, "")
    sentence = r"servers\.(web|devices|mail) at 127\.0\.0\.1:\d+: Connection refused; is the gateway running\?"
    assert re.fullmatch(rf"cannot send: {sentence}\n", done.stderr), done.stderr
    done = run(tmp_path, "send", *what, "--json")
    answer = json.loads(done.stdout)
    assert (done.returncode, done.stderr, answer["taken"]) == (1, "", False)
    assert re.fullmatch(rf"cannot send: {sentence}", answer["summary"])


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (["http", "/", "-X", "NO METHOD"], "Method cannot contain"),
        (["email", "ann@example.org", "--subject", "Hello\nBcc: bob@example.org"], "Header values may not contain"),
        (["email", "ann\n@example.org"], "Header values may not contain"),
        (["mqtt", "sensors/#", "1"], "'sensors/#' is not a topic to publish to"),
    ],
)
def test_send_what_no_client_sends(folder: Path, daemon: Daemon, what: list[str], words: str) -> None:
    done = run(folder, "send", *what)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(rf"cannot send: .*{re.escape(words)}.*\n", done.stderr), done.stderr


def test_send_email_in_any_language(folder: Path, daemon: Daemon) -> None:
    done = run(folder, "send", "email", "jürgen@example.org", "Grüße", "--from", "ä@ö.example", "--subject", "Größe")
    assert (done.returncode, done.stdout[:4]) == (0, "250 "), done.stderr
    daemon.says("jürgen@example.org")


def test_send_from_another_folder(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "gateway.yaml").write_text(
        "servers: {web: {protocol: http, bind: 'unix:no.sock'}}\napplication: a.b\n"
    )
    done = run(tmp_path, "send", "http", "/", "-c", "site/gateway.yaml")
    assert "servers.web at unix:no.sock: No such file" in done.stderr
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "site" / "no.sock"))
        done = run(tmp_path, "send", "http", "/", "-c", "site/gateway.yaml")
        assert "servers.web at unix:no.sock: Connection refused" in done.stderr


def test_send_without_such_a_server(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text("servers: {web: {protocol: http}}\napplication: a.b\n")
    done = run(tmp_path, "send", "mqtt", "t", "x")
    assert (done.returncode, done.stderr) == (2, "cannot send: the file has no mqtt server\n")
    done = run(tmp_path, "send", "mqtt", "t", "x", "--json")
    assert (done.returncode, json.loads(done.stdout)["taken"]) == (2, False)


@pytest.mark.parametrize(
    "command",
    [
        "run",
        "check",
        "routes",
        "explain",
        "schema",
        "send mqtt",
        "send email",
        "send sms",
        "send http",
        "send websocket",
    ],
)
def test_help_teaches_with_an_example(tmp_path: Path, command: str) -> None:
    done = run(tmp_path, *command.split(), "--help")
    assert done.returncode == 0
    assert f"gateway {command}" in done.stdout


def _commands(command: Any, *names: str) -> Iterator[list[str]]:
    yield list(names)
    for name, below in getattr(command, "commands", {}).items():
        yield from _commands(below, *names, name)


def test_help_names_no_type_for_a_flag(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    for names in _commands(command := whole_command()):
        command([*names, "--help"], standalone_mode=False, prog_name="gateway")
        shown = capsys.readouterr().out
        assert "--help" in shown
        assert "<bool>" not in shown, names


ROUTES_AND_LOGINS = """
servers:
  web: {protocol: http}
  google: {protocol: imap, host: imap.gmail.com, username: cy@example.org, auth: {google: client.json}}
  team:
    protocol: imap
    host: outlook.office365.com
    accounts:
      - {username: ann@example.org, auth: {microsoft: {client_id: app}}}
      - {username: bob@example.org, auth: {microsoft: {client_id: app}}}
      - {username: dee@example.org, password: hunter2}
routes:
  http: [{path: "^shop/$", app: shop.view}, {path: "^(?P<id>[0-9]+)$", app: shop.view}]
  websocket: [{path: chat, app: shop.Chat}]
  email: [{address: bills@example.org, app: shop.Bills}, {domain: example.org, app: shop.Mail}]
  sms: [{sender: "+4479", app: shop.Texts}]
  mqtt: [{topic: alarms/fire, app: shop.Alarm}, {topic: "sensors/#", app: shop.Sensors}]
"""


def test_completion(folder: Path) -> None:
    assert completed(folder, "gateway send websocket --server w") == ["web"]
    targets = ["cli_handlers.Thermometer", "cli_handlers.Tickets", "cli_handlers.Texts"]
    assert completed(folder, "gateway waiting --route cli_handlers.T") == targets
    assert completed(folder, "gateway tail --route cli_handlers.W") == ["cli_handlers.Web"]


def test_completion_of_what_explain_and_login_take(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(ROUTES_AND_LOGINS)
    offered = ["/shop/", "websocket:chat", "bills@example.org", "+4479", "alarms/fire"]
    kinds = ["http:", "websocket:", "email:", "sms:", "mqtt:"]
    assert sorted(completed(tmp_path, "gateway explain ")) == sorted([*offered, *kinds])
    assert completed(tmp_path, "gateway explain b") == ["bills@example.org"]
    assert completed(tmp_path, "gateway login ") == ["google", "team"]
    assert completed(tmp_path, "gateway login team --username ") == ["ann@example.org", "bob@example.org"]
    assert completed(tmp_path, "gateway send mqtt --exp") == ["--expect-route"]


def test_completion_of_another_file(folder: Path, tmp_path: Path) -> None:
    assert completed(tmp_path, f"gateway -c {folder / 'gateway.yaml'} send mqtt --server ") == ["devices"]


def test_there_is_one_version(tmp_path: Path) -> None:
    assert run(tmp_path, "--version").stdout == f"gateway {__version__}\n"
    assert __version__.startswith(f"{VERSION}.")
    newest = re.search(r"^## \[(\d.+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == __version__
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in package["project"]
    assert package["tool"]["hatch"]["version"]["path"] == "gateway/__init__.py"


@pytest.mark.parametrize(
    ("called", "path", "hint"),
    [
        (".venv/bin/gateway", "/nowhere", ".venv/bin/gateway -c 'my files/gateway.yaml'"),
        (".venv/bin/gateway", "{here}", "gateway -c 'my files/gateway.yaml'"),
        ("gateway/__main__.py", "/nowhere", "gateway -c 'my files/gateway.yaml'"),
    ],
)
def test_hints_can_be_pasted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, called: str, path: str, hint: str
) -> None:
    (tmp_path / "gateway").touch(mode=0o755)
    monkeypatch.setattr(sys, "argv", [called])
    monkeypatch.setenv("PATH", path.format(here=tmp_path))
    assert command_of("my files/gateway.yaml") == hint


def test_a_hint_means_the_same_file_whatever_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert command_of("gateway.yaml") == command_of(None)
    monkeypatch.setenv("GATEWAY_CONFIG", "/etc/gateway.yaml")
    assert command_of("gateway.yaml").endswith(" -c gateway.yaml")
    assert command_of(None).endswith(" -c /etc/gateway.yaml")


@pytest.mark.parametrize(
    "arguments", [["bogus"], ["explain"], ["check", "--bogus"], ["send", "mqtt", "t", "x", "--qos", "7"]]
)
def test_mistakes_in_usage(folder: Path, arguments: list[str]) -> None:
    done = run(folder, *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
