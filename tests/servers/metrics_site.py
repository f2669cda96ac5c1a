"""A gateway that has one of everything that is measured, and its metrics as a scrape gets them."""

from pathlib import Path

from servers.certificates import make
from servers.measured import Measured

from protocols.access.users import hash_password

FILE = """
servers:
  web: {protocol: http, bind: "127.0.0.1:PORT_web"}
  secure: {protocol: http, bind: "127.0.0.1:PORT_secure", tls: {certificate: tls.pem, key: tls.key}}
  guarded: {protocol: http, bind: "127.0.0.1:PORT_guarded",
    tls: {certificate: tls.pem, key: tls.key, client_ca: tls.pem}}
  devices: {protocol: mqtt, bind: "127.0.0.1:PORT_devices", anonymous: true}
  mail: {protocol: smtp, bind: "127.0.0.1:PORT_mail", users: {ann: "HASHED"}}
  support: {protocol: imap, host: 127.0.0.1, port: PORT_nobody, tls: false, username: a, password: b}
  plant: {protocol: mqtt-client, url: "mqtts://127.0.0.1:PORT_nobody", subscribe: ["#"], certificate: tls.pem,
    key: tls.key}
routes:
  http: handlers.Page
  mqtt: {app: handlers.Device, inbox: true, attempts: 1}
  email: {app: handlers.Desk, attempts: 1}
submission: {url: "smtp://127.0.0.1:PORT_nobody", ca: tls.pem}
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


class WholeSite(Measured):
    """Nobody listens on the port ``nobody``."""

    def __init__(self, folder: Path) -> None:
        make(folder, "tls")
        super().__init__(folder, FILE.replace("HASHED", hash_password(b"right")), HANDLERS)
