"""Handlers that raise SystemExit, KeyboardInterrupt or GeneratorExit, in whatever form they are written.

It is a failed attempt, as with other errors: the message is a dead letter in the end, and the gateway goes on.
"""

import contextlib
import signal
import smtplib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import paho.mqtt.client as paho
import pytest
from servers.daemon import Daemon
from servers.ports import free_port
from servers.site import until
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

HANDLERS = """
import asyncio

from gateway import (
    AsyncEmailConsumer, AsyncHttpConsumer, AsyncMqttBatchConsumer, AsyncMqttConsumer, AsyncWebsocketConsumer,
    EmailConsumer, HttpConsumer, MqttBatchConsumer, MqttConsumer,
)

KINDS = {each.__name__: each for each in (KeyboardInterrupt, SystemExit, GeneratorExit)}
left = set()


def end(kind):
    raise KINDS[kind]("it ends")


async def end_later(kind):
    await asyncio.sleep(0)
    end(kind)


async def end_somehow(what):
    kind, how = what.split("-")
    if how == "itself":
        end(kind)
    elif how == "task":
        await asyncio.create_task(end_later(kind))
    elif how == "group":
        async with asyncio.TaskGroup() as group:
            group.create_task(end_later(kind))
            group.create_task(asyncio.sleep(60))
    elif how == "thread":
        await asyncio.to_thread(end, kind)
    elif how == "left":
        left.add(asyncio.create_task(end_later(kind)))


def end_at_once(what):
    end(what.partition("-")[0])


ROW = "INSERT INTO rows VALUES (1)"


class Sync(MqttConsumer):
    def receive(self, topic, payload):
        end_at_once(payload.decode())


class Async(AsyncMqttConsumer):
    async def receive(self, topic, payload):
        await end_somehow(payload.decode())


class Batch(MqttBatchConsumer):
    def receive_batch(self, messages):
        end_at_once(messages[0].payload.decode())


class AsyncBatch(AsyncMqttBatchConsumer):
    async def receive_batch(self, messages):
        await end_somehow(messages[0].payload.decode())


class AtomicSync(Sync):
    def receive(self, topic, payload):
        self.connection.execute(ROW)
        super().receive(topic, payload)


class AtomicAsync(Async):
    async def receive(self, topic, payload):
        await self.connection.execute(ROW)
        await super().receive(topic, payload)


class AtomicBatch(Batch):
    def receive_batch(self, messages):
        self.connection.execute(ROW)
        super().receive_batch(messages)


class AtomicAsyncBatch(AsyncBatch):
    async def receive_batch(self, messages):
        await self.connection.execute(ROW)
        await super().receive_batch(messages)


class Mail(EmailConsumer):
    def receive(self, message):
        if "atomic" in self.scope["rcpt_to"][0]:
            self.connection.execute(ROW)
        end_at_once(message.subject)


class AsyncMail(AsyncEmailConsumer):
    async def receive(self, message):
        if "atomic" in self.scope["rcpt_to"][0]:
            await self.connection.execute(ROW)
        await end_somehow(message.subject)


async def plain(scope, receive, send):
    await send({"type": "mqtt.accept"})
    while (event := await receive())["type"] != "mqtt.disconnect":
        if event["type"] == "mqtt.receive":
            await end_somehow(event["payload"].decode())
            await send({"type": "mqtt.ack", "id": event["id"]})


class Page(HttpConsumer):
    def handle(self, body):
        if self.scope["path"] == "/alive":
            self.respond("alive")
            return
        end_at_once(self.scope["path"].strip("/"))


class AsyncPage(AsyncHttpConsumer):
    async def handle(self, body):
        await end_somehow(self.scope["path"].rpartition("/")[2])


class Chat(AsyncWebsocketConsumer):
    async def receive(self, text=None, bytes=None):
        await end_somehow(text)
"""
CONFIG = """
store: sqlite:gateway.db
servers:
  web: {{protocol: http, bind: "127.0.0.1:{web}"}}
  devices: {{protocol: mqtt, bind: "127.0.0.1:{mqtt}", anonymous: true}}
  mail: {{protocol: smtp, bind: "127.0.0.1:{smtp}"}}
submission: file:outbox
routes:
  email:
    - {{address: sync@example.org, app: exiting.Mail, attempts: 2}}
    - {{address: async@example.org, app: exiting.AsyncMail, attempts: 2}}
    - {{address: sync-atomic@example.org, app: exiting.Mail, atomic: true, attempts: 2}}
    - {{address: async-atomic@example.org, app: exiting.AsyncMail, atomic: true, attempts: 2}}
  http:
    - {{path: "^async/", app: exiting.AsyncPage}}
    - {{path: "^", app: exiting.Page}}
  websocket: exiting.Chat
  mqtt:
    - {{topic: atomic/sync, app: exiting.AtomicSync, atomic: true, attempts: 2, backoff: 0.01}}
    - {{topic: atomic/async, app: exiting.AtomicAsync, atomic: true, attempts: 2, backoff: 0.01}}
    - {{topic: atomic/batch, app: exiting.AtomicBatch, atomic: true, attempts: 2, backoff: 0.01}}
    - {{topic: atomic/abatch, app: exiting.AtomicAsyncBatch, atomic: true, attempts: 2, backoff: 0.01}}
    - {{topic: atomic/plain, app: exiting.plain, atomic: true, attempts: 2, backoff: 0.01}}
    - {{topic: sync, app: exiting.Sync, attempts: 2, backoff: 0.01}}
    - {{topic: async, app: exiting.Async, attempts: 2, backoff: 0.01}}
    - {{topic: batch, app: exiting.Batch, attempts: 2, backoff: 0.01}}
    - {{topic: abatch, app: exiting.AsyncBatch, attempts: 2, backoff: 0.01}}
    - {{topic: plain, app: exiting.plain, attempts: 2, backoff: 0.01}}
"""
KINDS = ("KeyboardInterrupt", "SystemExit", "GeneratorExit")
SYNC, ASYNC = ("sync", "batch"), ("async", "abatch", "plain")
HOW = ("itself", "task", "group", "thread")


