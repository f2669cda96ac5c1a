"""A gateway takes over from another one under load: nothing that was acknowledged is lost, and nobody is refused."""

import asyncio
import collections
import contextlib
import os
import secrets
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import aiohttp
import aiosmtplib
import pytest
from waiting import until

from gateway.config.loader import parse
from gateway.runtime.build import build
from gateway.runtime.install import install
from gateway.runtime.running import RunningGateway
from gateway.store import OperatorStore
from gateway.threads import thread_pool
from protocols.errors import BindError

LIMIT = 20.0
HANDLERS = """
import asyncio, collections
from gateway import AsyncEmailConsumer, AsyncHttpConsumer, AsyncMqttConsumer
from gateway.threads import thread_pool

seen = collections.defaultdict(collections.Counter)
living = []

class Web:
    def __init__(self, name):
        self.name = name

    async def __call__(self, scope, receive, send):
        assert scope["type"] == "http"
        while (await receive()).get("more_body"):
            pass
        if scope["path"] == "/slow":
            await asyncio.sleep(0.5)
        text = f"{self.name} {thread_pool.get().size}"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(text))]})
        await send({"type": "http.response.body", "body": text.encode()})

first, second = Web("first"), Web("second")

class Device(AsyncMqttConsumer):
    async def receive(self, topic, payload):
        await asyncio.sleep(0.002)
        seen["mqtt"][payload] += 1

class Mail(AsyncEmailConsumer):
    async def receive(self, message):
        await asyncio.sleep(0.002)
        seen["email"][message["subject"]] += 1
"""
FILE = """
servers:
  web: {{protocol: http, bind: "{web}"}}
  devices: {{protocol: mqtt, bind: "127.0.0.1:0", anonymous: true, persistence: {persistence}, websocket: {{on: web}}}}
  mail: {{protocol: smtp, bind: "127.0.0.1:0"}}
routes:
  http: {{app: replaced_handlers.{name}, path: ""}}
  mqtt: {{app: replaced_handlers.Device, topic: "#", inbox: {inbox}}}
  email: {{app: replaced_handlers.Mail, default: true, inbox: {inbox}}}
store: sqlite:{store}.db
threads: {threads}
console: {{bind: "127.0.0.1:0"}}
log: {{level: warning}}
"""


@pytest.fixture
def handlers(replaced: Any) -> Any:
    return replaced("replaced_handlers", HANDLERS)


def made(name: str, threads: int, store: str = "one", **facts: Any) -> RunningGateway:
    facts = {"inbox": "false", "persistence": "false", "web": "127.0.0.1:0"} | facts
    text = FILE.format(name=name, threads=threads, store=store, **facts)
    return RunningGateway(build(parse(text, name=f"{name}.yaml", folder=Path())))


def port(running: RunningGateway, name: str) -> int:
    server = next(each for each in running.gateway.servers if each.name == name)
    return int(server.address.rpartition(":")[2])


