"""A daemon reloads many times while peers of all protocols talk to it: nothing is refused, lost or handled twice, and
what the process holds stays as it was."""

import asyncio
import collections
import contextlib
import json
import os
import signal
import smtplib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import aiosmtplib
import pytest
from mqtt_paho import Paho
from servers.dovecot import USER, Dovecot, dovecot
from servers.gateway_process import GatewayProcess
from servers.mosquitto import Mosquitto, mosquitto
from servers.ports import free_port
from servers.texts import webhook
from test_replace_peers import letter
from waiting import until
from websockets.asyncio.client import connect

from gateway.control.client import Conversation

RELOADS = int(os.environ.get("GATEWAY_RELOADS", "10"))
"""`make faults` does more."""
WARM = 5
"""Reloads until everything that is made once has been made."""
LIMIT = 60.0
GROWTH = {"descriptors": 3, "threads": 4, "tasks": 3, "generations": 0, "memory": 6 * 1024 * 1024}
"""What may have been added between the first figures and the last: a pool starts its threads when it needs them, and
the allocator keeps pages. What each reload leaves behind is there ten times at least."""
HANDLERS = """
import asyncio, gc, json, os, threading
import gateway
from gateway.runtime.running import RunningGateway

handled = open("handled", "a", buffering=1)

def note(scope, what):
    handled.write(f"{scope.get('listener', scope['type'])} {what}\\n")

async def web(scope, receive, send):
    await asyncio.sleep(0.01)
    body = json.dumps(held()) if scope["path"] == "/held" else scope["path"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body.encode()})

def held():
    gc.collect()
    with open("/proc/self/statm") as statm:
        memory = int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "tasks": len(asyncio.all_tasks()),
        "generations": sum(isinstance(each, RunningGateway) for each in gc.get_objects()),
        "memory": memory,
    }

class Echo(gateway.AsyncWebsocketConsumer):
    async def receive(self, text=None, bytes=None):
        await self.send(text=text)

class Device(gateway.AsyncMqttConsumer):
    async def receive(self, topic, payload):
        note(self.scope, payload.decode())

class Mail(gateway.AsyncEmailConsumer):
    async def receive(self, message):
        await asyncio.sleep(0.005)
        note(self.scope, message["subject"])

class Text(gateway.AsyncSMSConsumer):
    async def receive(self, text, media):
        note(self.scope, text)
"""
FILE = """
servers:
  web: {{protocol: http, bind: "127.0.0.1:{web}"}}
  devices: {{protocol: mqtt, bind: "127.0.0.1:{devices}", anonymous: true, persistence: true}}
  mail: {{protocol: smtp, bind: "127.0.0.1:{mail}", max_connection_rate: 0, max_message_rate: 0}}
  local: {{protocol: lmtp, bind: "127.0.0.1:{local}"}}
  texts: {{protocol: sms, provider: generic, on: web, path: /hooks/sms, secret: s3cret, send_url: "http://127.0.0.1:9"}}
  mailbox: {{protocol: imap, host: 127.0.0.1, port: {imap}, tls: false, username: {user}, password: secret}}
  broker: {{protocol: mqtt-client, url: "{broker}", client_id: us, subscribe: ["t"], qos: 2, persistence: true}}
routes:
  http: {{app: many_handlers.web, path: ""}}
  websocket: many_handlers.Echo
  mqtt: {{app: many_handlers.Device, topic: "#", inbox: {inbox}}}
  email: {{app: many_handlers.Mail, default: true, inbox: {inbox}}}
  sms: {{app: many_handlers.Text, default: true, inbox: {inbox}}}
store: sqlite:one.db
threads: {threads}
log: {{level: warning}}
"""
STORED = ("devices", "mail", "local", "texts", "mailbox", "broker")
"""Servers: what each was given is handled exactly once."""


