"""A gateway to which each protocol brings a message with W3C Trace Context, as bytes on a real socket. Its handler
calls an HTTP server, publishes, and sends a mail."""

import asyncio
import contextlib
import email
import secrets
import sys
from collections.abc import AsyncIterator, Sequence
from email.policy import default
from pathlib import Path

import aiosmtplib
from gateway_traced import Traced, traced
from servers.texts import webhook
from servers.traced_device import Device
from waiting import until

Field = tuple[str, str]
HANDLERS = """
import aiohttp
from opentelemetry import propagate

from gateway import AsyncEmailConsumer, AsyncHttpConsumer, AsyncMqttConsumer, AsyncSMSConsumer, AsyncWebsocketConsumer
from gateway import aio

called = []


async def tell():
    headers = {}
    propagate.inject(headers)  # as the instrumentation of an HTTP client does
    called.append(headers)
    await aio.publish("answers", b"yes")
    await aio.send_mail("b@example.org", subject="Hello", text="hello", from_="a@example.org")


class Web(AsyncHttpConsumer):
    async def handle(self, body):
        await tell()
        await self.respond("done")


class Chat(AsyncWebsocketConsumer):
    async def connect(self, message):
        await self.accept()
        await tell()


class Things(AsyncMqttConsumer):
    async def receive(self, topic, payload):
        await tell()


class Mails(AsyncEmailConsumer):
    async def receive(self, message):
        await tell()


class Texts(AsyncSMSConsumer):
    async def receive(self, text, media):
        await tell()
"""
FILE = """
servers:
  web: {protocol: http, bind: "127.0.0.1:0"}
  devices: {protocol: mqtt, bind: "127.0.0.1:0", anonymous: true}
  mail: {protocol: smtp, bind: "127.0.0.1:0"}
  texts: {protocol: sms, provider: generic, on: web, path: /hooks/texts, secret: s3cret, send_url: "file:texts"}
routes:
  http: [{path: "^", app: traced_handlers.Web}]
  websocket: [{path: "^", app: traced_handlers.Chat}]
  mqtt: [{topic: things/+, app: traced_handlers.Things, inbox: INBOX}]
  email: [{default: true, app: traced_handlers.Mails, inbox: INBOX}]
  sms: [{default: true, app: traced_handlers.Texts, inbox: INBOX}]
submission: {url: "file:out"}
store: sqlite:traced.db
log: {level: warning}
tracing: {endpoint: "COLLECTOR", sample: 0%, trust: [TRUSTED]}
"""
EVERYBODY = "web, devices, mail"
PROTOCOLS = ("http", "websocket", "mqtt", "mail", "sms")
SPANS = {
    "http": ("GET ^",),
    "websocket": ("GET ^",),
    "mqtt": ("process things/+", "receive things/+"),
    "mail": ("process default", "receive default"),
    "sms": ("process default", "receive default"),
}


class Crossing:
    """The gateway, its peers, and what they have got."""

    def __init__(self, gateway: Traced, device: Device) -> None:
        self.gateway = gateway
        self.collector = gateway.collector
        self._device = device

    async def bring(self, protocol: str, fields: Sequence[Field]) -> None:
        match protocol:
            case "http":
                await self._request(
                    f"GET / HTTP/1.1\r\nHost: localhost\r\n{_lines(fields)}Connection: close\r\n\r\n", "200"
                )
            case "websocket":
                upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                await self._request(f"GET / HTTP/1.1\r\nHost: localhost\r\n{upgrade}{key}{_lines(fields)}\r\n", "101")
            case "mqtt":
                await self._device.publish_pairs("things/1", fields)
            case "mail":
                await self._mail(f"{_lines(fields)}From: a@example.net\r\nSubject: Hello\r\n\r\nhello\r\n")
            case "sms":
                await self._text(fields)

    async def left(self, number: int = 1) -> list[dict[str, str]]:
        """The fields of all that a handler has sent: by HTTP, by MQTT and by mail."""
        called = sys.modules["traced_handlers"].called
        await until(lambda: len(called) >= number and len(self._device.got) >= number and len(_mails()) >= number)
        published = dict(self._device.got[-1].properties.json().get("UserProperty", []))
        mail = email.message_from_bytes(_mails()[-1].read_bytes(), policy=default)
        mailed = {name.lower(): str(mail[name]) for name in ("Traceparent", "Tracestate") if name in mail}
        return [called[-1], published, mailed]

    async def _request(self, head: str, status: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.gateway.port("web"))
        writer.write(head.encode("utf-8", "surrogateescape"))
        assert f" {status}" in (await reader.readline()).decode()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def _mail(self, text: str) -> None:
        content, port = text.encode("utf-8", "surrogateescape"), self.gateway.port("mail")
        await aiosmtplib.send(
            content, sender="a@example.net", recipients=["b@example.org"], hostname="127.0.0.1", port=port
        )

    async def _text(self, fields: Sequence[Field]) -> None:
        body, signed = webhook("hello", secrets.token_hex(8))
        head = f"POST /hooks/texts HTTP/1.1\r\nHost: localhost\r\n{_lines([*signed.items(), *fields])}"
        length = f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        await self._request(head + length + body.decode(), "20")


def _mails() -> list[Path]:
    """What has left, the newest last."""
    return sorted(Path("out/new").glob("*"), key=lambda path: path.stat().st_mtime_ns)


def _lines(fields: Sequence[Field]) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in fields)


@contextlib.asynccontextmanager
async def crossing(*, trusted: str = EVERYBODY, inbox: bool = False, sample: str = "0%") -> AsyncIterator[Crossing]:
    file = FILE.replace("TRUSTED", trusted).replace("INBOX", str(inbox).lower()).replace("0%", sample)
    async with traced(file) as gateway:
        device = Device(gateway.port("devices"))
        await device.subscribe("answers")
        try:
            yield Crossing(gateway, device)
        finally:
            device.close()