class Load:
    """Clients that say one thing after the other until they are told to stop, and what was acknowledged to them."""

    def __init__(self, running: RunningGateway) -> None:
        self.ports = {name: port(running, name) for name in ("web", "devices", "mail")}
        self.acknowledged: collections.defaultdict[str, set[str]] = collections.defaultdict(set)
        self.answers: list[str] = []
        self.stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Load"]:
        works: list[Callable[[], Awaitable[None]]] = [self._keep_alive, self._keep_alive, self._slow, self._connections]
        works += [self._publish, self._publish, self._mails, self._mails]
        self._tasks = [asyncio.ensure_future(work()) for work in works]
        try:
            yield self
        finally:
            self.stopping = True
            async with asyncio.timeout(LIMIT):
                await asyncio.gather(*self._tasks)

    def has(self, *, answers: int, acknowledged: int) -> bool:
        fewest = min(len(self.acknowledged[kind]) for kind in ("mqtt", "email"))
        return len(self.answers) >= answers and fewest >= acknowledged

    async def _keep_alive(self) -> None:
        async with aiohttp.ClientSession() as session:
            while not self.stopping:
                await self._ask(session, "")

    async def _slow(self) -> None:
        """It is under way while the gateways change."""
        async with aiohttp.ClientSession() as session:
            while not self.stopping:
                await self._ask(session, "slow")

    async def _connections(self) -> None:
        while not self.stopping:
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
                await self._ask(session, "")

    async def _ask(self, session: aiohttp.ClientSession, path: str) -> None:
        async with session.post(f"http://127.0.0.1:{self.ports['web']}/{path}", data=b"x") as answer:
            assert answer.status == 200
            self.answers.append(await answer.text())
        await asyncio.sleep(0.001)

    async def _publish(self) -> None:
        """A publisher at QoS 1 says again on its next connection what was not acknowledged."""
        reader = writer = None
        while not self.stopping:
            payload = secrets.token_hex(4)
            while payload not in self.acknowledged["mqtt"]:
                if writer is None:
                    reader, writer = await self._connect_device()
                try:
                    await _publish_once(reader, writer, payload)
                    self.acknowledged["mqtt"].add(payload)
                except (OSError, EOFError):
                    writer.close()
                    writer = None
        if writer is not None:
            writer.close()

    async def _connect_device(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The listener never refuses; a server that is about to leave may close before CONNACK."""
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.ports["devices"])
            with contextlib.suppress(OSError, EOFError):
                name = secrets.token_hex(4).encode()
                writer.write(b"\x10" + bytes([12 + len(name)]) + b"\0\4MQTT\4\2\0\0\0" + bytes([len(name)]) + name)
                if await reader.readexactly(4) == b"\x20\x02\0\0":
                    return reader, writer
            writer.close()

    async def _mails(self) -> None:
        while not self.stopping:
            mail = EmailMessage()
            mail["From"], mail["To"], mail["Subject"] = "a@example.net", "b@example.org", secrets.token_hex(4)
            mail["Message-ID"] = f"<{mail['Subject']}@example.net>"
            while mail["Subject"] not in self.acknowledged["email"]:
                with contextlib.suppress(aiosmtplib.SMTPException):  # 421, and it comes again
                    await aiosmtplib.send(mail, hostname="127.0.0.1", port=self.ports["mail"], timeout=LIMIT)
                    self.acknowledged["email"].add(str(mail["Subject"]))


async def _publish_once(reader: Any, writer: Any, payload: str) -> None:
    writer.write(b"\x32\x0d\0\1t\0\1" + payload.encode())
    if await reader.readexactly(4) != b"\x40\x02\0\1":
        raise EOFError


@pytest.mark.parametrize("store", ["same", "other"])
@pytest.mark.parametrize("inbox", ["false", "true"])
async def test_a_gateway_is_replaced_under_load(
    store: str, inbox: str, handlers: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = {"inbox": inbox, "persistence": inbox}
    one, two = made("first", 3, **facts), made("second", 4, "one" if store == "same" else "two", **facts)
    await install(one)
    async with Load(one).running() as load:
        await until(lambda: load.has(answers=20, acknowledged=20))
        await asyncio.sleep(0.1)
        await install(two, one)
        assert thread_pool.get().size == 4, "what is installed is the new one's"
        assert {name: port(two, name) for name in load.ports} == load.ports
        load.answers.clear()
        acknowledged, load.acknowledged = load.acknowledged, collections.defaultdict(set)
        await until(lambda: load.has(answers=100, acknowledged=20) and set(load.answers[-50:]) == {"second 4"})
    for kind, each in load.acknowledged.items():
        acknowledged[kind] |= each
    await until(lambda: not one.active())
    await ended(two)
    if inbox == "true" and store == "other":  # what the first has kept is for the next start with its store
        again = made("first", 3, **facts)
        await install(again)
        await until(lambda: acknowledged["mqtt"] <= {each.decode() for each in handlers.seen["mqtt"]})
        await until(lambda: acknowledged["email"] <= handlers.seen["email"].keys())
        await ended(again)
    assert acknowledged["mqtt"] <= {each.decode() for each in handlers.seen["mqtt"]}
    assert acknowledged["email"] <= handlers.seen["email"].keys()
    assert "ERROR" not in (err := capsys.readouterr().err), err


async def worked_off(store: OperatorStore) -> bool:
    """Whether nothing is left in the inbox."""
    counts = await store.counts()
    return counts.waiting + counts.running == 0


async def ended(running: RunningGateway) -> None:
    dispatcher = running.gateway.dispatcher
    if dispatcher is not None:
        await until(lambda: worked_off(dispatcher.deliveries.store))
    await running.drain()
    await running.shut_down()
    await running.close()


async def test_a_gateway_that_cannot_start_leaves_the_other_one_alone(handlers: Any) -> None:
    one = made("first", 3)
    await install(one)
    taken = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    two = made("second", 4, web=f"127.0.0.1:{taken.sockets[0].getsockname()[1]}")
    with pytest.raises(BindError, match=r"servers\.web: .* already in use"):
        await install(two, one)
    await two.abort()
    taken.close()
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port(one, 'web')}/") as answer:
        assert await answer.text() == "first 3"
    assert thread_pool.get().size == 3
    await ended(one)


async def test_what_is_stored_is_delivered_after_a_server_of_the_successor_has_failed(
    handlers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The predecessor has retired from its store by then."""
    facts = {"inbox": "true", "persistence": "true"}
    one, two = made("first", 3, **facts), made("second", 4, **facts)
    await install(one)

    async def fail() -> None:
        raise BindError("it is taken")

    monkeypatch.setattr(next(each for each in two.gateway.servers if each.exclusive), "start", fail)
    with pytest.raises(BindError, match="it is taken"):
        await install(two, one)
    await two.abort()
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "a@example.net", "b@example.org", "late"
    await aiosmtplib.send(mail, hostname="127.0.0.1", port=port(one, "mail"), timeout=LIMIT)
    await until(lambda: handlers.seen["email"]["late"])
    assert await connack(port(one, "web")) == b"\x20\x02\0\0", "what the http server carries is the new mqtt server"
    await ended(one)


async def connack(web: int) -> bytes:
    """The answer to CONNECT over WebSocket."""
    url = f"ws://127.0.0.1:{web}/mqtt"
    async with aiohttp.ClientSession() as session, session.ws_connect(url, protocols=["mqtt"]) as socket:
        await socket.send_bytes(b"\x10\x0d\0\4MQTT\4\2\0\0\0\1a")
        return await socket.receive_bytes(timeout=LIMIT)


async def test_a_gateway_is_replaced_by_one_other_at_a_time(handlers: Any) -> None:
    one, two, three = made("first", 3), made("second", 4), made("second", 5)
    await install(one)
    with pytest.raises(RuntimeError, match=r"first\.yaml is being replaced already"):
        await install(one, one)
    results = await asyncio.gather(install(two, one), install(three, one), return_exceptions=True)
    assert results[0] is None
    assert isinstance(results[1], RuntimeError)
    await three.abort()
    await two.predecessor_ended()
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port(two, 'web')}/") as answer:
        assert await answer.text() == "second 4"
    await ended(two)


