"""The daemon on a full disk: every server refuses, nothing acknowledged is lost, and it goes on when there is room."""

import contextlib
import smtplib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.programs import program
from servers.site import Site, until
from servers.small_disk import SmallDisk, small_disk

pytestmark = pytest.mark.fault

HANDLERS = """
import os

from gateway import EmailConsumer, MqttConsumer, SMSConsumer

BOOK = os.open(os.environ["BOOK"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


class Device(MqttConsumer):
    def receive(self, topic, payload):
        os.write(BOOK, payload + b"\\n")


class Mail(EmailConsumer):
    def receive(self, message):
        os.write(BOOK, message["Subject"].encode() + b"\\n")


class Text(SMSConsumer):
    def receive(self, text, media):
        os.write(BOOK, text.encode() + b"\\n")
"""
CONFIG = """
store: sqlite:disk/gateway.db
servers:
  web: {protocol: http, bind: "127.0.0.1:8000"}
  devices: {protocol: mqtt, bind: "127.0.0.1:1883"}
  mail: {protocol: smtp, bind: "127.0.0.1:8025"}
  texts: {protocol: sms, provider: generic, on: web, path: /hooks/sms, secret: dev-secret}
routes:
  mqtt: {app: full_handlers.Device, inbox: true}
  email: {app: full_handlers.Mail, inbox: true}
  sms: {app: full_handlers.Text, attempts: 3}
log: {level: warning}
"""


class OnIt(Site):
    def example(self) -> str:
        (self.folder / "full_handlers.py").write_text(HANDLERS)
        return self.at_its_addresses(CONFIG)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        self.environment |= {"BOOK": str(self.folder / "book")}
        try:
            self.start()
            yield
        finally:
            self.close()

    def taken(self, what: str) -> dict[str, bool]:
        """Which servers acknowledge ``what``."""
        command = [program("mosquitto_pub"), "-p", str(self.mqtt), "-q", "1", "-t", "t", "-m", f"mqtt-{what}"]
        device = False
        with contextlib.suppress(subprocess.TimeoutExpired):
            device = subprocess.run(command, capture_output=True, timeout=3).returncode == 0
        code = 250
        try:
            self.mail(f"Subject: mail-{what}\r\n\r\nhi\r\n".encode(), sender="a@example.com", to="b@example.org")
        except smtplib.SMTPResponseException as refusal:
            code = refusal.smtp_code
        assert code in (250, 451)
        text = self.sms(f"text-{what}", sender="+447700900123", message_id=what)
        if text.status_code != 200:
            assert text.status_code == 503
            assert int(text.headers["retry-after"]) > 0
        return {"mqtt": device, "mail": code == 250, "text": text.status_code == 200}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk") as disk:
        yield disk


@pytest.fixture
def site(tmp_path: Path, disk: SmallDisk) -> Iterator[OnIt]:
    site = OnIt(tmp_path)
    with site.running():
        yield site


def test_a_full_disk_makes_servers_refuse_and_room_makes_them_go_on(site: OnIt, disk: SmallDisk) -> None:
    assert site.taken("before") == {"mqtt": True, "mail": True, "text": True}
    disk.fill()
    refused: dict[str, bool] = {}
    for number in range(50):  # what SQLite still has room for in its own file is taken
        refused = site.taken(f"full-{number}")
        if not any(refused.values()):
            break
    assert refused == {"mqtt": False, "mail": False, "text": False}
    disk.empty()
    until(lambda: all(site.taken("after").values()), "it takes messages again")
    handled = [f"{kind}-{when}" for kind in ("mqtt", "mail", "text") for when in ("before", "after")]
    book = site.folder / "book"
    until(lambda: set(handled) <= set(book.read_text().split()), f"all are handled\n{site.output()}")
    assert "Traceback" not in site.output()