class Exiting:
    """A daemon with such handlers."""

    def __init__(self, folder: Path) -> None:
        (folder / "exiting.py").write_text(HANDLERS)
        self.folder, self.web, self.mqtt, self.smtp = folder, free_port(), free_port(), free_port()
        (folder / "gateway.yaml").write_text(CONFIG.format(web=self.web, mqtt=self.mqtt, smtp=self.smtp))
        with contextlib.closing(sqlite3.connect(folder / "gateway.db")) as database:
            database.execute("CREATE TABLE rows (what)")
        self.daemon = Daemon(folder)
        self.daemon.says(f"127.0.0.1:{self.mqtt}  ready")

    def publish(self, topic: str, payloads: Sequence[str]) -> None:
        """Return when all of them are acknowledged."""
        client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", self.mqtt)
        client.loop_start()
        for each in [client.publish(topic, payload, qos=1) for payload in payloads]:
            each.wait_for_publish(20)
        client.disconnect()
        client.loop_stop()

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(self.folder / "gateway.db", timeout=20)) as database:
            return database.execute(sql).fetchall()

    def dead(self, kind: str) -> list[tuple[str, int]]:
        """The topic and the attempts of each dead letter with this error."""
        found = self.query("SELECT route, attempts, error FROM messages WHERE state = 3 AND type = 'mqtt'")
        return [(route.partition(" ")[0], attempts) for route, attempts, error in found if kind in error]

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.web}/{path}", timeout=20)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exiting]:
    site = Exiting(tmp_path_factory.mktemp("exiting"))
    yield site
    site.daemon.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_is_a_dead_letter_after_its_attempts_and_its_rows_are_undone(site: Exiting, kind: str) -> None:
    expected = []
    for prefix in ("", "atomic/"):
        for form in SYNC:
            site.publish(prefix + form, [f"{kind}-itself"])
            expected.append(prefix + form)
        for form in ASYNC:
            site.publish(prefix + form, [f"{kind}-{how}" for how in HOW])
            expected += [prefix + form] * len(HOW)
    until(lambda: len(site.dead(kind)) == len(expected), lambda: f"{site.dead(kind)}: {site.daemon.text}")
    assert sorted(site.dead(kind)) == sorted((form, 2) for form in expected)
    assert site.query("SELECT count(*) FROM rows") == [(0,)]
    assert site.get("alive").text == "alive"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", HOW)
def test_a_sender_that_waits_is_told_to_come_again(site: Exiting, kind: str, how: str) -> None:
    for name in ("sync", "async", "sync-atomic", "async-atomic"):
        content = f"Subject: {kind}-{how}\r\nMessage-ID: <{kind}.{how}.{name}@example.net>\r\n\r\nhello"
        with (
            smtplib.SMTP("127.0.0.1", site.smtp, timeout=20) as client,
            pytest.raises(smtplib.SMTPDataError, match="451"),
        ):
            client.sendmail("ann@example.net", [f"{name}@example.org"], content.encode())
    assert site.query("SELECT count(*) FROM rows") == [(0,)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_an_error_and_a_connection_is_closed(site: Exiting, kind: str) -> None:
    assert site.get(f"{kind}-itself").status_code == 500
    for how in HOW:
        assert site.get(f"async/{kind}-{how}").status_code == 500
        with connect(f"ws://127.0.0.1:{site.web}/") as chat, pytest.raises(ConnectionClosed):
            chat.send(f"{kind}-{how}")
            chat.recv(20)
    assert site.get("alive").text == "alive"


def test_a_task_that_a_handler_leaves_behind_does_not_end_the_gateway_and_signals_are_heard(site: Exiting) -> None:
    site.publish("async", ["SystemExit-left", "KeyboardInterrupt-left"])
    site.daemon.says("a task has raised KeyboardInterrupt; the gateway goes on")
    site.daemon.process.send_signal(signal.SIGUSR1)
    site.daemon.says("SIGUSR1")
    site.daemon.process.send_signal(signal.SIGTERM)
    assert site.daemon.wait() == 0
