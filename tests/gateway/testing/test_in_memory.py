"""The gateway of a file, in memory: its policies hold, time can be moved, and nothing leaves."""

import asyncio
import logging
import sys
import threading
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway import aio, get_channel_layer, send_mail
from gateway.config.diagnostics import ConfigErrors
from gateway.testing import InMemoryGateway, Publication
from protocols import LocalProtocolError, NotSent, PermanentFailure
from protocols.app_run import observed

HANDLERS = """
import json

from gateway import AsyncWebsocketConsumer, EmailConsumer, HttpConsumer, MqttConsumer, SMSConsumer, layer_event
from gateway.layers import get_channel_layer

calls = []


class Desk(EmailConsumer):
    def receive(self, message):
        calls.append(message.subject)
        if message.subject == "always" or calls.count(message.subject) < 3:
            raise ValueError("not yet")
        self.reply("done")


class Plain(EmailConsumer):
    def receive(self, message):
        self.reply("at once")


class Devices(MqttConsumer):
    def receive(self, topic, payload):
        calls.append((topic, payload))
        self.publish("seen", payload, qos=1)


class Texts(SMSConsumer):
    def receive(self, text, media):
        self.reply("you wrote " + text)


class Room(AsyncWebsocketConsumer):
    async def connect(self, message):
        await self.group_add("room")
        await self.accept()

    @layer_event("say")
    async def say(self, message):
        await self.send(message["text"])


class State(HttpConsumer):
    def handle(self, body):
        self.respond(self.scope["state"]["name"])


class Lifespan:
    async def __call__(self, scope, receive, send):
        await receive()
        scope["state"]["name"] = "of the lifespan"
        await send({"type": "lifespan.startup.complete"})
        await receive()
        calls.append("shut down")
        await send({"type": "lifespan.shutdown.complete"})
"""
FILE = """
servers:
  web: {protocol: http, bind: "127.0.0.1:1"}
  devices: {protocol: mqtt, bind: "127.0.0.1:2", persistence: true}
  inward: {protocol: smtp, bind: "127.0.0.1:3"}
  texts: {protocol: sms, provider: generic, on: web, path: /hook, secret: "${TOKEN}"}
submission: smtp://127.0.0.1:4
store: sqlite:/nowhere/at/all.db
routes:
  http: [{path: "^state$", app: in_memory_handlers.State}]
  websocket: in_memory_handlers.Room
  mqtt:
    - {topic: "stored/#", app: in_memory_handlers.Devices, inbox: true}
    - {topic: "#", app: in_memory_handlers.Devices}
  email:
    - {address: "desk@example.org", app: in_memory_handlers.Desk, inbox: true, attempts: 4, backoff: 1m}
    - {address: "retried@example.org", app: in_memory_handlers.Desk, attempts: 4, backoff: 1m}
    - {default: true, app: in_memory_handlers.Plain}
  sms: in_memory_handlers.Texts
"""


def write(folder: Path, text: str = FILE) -> Path:
    (folder / "in_memory_handlers.py").write_text(HANDLERS)
    (folder / "gateway.yaml").write_text(text)
    return folder / "gateway.yaml"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "in_memory_handlers", raising=False)
    return write(tmp_path)


@pytest.fixture
async def gateway(file: Path, anyio_backend: object) -> AsyncIterator[InMemoryGateway]:
    async with InMemoryGateway(file, environ={"TOKEN": "0123456789abcdef"}) as gateway:
        yield gateway
    assert observed.by is None


def calls() -> Any:
    return sys.modules["in_memory_handlers"].calls


async def test_a_stored_mail_is_tried_again_when_its_time_has_come(gateway: InMemoryGateway) -> None:
    mail = gateway.email("desk@example.org", subject="printer")
    assert mail.scope["listener"] == "inward"
    assert await mail.get_verdict() == {"type": "email.accept"}
    await gateway.settle()
    assert calls() == ["printer"]
    await gateway.move_time(30)
    assert calls() == ["printer"]
    await gateway.move_time(timedelta(minutes=1))
    assert calls() == ["printer"] * 2
    await gateway.move_time(timedelta(hours=1))
    assert calls() == ["printer"] * 3
    assert [(mail.subject, mail.rcpt_to) for mail in gateway.outbox.mails] == [("Re: printer", ["ann@example.net"])]
    assert (await gateway.store.counts()).waiting == 0
    assert [(each.event, each.route, each.verdict, each.attempt) for each in gateway.arrivals] == [
        ("email.receive", "desk@example.org", "stored", 0),
        ("email.receive", "desk@example.org", "next in 60 s", 1),
        ("email.receive", "desk@example.org", "next in 120 s", 2),
        ("email.receive", "desk@example.org", "done", 3),
        ("email.send", "", "sent", 1),
    ]