class Site(GatewayProcess):
    """The daemon, and peers that talk to it until they are told to pause or to stop."""

    def __init__(self, folder: Path, mailbox: Dovecot, broker: Mosquitto, inbox: str) -> None:
        self.mailbox, self.broker = mailbox, broker
        self.ports = {name: free_port() for name in ("web", "devices", "mail", "local")}
        self.facts = {**self.ports, "imap": mailbox.port, "user": USER, "broker": broker.url, "inbox": inbox}
        self.said: collections.defaultdict[str, list[str]] = collections.defaultdict(list)
        """What each server has acknowledged, or what has been put into the mailbox and given to the broker."""
        self.goes = asyncio.Event()
        self.stopping = False
        self.paused = 0
        super().__init__(folder, "many_handlers", HANDLERS, self.text(4))

    def text(self, threads: int) -> str:
        return FILE.format(**self.facts, threads=threads)

    def reload(self, number: int) -> dict[str, Any]:
        (self.folder / "gateway.yaml").write_text(self.text(4 + number % 2))
        with Conversation([self.folder / "one.db"], {"do": "reload"}) as conversation:
            *_, last = conversation.answers()
        done: dict[str, Any] = last["done"]
        return done

    def handled(self) -> collections.Counter[str]:
        return collections.Counter((self.folder / "handled").read_text().splitlines())

    async def held(self) -> dict[str, int]:
        """What the process holds while nobody talks to it."""
        self.goes.clear()
        await until(lambda: self.paused == len(self.talks), LIMIT)
        await until(lambda: self.expected() <= self.handled().keys(), LIMIT)
        await asyncio.sleep(1.0)  # what ends a moment later: old generations, connections to the mailbox
        async with aiohttp.ClientSession() as session:
            figures: dict[str, int] = json.loads(await self.get(session, "held"))
        self.goes.set()
        return figures

    def expected(self) -> set[str]:
        return {f"{name} {what}" for name in STORED for what in self.said[name]}

    @contextlib.asynccontextmanager
    async def talking(self) -> AsyncIterator[None]:
        self.talks: list[Callable[[], Awaitable[None]]] = [
            *(self._ask_anew, self._echo_anew, self._mail, self._deliver, self._text, self._fill_mailbox),
            self._fill_broker,
        ]
        async with (
            aiohttp.ClientSession() as session,
            connect(f"ws://127.0.0.1:{self.ports['web']}/") as socket,
        ):
            with (
                Paho(self.ports["devices"], "publisher", 5) as publisher,
                Paho(self.ports["devices"], "all", 5) as all_,
            ):
                all_.subscribe("#", qos=2)
                self.subscriber = all_
                self.talks.append(lambda: self._ask(session))
                self.talks.append(lambda: self._echo(socket))
                self.talks.append(lambda: self._publish(publisher))
                self.goes.set()
                tasks = [asyncio.ensure_future(self._loop(talk)) for talk in self.talks]
                try:
                    yield
                finally:
                    self.stopping = True
                    self.goes.set()
                    async with asyncio.timeout(LIMIT):
                        await asyncio.gather(*tasks)

    async def _loop(self, talk: Callable[[], Awaitable[None]]) -> None:
        while not self.stopping:
            if not self.goes.is_set():
                self.paused += 1
                await self.goes.wait()
                self.paused -= 1
            await talk()

    def _next(self, name: str) -> str:
        return f"{name}-{len(self.said[name])}"

    async def get(self, session: aiohttp.ClientSession, path: str) -> str:
        async with session.get(f"http://127.0.0.1:{self.ports['web']}/{path}") as answer:
            assert answer.status == 200
            return await answer.text()

    async def _ask(self, session: aiohttp.ClientSession) -> None:
        path = self._next("again")
        assert await self.get(session, path) == f"/{path}"
        self.said["again"].append(path)

    async def _ask_anew(self) -> None:
        path = self._next("web")
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
            assert await self.get(session, path) == f"/{path}"
        self.said["web"].append(path)

    async def _echo(self, socket: Any) -> None:
        await socket.send(text := self._next("socket"))
        assert await socket.recv() == text
        self.said["socket"].append(text)
        await asyncio.sleep(0.01)

    async def _echo_anew(self) -> None:
        async with connect(f"ws://127.0.0.1:{self.ports['web']}/") as socket:
            await self._echo(socket)

    async def _publish(self, publisher: Paho) -> None:
        for qos in (0, 1, 2):
            payload = self._next("devices")
            assert await asyncio.to_thread(publisher.publish, "t", payload.encode(), qos) == 0
            self.said["devices"].append(payload)

    async def _mail(self) -> None:
        mail = letter(self._next("mail"))
        await aiosmtplib.send(mail, hostname="127.0.0.1", port=self.ports["mail"], timeout=LIMIT)
        self.said["mail"].append(str(mail["Subject"]))

    async def _deliver(self) -> None:
        mail = letter(self._next("local"))
        await asyncio.to_thread(self._by_lmtp, mail)
        self.said["local"].append(str(mail["Subject"]))

    def _by_lmtp(self, mail: Any) -> None:
        with smtplib.LMTP("127.0.0.1", self.ports["local"], timeout=LIMIT) as client:
            client.send_message(mail)

    async def _text(self) -> None:
        text = self._next("texts")
        body, headers = webhook(text, text)
        url = f"http://127.0.0.1:{self.ports['web']}/hooks/sms"
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, data=body, headers=headers) as answer,
        ):
            assert answer.status // 100 == 2, await answer.text()
        self.said["texts"].append(text)

    async def _fill_mailbox(self) -> None:
        subject = self._next("mailbox")
        await asyncio.to_thread(self.mailbox.append, letter(subject).as_bytes())
        self.said["mailbox"].append(subject)
        await asyncio.sleep(0.05)

    async def _fill_broker(self) -> None:
        payloads = [f"broker-{len(self.said['broker']) + number}" for number in range(5)]
        await asyncio.to_thread(self.broker.publish_lines, "t", payloads, 2)
        self.said["broker"] += payloads


