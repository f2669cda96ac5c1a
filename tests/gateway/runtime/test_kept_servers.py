"""What goes on when another generation takes over in the process: servers at the same address, their connections."""

import asyncio
import contextlib
import gc
import logging
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import aiosmtplib
import pytest
from servers.certificates import make
from servers.ports import free_port
from waiting import until

from gateway.config.diagnostics import ConfigErrors
from gateway.config.loader import parse
from gateway.metrics.process import snapshot
from gateway.runtime.build import build
from gateway.runtime.install import install
from gateway.runtime.isolated import SomeServers
from gateway.runtime.running import RunningGateway
from protocols.errors import BindError

LIMIT = 20.0
HANDLERS = """
import asyncio
from gateway import AsyncEmailConsumer, AsyncMqttConsumer, AsyncWebsocketConsumer, get_channel_layer
from gateway.threads import thread_pool

seen = []
held = asyncio.Event()

class App:
    def __init__(self, name):
        self.name = name
        self.ended = 0

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            scope["state"]["name"] = self.name
            await send({"type": "lifespan.startup.complete"})
            await receive()
            self.ended += 1
            await send({"type": "lifespan.shutdown.complete"})
            return
        who = f"{self.name} {scope['state']['name']} {thread_pool.get().size}"
        if scope["type"] == "http":
            if scope["path"] == "/slow":
                await held.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": who.encode()})
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (event := await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": who})
        elif scope["type"] == "mqtt":
            event = await receive()
            await send({"type": "mqtt.accept"})
            while (event := await receive())["type"] != "mqtt.disconnect":
                seen.append((who, event.get("payload")))
                if event["type"] == "mqtt.receive" and event["id"] is not None:
                    await send({"type": "mqtt.ack", "id": event["id"]})
        elif scope["type"] == "email":
            seen.append((who, scope["rcpt_to"][0]))

apps = {}

def __getattr__(name):
    if name.startswith("_"):
        raise AttributeError(name)
    return apps.setdefault(name, App(name))
"""
FILE = """
servers:
  web: {{protocol: http, bind: "127.0.0.1:{web}", {web_more}}}
  devices: {{protocol: mqtt, bind: "127.0.0.1:{devices}", anonymous: {anonymous}, websocket: {{on: web}}, {mqtt}}}
  mail: {{protocol: smtp, bind: "127.0.0.1:{mail}", {mail_more}}}
application: kept_handlers.{name}
threads: {threads}
log: {{level: warning}}
{more}
"""

DEFAULTS = {"web_more": "", "mqtt": "", "mail_more": "", "anonymous": "true", "more": ""}


class Gateways:
    """A gateway, and those that take over from it as a reload does."""

    def __init__(self, handlers: Any) -> None:
        self.handlers = handlers
        self.ports = {name: free_port() for name in ("web", "devices", "mail")}
        self.running: RunningGateway | None = None

    async def serve(self, name: str, threads: int, **facts: Any) -> None:
        text = FILE.format(**(DEFAULTS | self.ports | {"name": name, "threads": threads} | facts))
        before = self.running
        parsed = parse(text, name=f"{name}.yaml", folder=Path())
        new = RunningGateway(build(parsed, before=before.gateway if before else None))
        try:
            await install(new, before)
        except BindError:
            await new.abort()
            raise
        self.running = new

    async def ask(self, session: aiohttp.ClientSession, path: str = "") -> str:
        async with session.get(f"http://127.0.0.1:{self.ports['web']}/{path}") as answer:
            return await answer.text()

    async def end(self) -> None:
        if self.running is not None:
            await self.running.drain()
            await self.running.shut_down()
            await self.running.close()


@pytest.fixture
async def gateways(replaced: Any) -> AsyncIterator[Gateways]:
    made = Gateways(replaced("kept_handlers", HANDLERS))
    async with asyncio.timeout(LIMIT):
        await made.serve("one", 1)
    yield made
    made.handlers.held.set()
    async with asyncio.timeout(LIMIT):
        await made.end()


