"""The way of one message of each protocol through the source, from its socket to the handler: ``python .ci/trace.py``.

A gateway runs in this process. Every call of a function of ours from another file is recorded, from the first byte of
the message until the handler has it. No file may be called again after another, except for the reasons in ``AGAIN``.
"""

import asyncio
import contextlib
import dis
import json
import os
import sys
import tempfile
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import CodeType, FrameType

from gateway.config.loader import parse
from gateway.delivery import poller
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


CALLED_FOR_A_VALUE = "a function that is called for a value, and calls nothing that the message goes through"
ANSWERS = "the application calls receive and send there, and the answer to the sender goes back by it"
BASE_CLASS = "a class and its base class call each other's methods"
OWN_TASK = "it begins a task of its own, which the loop calls"
STORED = "a message is put there before its handler runs, and finished there afterwards"
ONCE = "the run that repetitions of the message wait for"
AGAIN = {
    CALLED_FOR_A_VALUE: """
        gateway/counts.py gateway/run_counts.py
        gateway/delivery/attempt.py gateway/delivery/delivery_context.py gateway/delivery/kind.py
        gateway/delivery/route_table.py
        gateway/routing/router.py gateway/routing/scope_types.py gateway/scopes/email/delivery.py
        gateway/scopes/email/patterns.py gateway/scopes/mqtt/delivery.py gateway/services.py
        gateway/store/codec.py gateway/store/elapsed.py protocols/asgi.py protocols/checkpoint.py
        protocols/events.py protocols/http/events.py protocols/http/frames.py protocols/http/request.py
        protocols/lazy_names.py
        protocols/mail/headers.py
        protocols/mail/smtp/data.py protocols/mail/smtp/incoming.py protocols/mail/verdict.py
        protocols/mqtt/events.py protocols/mqtt/wire/parser.py protocols/net/byte_budget.py protocols/queue.py
        protocols/sms/provider.py protocols/sms/providers/generic.py protocols/sms/senders.py protocols/tasks.py
        protocols/wakeup.py""",
    ANSWERS: """
        gateway/scopes/mqtt/router.py protocols/app_run.py protocols/http/connection.py protocols/http/exchange.py
        protocols/http/response.py protocols/mail/run.py protocols/mqtt/connection/client_socket.py""",
    BASE_CLASS: """
        gateway/consumers/base.py gateway/consumers/email.py gateway/consumers/forms.py gateway/consumers/mqtt.py
        gateway/consumers/sms.py gateway/delivery/poller.py gateway/delivery/worker.py gateway/scopes/email/router.py
        protocols/mail/smtp/connection.py""",
    OWN_TASK: """
        gateway/delivery/claimed_attempt.py gateway/delivery/running_attempts.py gateway/delivery/time_limit.py
        gateway/scopes/mqtt/inbox.py protocols/mail/smtp/server.py protocols/mail/smtp/session.py""",
    ONCE: """
        protocols/sms/webhook.py""",
    STORED: """
        gateway/store/parts/claims.py gateway/store/parts/session.py
        gateway/store/writer.py""",
}
"""Why a message may call a file again after another, and the files."""
ALLOWED = [path for paths in AGAIN.values() for path in paths.split()]


@dataclass
class Trace:
    """What was called for one message."""

    files: list[str] = field(default_factory=list)
    """Each file that was called by another, in order. A coroutine that goes on after an ``await`` is not called."""
    resumed: int = 0
    """How often a coroutine went on after an ``await``."""
    searches: Counter[int] = field(default_factory=Counter)
    """How often each router looked for its route."""

    def call(self, frame: FrameType, event: str, _: object) -> None:
        if event != "call" or (path := _ours(frame)) is None or _is_a_clock():
            return
        if frame.f_lasti > _first_instruction(frame.f_code):
            self.resumed += 1
            return
        if path != _caller(frame) and self.files[-1:] != [path]:
            self.files.append(path)
        if frame.f_code.co_name == "find" and path.startswith(ROUTERS) and _is_outermost(frame):
            self.searches[id(frame.f_locals["self"])] += 1

    @property
    def again(self) -> list[str]:
        """The files that were called again after another, without a reason for it."""
        return [path for path, number in Counter(self.files).items() if number > 1 and path not in ALLOWED]

    @property
    def routed_again(self) -> int:
        return self.searches.total() - len(self.searches)


def _is_a_clock() -> bool:
    """Whether this is the task of a server that does something each second, for no message."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # a thread
        return False
    return task is not None and "clock" in task.get_name()


@cache
def _first_instruction(code: CodeType) -> int:
    """Where a function begins, also as a coroutine: before that is what makes the coroutine."""
    return next(each.offset for each in dis.get_instructions(code) if each.opname == "RESUME")


def _ours(frame: FrameType) -> str | None:
    """The file of ``frame``, if it is one of ours."""
    name = frame.f_code.co_filename
    return os.path.relpath(name, ROOT) if name.startswith((f"{ROOT}/gateway/", f"{ROOT}/protocols/")) else None


def _caller(frame: FrameType) -> str | None:
    """The file of ours that called, perhaps by way of a library."""
    above = frame.f_back
    while above is not None and _ours(above) is None:
        above = above.f_back
    return None if above is None else _ours(above)


def _is_outermost(frame: FrameType) -> bool:
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
        poller.LOOK_AGAIN = 60.0  # a look at the store on suspicion would be in the traces
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
    """Each file where the message comes to it first."""
    again = {path for trace in found.values() for path, number in Counter(trace.files).items() if number > 1}
    yield from (f"no longer called again: {path}" for path in ALLOWED if path not in again)
    for name, trace in found.items():
        files = list(dict.fromkeys(trace.files))
        yield (
            f"{name}: {len(files)} files, {len(trace.files)} calls from one to another, {trace.resumed} resumed; "
            f"routed by {len(trace.searches)}, {trace.routed_again} again"
        )
        yield from textwrap.wrap(" ".join(files), 118, initial_indent="  ", subsequent_indent="  ")
        yield from (f"  called again without a reason: {path}" for path in trace.again)


if __name__ == "__main__":
    print("\n".join(report(asyncio.run(traces()))))