@pytest.fixture
def peers() -> Iterator[tuple[Dovecot, Mosquitto]]:
    with dovecot() as mailbox, mosquitto(lines=("max_queued_messages 0", "max_inflight_messages 20")) as broker:
        yield mailbox, broker


@pytest.mark.timeout(240 + 4 * RELOADS)
@pytest.mark.parametrize("inbox", ["false", "true"])
async def test_reloads_under_load_lose_repeat_and_refuse_nothing_and_nothing_grows(
    inbox: str, peers: tuple[Dovecot, Mosquitto], tmp_path: Path
) -> None:
    site = Site(tmp_path, *peers, inbox)
    site.start()
    try:
        await until(lambda: (tmp_path / "log").exists() and "try:" in site.output(), LIMIT)
        await until(lambda: _has_subscribed(site), LIMIT)
        async with site.talking():
            figures: list[dict[str, int]] = []
            for number in range(1, RELOADS + 1):
                said = {name: len(each) for name, each in site.said.items()}
                await until(lambda said=said: sum(len(site.said[name]) > said.get(name, 0) for name in site.said) > 5)
                done = await asyncio.to_thread(site.reload, number)
                assert (done["result"], done["generation"]) == ("reloaded", number + 1), done
                if number in (WARM, RELOADS // 2, RELOADS):
                    figures.append(await site.held())
        said = {name: len(each) for name, each in site.said.items()}
        (tmp_path / "figures").write_text(json.dumps({"said": said, "held": figures}))  # for a person who measures
        await until(lambda: site.expected() <= site.handled().keys(), LIMIT)
        assert {line for line, number in site.handled().items() if number > 1} <= {"broker probe"}
        copies = collections.Counter(bytes(each.payload).decode() for each in list(site.subscriber.messages.queue))
        assert copies == collections.Counter(site.said["devices"])
        await until(lambda: site.mailbox.count() == 0, LIMIT)  # a mail is deleted after it was handled
        grown = {name: figures[-1][name] - figures[0][name] for name in GROWTH}
        assert all(grown[name] <= most for name, most in GROWTH.items()), figures
        assert site.stop(signal.SIGTERM) == 0
        assert "ERROR" not in site.output(), site.output()
    finally:
        site.stop(signal.SIGKILL)


async def _has_subscribed(site: Site) -> bool:
    await asyncio.to_thread(site.broker.publish, "t", "probe", "-q", "1")
    return any("probe" in line for line in site.handled())