class Device:
    """A client of MQTT 3.1.1 or 5.0 that says raw bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(
        cls, port: int, name: bytes, user: bytes = b"", password: bytes = b"", version: int = 4
    ) -> "Device":
        made = cls(*await asyncio.open_connection("127.0.0.1", port))
        flags = 2 | (0xC0 if user else 0)
        body = b"\0\4MQTT" + bytes([version, flags]) + b"\0\0" + (b"\0" if version == 5 else b"") + _text(name)
        body += (_text(user) + _text(password)) if user else b""
        made.writer.write(b"\x10" + bytes([len(body)]) + body)
        answer = await made.packet()
        assert (answer[0], answer[3]) == (0x20, 0)
        return made

    async def packet(self) -> bytes:
        async with asyncio.timeout(LIMIT):
            head = await self.reader.readexactly(2)
            return head + await self.reader.readexactly(head[1])

    async def publish(self, payload: bytes, topic: bytes = b"t") -> None:
        body = _text(topic) + b"\0\1" + payload
        self.writer.write(b"\x32" + bytes([len(body)]) + body)
        while (await self.packet())[0] != 0x40:
            pass

    async def subscribe(self, topic: bytes) -> int:
        body = b"\0\1" + _text(topic) + b"\0"
        self.writer.write(b"\x82" + bytes([len(body)]) + body)
        return (await self.packet())[-1]

    async def is_closed(self) -> bool:
        async with asyncio.timeout(LIMIT):
            return await self.reader.read() is not None

    def close(self) -> None:
        self.writer.close()


def _text(text: bytes) -> bytes:
    return len(text).to_bytes(2, "big") + text


@contextlib.asynccontextmanager
async def device(port: int, name: bytes, *more: bytes, version: int = 4) -> AsyncIterator[Device]:
    made = await Device.connect(port, name, *more, version=version)
    try:
        yield made
    finally:
        made.close()


async def test_new_requests_of_an_open_connection_go_to_the_new_application(gateways: Gateways) -> None:
    connector = aiohttp.TCPConnector(limit=1)
    async with aiohttp.ClientSession(connector=connector) as session, aiohttp.ClientSession() as other:
        assert await gateways.ask(session) == "one one 1"
        slow = asyncio.ensure_future(gateways.ask(other, "slow"))
        assert gateways.running is not None
        web = gateways.running.gateway.servers.named("web")
        await until(lambda: web.active() == {"http": 1})
        [connection] = connector._conns.values()
        kept = connection[0][0]
        await gateways.serve("two", 2)
        assert await gateways.ask(session) == "two two 2"
        [[(same, _)]] = connector._conns.values()
        assert same is kept, "on the same connection"
        assert gateways.running.gateway.servers.named("web") is web
        assert not gateways.handlers.apps["one"].ended
        gateways.handlers.held.set()
        assert await slow == "one one 1"
    await until(lambda: gateways.handlers.apps["one"].ended == 1)


async def test_open_connections_stay_with_their_application_until_they_end(gateways: Gateways) -> None:
    async with aiohttp.ClientSession() as session, device(gateways.ports["devices"], b"old") as old:
        url = f"http://127.0.0.1:{gateways.ports['web']}/"
        async with session.ws_connect(url) as socket:
            await gateways.serve("two", 2)
            await gateways.serve("three", 3)
            async with device(gateways.ports["devices"], b"new") as new:
                await socket.send_str("x")
                assert await socket.receive_str(timeout=LIMIT) == "one one 1"
                await old.publish(b"a")
                await new.publish(b"b")
                assert gateways.handlers.seen == [("one one 1", b"a"), ("three three 3", b"b")]
                assert await gateways.ask(session) == "three three 3"
        await until(lambda: gateways.handlers.apps["two"].ended == 1)
        assert not gateways.handlers.apps["one"].ended, "a device is connected"
    await until(lambda: gateways.handlers.apps["one"].ended == 1)
    assert gateways.running is not None
    await until(lambda: all(each.done() for each in gateways.running.older))


async def counted(gateways: Gateways, name: str, *place: str) -> float:
    """The sum of a family's series of one server and scope type."""
    assert gateways.running is not None
    series = (await snapshot(gateways.running.succession))[name]
    return sum(value for labels, value in series if labels[:2] == [*place])


async def until_counted(gateways: Gateways, number: float, name: str, *place: str) -> None:
    """A run is counted when it has ended, and its peer may have its answer before."""
    async with asyncio.timeout(LIMIT):
        while await counted(gateways, name, *place) != number:  # noqa: ASYNC110 -- nothing tells of it
            await asyncio.sleep(0.01)


