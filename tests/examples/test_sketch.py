"""The sketch of October 2017, verbatim, served by the daemon: in Python and in YAML it behaves alike."""

import re
import smtplib
import subprocess
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import httpx
import pytest
from servers.programs import program
from servers.site import PATIENCE, ROOT, Site

SERVERS = f"""
path: {ROOT / "examples"}
servers:
  web: {{protocol: http, bind: "127.0.0.1:8000"}}
  devices: {{protocol: mqtt, bind: "127.0.0.1:1883"}}
  mail: {{protocol: smtp, bind: "127.0.0.1:8025"}}
  texts: {{protocol: sms, provider: generic, on: web, path: /hooks/sms, secret: dev-secret}}
"""
IN_PYTHON = "application: sketch:application\n"
IN_YAML = """
routes:
  http:
    - {path: "^longpoll/$", app: sketch.LongpollConsumer}
    - {path: "^", app: sketch.DjangoViewSystem}
  websocket:
    - {path: "^chat/$", app: sketch.AsyncChatConsumer}
  mqtt: sketch.MqttTemperatureConsumer
  email:
    - {recipient: "@support.aeracode.org", app: sketch.SupportTicketHandler}
    - {recipient: "@twitter.aeracode.org", app: sketch.TwitterEmailGateway}
  sms:
    - {sender: "+44", app: sketch.UKTextHandler}
    - {sender: "+1", app: sketch.USTextHandler}
    - {default: true, app: sketch.UnknownTextHandler}
"""
LISTING = """
application = ProtocolTypeRouter({
    "http": URLRouter([url("^longpoll/$", LongpollConsumer), url("^", DjangoViewSystem)]),
    "websocket": URLRouter([url("^chat/$", AsyncChatConsumer)]),
    "mqtt": MqttTemperatureConsumer,
    "email": EmailToRouter([regex("@support.aeracode.org", SupportTicketHandler), regex("@twitter.aeracode.org", TwitterEmailGateway)]),
    "sms": SMSFromRouter([phone("+44", UKTextHandler), phone("+1", USTextHandler), default(UnknownTextHandler)]),
})
"""  # noqa: E501 -- verbatim
CONSUMERS = """
class ChatConsumer(WebsocketConsumer):            # sync: runs on a thread
    def connect(self, message):
        self.accept()
        self.username = "Anonymous"
        self.send(text="[Welcome %s!]" % self.username)
    def receive(self, text, bytes=None):
        if text.startswith("/name"):
            self.username = text[5:].strip()
            self.send(text="[set your username to %s]" % self.username)
        else:
            self.send(text=self.username + ": " + text)


class AsyncChatConsumer(AsyncConsumer):           # async: raw events, one method per event type
    async def websocket_connect(self, message):
        await self.send({"type": "websocket.accept"})
    async def websocket_receive(self, message):
        await self.send({"type": "websocket.send", "text": message["text"]})
"""


class Sketch(Site):
    routes = IN_PYTHON

    def example(self) -> str:
        return self.at_its_addresses(SERVERS + self.routes)


class SketchInYAML(Sketch):
    routes = IN_YAML


class SketchWithSyncChat(Sketch):
    routes = 'routes: {websocket: [{path: "^chat/$", app: sketch.ChatConsumer}], http: sketch.LongpollConsumer, '
    routes += "mqtt: sketch.MqttTemperatureConsumer, email: {domain: example.org, app: sketch.SupportTicketHandler}, "
    routes += "sms: sketch.UKTextHandler}\n"


def serve(kind: type[Sketch], folder: Path) -> Iterator[Sketch]:
    site = kind(folder)
    site.start()
    yield site
    site.close()


@pytest.fixture(scope="module", params=[Sketch, SketchInYAML], ids=["python", "yaml"])
def sketch(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sketch]:
    yield from serve(request.param, tmp_path_factory.mktemp("sketch"))


def test_the_file_holds_the_sketch_verbatim() -> None:
    text = (ROOT / "examples" / "sketch.py").read_text()
    assert LISTING in text
    assert CONSUMERS in text


def test_http(sketch: Sketch) -> None:
    assert httpx.get(sketch.url("/longpoll/")).text == "nothing new\n"
    assert httpx.get(sketch.url("/anything/else")).text == "the site\n"


def test_chat(sketch: Sketch) -> None:
    with sketch.websocket("/chat/") as peer:
        peer.send("hello")
        assert peer.recv(PATIENCE) == "hello"


def test_mqtt(sketch: Sketch) -> None:
    sketch.publish("sensors/1/temperature", "21.5")
    command = [program("mosquitto_pub"), "-h", "127.0.0.1", "-p", str(sketch.mqtt), "-q", "1", "-t", "sensors/1"]
    refused = subprocess.run([*command, "-m", "warm"], timeout=PATIENCE, capture_output=True, text=True)
    assert refused.returncode != 0  # its handler raised: no PUBACK, and the connection is closed
    assert re.search(r"ERROR +mqtt .*sketch.MqttTemperatureConsumer: ValueError", sketch.output())


@pytest.mark.parametrize(
    ("recipient", "code"),
    [("ann@support.aeracode.org", 250), ("x@twitter.aeracode.org", 250), ("x@aeracode.org", 550)],
)
def test_email(sketch: Sketch, recipient: str, code: int) -> None:
    message = EmailMessage()
    message["Subject"] = "hello"
    message.set_content("hi")
    with smtplib.SMTP("127.0.0.1", sketch.smtp, timeout=PATIENCE) as client:
        client.ehlo()
        client.mail("bob@example.com")
        answer = client.rcpt(recipient)
        if code == 250:
            answer = client.data(message.as_bytes())
    assert answer[0] == code


@pytest.mark.parametrize(
    ("sender", "answer"),
    [("+447700900123", "Cheers"), ("+14155550100", "Thanks"), ("+33123456789", "Hello, wherever you are")],
)
def test_sms(sketch: Sketch, sender: str, answer: str) -> None:
    response = sketch.sms("hi", sender=sender, message_id=f"m-{sender}")
    assert response.json()["replies"] == [{"to": sender, "from": "+447700900999", "text": answer}]


def test_the_sync_chat(tmp_path: Path) -> None:
    for site in serve(SketchWithSyncChat, tmp_path):
        with site.websocket("/chat/") as ann, site.websocket("/chat/") as bob:
            assert [peer.recv(PATIENCE) for peer in (ann, bob)] == ["[Welcome Anonymous!]"] * 2
            ann.send("/name Ann")
            assert ann.recv(PATIENCE) == "[set your username to Ann]"
            ann.send("hi")
            bob.send("hi")
            assert (ann.recv(PATIENCE), bob.recv(PATIENCE)) == ("Ann: hi", "Anonymous: hi")
