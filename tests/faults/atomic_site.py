"""A gateway with ``atomic: true`` on every route, on each kind of database, and what there is in it afterwards.

Nothing in the database would hide a row or an item that is there twice: there is no unique index on what is written.
Every handler writes one row, and sends one mail to an address of its own, which stays in the outbox because no server
takes it.
"""

import contextlib
import itertools
import json
import re
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from crashing import Crashing
from servers.ports import free_port
from servers.postgresql import Database, database
from servers.project_store import postgresql, sqlite
from servers.site import until

CONFIG = """
store: {store}
{django}
servers:
  web: {{protocol: http, bind: "127.0.0.1:8000"}}
  devices: {{protocol: mqtt, bind: "127.0.0.1:1883", anonymous: true}}
  mail: {{protocol: smtp, bind: "127.0.0.1:8025"}}
  texts: {{protocol: sms, provider: generic, on: web, path: /hooks/sms, secret: dev-secret}}
submission: {{url: "smtp://127.0.0.1:{nobody}", default_from: desk@example.org}}
routes:
  websocket: gateway.WebsocketConsumer
  mqtt:
    - {{topic: sync/+, app: effects.handlers.Sync, order: key, {policy}}}
    - {{topic: async/+, app: effects.handlers.Async, order: key, {policy}}}
    - {{topic: batch/+, app: effects.handlers.Batch, order: key, {policy}}}
    - {{topic: abatch/+, app: effects.handlers.AsyncBatch, order: key, {policy}}}
  email:
    - {{recipient: "^inbox@", app: effects.handlers.Mail, inbox: true, {policy}}}
    - {{recipient: "^async@", app: effects.handlers.AsyncMail, {policy}}}
    - {{default: true, app: effects.handlers.Mail, {policy}}}
  sms: [{{default: true, app: effects.handlers.Text, {policy}}}]
log: {{level: warning}}
"""
HANDLERS = """
import asyncio
import os
import random
import sqlite3
import time

from gateway import (
    AsyncEmailConsumer, AsyncMqttBatchConsumer, AsyncMqttConsumer, EmailConsumer, MqttBatchConsumer, MqttConsumer,
    SMSConsumer, aio, send_mail,
)

KIND = os.environ["KIND"]
SQL = {"sqlite": "INSERT INTO effects (what) VALUES (?)", "postgresql": "INSERT INTO effects (what) VALUES (%s)"}
SLOWEST = float(os.environ["SLOWEST"])


def pause():
    time.sleep(random.random() * SLOWEST)


def written(consumer, what):
    if KIND == "django":
        from effects.models import Effect

        Effect.objects.create(what=what)
    elif KIND == "control":  # without the transaction
        with sqlite3.connect(os.environ["CONTROL"], timeout=20) as connection:
            connection.execute(SQL["sqlite"], [what])
    else:
        consumer.connection.execute(SQL[KIND], [what])


async def awritten(consumer, what):
    if KIND == "django":
        from effects.models import Effect

        await Effect.objects.acreate(what=what)
    elif KIND == "control":
        await asyncio.to_thread(written, consumer, what)
    else:
        await consumer.connection.execute(SQL[KIND], [what])


def handle(consumer, what):
    if random.random() < 0.02:
        raise RuntimeError("now and then")
    written(consumer, what)
    pause()
    send_mail(f"{what}@example.com", subject="seen", text=what)
    if random.random() < 0.02:
        raise RuntimeError("now and then, when everything is done")


async def ahandle(consumer, what):
    await awritten(consumer, what)
    await asyncio.sleep(random.random() * SLOWEST)
    await aio.send_mail(f"{what}@example.com", subject="seen", text=what)
    if random.random() < 0.02:
        raise RuntimeError("now and then, when everything is done")


class Sync(MqttConsumer):
    def receive(self, topic, payload):
        handle(self, payload.decode())


class Async(AsyncMqttConsumer):
    async def receive(self, topic, payload):
        await ahandle(self, payload.decode())


class Batch(MqttBatchConsumer):
    def receive_batch(self, messages):
        for message in messages:
            handle(self, message.payload.decode())


class AsyncBatch(AsyncMqttBatchConsumer):
    async def receive_batch(self, messages):
        for message in messages:
            await ahandle(self, message.payload.decode())


class Mail(EmailConsumer):
    def receive(self, message):
        handle(self, message["Subject"])


class AsyncMail(AsyncEmailConsumer):
    async def receive(self, message):
        await ahandle(self, message["Subject"])


class Text(SMSConsumer):
    same_answers_per_hour = answers_per_hour = 1_000_000  # one sender texts all the time

    def receive(self, text, media):
        handle(self, text)
        self.reply("taken")
"""
SETTINGS = """
import json
from pathlib import Path

SECRET_KEY = "tests"
USE_TZ = True
INSTALLED_APPS = ["gateway.django", "effects"]
DATABASES = json.loads((Path(__file__).parent / "databases.json").read_text())
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
"""
MODELS = """
from django.db import models


class Effect(models.Model):
    what = models.TextField()

    class Meta:
        db_table = "effects"
"""
KINDS = ("sqlite", "postgresql", "django on sqlite", "django on postgresql")