async def test_what_runs_are_counted_goes_on(gateways: Gateways) -> None:
    runs, events = "gateway_runs_total", "gateway_connection_events_total"
    async with aiohttp.ClientSession() as session, device(gateways.ports["devices"], b"old") as old:
        for _ in range(3):
            await gateways.ask(session)
        await old.publish(b"1")
        for number, name in enumerate(("two", "three")):
            await gateways.serve(name, 2)
            await until_counted(gateways, 3 + number, runs, "web", "http")
            await until_counted(gateways, 2 + number, events, "devices", "mqtt")
            await gateways.ask(session)
            await old.publish(b"2")
    await until(lambda: gateways.handlers.apps["one"].ended == 1)
    assert gateways.running is not None
    await gateways.running.predecessor_ended()
    await until_counted(gateways, 5, runs, "web", "http")
    await until_counted(gateways, 1, runs, "devices", "mqtt")
    assert await counted(gateways, events, "devices", "mqtt") >= 4


async def test_devices_of_both_generations_meet_in_one_broker(gateways: Gateways) -> None:
    port = gateways.ports["devices"]
    async with device(port, b"old") as old, device(port, b"retaining") as retaining:
        assert await old.subscribe(b"news") == 0
        retaining.writer.write(b"\x31\x08\0\4kept1!")
        await retaining.publish(b"x")
        await gateways.serve("two", 2)
        async with device(port, b"new") as new:
            await new.publish(b"hello", b"news")
            assert (await old.packet())[4:] == b"newshello"
            assert await new.subscribe(b"kept") == 0
            assert (await new.packet())[4:] == b"kept1!"


async def test_a_session_of_smtp_goes_on_and_its_next_message_has_the_new_application(gateways: Gateways) -> None:
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=gateways.ports["mail"], timeout=LIMIT) as client:
        await client.sendmail("a@example.net", ["b@example.org"], "Subject: x\r\n\r\n1\r\n")
        await gateways.serve("two", 2)
        await client.sendmail("a@example.net", ["c@example.org"], "Subject: x\r\n\r\n2\r\n")
    assert gateways.handlers.seen == [("one one 1", "b@example.org"), ("two two 2", "c@example.org")]


async def test_an_old_generation_that_still_serves_ends_with_the_gateway(gateways: Gateways) -> None:
    async with device(gateways.ports["devices"], b"old") as old:
        await gateways.serve("two", 2)
        await gateways.end()
        assert await old.is_closed()
    assert [gateways.handlers.apps[name].ended for name in ("one", "two")] == [1, 1]
    gateways.running = None


async def test_a_server_whose_address_is_gone_drains_and_another_opens(gateways: Gateways) -> None:
    async with device(gateways.ports["devices"], b"old") as old, aiohttp.ClientSession() as session:
        other = free_port()
        await gateways.serve("two", 2, devices=other)
        assert await old.is_closed()
        async with device(other, b"new") as new:
            await new.publish(b"b")
        assert await gateways.ask(session) == "two two 2"
    assert gateways.handlers.seen == [("two two 2", b"b")]


ONE, TWO, THREE = (
    f'"$argon2id$v=19$m=8,t=1,p=1${rest}"'
    for rest in (
        "jGItVYoZH1n8OBlWyv2xRw$WS6uxZ85gzQT2LzTcoKI9huAbDNdMqnvbwSnrIc7d4w",
        "qJ8MrB++PTg+u0kGlSTX3Q$6CglNQ/nBNdcsYQH4vGgqIv6z3+2iL4pQzEMiu3S9Tw",
        "Oo+3yuFWhwfwPisuGHBDWQ$xAUiRMqT21xBy6QvRCzMnMtqzOXHhpNYyqniBW6hwUM",
    )
)
"""Hashes of the passwords "one", "two" and "three"."""


def users(**hashes: str) -> str:
    return f"users: {{{', '.join(f'{name}: {value}' for name, value in hashes.items())}}}"


async def test_devices_of_users_that_are_gone_or_have_another_password_are_disconnected(gateways: Gateways) -> None:
    port = gateways.ports["devices"]
    async with device(port, b"nobody") as nobody:
        await gateways.serve("two", 2, mqtt=users(ann=ONE, bob=TWO, cid=THREE), anonymous="false")
        assert await nobody.is_closed(), "who has proved nothing"
    async with (
        device(port, b"a", b"ann", b"one", version=5) as ann,
        device(port, b"b", b"bob", b"two", version=5) as bob,
        device(port, b"c", b"cid", b"three") as cid,
    ):
        await gateways.serve("three", 3, mqtt=users(bob=ONE, cid=THREE), anonymous="false")
        for each in (ann, bob):
            assert (await each.packet())[::2] == b"\xe0\x87", "DISCONNECT, not authorized"
            assert await each.is_closed()
        await cid.publish(b"on")
        assert gateways.handlers.seen == [("two two 2", b"on")]
        async with device(port, b"b", b"bob", b"one") as again:
            await again.publish(b"back")


