"""What lives once, when its worker dies: another worker has it, and goes on with it."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import paho.mqtt.publish as publish
import pytest
from servers.dovecot import USER, Dovecot, dovecot
from servers.mosquitto import Mosquitto, mosquitto
from servers.postgresql import database
from servers.site import until
from servers.workers import Workers

pytestmark = pytest.mark.timeout(120)

ONCE = ("devices", "plant", "support")
"""The names of a broker, a client of a broker, and a mailbox."""
HANDLERS = """
import os
import gateway

def note(what):
    with open("handled", "a") as file:
        file.write(f"{os.getpid()} {what}\\n")

class Page(gateway.AsyncHttpConsumer):
    async def handle(self, body):
        await self.respond(str(os.getpid()))

class Device(gateway.MqttConsumer):
    def receive(self, topic, payload):
        note(topic)

class Mail(gateway.EmailConsumer):
    def receive(self, mail):
        note(mail.subject)
"""
FILE = """
workers: {{workers}}
servers:
  web: {{{{protocol: http, bind: "127.0.0.1:PORT"}}}}
  devices: {{{{protocol: mqtt, bind: "127.0.0.1:{{mqtt}}", anonymous: true, persistence: true}}}}
  plant: {{{{protocol: mqtt-client, url: "{broker}", client_id: us, subscribe: ["plant/#"], qos: 1, retry: 100ms}}}}
  support: {{{{protocol: imap, host: 127.0.0.1, port: {imap}, tls: false, username: {user}, password: secret}}}}
routes:
  http: [{{{{path: "", app: handlers.Page}}}}]
  mqtt: [{{{{topic: "#", app: handlers.Device, inbox: true}}}}]
  email: [{{{{default: true, app: handlers.Mail, inbox: true}}}}]
console: {{{{bind: "127.0.0.1:{{console}}"}}}}
store: {store}
shutdown_timeout: 3s
{{more}}
"""


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Dovecot]:
    with dovecot() as server:
        yield server


@pytest.fixture(scope="module")
def broker() -> Iterator[Mosquitto]:
    with mosquitto() as server:
        yield server


@contextmanager
def running(folder: Path, store: str, broker: Mosquitto, mailbox: Dovecot, workers: int = 2) -> Iterator[Workers]:
    file = FILE.format(store=store, broker=broker.url, imap=mailbox.port, user=USER)
    site = Workers(folder, handlers=HANDLERS, file=file, workers=workers)
    try:
        site.all_serve(workers)
        yield site
    finally:
        site.close()


def moves(site: Workers) -> dict[str, int]:
    """How often a worker has said that it has each of them now."""
    return {name: site.said().count(f"this worker has {name} now") for name in ONCE}


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_a_broker_its_client_and_a_mailbox_move_before_they_are_used_again(
    tmp_path: Path, engine: str, broker: Mosquitto, mailbox: Dovecot, capsys: pytest.CaptureFixture[str]
) -> None:
    """All three are in the first worker. What comes while none has them is handled by the other one."""
    with ExitStack() as stack:
        store = "sqlite:one.db" if engine == "sqlite" else stack.enter_context(database()).url
        site = stack.enter_context(running(tmp_path, store, broker, mailbox))
        assert moves(site) == dict.fromkeys(ONCE, 1)
        victim = site.broker()
        assert victim
        began = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        until(lambda: moves(site) == dict.fromkeys(ONCE, 2), site.said)
        with capsys.disabled():
            sys.stdout.write(f"\n{engine}: all three moved within {time.monotonic() - began:.2f} s\n")
        assert site.broker() not in (0, victim)
        publish.single("here/1", "1", qos=1, hostname="127.0.0.1", port=site.mqtt)
        publish.single("plant/1", "1", qos=1, hostname="127.0.0.1", port=broker.port)
        mailbox.append(b"From: a@example.org\r\nTo: b@example.org\r\nSubject: mail\r\n\r\ntext\r\n")
        until(lambda: handled(site) >= {"here/1", "plant/1", "mail"}, lambda: f"{handled(site)} {site.said()}")


def handled(site: Workers) -> set[str]:
    file = site.folder / "handled"
    return {line.split(maxsplit=1)[1] for line in file.read_text().splitlines()} if file.exists() else set()


def test_a_roll_moves_what_lives_once_no_more_than_once(tmp_path: Path, broker: Mosquitto, mailbox: Dovecot) -> None:
    """A worker that is about to be replaced gets none of it."""
    with running(tmp_path, "sqlite:one.db", broker, mailbox, workers=4) as site:
        before = set(site.pids())
        assert "with the code as it is now" in site.command("reload", "--code")
        until(lambda: not before & set(site.pids()), site.said)
        assert moves(site) == dict.fromkeys(ONCE, 2)