class AtomicSite(Crashing):
    """``kind``: where the rows are, one of ``KINDS``, or ``control``: SQLite without ``atomic``."""

    def __init__(self, folder: Path, kind: str, place: Database | None, slowest: float) -> None:
        super().__init__(folder)
        self.place = place
        self.file = folder / "gateway.db"
        app = folder / "effects"
        app.mkdir()
        (app / "__init__.py").touch()
        (app / "handlers.py").write_text(HANDLERS)
        store, django = f"sqlite:{self.file}", ""
        if kind == "postgresql" and place is not None:
            store = place.url
        elif kind.startswith("django"):
            store, django = "django", "django: {settings: effects_settings}"
            self._make_project()
        policy = "attempts: 500, backoff: 20ms" + (", atomic: true" if kind != "control" else "")
        self.configure(CONFIG.format(store=store, django=django, nobody=free_port(), policy=policy))
        self.environment |= {"KIND": kind.split()[0], "SLOWEST": str(slowest), "CONTROL": str(folder / "effects.db")}
        self._make_table(kind)

    def _make_project(self) -> None:
        (self.folder / "effects_settings.py").write_text(SETTINGS)
        (self.folder / "effects" / "models.py").write_text(MODELS)
        quick = {"init_command": "PRAGMA journal_mode = WAL", "timeout": 20}
        databases = sqlite(self.file, **quick) if self.place is None else postgresql(self.place)
        (self.folder / "databases.json").write_text(json.dumps(databases))
        self.environment |= {"PYTHONPATH": f"{self.environment['PYTHONPATH']}:{self.folder}"}
        done = self.python("-m", "django", "migrate", "--run-syncdb", "--settings", "effects_settings")
        assert done.returncode == 0, done.stderr

    def _make_table(self, kind: str) -> None:
        if kind == "postgresql" and self.place is not None:
            with self.place.connect() as session:
                session.execute("CREATE TABLE effects (id bigserial, what text)")
        elif kind in ("sqlite", "control"):
            path = self.file if kind == "sqlite" else self.folder / "effects.db"
            with contextlib.closing(sqlite3.connect(path)) as connection:
                connection.execute("CREATE TABLE effects (id INTEGER PRIMARY KEY, what TEXT)")

    def query(self, sql: str, *, control: bool = False) -> list[tuple[Any, ...]]:
        """Execute a statement for the tables of a gateway's own file."""
        if self.environment["KIND"] in ("postgresql", "django"):
            sql = re.sub(r"\b(messages|outgoing)\b", r"gateway_\1", sql)
        if self.place is not None:
            with self.place.connect() as session:
                return session.execute(sql.encode()).fetchall()
        path = self.folder / "effects.db" if control else self.file
        with contextlib.closing(sqlite3.connect(path, timeout=20)) as connection:
            return connection.execute(sql).fetchall()

    def is_idle(self) -> bool:
        return self.query("SELECT count(*) FROM messages WHERE state < 3") == [(0,)]

    def effects(self) -> list[str]:
        """What handlers have written, in that order."""
        control = self.environment["KIND"] == "control"
        return [what for (what,) in self.query("SELECT what FROM effects ORDER BY id", control=control)]

    def items(self) -> Counter[str]:
        """How many items there are to send for each."""
        rows = self.query("SELECT recipient FROM outgoing")
        return Counter(recipient.partition("@")[0] for (recipient,) in rows)


@contextlib.contextmanager
def atomic_site(folder: Path, kind: str, slowest: float = 0.004) -> Iterator[AtomicSite]:
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(database()) if kind.endswith("postgresql") else None
        site = AtomicSite(folder, kind, place, slowest)
        stack.callback(site.close)
        yield site


class Device(threading.Thread):
    """Publishes ``name-0``, ``name-1`` ... at QoS 1, a few at a time, and none of them twice: a repetition at QoS 1 is
    a new message for the gateway. What was not acknowledged may be there or not."""

    def __init__(self, site: AtomicSite, topic: str) -> None:
        super().__init__(daemon=True)
        self._site = site
        self.topic = topic
        self.name = topic.replace("/", "-")
        self.acknowledged: list[str] = []
        self.stopping = threading.Event()
        self._numbers = itertools.count()

    def run(self) -> None:
        while not self.stopping.is_set():
            with contextlib.suppress(OSError, ValueError, RuntimeError):
                self._session()
            time.sleep(0.05)

    def _session(self) -> None:
        # it would connect again by itself, and publish again what had no PUBACK: that is another message
        client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id="", clean_session=True, reconnect_on_failure=False
        )
        client.connect("127.0.0.1", self._site.mqtt)
        client.loop_start()
        try:
            while not self.stopping.is_set():
                some = [f"{self.name}-{number}" for number in itertools.islice(self._numbers, 5)]
                for what, message in [(what, client.publish(self.topic, what, 1)) for what in some]:
                    message.wait_for_publish(2.0)
                    if not message.is_published():
                        return
                    self.acknowledged.append(what)
                time.sleep(0.05)  # so that not more is left in the end than can be handled soon
        finally:
            client.disconnect()
            client.loop_stop()


def handled(site: AtomicSite, seconds: float = 60.0) -> None:
    until(site.is_idle, lambda: f"everything is handled\n{site.output()[-3000:]}", seconds)
