"""An answer that cannot be given is a failed attempt, wherever the handler runs; what was kept before has an end."""

import logging
from email.utils import formatdate
from typing import Any

import aiosmtplib
import pytest
from test_guard import MAIL, TEXT, deliver, email, sms
from test_worker import QUICK, done, message, mqtt_app, publish, working
from waiting import until

from gateway import (
    AsyncMqttBatchConsumer,
    AsyncMqttConsumer,
    EmailConsumer,
    EmailToRouter,
    MqttConsumer,
    Policy,
    ProtocolTypeRouter,
    regex,
)
from gateway.delivery.guard import Guard
from gateway.delivery.outbox import Outbox
from gateway.delivery.outgoing import outgoing_of
from gateway.delivery.service import deliveries
from gateway.runtime.servers import make_outlets
from gateway.scopes.email.identity import identity_of
from gateway.scopes.server_kind import Given
from gateway.store import codec
from gateway.store.sqlite import SQLiteStore
from protocols.errors import LocalProtocolError
from protocols.mail.smtp.server import SMTPServer, SMTPSettings
from protocols.mail.submission import MaildirSubmission
from protocols.mqtt.server import MQTTServer
from protocols.mqtt.settings import MQTTSettings
from protocols.secret import Secret
from protocols.sms import SMSWebhook, TwilioSettings

IDENTITY = b"From: a@x.org\r\nMessage-ID: <1@x.org>\r\nDate: %s\r\n\r\nhello\r\n" % formatdate().encode()


async def answer_to(app: Any) -> int:
    """What an SMTP server over ``app`` says to one mail."""
    server = SMTPServer(app, SMTPSettings(bind="127.0.0.1:0"), name="mail", state={})
    async with server:
        host, _, port = server.address.rpartition(":")
        client = aiosmtplib.SMTP(hostname=host, port=int(port), start_tls=False)
        await client.connect()
        await client.mail("a@x.org")
        await client.rcpt("b@x.org")
        try:
            return (await client.data(IDENTITY)).code
        except aiosmtplib.SMTPDataError as error:
            return error.code
        finally:
            await client.quit()


async def test_a_code_that_is_no_refusal_fails_its_attempts_and_is_a_dead_letter(store: SQLiteStore) -> None:
    runs: list[int] = []

    class Accepts(EmailConsumer):
        def receive(self, message: Any) -> None:
            runs.append(1)
            self.reject(code=250)

    app = ProtocolTypeRouter({"email": EmailToRouter([regex(".*", Accepts, policy=Policy(attempts=3))])})
    answers = [await answer_to(app) for _ in range(4)]
    assert answers == [451, 451, 250, 250]
    assert len(runs) == 3
    [dead] = await store.dead()
    assert "LocalProtocolError: reject: code is 250; write an integer from 500 to 599" in dead.error


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"topic": "bad/#", "payload": b""}, "topic is 'bad/#'"),
        ({"topic": "t", "payload": b"", "qos": 7}, "qos is 7"),
        ({"topic": "t", "payload": 7}, "payload is an int"),
        ({"topic": "t", "payload": b"", "properties": {"content_type": 5}}, "content_type is not text"),
    ],
)
@pytest.mark.parametrize("kind", ["sync", "async", "batch"])
async def test_what_is_no_publication_is_never_kept(
    store: SQLiteStore, kind: str, keys: dict[str, Any], sentence: str
) -> None:
    class Sync(MqttConsumer):
        def receive(self, topic: str, payload: bytes) -> None:
            self.publish(**keys)

    class Async(AsyncMqttConsumer):
        async def receive(self, topic: str, payload: bytes) -> None:
            await self.publish(**keys)

    class Batch(AsyncMqttBatchConsumer):
        async def receive_batch(self, messages: Any) -> None:
            await self.publish(**keys)

    app = mqtt_app({"sync": Sync, "async": Async, "batch": Batch}[kind])
    await publish(app, message("a", b"1", 7) | {"retain": False, "dup": False})
    async with working(store, app):
        await until(lambda: done(store))
    [dead] = await store.dead()
    assert sentence in dead.error
    assert (await store.counts()).outgoing == 0


async def test_a_reason_code_that_no_puback_has_is_a_failure_too(store: SQLiteStore) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (event := await receive())["type"] != "mqtt.disconnect":
            if event["type"] == "mqtt.connect":
                await send({"type": "mqtt.accept"})
            else:
                await send({"type": "mqtt.ack", "id": event["id"], "reason_code": 5})

    app = ProtocolTypeRouter({"mqtt": Guard(app, QUICK, "mqtt -> app")})
    await publish(app, message("a", b"1", 7))
    async with working(store, app):
        await until(lambda: done(store))
    [dead] = await store.dead()
    assert "mqtt.ack: reason_code is 5; write one of" in dead.error


async def test_what_fails_after_the_acknowledgement_is_in_the_log(
    store: SQLiteStore, caplog: pytest.LogCaptureFixture
) -> None:
    """The message is handled, and nothing else would tell."""

    async def raw(scope: Any, receive: Any, send: Any) -> None:
        while (event := await receive())["type"] != "mqtt.disconnect":
            if event["type"] == "mqtt.connect":
                await send({"type": "mqtt.accept"})
            else:
                await send({"type": "mqtt.ack", "id": event["id"]})
                await send({"type": "mqtt.send", "topic": "bad/#", "payload": b""})

    app = mqtt_app(raw)
    await publish(app, message("a", b"1", 7))
    caplog.clear()  # its connection has a run of its own
    async with working(store, app):
        await until(lambda: done(store))
    [record] = [each for each in caplog.records if each.levelname == "ERROR"]
    assert record.getMessage() == "mqtt t1"
    assert isinstance(record.exc_info[1] if record.exc_info else None, LocalProtocolError)
    assert await store.dead() == []


