"""A message that kills the process, each time: attempts are counted before they begin, so that it is counted out."""

import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.command import run
from servers.site import Site, until

pytestmark = pytest.mark.fault

HANDLERS = """
import asyncio, os, signal

from gateway import AsyncMqttConsumer, EmailConsumer, MqttConsumer


def die():
    os.kill(os.getpid(), signal.SIGKILL)


class Device(MqttConsumer):
    def receive(self, topic, payload):
        if payload == b"poison":
            die()
        open(os.environ["BOOK"], "ab").write(payload + b"\\n")


class Together(AsyncMqttConsumer):
    begun = 0

    async def receive(self, topic, payload):
        first = self.scope["extensions"]["delivery"]["attempt"] == 1
        Together.begun += 1
        while first and (payload != b"poison" or Together.begun <= 5):
            await asyncio.sleep(0.01)
        if payload == b"poison":
            die()
        await asyncio.sleep(0.1)
        open(os.environ["BOOK"], "ab").write(payload + b"\\n")


class Mail(EmailConsumer):
    def receive(self, message):
        if message["Subject"] == "poison":
            die()
"""
CONFIG = """
servers:
  web: {protocol: http, bind: "127.0.0.1:8000"}
  devices: {protocol: mqtt, bind: "127.0.0.1:1883"}
  mail: {protocol: smtp, bind: "127.0.0.1:8025"}
routes:
  websocket: gateway.WebsocketConsumer
  mqtt:
    - {topic: together, app: poison_handlers.Together, attempts: 2}
    - {topic: "#", app: poison_handlers.Device, attempts: 2}
  email: {app: poison_handlers.Mail, attempts: 2}
log: {level: warning}
"""


class Poisoned(Site):
    def example(self) -> str:
        (self.folder / "poison_handlers.py").write_text(HANDLERS)
        return self.at_its_addresses(CONFIG)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Poisoned]:
    site = Poisoned(tmp_path)
    site.environment |= {"BOOK": str(tmp_path / "book")}
    site.start()
    yield site
    site.close()


def test_from_the_inbox(site: Poisoned) -> None:
    site.publish("a", "poison")  # acknowledged: it is in the store
    until(site.died, "the message kills the daemon")
    site.spawn()
    until(site.died, "the message kills the daemon again")
    site.start()
    until(lambda: "1 dead letter" in run(site.folder, "dead", "list").stdout, "counted out")
    site.publish("a", "good")
    until((site.folder / "book").exists, "the next message is handled")
    assert not site.died()


def test_its_neighbours_do_not_pay_for_it(site: Poisoned) -> None:
    neighbours = [f"neighbour {number}" for number in range(5)]
    for payload in ("poison", *neighbours):
        site.publish("together", payload)  # the last of them lets it kill the daemon, and all of them are at work
    until(site.died, "the message kills the daemon")
    site.spawn()
    until(site.died, "the message kills the daemon again")
    site.start()
    book = site.folder / "book"
    until(lambda: book.exists() and len(book.read_text().splitlines()) == 5, "its neighbours are handled")
    assert sorted(book.read_text().splitlines()) == neighbours
    listed = run(site.folder, "dead", "list").stdout
    assert "1 dead letter" in listed
    assert "2 attempts were cut off" in listed


def test_while_its_sender_waits(site: Poisoned) -> None:
    poison = b"Subject: poison\r\nMessage-ID: <1@x>\r\n\r\nhi\r\n"
    for _ in range(2):
        with pytest.raises((smtplib.SMTPException, OSError)):
            site.mail(poison, sender="a@example.com", to="b@example.org")
        until(site.died, "the message kills the daemon")
        site.start()
    site.mail(poison, sender="a@example.com", to="b@example.org")  # taken: it is a dead letter now
    assert "1 dead letter" in run(site.folder, "dead", "list").stdout
    assert not site.died()
