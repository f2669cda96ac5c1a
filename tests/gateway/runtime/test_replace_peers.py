"""A gateway with an IMAP reader, a client of a broker and TLS on every listener is replaced while peers talk to it."""

import asyncio
import collections
import contextlib
import os
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from email import message_from_bytes
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import aiohttp
import aiosmtplib
import pytest
from servers import certificates
from servers.dovecot import USER, Dovecot, dovecot
from servers.mosquitto import Mosquitto, mosquitto
from servers.programs import program
from test_replace import LIMIT, ended, port, until

from gateway.config.loader import parse
from gateway.runtime.build import build
from gateway.runtime.install import install
from gateway.runtime.running import RunningGateway
from protocols.errors import BindError
from protocols.net.tls import TLS

HANDLERS = """
import asyncio, collections
from gateway import AsyncEmailConsumer, AsyncMqttConsumer

seen = collections.defaultdict(collections.Counter)

async def web(scope, receive, send):
    assert scope["type"] == "http"
    await asyncio.sleep(0.02)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})

class Device(AsyncMqttConsumer):
    async def receive(self, topic, payload):
        await asyncio.sleep(0.005)
        seen[self.scope["listener"]][payload.decode()] += 1

class Mail(AsyncEmailConsumer):
    answers_per_hour = 100_000

    async def receive(self, message):
        await asyncio.sleep(0.005)
        seen[self.scope["listener"]][message["subject"]] += 1
        await self.reply("thanks")
"""
FILE = """
servers:
  web: {{protocol: http, bind: "127.0.0.1:0", tls: {tls}}}
  devices: {{protocol: mqtt, bind: "127.0.0.1:0", tls: {tls}, anonymous: true, persistence: true}}
  mail: {{protocol: smtp, bind: "127.0.0.1:0", tls: {tls}}}
  mailbox: {{protocol: imap, host: 127.0.0.1, port: {imap}, tls: false, username: {user}, password: secret}}
  broker: {{protocol: mqtt-client, url: "{broker}", client_id: us, subscribe: ["t"], qos: 2, persistence: true}}
routes:
  http: {{app: peer_handlers.web, path: ""}}
  mqtt: {{app: peer_handlers.Device, topic: "#", inbox: {inbox}}}
  email: {{app: peer_handlers.Mail, default: true, inbox: {inbox}, attempts: 5}}
store: sqlite:one.db
submission: {{url: "file:{sent}"}}
console: {{bind: "127.0.0.1:0"}}
log: {{level: warning}}
"""
NAMES = ("web", "devices", "mail", "mailbox", "broker")
"""The servers."""