class Crash(Exception):
    """Errors that hold others may be empty, and false."""

    def __len__(self) -> int:
        return 0


@pytest.mark.parametrize("said", ["accept", "reject", "defer"])
@pytest.mark.parametrize("kind", ["email", "sms"])
@pytest.mark.parametrize("inbox", [False, True])
async def test_a_verdict_before_a_crash_does_not_count(store: SQLiteStore, kind: str, said: str, inbox: bool) -> None:
    """Told 250 or 550, the sender would not come back, and the message would be nowhere."""

    async def crashes(scope: Any, receive: Any, send: Any) -> None:
        if kind == "sms" and said != "defer":
            await send({"type": "sms.send", "text": "hi"})
        await send({"type": f"{kind}.{said}"})
        raise Crash

    policy = Policy(attempts=2, backoff=0.01, inbox=inbox)
    app = Guard(crashes, policy, "any -> crashes")
    scope, events = (email(), MAIL) if kind == "email" else (sms(), TEXT)
    heard = [await deliver(app, scope, events) for _ in range(2)]
    verdicts = [[event["type"].removeprefix(f"{kind}.") for event in each] for each in heard]
    assert verdicts == [["accept" if inbox else "defer"], ["accept"]]
    async with working(store, app):
        await until(lambda: done(store))
    [dead] = await store.dead()
    assert dead.attempts == 2
    assert (await store.counts()).outgoing == 0


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_handler_that_closes_has_not_taken_the_message(store: SQLiteStore, kind: str) -> None:
    """The error is not that of an acknowledgement which the handler never sent."""

    class Sync(MqttConsumer):
        def receive(self, topic: str, payload: bytes) -> None:
            self.close()

    class Async(AsyncMqttConsumer):
        async def receive(self, topic: str, payload: bytes) -> None:
            await self.close()

    app = mqtt_app({"sync": Sync, "async": Async}[kind])
    await publish(app, message("a", b"1"))
    async with working(store, app):
        await until(lambda: done(store))
    [dead] = await store.dead()
    assert dead.error.endswith("RuntimeError: it ended without acknowledging the message")


async def test_a_verdict_of_an_older_version_that_cannot_be_given_is_a_dead_letter(
    store: SQLiteStore, caplog: pytest.LogCaptureFixture
) -> None:
    async def never(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("it has run already")

    own, events = email(), [MAIL[0]]
    key = identity_of(own, events).key
    assert key
    claim = await store.claim(key, id="old", now=1e12, ttl=1e12)
    await store.settle(claim, result=codec.encode({}, [{"type": "email.reject", "code": 250, "reason": "x"}]))
    for _ in range(2):
        assert await deliver(Guard(never, Policy(attempts=3), "label"), own, events) == [
            {"type": "email.accept", "failed": True}
        ]
    [dead] = await store.dead()
    assert dead.error == (
        "its handler's answer is not valid: email.reject: code is 250; write an integer from 500 to 599, "
        "SMTP's refusals; defer asks for another try"
    )
    assert [record.levelno for record in caplog.records if "dead letters" in record.message] == [logging.ERROR]


@pytest.mark.parametrize(
    ("kind", "event"),
    [
        ("mqtt", {"type": "mqtt.send", "topic": "bad/#", "payload": b""}),
        ("mqtt", {"type": "mqtt.send", "topic": "t", "payload": "text"}),
        ("email", {"type": "email.send", "mail_from": "", "rcpt_to": ["a"], "message": b"A: b\r\n\r\n"}),
        ("email", {"type": "email.send", "mail_from": "", "rcpt_to": ["a@x.org"], "message": b""}),
        ("sms", {"type": "sms.send", "text": "", "media": [], "to": "+447400123456", "from": "+447400123457"}),
    ],
)
async def test_what_an_older_version_kept_and_nobody_can_send_is_a_dead_item(
    store: SQLiteStore, kind: str, event: dict[str, Any], tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    devices = MQTTServer(app, MQTTSettings(bind="127.0.0.1:0"), name="devices", state={})
    texts = SMSWebhook(app, TwilioSettings(on="web", path="/", auth_token=Secret("t"), account_sid="AC1"), name="texts")
    listener = {"mqtt": "devices", "email": "mail", "sms": "texts"}[kind]
    claim = await store.claim("e", id="e", now=1.0, ttl=1e12)
    outgoing = outgoing_of("e", {"listener": listener, "provider": "twilio"}, [event], store.now())
    await store.settle(claim, result=b"", outgoing=outgoing)
    outbox = Outbox(deliveries.get(), make_outlets([devices, texts], Given(MaildirSubmission(str(tmp_path)))))
    outbox.start()

    async def dead() -> bool:
        return (await store.counts()).dead_outgoing == 1

    await until(dead)
    await outbox.stop(1.0)
    assert (await store.counts()).outgoing == 0
    assert [f"now dead: {event['type']}" in record.message for record in caplog.records] == [True]
    assert list(tmp_path.glob("new/*")) == []
