"""A recording runs through a gateway of its own: with its policies and its store, and nothing leaves."""

from pathlib import Path
from typing import Any

import pytest

from gateway.config.loader import parse
from gateway.event_sender import sender
from gateway.recording.compare import Became
from gateway.recording.entry import Entry
from gateway.runtime import sandbox
from gateway.runtime.sandbox import Sandbox
from protocols.app_run import observed
from protocols.lifespan import StartupFailed

HANDLERS = """
import asyncio
from gateway import AsyncHttpConsumer, EmailConsumer, MqttConsumer, aio, publish

ran = []

class Desk(EmailConsumer):
    def receive(self, message):
        ran.append(message["Subject"])
        publish("mails/new", "1")

class Thermometer(MqttConsumer):
    def receive(self, topic, payload):
        pass

class Web(AsyncHttpConsumer):
    async def handle(self, body):
        if self.scope["path"] == "/hang":
            await asyncio.Event().wait()
        await aio.send_mail("ann@example.net", subject="Hi", text="Hi", from_="shop@example.org")
        await self.respond(str(self.scope["state"]["from"]).encode())

async def web(scope, receive, send):
    if scope["type"] != "lifespan":
        await Web.as_asgi()(scope, receive, send)
        return
    await receive()
    scope["state"]["from"] = "startup"
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})

async def broken(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})
"""
FILE = """
servers:
  mail: {protocol: smtp, bind: "127.0.0.1:0"}
  web: {protocol: http, bind: "127.0.0.1:0"}
  devices: {protocol: mqtt, bind: "127.0.0.1:0"}
routes:
  email: [{domain: example.org, app: sandbox_handlers.Desk, inbox: true}]
  http: sandbox_handlers.web
  mqtt: sandbox_handlers.Thermometer
submission: file:outbox
store: sqlite:real.db
"""
MAIL = (
    b"From: ann@example.net\r\nTo: desk@example.org\r\nSubject: printer\r\nMessage-ID: <1@example.net>\r\n"
    b"Date: Mon, 04 May 2026 09:30:00 +0200\r\n\r\nHello\r\n"
)


def mail(id_: str) -> Entry:
    scope = {
        "type": "email",
        "listener": "mail",
        "transport": "smtp",
        "mail_from": "ann@example.net",
        "rcpt_to": ["desk@example.org"],
        "extensions": {"event": {"id": id_}},
        "authentication": None,
        "message_id": "<1@example.net>",
        "size": len(MAIL),
        "headers": [(b"message-id", b"<1@example.net>"), (b"date", b"Mon, 04 May 2026 09:30:00 +0200")],
        "user": None,
        "recipients": [{"address": "desk@example.org", "source": "envelope", "tag": None}],
        "helo": "x",
        "asgi": {"version": "3.0"},
        "client": None,
        "server": None,
        "received_at": 1777879805.0,
        "mailbox": None,
    }
    events = [{"type": "email.receive", "body": MAIL, "more_body": False}]
    return Entry({"event": "email.receive", "attempt": 0}, scope, events)


def request(path: str) -> Entry:
    scope = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b"", "extensions": {}}
    return Entry({"event": "http.request", "attempt": 0}, scope, ())


def made(folder: Path, text: str = FILE) -> Sandbox:
    (folder / "sandbox").mkdir()
    return Sandbox(parse(text, name="gateway.yaml", folder=folder), folder / "sandbox")


@pytest.fixture
def handlers(replaced: Any) -> Any:
    return replaced("sandbox_handlers", HANDLERS)


async def test_a_stored_message_is_handled_once_and_what_it_sends_stays(
    tmp_path: Path, handlers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with made(tmp_path) as replayed:
        first = await replayed.replay(mail("a"), Became("stored", "done"))
        assert (first.answer, first.outcome, first.target) == ("stored", "done", "sandbox_handlers.Desk")
        monkeypatch.setattr(sandbox, "PATIENCE", 5.0)
        assert str(await replayed.replay(mail("b"), Became("stored"))) == "stored", "it does not wait for a repetition"
    assert handlers.ran == ["printer"]
    assert replayed.unsent == {"mqtt": 1}
    assert not (tmp_path / "real.db").exists()


async def test_the_application_has_started_and_its_mail_stays(tmp_path: Path, handlers: Any) -> None:
    async with made(tmp_path) as replayed:
        assert (await replayed.replay(request("/"), Became("200"))).answer == "200"
    assert replayed.unsent == {"email": 1}
    assert not (tmp_path / "outbox").exists()
    assert observed.by is None
    assert sender.get() is not None, "a thread that is left over does not find the real store"


async def test_a_handler_that_does_not_end_is_given_up(
    tmp_path: Path, handlers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "PATIENCE", 0.05)
    async with made(tmp_path) as replayed:
        assert await replayed.replay(request("/hang"), Became("200")) == Became("no answer within 0.05 s")


async def test_a_scope_that_was_changed_by_hand(tmp_path: Path, handlers: Any) -> None:
    async with made(tmp_path) as replayed:
        damaged = Entry({"event": "email.receive", "attempt": 0}, {"type": "email"}, ())
        assert (await replayed.replay(damaged, Became("stored"))).answer == "cannot be run"


async def test_an_application_that_cannot_start(tmp_path: Path, handlers: Any) -> None:
    with pytest.raises(StartupFailed, match="no database"):
        async with made(tmp_path, FILE.replace("handlers.web", "handlers.broken")):
            pass
