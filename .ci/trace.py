"""The way of one message of each protocol through the source, from its socket to the handler: ``python .ci/trace.py``.

A gateway runs in this process. Every call of a function of ours, from the first byte of the message until the handler
has it, is recorded; calls one after the other in the same file count as one stop.
"""

import asyncio
import contextlib
import json
import os
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from gateway.config.loader import parse
from gateway.runtime.build import build
from gateway.runtime.install import install
from gateway.runtime.running import RunningGateway

ROOT = Path(__file__).resolve().parents[1]
HANDLERS = """
from gateway import AsyncEmailConsumer, AsyncMqttConsumer, AsyncSMSConsumer, AsyncWebsocketConsumer

handled = []

async def page(scope, receive, send):
    handled.append("http")
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})

class Echo(AsyncWebsocketConsumer):
    async def receive(self, text, bytes=None):
        handled.append("websocket")

class Device(AsyncMqttConsumer):
    async def receive(self, topic, payload):
        handled.append(topic)

class Mail(AsyncEmailConsumer):
    async def receive(self, message):
        handled.append(self.scope["rcpt_to"][0])

class Texts(AsyncSMSConsumer):
    async def receive(self, text, media):
        handled.append("sms")
"""
CONFIG = """
servers:
  web: {{protocol: http, bind: "127.0.0.1:0"}}
  devices: {{protocol: mqtt, bind: "127.0.0.1:0"}}
  mail: {{protocol: smtp, bind: "127.0.0.1:0"}}
  texts: {{protocol: sms, provider: generic, on: web, path: /hooks/sms, insecure: true}}
routes:
  http: traced_handlers.page
  websocket: traced_handlers.Echo
  mqtt:
    - {{topic: plain, app: traced_handlers.Device}}
    - {{topic: inbox, app: traced_handlers.Device, inbox: true}}
  email:
    - {{address: plain@x.org, app: traced_handlers.Mail}}
    - {{address: policy@x.org, app: traced_handlers.Mail, attempts: 3}}
    - {{address: inbox@x.org, app: traced_handlers.Mail, inbox: true}}
  sms: traced_handlers.Texts
store: "sqlite:{store}"
log: {{level: error}}
"""
ROUTERS = "gateway/routing/", "gateway/scopes/"


@dataclass
class Trace:
    """What was called for one message."""

    files: list[str] = field(default_factory=list)
    """In order, a file once for all calls that follow each other in it."""
    lookups: int = 0
    """How often a router looked for its route; a router of routers is two."""

    def call(self, frame: FrameType, event: str, _: object) -> None:
        name = frame.f_code.co_filename
        if event != "call" or not name.startswith((f"{ROOT}/gateway/", f"{ROOT}/protocols/")):
            return
        path = os.path.relpath(name, ROOT)
        if not self.files or self.files[-1] != path:
            self.files.append(path)
        self.lookups += frame.f_code.co_name == "find" and path.startswith(ROUTERS) and self._is_new(frame)

    @staticmethod
    def _is_new(frame: FrameType) -> bool:
        """Whether it is not a subclass's ``find`` that calls this one."""
        return frame.f_back is None or frame.f_back.f_code.co_name != "find"


@contextlib.contextmanager
def recording(trace: Trace) -> Iterator[None]:
    sys.setprofile(trace.call)
    try:
        yield
    finally:
        sys.setprofile(None)


async def traced(address: str, before: Sequence[bytes], message: bytes, handled: list[str]) -> Trace:
    """Say ``before``, an answer to each, and then ``message``, which is traced until it is handled."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for each in before:
        writer.write(each)
        await reader.read(4096)
    await asyncio.sleep(0.1)
    trace, count = Trace(), len(handled)
    with recording(trace):
        writer.write(message)
        async with asyncio.timeout(5):
            while len(handled) == count:  # noqa: ASYNC110 -- the handler tells nobody
                await asyncio.sleep(0)
    writer.close()
    return trace


def _string(text: bytes) -> bytes:
    return len(text).to_bytes(2, "big") + text


def _packet(first: int, body: bytes) -> bytes:
    return bytes((first, len(body))) + body


def messages() -> dict[str, tuple[str, list[bytes], bytes]]:
    """Name -> server, what is said before, the message."""
    connect = _packet(0x10, _string(b"MQTT") + b"\4\2\0\0" + _string(b"traced"))
    upgrade = b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    upgrade += b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    text = json.dumps({"id": "m1", "from": "+4915112345678", "to": "+4930123456", "text": "hi"}).encode()
    post = b"POST /hooks/sms HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
    found: dict[str, tuple[str, list[bytes], bytes]] = {
        "HTTP": ("web", [], b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        "WebSocket": ("web", [upgrade], b"\x81\x82\0\0\0\0hi"),
        "SMS": ("web", [], post % (len(text), text)),
    }
    for name in (b"plain", b"inbox"):
        found[f"MQTT, {name.decode()}"] = ("devices", [connect], _packet(0x32, _string(name) + b"\0\1" + b"21.5"))
    for name in (b"plain", b"policy", b"inbox"):
        envelope = [b"", b"HELO x\r\n", b"MAIL FROM:<a@y.org>\r\n", b"RCPT TO:<%b@x.org>\r\n" % name, b"DATA\r\n"]
        content = b"Subject: hi\r\nMessage-ID: <%b@y.org>\r\n\r\nhi\r\n.\r\n" % name
        found[f"SMTP, {name.decode()}"] = ("mail", envelope, content)
    return found


def made(folder: Path) -> RunningGateway:
    (folder / "traced_handlers.py").write_text(HANDLERS)
    text = CONFIG.format(store=folder / "gateway.db")
    return RunningGateway(build(parse(text, name="gateway.yaml", folder=folder, environ={})))


async def traces() -> dict[str, Trace]:
    """The traces of the second message of each kind: the first imports, and fills what is remembered."""
    with tempfile.TemporaryDirectory() as folder:
        running = made(Path(folder))
        await install(running)
        addresses = {server.name: server.address for server in running.gateway.servers}
        handled: list[str] = sys.modules["traced_handlers"].handled
        found: dict[str, Trace] = {}
        for _ in range(2):
            for name, (server, before, message) in messages().items():
                fresh = message.replace(b"Message-ID: <", b"Message-ID: <2") if name in found else message
                found[name] = await traced(addresses[server], before, fresh, handled)
                await asyncio.sleep(0.2)
        await running.drain()
        await running.shut_down()
        await running.close()
        return found


def report(found: dict[str, Trace]) -> Iterator[str]:
    """Each file where the message comes to it first. A file that waits for another is a stop again when it goes on."""
    for name, trace in found.items():
        files = list(dict.fromkeys(trace.files))
        yield f"{name}: {len(files)} files, {len(trace.files)} stops, {trace.lookups} routers asked"
        yield from textwrap.wrap(" ".join(files), 118, initial_indent="  ", subsequent_indent="  ")


if __name__ == "__main__":
    print("\n".join(report(asyncio.run(traces()))))
