"""A sync handler that blocks holds up nobody but its own sender."""

import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from servers.programs import program
from servers.site import PATIENCE, Site, until

HANDLERS = """
import pathlib, time

from gateway import EmailConsumer, HttpConsumer, MqttConsumer, SMSConsumer, WebsocketConsumer


class Blocking(SMSConsumer):
    def receive(self, text, media):
        here = pathlib.Path(__file__).parent
        (here / "blocked").touch()
        while not (here / "release").exists():
            time.sleep(0.01)
        self.reply("at last")


class Page(HttpConsumer):
    def handle(self, body):
        self.respond("page")


class Echo(WebsocketConsumer):
    def receive(self, text, bytes=None):
        self.send(text=text)


class Taken(MqttConsumer):
    pass


class Read(EmailConsumer):
    def receive(self, message):
        pass
"""
CONFIG = """
servers:
  web: {protocol: http, bind: "127.0.0.1:8000"}
  devices: {protocol: mqtt, bind: "127.0.0.1:1883"}
  mail: {protocol: smtp, bind: "127.0.0.1:8025"}
  texts: {protocol: sms, provider: generic, on: web, path: /hooks/sms, secret: dev-secret, timeout: 60s}
routes:
  {http: blocking.Page, websocket: blocking.Echo, mqtt: blocking.Taken, email: blocking.Read, sms: blocking.Blocking}
"""


class Blocked(Site):
    def example(self) -> str:
        (self.folder / "blocking.py").write_text(HANDLERS)
        return self.at_its_addresses(CONFIG)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Blocked]:
    program("mosquitto_pub")  # or skip now: in the middle of the test it would leave a thread that waits
    site = Blocked(tmp_path)
    site.start()
    yield site
    site.close()


def test_the_other_protocols_go_on_while_one_handler_blocks(site: Blocked) -> None:
    answers: list[httpx.Response] = []
    text = threading.Thread(
        target=lambda: answers.append(site.sms("hi", sender="+447700900123", message_id="m-1")), daemon=True
    )
    text.start()
    until((site.folder / "blocked").exists, "the handler blocks")
    assert httpx.get(site.url("/")).text == "page"
    with site.websocket("/") as peer:
        peer.send("hi")
        assert peer.recv(PATIENCE) == "hi"
    site.publish("a", "1")
    site.mail(b"Subject: hi\r\n\r\nhi\r\n", sender="a@example.com", to="b@example.org")
    assert answers == []
    (site.folder / "release").touch()
    text.join(PATIENCE)
    assert answers[0].json()["replies"][0]["text"] == "at last"
