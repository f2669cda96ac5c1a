"""Peers that talk to a gateway whose processes take over from each other. What is answered has to be handled, once.

These are the basic ones; :mod:`servers.replaced_mqtt` and :mod:`servers.replaced_streams` have more.
"""

import collections
import smtplib
import threading
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from types import TracebackType
from typing import Any, Protocol

import httpx
import paho.mqtt.client as mqtt
import pytest
from servers.ports import free_port
from servers.replaced import Replaced
from servers.site import until
from servers.texts import webhook

HANDLERS = """
import os
import gateway

handled = open("handled", "a", buffering=1)

async def page(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})

class Device(gateway.AsyncMqttConsumer):
    async def receive(self, topic, payload):
        text = payload.decode()
        handled.write(f"{text.partition('-')[0]} {text}\\n")

class Mail(gateway.AsyncEmailConsumer):
    async def receive(self, message):
        handled.write(f"{self.scope['listener']} {message.subject}\\n")

class Text(gateway.AsyncSMSConsumer):
    async def receive(self, text, media):
        handled.write(f"sms {text}\\n")

class Socket(gateway.AsyncWebsocketConsumer):
    async def receive(self, text=None, bytes=None):
        handled.write(f"{text.partition('-')[0]} {text}\\n")
        await self.send(text=text)
"""
_FILE = """
servers:
  web: {{protocol: http, bind: "127.0.0.1:PORT"}}
  devices: {{protocol: mqtt, bind: "127.0.0.1:{mqtt}", anonymous: true, persistence: {persistence}}}
  smtp: {{protocol: smtp, bind: "127.0.0.1:{smtp}", max_connection_rate: 0, max_message_rate: 0}}
  lmtp: {{protocol: lmtp, bind: "127.0.0.1:{lmtp}"}}
  texts: {{protocol: sms, provider: generic, on: web, path: /hooks/sms, secret: s3cret, send_url: "http://127.0.0.1:9"}}
{more}
routes:
  http: load_handlers.page
  websocket: load_handlers.Socket
  mqtt: {{app: load_handlers.Device, topic: "#", inbox: true}}
  email: {{app: load_handlers.Mail, default: true, inbox: true}}
  sms: {{app: load_handlers.Text, default: true, inbox: true}}
store: sqlite:one.db
log: {{level: warning}}
"""
PATIENCE = 60.0
Say = Callable[[str], None]
"""Says what it gets once, and returns when that is answered."""


class Peers(Protocol):
    """More that talks to the gateway."""

    servers: str
    """Lines of the file: the servers that they need."""

    def begin(self, load: "Load") -> dict[str, Say]:
        """Begin to talk to the gateway that ``load.running`` is. Return who speaks, each on a thread."""

    def end(self) -> None:
        """See that everything has come, when the speakers have ended."""

    def close(self) -> None:
        """Leave nothing behind."""


