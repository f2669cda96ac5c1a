"""kill -9 while answers leave: none is lost, and what leaves twice was under way when the process was killed."""

import contextlib
import json
import logging
import random
import shutil
import signal
import sqlite3
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from email.parser import BytesHeaderParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from crashing import SEEDS, Crashing, Sender, finish, mail
from servers.ports import free_port
from servers.site import until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

logger = logging.getLogger(__name__)

KILLS = 4
MAILS, TEXTS = 5, 16
"""What may be under way at a time: submission.max_connections, and half of the outbox's places."""
HANDLERS = """
from gateway import EmailConsumer, SMSConsumer


class Mail(EmailConsumer):
    def receive(self, message):
        said = f"From: desk@crash.example\\r\\nSubject: {message['Subject']}\\r\\n\\r\\ntaken\\r\\n"
        for number in range(3):
            self.send_message(said.encode(), [self.scope["mail_from"]])


class Text(SMSConsumer):
    same_answers_per_hour = answers_per_hour = 1_000_000  # one sender texts all the time

    def receive(self, text, media):
        for number in range(3):
            self.reply(text)
"""
FAST = "{rate: 10000, sender_rate: 10000}"
CONFIG = """
servers:
  web: {protocol: http, bind: "127.0.0.1:8000"}
  devices: {protocol: mqtt, bind: "127.0.0.1:1883"}
  mail: {protocol: smtp, bind: "127.0.0.1:8025"}
  texts:
    {protocol: sms, provider: generic, on: web, path: /hooks/sms, secret: dev-secret, send_url: "URL", sending: FAST}
routes:
  email: [{default: true, app: leaving_handlers.Mail, attempts: 50, backoff: 50ms}]
  mqtt: crash_handlers.Device
  sms: [{default: true, app: leaving_handlers.Text, inbox: true, attempts: 50, backoff: 50ms}]
submission: {url: "smtp://SUBMISSION"}
log: {level: warning}
"""


class Taken:
    """What the other side has said yes to: how often under which item's id, and for which message."""

    def __init__(self) -> None:
        self.items: Counter[str] = Counter()
        self.messages: set[str] = set()

    def add(self, item: str, message: str) -> None:
        self.items[item] += 1
        self.messages.add(message)

    def twice(self) -> Counter[str]:
        return Counter({item: number - 1 for item, number in self.items.items() if number > 1})


class Desk:
    """aiosmtpd's handler. The Message-ID is the item's id, which the gateway has put there."""

    def __init__(self, taken: Taken) -> None:
        self._taken = taken

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        fields = BytesHeaderParser().parsebytes(envelope.content)
        self._taken.add(fields["Message-ID"].strip("<>").partition("@")[0], fields["Subject"])
        return "250 2.0.0 taken"


@contextlib.contextmanager
def submission(taken: Taken) -> Iterator[str]:
    controller = Controller(Desk(taken), hostname="127.0.0.1", port=free_port())
    controller.start()
    try:
        yield f"127.0.0.1:{controller.port}"
    finally:
        controller.stop()


@contextlib.contextmanager
def provider(taken: Taken) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            text = json.loads(self.rfile.read(int(self.headers["content-length"])))
            taken.add(text["id"], text["text"])
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 -- http.server's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/send"
    finally:
        server.shutdown()
        server.server_close()


def leaving(folder: Path) -> list[str]:
    """What was under way when the process was killed, by a copy of its store."""
    with tempfile.TemporaryDirectory() as copy:
        for file in folder.glob("gateway.db*"):
            if not file.name.endswith((".lock", ".sock")):
                shutil.copy(file, copy)
        with contextlib.closing(sqlite3.connect(Path(copy) / "gateway.db")) as database:
            return [id_ for (id_,) in database.execute("SELECT id FROM outgoing WHERE state = 1")]


def nothing_left(site: Crashing) -> bool:
    with contextlib.closing(sqlite3.connect(site.folder / "var" / "gateway.db", timeout=20)) as database:
        gone = "SELECT (SELECT count(*) FROM outgoing) + (SELECT count(*) FROM messages WHERE state < 4)"
        return database.execute(gone).fetchone() == (0,)


@pytest.mark.parametrize("seed", SEEDS)
def test_answers_leave_and_twice_only_what_was_under_way(tmp_path: Path, seed: int) -> None:
    chance, taken = random.Random(seed), Taken()
    site = Crashing(tmp_path)
    (tmp_path / "leaving_handlers.py").write_text(HANDLERS)
    with submission(taken) as address, provider(taken) as url, contextlib.closing(site):
        site.configure(CONFIG.replace("FAST", FAST).replace("SUBMISSION", address).replace("URL", url))
        site.start()
        senders = [
            Sender("mail", lambda what: mail(site, what, "desk@crash.example")),
            Sender("more", lambda what: mail(site, what, "desk@crash.example")),
            Sender("text", lambda what: site.sms(what, sender="+447700900123", message_id=what).status_code == 200),
        ]
        for sender in senders:
            sender.start()
        may_be_twice: Counter[str] = Counter()
        for _ in range(KILLS):
            time.sleep(0.3 + chance.random())
            site.signal(signal.SIGKILL)
            under_way = leaving(tmp_path / "var")
            assert len(under_way) <= 2 * TEXTS
            may_be_twice.update(under_way)
            site.start()
        time.sleep(0.3)
        acknowledged = finish(senders)
        until(lambda: nothing_left(site), lambda: f"everything has left\n{site.output()[-3000:]}", 60.0)
        assert site.signal(signal.SIGTERM) == 0
    assert acknowledged <= taken.messages
    replies = Counter(item.rpartition("-")[0] for item in taken.items)
    assert set(replies.values()) == {3}, "all of each message"
    twice = taken.twice()
    logger.info("left twice: %d of %d; under way: %d", twice.total(), len(taken.items), may_be_twice.total())
    assert twice <= may_be_twice