class Peers:
    """A mailbox, a broker, and clients over TLS, which talk until they are told to stop; and what they were told."""

    def __init__(self, mailbox: Dovecot, broker: Mosquitto, tls: TLS, folder: Path) -> None:
        self.mailbox = mailbox
        self.broker = broker
        self.folder = folder
        self.tls = tls
        self.context = ssl.create_default_context(cafile=tls.certificate)
        self.said: collections.defaultdict[str, list[str]] = collections.defaultdict(list)
        """What each server has acknowledged, or what has been put into the mailbox and given to the broker."""
        self.stopping = False

    def gateway(self, inbox: str, name: str = "gateway.yaml", before: RunningGateway | None = None) -> RunningGateway:
        """``before``: the gateway that it is a reload of, with which it shares the store."""
        text = FILE.format(
            tls=f"{{certificate: {self.tls.certificate}, key: {self.tls.key}}}",
            imap=self.mailbox.port,
            user=USER,
            broker=self.broker.url,
            inbox=inbox,
            sent=self.folder / "sent",
        )
        parsed = parse(text, name=name, folder=self.folder)
        return RunningGateway(build(parsed, before=before.gateway if before is not None else None))

    @contextlib.asynccontextmanager
    async def talking(self, running: RunningGateway) -> AsyncIterator[None]:
        broker = running.gateway.servers.named("broker")
        await until(lambda: broker.status.state == "ready", LIMIT)  # what comes before it has subscribed is nobody's
        self.ports = {name: port(running, name) for name in ("web", "devices", "mail")}
        works = [self._ask, self._ask_again, self._publish, self._mail, self._fill_mailbox, self._fill_broker]
        tasks = [asyncio.ensure_future(work()) for work in works]
        try:
            yield
        finally:
            self.stopping = True
            async with asyncio.timeout(2 * LIMIT):
                await asyncio.gather(*tasks)

    def has(self, number: int) -> bool:
        return all(len(self.said[name]) >= number for name in NAMES)

    def _next(self, name: str) -> str:
        return f"{name}-{len(self.said[name])}"

    async def _ask(self) -> None:
        """Each request on a connection of its own: none is refused, and none breaks in its handshake."""
        while not self.stopping:
            connector = aiohttp.TCPConnector(force_close=True, ssl=self.context)
            async with aiohttp.ClientSession(connector=connector) as session:
                await self._get(session, self._next("web"))

    async def _ask_again(self) -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self.context)) as session:
            while not self.stopping:
                await self._get(session, f"again-{len(self.said['web'])}")

    async def _get(self, session: aiohttp.ClientSession, path: str) -> None:
        async with session.get(f"https://localhost:{self.ports['web']}/{path}") as answer:
            assert await answer.text() == f"/{path}"
            self.said["web"].append(path)

    async def _publish(self) -> None:
        """mosquitto_pub ends with an error when it was not told that its message was taken; then it says it again."""
        while not self.stopping:
            payload = self._next("devices")
            command = [program("mosquitto_pub"), "-h", "localhost", "-p", str(self.ports["devices"]), "-q", "1"]
            command += ["-t", "t", "-m", payload, "--cafile", self.tls.certificate]
            process = await asyncio.create_subprocess_exec(
                *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
            )
            if await process.wait() == 0:
                self.said["devices"].append(payload)

    async def _mail(self) -> None:
        while not self.stopping:
            mail = letter(self._next("mail"))
            with contextlib.suppress(aiosmtplib.SMTPException):  # 421, and it comes again
                await aiosmtplib.send(
                    mail, hostname="localhost", port=self.ports["mail"], tls_context=self.context, timeout=LIMIT
                )
                self.said["mail"].append(str(mail["Subject"]))

    async def _fill_mailbox(self) -> None:
        while not self.stopping:
            subject = self._next("mailbox")
            await asyncio.to_thread(self.mailbox.append, letter(subject).as_bytes())
            self.said["mailbox"].append(subject)
            await asyncio.sleep(0.02)

    async def _fill_broker(self) -> None:
        """Messages at QoS 2, a few at a time."""
        while not self.stopping:
            payloads = [f"broker-{len(self.said['broker']) + number}" for number in range(5)]
            await asyncio.to_thread(self.broker.publish_lines, "t", payloads, 2)
            self.said["broker"] += payloads


def letter(subject: str) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "ann@example.net", "support@example.org", subject
    mail["Message-ID"] = f"<{subject}@example.net>"
    mail.set_content("hello")
    return mail


@pytest.fixture
def peers(tmp_path: Path) -> Iterator[Peers]:
    with dovecot() as mailbox, mosquitto(lines=("max_queued_messages 0", "max_inflight_messages 20")) as broker:
        yield Peers(mailbox, broker, certificates.make(tmp_path), tmp_path)


@pytest.fixture
def seen(replaced: Any) -> Any:
    return replaced("peer_handlers", HANDLERS).seen


def answered(folder: Path) -> collections.Counter[str]:
    """How often each message got a reply."""
    return collections.Counter(message_from_bytes(each.read_bytes())["In-Reply-To"] for each in folder.glob("new/*"))


@pytest.mark.timeout(180)
@pytest.mark.parametrize("inbox", ["false", "true"])
async def test_nothing_is_lost_nor_handled_or_answered_twice(inbox: str, peers: Peers, seen: Any) -> None:
    running = peers.gateway(inbox)
    await install(running)
    async with peers.talking(running):
        for number in (1, 2):
            await until(lambda number=number: peers.has(10 * number))
            before, running = running, peers.gateway(inbox)
            await install(running, before)
            await running.predecessor_ended()
        await until(lambda: peers.has(30))
    said = {name: set(each) for name, each in peers.said.items() if name != "web"}
    await until(lambda: all(said[name] <= seen[name].keys() for name in said))
    mails = {f"<{subject}@example.net>" for name in ("mail", "mailbox") for subject in said[name]}
    await until(lambda: mails <= answered(peers.folder / "sent").keys())
    await ended(running)
    for name in said:
        assert max(seen[name].values()) == 1, name
    assert max(answered(peers.folder / "sent").values()) == 1
    assert peers.mailbox.count() == 0


