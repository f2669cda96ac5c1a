"""From a handler that fails to a dead letter that is handled after all, while the daemon runs."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers.command import run
from servers.daemon import Daemon
from servers.ports import free_port
from servers.site import until

HANDLERS = """
from pathlib import Path

from gateway import EmailConsumer, MqttConsumer


def handle(what):
    if not Path("mended").exists():
        raise KeyError("order")
    print(f"handled {what}\\n", end="", flush=True)  # one write: handlers run in parallel, and print is not atomic


class Tickets(EmailConsumer):
    def receive(self, message):
        handle(message["Subject"])


class Readings(MqttConsumer):
    def receive(self, topic, payload):
        handle(f"{topic} {payload.decode()}")
"""
FILE = """
servers:
  devices: {{protocol: mqtt, bind: "127.0.0.1:{mqtt}"}}
  mail: {{protocol: smtp, bind: "127.0.0.1:{smtp}"}}
routes:
  mqtt: {{app: letter_handlers.Readings, attempts: 2, backoff: 10ms}}
  email:
    - {{address: help@example.org, app: letter_handlers.Tickets, on_error: dead-letter}}
    - {{domain: example.org, app: letter_handlers.Tickets, inbox: true, attempts: 2, backoff: 10ms}}
"""


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    (tmp_path / "letter_handlers.py").write_text(HANDLERS)
    (tmp_path / "gateway.yaml").write_text(FILE.format(mqtt=free_port(), smtp=free_port()))
    daemon = Daemon(tmp_path)
    daemon.says("try:")
    yield daemon
    daemon.close()


def dead(folder: Path) -> dict[str, Any]:
    """By subject."""
    return {each["subject"]: each for each in json.loads(run(folder, "dead", "list", "--json").stdout)}


def test_what_failed_is_handled_after_all(daemon: Daemon, tmp_path: Path) -> None:
    for what in (["email", "help@example.org"], ["email", "ann@example.org"], ["mqtt", "sensors/1"]):
        text = ["21.5"] if what[0] == "mqtt" else ["Hello", "--subject", what[1]]
        sent = run(tmp_path, "send", *what, *text)
        assert sent.returncode == 0, f"it was taken: {sent.stdout} {sent.stderr}"
    letters = until(lambda: found if len(found := dead(tmp_path)) == 3 else None, "three dead letters")
    mail = letters["email ann@example.net -> help@example.org"]
    assert (mail["attempts"], mail["error"]) == (1, "KeyError: 'order'")
    assert mail["route"] == "help@example.org -> letter_handlers.Tickets"
    assert letters["email ann@example.net -> ann@example.org"]["attempts"] == 2
    reading = next(each for each in letters.values() if each["type"] == "mqtt")
    assert (reading["route"], reading["attempts"]) == ("mqtt -> letter_handlers.Readings", 2)
    assert "letter_handlers.py" in run(tmp_path, "dead", "show", mail["id"]).stdout, "the traceback"
    assert "Subject: help@example.org" in run(tmp_path, "dead", "show", mail["id"], "--content").stdout

    (tmp_path / "mended").write_text("")
    assert run(tmp_path, "dead", "retry", "--all").stdout == "3 wait again\n"
    for words in ("handled help@example.org", "handled ann@example.org", "handled sensors/1 21.5"):
        daemon.says(words)
    until(lambda: "last step: done" in run(tmp_path, "show", mail["id"]).stdout, "its story has an end")
    assert dead(tmp_path) == {}


def test_a_target_for_all_of_a_type_keeps_its_name(tmp_path: Path) -> None:
    (tmp_path / "letter_handlers.py").write_text(HANDLERS)
    text = "servers: {mail: {protocol: smtp}}\nroutes: {email: {app: letter_handlers.Tickets, inbox: true}}\n"
    (tmp_path / "gateway.yaml").write_text(text)
    assert run(tmp_path, "routes").stdout == "  email  everything  ->  letter_handlers.Tickets\n"