class Load:
    """Peers of HTTP, MQTT at QoS 2, SMTP, LMTP and SMS, each on a thread."""

    def __init__(self, *, persistence: bool, more: Sequence[Peers] = ()) -> None:
        self.ports = {name: free_port() for name in ("mqtt", "smtp", "lmtp")}
        self._more = more
        servers = "\n".join(each.servers for each in more)
        config = _FILE.format(**self.ports, persistence=str(persistence).lower(), more=servers)
        self.files = {"gateway.yaml": config, "load_handlers.py": HANDLERS}
        self.said: collections.defaultdict[str, list[str]] = collections.defaultdict(list)
        """What was acknowledged, by protocol."""
        self.failures: list[str] = []
        """What a peer was refused. A connection that ends is none: the peer comes back."""
        self.heard: collections.Counter[str] = collections.Counter()
        """What the subscriber got."""
        self.lost: set[str] = set()
        """What may have been lost: QoS 0, where the connection ended."""
        self.sent_again: set[str] = set()
        """What may be handled twice: the connection ended before the answer came, and the protocol cannot tell."""
        self.web = ""
        """Where the http server is; a proxy may be before it."""
        self._stopping = threading.Event()
        self._clients: list[mqtt.Client] = []
        self._published: collections.deque[int] = collections.deque(maxlen=100)

    def begin(self, running: Replaced) -> None:
        self.running = running
        self.web = self.web or running.url
        subscriber = self._client("subscriber")
        subscriber.on_message = lambda _, __, message: self.heard.update([message.payload.decode()])
        subscribed = threading.Event()
        subscriber.on_subscribe = lambda *_: subscribed.set()
        subscriber.subscribe("t", 2)
        assert subscribed.wait(PATIENCE)
        publisher = self._client("publisher")
        publisher.on_publish = lambda _, __, number, *___: self._published.append(number)
        talks: dict[str, Say] = {
            "http": self._ask,
            "sms": self._text,
            "smtp": lambda name: self._mail(smtplib.SMTP, name),
            "lmtp": lambda name: self._mail(smtplib.LMTP, name),
            "mqtt": lambda name: self._publish(publisher, name),
        }
        for each in self._more:
            talks |= each.begin(self)
        self._threads = [threading.Thread(target=self._talk, args=each, daemon=True) for each in talks.items()]
        for thread in self._threads:
            thread.start()

    def _client(self, name: str) -> mqtt.Client:
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5)
        client.reconnect_delay_set(1, 1)
        properties = mqtt.Properties(mqtt.PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600
        client.connect("127.0.0.1", self.ports["mqtt"], clean_start=False, properties=properties)
        client.loop_start()
        until(client.is_connected, "it is connected")
        self._clients.append(client)
        return client

    def _talk(self, protocol: str, say: Say) -> None:
        while not self._stopping.is_set():
            name = f"{protocol}-{len(self.said[protocol])}"
            try:
                say(name)
            except (
                httpx.RemoteProtocolError,
                httpx.ReadError,
                httpx.WriteError,
                smtplib.SMTPServerDisconnected,
                ConnectionResetError,
            ):
                continue  # nothing was acknowledged: the same again
            except (Exception, pytest.fail.Exception) as error:
                self.failures.append(f"{name}: {type(error).__name__}: {error}")
                self._stopping.wait(0.1)
                continue
            self.said[protocol].append(name)
            self._stopping.wait(0.03)

    def _ask(self, name: str) -> None:
        httpx.get(self.web, timeout=PATIENCE).raise_for_status()

    def _publish(self, publisher: mqtt.Client, name: str) -> None:
        """While it is not connected, the client keeps it and sends it then."""
        number = publisher.publish("t", name.encode(), 2).mid
        until(lambda: number in self._published, f"{name} is published", PATIENCE)

    def _text(self, name: str) -> None:
        body, headers = webhook(name, name)
        url = f"{self.web}hooks/sms"
        httpx.post(url, content=body, headers=headers, timeout=PATIENCE).raise_for_status()

    def _mail(self, client: type[smtplib.SMTP], name: str) -> None:
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = "ann@example.org", "help@example.org", name
        mail["Message-ID"], mail["Date"] = f"<{name}@example.org>", "Mon, 04 May 2026 09:18:45 +0000"
        mail.set_content("Hello")
        with client("127.0.0.1", self.ports[name.partition("-")[0]], timeout=PATIENCE) as session:
            session.send_message(mail)

    def handled(self) -> collections.Counter[str]:
        return collections.Counter((self.running.folder / "handled").read_text().splitlines())

    def expected(self) -> set[str]:
        """Return the lines of what was acknowledged."""
        return {
            f"{protocol} {name}"
            for protocol, names in self.said.items()
            if protocol != "http"
            for name in names
            if name not in self.lost
        }

    def doubled(self) -> set[str]:
        """Return the lines that were handled more than once, and should not have been."""
        found = {line for line, times in self.handled().items() if times > 1}
        return {line for line in found if line.partition(" ")[2] not in self.sent_again}

    def grows(self) -> None:
        """Wait until every peer has been answered again."""
        before = {protocol: len(names) for protocol, names in self.said.items()}
        until(
            lambda: all(len(self.said[each]) > before[each] + 1 for each in before),
            lambda: str(self.failures),
            PATIENCE,
        )

    def end(self) -> None:
        """Stop, and see that what was acknowledged has been handled."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(PATIENCE)
        until(
            lambda: self.expected() <= self.handled().keys(),
            lambda: str(self.expected() - self.handled().keys()),
            PATIENCE,
        )
        until(
            lambda: self.heard.keys() >= set(self.said["mqtt"]),
            lambda: str(set(self.said["mqtt"]) - self.heard.keys()),
            PATIENCE,
        )
        for each in self._more:
            each.end()

    def __enter__(self) -> "Load":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> Any:
        self._stopping.set()
        for client in self._clients:
            client.disconnect()
            client.loop_stop()
        for each in self._more:
            each.close()