@pytest.mark.timeout(120)
async def test_a_failed_replacement_leaves_all_servers_running(
    peers: Peers, seen: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last server of the successor fails: by then the predecessor has stopped its own exclusive servers."""
    one, two = peers.gateway("true", "one.yaml"), peers.gateway("true", "two.yaml")
    await install(one)
    ports = {name: port(one, name) for name in ("web", "devices", "mail")}

    async def fail() -> None:
        raise BindError("no luck")

    monkeypatch.setattr(two.gateway.servers.named("broker"), "start", fail)
    async with peers.talking(one):
        await until(lambda: peers.has(5))
        with pytest.raises(BindError, match="no luck"):
            await install(two, one)
        await two.abort()
        again = [line.split()[-4] for line in capsys.readouterr().err.splitlines() if line.endswith("started again")]
        assert again == ["devices", "mailbox", "broker"]
        assert {name: port(one, name) for name in ports} == ports
        counts = {name: len(each) for name, each in peers.said.items()}
        await until(lambda: all(len(peers.said[name]) >= number + 10 for name, number in counts.items()))
    said = {name: set(each) for name, each in peers.said.items() if name != "web"}
    await until(lambda: all(said[name] <= seen[name].keys() for name in said))
    assert one.gateway.console is not None
    url = f"http://{one.gateway.console.address}/readyz"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 200, await answer.text()
    three = peers.gateway("true", "three.yaml")
    await install(three, one)  # as if the second had never been
    await three.predecessor_ended()
    await ended(three)
    for name in said:
        assert max(seen[name].values()) == 1, name


@pytest.mark.timeout(180)
async def test_a_replacement_that_is_cancelled_loses_and_repeats_nothing(
    peers: Peers, seen: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where the daemon is asked to stop in its midst. One that came to its end before that is the gateway then."""
    running = peers.gateway("true")
    await install(running)
    async with peers.talking(running):
        for delay in (0.0, 0.01, 0.02, 0.04, 0.1):
            counts = {name: len(each) for name, each in peers.said.items()}
            await until(lambda counts=counts: all(len(peers.said[name]) > counts.get(name, 0) + 2 for name in NAMES))
            successor = peers.gateway("true")
            swap = asyncio.ensure_future(install(successor, running))
            await asyncio.sleep(delay)
            swap.cancel()
            await asyncio.gather(swap, return_exceptions=True)
            if swap.cancelled():
                await successor.abort()
            else:
                await swap
                await successor.predecessor_ended()
                running = successor
    said = {name: set(each) for name, each in peers.said.items() if name != "web"}
    await until(lambda: all(said[name] <= seen[name].keys() for name in said))
    await ended(running)
    for name in said:
        assert max(seen[name].values()) == 1, name
    assert "ERROR" not in (err := capsys.readouterr().err), err


RELOADS = int(os.environ.get("GATEWAY_RELOADS", "10"))
"""`make faults` does more."""


@pytest.mark.timeout(180 + 4 * RELOADS)
@pytest.mark.parametrize("inbox", ["false", "true"])
async def test_many_reloads_under_load_lose_repeat_and_refuse_nothing(
    inbox: str, peers: Peers, seen: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """All servers go on, with the mailbox, the session at the broker and the devices' sessions."""
    running = peers.gateway(inbox)
    await install(running)
    servers = [running.gateway.servers.named(name) for name in NAMES]
    counts: list[tuple[int, int]] = []
    async with peers.talking(running):
        for _ in range(RELOADS):
            said = {name: len(each) for name, each in peers.said.items()}
            await until(lambda said=said: sum(len(each) > said.get(name, 0) for name, each in peers.said.items()) > 2)
            before, running = running, peers.gateway(inbox, before=running)
            await install(running, before)
            counts.append((threading.active_count(), len(running.older)))
        assert [running.gateway.servers.named(name) for name in NAMES] == servers
        told = {name: len(each) for name, each in peers.said.items()}
        await until(lambda: all(len(peers.said[name]) > told[name] + 5 for name in NAMES))
        await until(lambda: sum(not each.done() for each in running.older) == 1, 2 * LIMIT)  # the client's connection
    said_at_all = {name: set(each) for name, each in peers.said.items() if name != "web"}
    await until(lambda: all(said_at_all[name] <= seen[name].keys() for name in said_at_all))
    mails = {f"<{subject}@example.net>" for name in ("mail", "mailbox") for subject in said_at_all[name]}
    await until(lambda: mails <= answered(peers.folder / "sent").keys())
    await ended(running)
    for name in said_at_all:
        assert max(seen[name].values()) == 1, name
    assert max(answered(peers.folder / "sent").values()) == 1
    assert peers.mailbox.count() == 0
    assert "ERROR" not in (err := capsys.readouterr().err), err