async def test_an_acl_that_has_shrunk_ends_subscriptions_and_one_that_has_grown_allows_more(
    gateways: Gateways, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = gateways.ports["devices"]
    monkeypatch.setattr(logging.getLogger("protocols.mqtt.connection"), "handlers", [caplog.handler])
    monkeypatch.setattr(logging.getLogger("protocols.mqtt.connection"), "propagate", False)
    async with device(port, b"a") as reader, device(port, b"b") as writer:
        assert [await reader.subscribe(topic) for topic in (b"news", b"secret")] == [0, 0]
        await gateways.serve("two", 2, mqtt="acl: [{allow: all, topic: news}, {allow: publish, topic: '#'}]")
        assert "the acl ends 1 of its subscriptions: secret" in caplog.text
        await writer.publish(b"x", b"secret")
        await writer.publish(b"y", b"news")
        assert (await reader.packet())[4:] == b"newsy"
        assert await reader.subscribe(b"secret") == 0x80
        await gateways.serve("three", 3)
        assert await reader.subscribe(b"secret") == 0


async def test_a_user_of_smtp_that_is_gone_is_told_to_leave(gateways: Gateways) -> None:
    await gateways.serve("two", 2, mail_more=f"auth_without_tls: true, {users(ann=ONE, bob=TWO)}")
    port = gateways.ports["mail"]
    async with (
        contextlib.AsyncExitStack() as stack,
    ):
        ann, bob = (aiosmtplib.SMTP(hostname="127.0.0.1", port=port, timeout=LIMIT) for _ in range(2))
        for client, name, password in ((ann, "ann", "one"), (bob, "bob", "two")):
            await client.connect()
            stack.callback(client.close)
            await client.login(name, password)
        await gateways.serve("three", 3, mail_more=f"auth_without_tls: true, {users(bob=TWO)}")
        with pytest.raises((aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPResponseException)):
            await ann.noop()
            await ann.noop()
        assert (await bob.noop()).code == 250


async def test_limits_hold_for_the_next_request_and_the_next_connection(gateways: Gateways) -> None:
    url = f"http://127.0.0.1:{gateways.ports['web']}/"
    connector = aiohttp.TCPConnector(limit=1)
    async with aiohttp.ClientSession(connector=connector) as session, aiohttp.ClientSession() as other:
        assert await gateways.ask(session) == "one one 1"
        await gateways.serve("two", 2, web_more="max_body: 10, max_connections: 1")
        async with session.post(url, data=b"x" * 11) as answer:
            assert answer.status == 413
        assert await gateways.ask(session) == "two two 2"
        async with other.get(url) as answer:
            assert answer.status == 503


async def test_tls_comes_goes_and_is_read_again_and_a_bad_certificate_changes_nothing(
    gateways: Gateways, tmp_path: Path
) -> None:
    certificate, wrong = make(tmp_path), tmp_path / "wrong.pem"
    wrong.write_text("nothing")
    tls = f"tls: {{certificate: {certificate.certificate}, key: {certificate.key}}}"
    async with aiohttp.ClientSession() as old:
        assert await gateways.ask(old) == "one one 1"
        await gateways.serve("two", 2, web_more=tls)
        assert await gateways.ask(old) == "two two 2", "the connection has no TLS"
        async with aiohttp.ClientSession() as session:
            async with session.get(f"https://127.0.0.1:{gateways.ports['web']}/", ssl=False) as answer:
                assert await answer.text() == "two two 2"
            with pytest.raises(aiohttp.ClientConnectionError):
                await gateways.ask(session)
        with pytest.raises(ConfigErrors, match=r"servers\.web: TLS: .*wrong\.pem"):
            await gateways.serve("three", 3, web_more=tls.replace(str(certificate.certificate), str(wrong)))
        assert await gateways.ask(old) == "two two 2"
        await gateways.serve("four", 4)
        async with aiohttp.ClientSession() as session:
            assert await gateways.ask(session) == "four four 4"


def test_an_old_gateway_sends_by_the_newest_servers_and_keeps_none_that_came_between() -> None:
    first, between, newest = SomeServers(), SomeServers(), SomeServers()
    between.follow(first)
    newest.follow(between)
    freed = weakref.ref(between)
    del between
    gc.collect()
    assert freed() is None
    assert first.line.newest is newest