def threads() -> list[str]:
    """All but those of the loop's own pool, which gets as many as were ever wanted at once, up to its bound."""
    names = (thread.name for thread in threading.enumerate())
    return sorted(name for name in names if not name.startswith(("asyncio_", "uvloop_")))


async def test_many_replacements_leave_nothing_behind(handlers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocols.http.server.IDLE_GRACE", 0.0)
    running = made("first", 3, inbox="true", persistence="true")
    await install(running)
    ports = [port(running, name) for name in ("web", "devices", "mail")]
    counts: list[tuple[int, list[str]]] = []
    for number in range(12):
        before, running = running, made("second", number + 1, inbox="true", persistence="true")
        await install(running, before)
        await running.predecessor_ended()
        counts.append((len(os.listdir("/proc/self/fd")), threads()))
    assert [port(running, name) for name in ("web", "devices", "mail")] == ports
    assert counts[-1][0] <= counts[1][0], counts
    assert counts[-1][1] == counts[1][1], counts
    await ended(running)


async def test_a_server_that_does_not_start_again_is_told(
    handlers: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the log, and in /readyz, which a supervisor asks."""
    facts = {"inbox": "true", "persistence": "true"}
    one, two = made("first", 3, **facts), made("second", 4, **facts)
    await install(one)

    async def fail() -> None:
        raise BindError("no luck")

    make = one.gateway.servers.make

    def make_failing(name: str) -> Any:
        server = make(name)
        server.start = fail
        return server

    monkeypatch.setattr(one.gateway.servers, "make", make_failing)
    monkeypatch.setattr(two.gateway.servers.named("devices"), "start", fail)
    with pytest.raises(BindError, match="no luck"):
        await install(two, one)
    await two.abort()
    assert "ERROR   first.yaml goes on without devices: it could not start again: servers.devices: no luck" in (
        capsys.readouterr().err
    )
    assert one.gateway.console is not None
    url = f"http://{one.gateway.console.address}/readyz"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        devices = (await answer.json())["servers"]["devices"]
        assert (answer.status, devices["state"]) == (503, "stopped")
        assert devices["detail"] == "it could not start again: servers.devices: no luck"
    await ended(one)
