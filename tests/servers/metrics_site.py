"""A gateway that has one of everything that is measured, and its metrics as a scrape gets them."""

from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families
from servers.certificates import make
from servers.daemon import Daemon
from servers.ports import free_port

from protocols.access.users import hash_password

FILE = """
servers:
  web: {{protocol: http, bind: "127.0.0.1:{web}"}}
  secure: {{protocol: http, bind: "127.0.0.1:{secure}", tls: {{certificate: tls.pem, key: tls.key}}}}
  devices: {{protocol: mqtt, bind: "127.0.0.1:{devices}", anonymous: true}}
  mail: {{protocol: smtp, bind: "127.0.0.1:{mail}", users: {{ann: "{hashed}"}}}}
  support: {{protocol: imap, host: 127.0.0.1, port: {nobody}, tls: false, username: a, password: b}}
  plant: {{protocol: mqtt-client, url: "mqtts://127.0.0.1:{nobody}", subscribe: ["#"], certificate: tls.pem,
    key: tls.key}}
routes:
  http: handlers.Page
  mqtt: {{app: handlers.Device, inbox: true, attempts: 1}}
  email: {{app: handlers.Desk, attempts: 1}}
submission: {{url: "smtp://127.0.0.1:{nobody}", ca: tls.pem}}
console: {{bind: "127.0.0.1:{console}"}}
"""
HANDLERS = """
from gateway import AsyncEmailConsumer, AsyncMqttConsumer, HttpConsumer

class Page(HttpConsumer):
    def handle(self, body):
        self.respond("hello")

class Device(AsyncMqttConsumer):
    async def receive(self, topic, payload):
        raise RuntimeError("it never works")

class Desk(AsyncEmailConsumer):
    async def receive(self, message):
        pass
"""
NAMES = ("web", "secure", "devices", "mail", "nobody", "console")

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


class WholeSite(Daemon):
    """``port`` has the port of each server, and of the console; nobody listens on ``nobody``."""

    def __init__(self, folder: Path) -> None:
        self.port = {name: free_port() for name in NAMES}
        make(folder, "tls")
        (folder / "handlers.py").write_text(HANDLERS)
        (folder / "gateway.yaml").write_text(FILE.format(**self.port, hashed=hash_password(b"right")))
        super().__init__(folder)
        self.says("/metrics")

    @property
    def console(self) -> str:
        return f"127.0.0.1:{self.port['console']}"

    def scrape(self) -> Series:
        """The value of each series, by its name and labels."""
        text = httpx.get(f"http://{self.console}/metrics", timeout=15).text
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for metric in text_string_to_metric_families(text)
            for sample in metric.samples
        }

    def value(self, name: str, **labels: str) -> float | None:
        """The value now; None if there is no such series."""
        return self.scrape().get((name, frozenset(labels.items())))