async def test_a_mail_that_always_fails_becomes_a_dead_letter(gateway: InMemoryGateway) -> None:
    await gateway.email("desk@example.org", subject="always").get_verdict()
    for _ in range(4):
        await gateway.move_time(timedelta(hours=2))
    assert calls() == ["always"] * 4
    [dead] = await gateway.store.dead()
    assert "ValueError: not yet" in dead.error
    assert gateway.outbox == []


async def test_a_policy_without_an_inbox_answers_the_sender(gateway: InMemoryGateway) -> None:
    mails = [gateway.email("retried@example.org", subject="one", message_id="<1@example.net>") for _ in range(2)]
    assert (await mails[0].get_verdict())["type"] == "email.defer"
    assert (await mails[1].get_verdict())["type"] == "email.defer"
    assert calls() == ["one", "one"]


async def test_what_cannot_leave_is_tried_again_and_what_is_refused_is_dead(gateway: InMemoryGateway) -> None:
    async with gateway.mqtt("k1") as device:
        assert device.scope["listener"] == "devices"
        assert (await device.connect())[0]
        with gateway.failing(NotSent("busy", retry_after=600), PermanentFailure("never")):
            assert await device.publish("stored/1", b"one") == 0
            await gateway.settle()
            assert gateway.outbox == []
            assert (await gateway.store.counts()).outgoing == 1
            await gateway.move_time(601)
        assert (await gateway.store.counts()).dead_outgoing == 1
        assert await device.publish("stored/1", b"two") == 0
        await gateway.settle()
        assert gateway.outbox == [Publication("seen", b"two", 1)]
        assert await device.publish("other", b"three") == 0
        assert gateway.outbox.publications[1:] == [Publication("seen", b"three", 1)]


async def test_mail_without_a_policy_and_texts(gateway: InMemoryGateway) -> None:
    assert (await gateway.email("anybody@example.org").get_verdict())["type"] == "email.accept"
    assert [each.text.partition("\n")[0].strip() for each in gateway.outbox.mails] == ["at once"]
    text = gateway.sms("hello")
    assert text.scope["listener"] == "texts"
    await text.get_verdict()
    assert [each.text for each in gateway.outbox.texts] == ["you wrote hello"]


async def test_scopes_have_what_the_file_says_of_their_servers(file: Path) -> None:
    text = FILE.replace('"127.0.0.1:1"}', '"127.0.0.1:1", root_path: /app}').replace(
        '"127.0.0.1:3"}', '"127.0.0.1:3", recipient_delimiter: "-"}'
    )
    write(file.parent, text)
    async with InMemoryGateway(file, environ={"TOKEN": "0123456789abcdef"}) as gateway:
        assert gateway.http("GET", "/state").scope["root_path"] == "/app"
        assert gateway.websocket("/").scope["path"] == "/app/"
        assert gateway.email("desk-7@example.org").scope["recipients"][0]["tag"] == "7"
        assert gateway.sms("hello").scope["provider"] == "generic"
        assert gateway.mqtt("k1").scope["role"] == "server"
    async with InMemoryGateway(file, environ={"TOKEN": "0123456789abcdef"}) as again:
        assert again.email("x@example.org").scope["listener"] == "inward"


async def test_a_gateway_can_run_again(file: Path) -> None:
    gateway = InMemoryGateway(file, environ={"TOKEN": "0123456789abcdef"})
    for number in (1, 2):
        async with gateway:
            await gateway.email("anybody@example.org").get_verdict()
            await gateway.email("desk@example.org", subject=f"no. {number}").get_verdict()
            await gateway.settle()
            assert calls() == [f"no. {each}" for each in range(1, number + 1)]
            assert len(gateway.outbox.mails) == number


async def test_what_the_test_itself_sends(gateway: InMemoryGateway) -> None:
    await aio.publish("a", "b")
    await asyncio.to_thread(send_mail, "ann@example.net", from_="desk@example.org", subject="from a thread")
    await gateway.settle()
    assert gateway.outbox.publications == [Publication("a", b"b")]
    assert [mail.subject for mail in gateway.outbox.mails] == ["from a thread"]


async def test_the_lifespan_s_state_the_layer_and_the_webhook(gateway: InMemoryGateway) -> None:
    assert gateway.state == {}
    async with gateway.websocket("/") as room:
        assert (await room.connect())[0]
        assert gateway.layer is get_channel_layer()
        await gateway.layer.group_send("room", {"type": "say", "text": "hello"})
        assert await room.receive_from() == "hello"
    gateway.state["name"] = "changed"
    assert (await gateway.http("GET", "/state").get_response()).text == "changed"
    assert (await gateway.http("GET", "/nothing").get_response()).status == 404
    assert (await gateway.http("POST", "/hook", json={}).get_response()).status == 403, "it is not signed"
    assert [(each.what, each.target, each.verdict) for each in gateway.arrivals] == [
        ("/", "in_memory_handlers.Room", "accepted"),
        ("/", "in_memory_handlers.Room", "closed, 1000"),
        ("GET /state", "in_memory_handlers.State", "200"),
        ("GET /nothing", "", "404"),
        ("POST /hook", "servers.texts", "403"),
    ]


async def test_it_is_started_once(gateway: InMemoryGateway) -> None:
    with pytest.raises(RuntimeError, match=r"gateway\.yaml runs already; the fixture starts it"):
        async with gateway:
            pass
    assert (await gateway.http("GET", "/nothing").get_response()).status == 404, "it goes on"


@pytest.mark.parametrize("crash", ['raise ValueError("closing")', 'await send({"type": "lifespan.shutdown.failed"})'])
async def test_a_shutdown_that_fails_is_an_error_of_the_test(
    file: Path, crash: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    write(file.parent, "servers: {web: {protocol: http}}\napplication: in_memory_handlers.application\n")
    (file.parent / "in_memory_handlers.py").write_text(
        "async def application(scope, receive, send):\n"
        "    await receive()\n"
        '    await send({"type": "lifespan.startup.complete"})\n'
        "    await receive()\n"
        f"    {crash}\n"
    )
    with pytest.raises(RuntimeError, match="the application's shutdown failed: "):
        async with InMemoryGateway(file):
            pass
    with pytest.raises(KeyError, match="of the test"):
        async with InMemoryGateway(file):
            raise KeyError("of the test")


async def test_an_application_in_python_with_a_lifespan(file: Path) -> None:
    text = "servers: {web: {protocol: http}}\napplication: in_memory_handlers.application\n"
    write(file.parent, text)
    (file.parent / "in_memory_handlers.py").write_text(
        HANDLERS + "from gateway import ProtocolTypeRouter\n"
        'application = ProtocolTypeRouter({"http": State, "lifespan": Lifespan()})\n'
    )
    async with InMemoryGateway(file) as gateway:
        assert (await gateway.http("GET", "/").get_response()).text == "of the lifespan"
        with pytest.raises(LookupError, match="needs no store"):
            gateway.store.now()
        await gateway.settle()
    assert calls() == ["shut down"]


async def test_mail_cannot_leave_without_a_submission_server(file: Path) -> None:
    write(file.parent, FILE.replace("submission:", "# "))
    async with InMemoryGateway(file, environ={"TOKEN": "0123456789abcdef"}) as gateway:
        with pytest.raises(LocalProtocolError, match="no submission server"):
            await gateway.email("anybody@example.org").get_verdict()


async def test_time_only_goes_forward_and_what_does_not_end_is_told(gateway: InMemoryGateway) -> None:
    with pytest.raises(ValueError, match="only goes forward"):
        await gateway.move_time(-1)
    handler = sys.modules["in_memory_handlers"].Desk
    begun, end = threading.Event(), threading.Event()

    def receive(self: Any, message: Any) -> None:
        begun.set()
        end.wait()

    handler.receive = receive
    await gateway.email("desk@example.org").get_verdict()
    await asyncio.to_thread(begun.wait)
    with pytest.raises(TimeoutError, match=r"not done within 0\.01 s: 1 stored messages"):
        await gateway.settle(timeout=0.01)
    end.set()
    await gateway.settle()


def test_a_mistake_in_the_file_and_a_gateway_that_does_not_run(file: Path) -> None:
    with pytest.raises(ConfigErrors, match="TOKEN"):
        InMemoryGateway(file, environ={})
    made = InMemoryGateway(file, environ={"TOKEN": "0123456789abcdef"})
    with pytest.raises(RuntimeError, match=r"is not running: write async with gateway"):
        made.email("desk@example.org")
    assert not Path("/nowhere").exists()
