"""A handler that is not done in time, behind every server whose sender waits for it, and from the store."""

import asyncio
import contextlib
import logging
import smtplib
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from email.utils import formatdate
from typing import Any

import httpx
import pytest
from conversation import Conversation
from own_services import threads
from servers.dovecot import PASSWORD, USER, Dovecot, dovecot
from test_guard import MAIL, TEXT, deliver, email, settled, sms
from test_worker import done, message, mqtt_app, publish, working
from waiting import until

from gateway import (
    AsyncEmailConsumer,
    AsyncMqttConsumer,
    AsyncSMSConsumer,
    EmailConsumer,
    EmailToRouter,
    MqttBatchConsumer,
    MqttConsumer,
    Policy,
    ProtocolTypeRouter,
    SMSConsumer,
    SMSFromRouter,
    regex,
)
from gateway.delivery.guard import Guard
from gateway.delivery.service import deliveries
from gateway.routing import default
from gateway.store.sqlite import SQLiteStore
from protocols.mail.imap.reader import IMAPReader
from protocols.mail.imap.settings import IMAPSettings
from protocols.mail.smtp.server import SMTPServer, SMTPSettings
from protocols.secret import Secret
from protocols.sms import GenericSettings, SMSWebhook, TextMessage

LIMIT = 10.0
SHORT = 0.1
"""Seconds of a server's own timeout, where what is tried does not end in them."""


@pytest.fixture(autouse=True)
def _nothing_is_left(store: SQLiteStore) -> Any:
    yield
    assert len(deliveries.get().attempts) == 0


class Gate:
    """Where handlers on threads wait, and are counted."""

    def __init__(self) -> None:
        self.runs = 0
        self.together = 0
        """Most that were there at one time."""
        self.failing = 0
        """How many of them fail, from the first on, when they are let go."""
        self._there = 0
        self._open = threading.Event()

    def pass_through(self) -> None:
        self.runs += 1
        number = self.runs
        self._there += 1
        self.together = max(self.together, self._there)
        assert self._open.wait(LIMIT)
        self._there -= 1
        if number <= self.failing:
            raise ValueError("it fails late")

    def open(self) -> None:
        self._open.set()


def mail_to(gate: Gate) -> Any:
    class Slow(EmailConsumer):
        def receive(self, message: Any) -> None:
            gate.pass_through()
            self.send_message(b"Subject: answer\r\n\r\n", ["c@example.com"])
            self.accept()

    return Slow


def text_to(gate: Gate) -> Any:
    class Slow(SMSConsumer):
        def receive(self, text: str, media: Any) -> None:
            gate.pass_through()
            self.reply(f"answer {gate.runs}")

    return Slow


@contextlib.asynccontextmanager
async def texts(target: Any, policy: Policy, timeout: float = SHORT) -> AsyncIterator[Any]:
    settings = GenericSettings(on="web", path="/", secret=Secret("k"), timeout=timeout)
    app = ProtocolTypeRouter({"sms": SMSFromRouter([default(target, policy=policy)])})
    async with SMSWebhook(app, settings, name="texts", state={}) as hook:
        request = hook.provider.sign("http://gateway.test/", TextMessage("+447400123456", "+15005550006", "m-1", "hi"))

        async def once() -> tuple[bool, str]:
            client = httpx.AsyncClient(transport=httpx.ASGITransport(hook), base_url="http://gateway.test")
            async with client:
                answer = await client.post("/", content=request.body, headers=dict(request.headers))
            assert answer.status_code in (200, 503)
            return answer.status_code == 200, answer.text

        yield once


@contextlib.asynccontextmanager
async def mails(target: Any, policy: Policy, timeout: float = SHORT) -> AsyncIterator[Any]:
    app = ProtocolTypeRouter({"email": EmailToRouter([default(target, policy=policy)])})
    letter = f"Message-ID: <{id(target)}@x>\r\nDate: {formatdate()}\r\nSubject: hi\r\n\r\nhello\r\n".encode()
    settings = SMTPSettings(bind="127.0.0.1:0", handler_timeout=timeout)
    async with SMTPServer(app, settings, state={}) as server:
        host, _, port = server.address.rpartition(":")

        def send() -> tuple[bool, str]:
            with smtplib.SMTP(host, int(port), timeout=LIMIT) as client:
                try:
                    client.sendmail("ann@example.com", ["help@example.org"], letter)
                except smtplib.SMTPDataError as error:
                    return False, str(error.smtp_code)
            return True, "250"

        yield lambda: asyncio.to_thread(send)


SERVERS = pytest.mark.parametrize(
    ("serving", "slow"), [pytest.param(texts, text_to, id="sms"), pytest.param(mails, mail_to, id="smtp")]
)


@SERVERS
async def test_a_thread_goes_on_alone_and_its_late_result_answers_the_retry(
    store: SQLiteStore, caplog: pytest.LogCaptureFixture, serving: Any, slow: Any
) -> None:
    gate = Gate()
    async with serving(slow(gate), Policy(attempts=2)) as once:
        assert [(await once())[0] for _ in range(3)] == [False] * 3
        assert (gate.runs, gate.together) == (1, 1)
        gate.open()
        await settled()
        taken, answer = await once()
    assert (taken, gate.runs) == (True, 1)
    assert "answer 1" in answer or answer == "250"
    assert (await store.counts()).outgoing == (serving is mails)
    assert (await store.counts()).dead == 0
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(told) == 1
    assert "sms +447400123456" in told[0].getMessage() or "email ann@example.com" in told[0].getMessage()
    assert "(attempt 1 of 2); its thread goes on" in told[0].getMessage()


async def test_a_stop_leaves_what_a_thread_is_at_to_the_next_start(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.delivery.running_attempts.WIND_UP", 0.05)
    gate = Gate()
    app = Guard(mail_to(gate).as_asgi(), Policy(attempts=3), "label")
    async with Conversation(app, email()) as server:
        server.say(*MAIL)
        await until(lambda: gate.runs)
    assert server.heard() == [{"type": "email.defer"}]
    assert deliveries.get().attempts.active() == {"late handlers": 1}
    await deliveries.get().attempts.stop(0.0)
    assert len(deliveries.get().attempts) == 0
    await store.close()
    gate.open()
    assert "1 that an earlier process had not finished" in await store.open()
    assert await deliver(app, email(), MAIL) == [{"type": "email.accept"}]
    assert "attempt 2" in [step.what for step in await store.history((await store.find(""))[0])]


@SERVERS
async def test_a_late_failure_counts_and_the_last_one_makes_the_dead_letter_without_another_delivery(
    store: SQLiteStore, caplog: pytest.LogCaptureFixture, serving: Any, slow: Any
) -> None:
    gate = Gate()
    gate.failing = 2
    async with serving(slow(gate), Policy(attempts=2)) as once:
        assert await once() == await once()
        gate.open()
        await settled()
        assert (await store.counts()).dead == 0
        await once()
        [dead] = await store.dead()
        assert (dead.attempts, "it fails late" in dead.error) == (2, True)
        assert (await once())[0]
    assert (gate.runs, gate.together) == (2, 1)
    notes = [record.__dict__["note"] for record in caplog.records if record.levelname == "ERROR"]
    assert notes == ["attempt 1 of 2, next when its sender repeats it", "attempt 2 of 2, now among the dead letters"]


class HangsText(AsyncSMSConsumer):
    cancelled = 0

    async def receive(self, text: str, media: Any) -> None:
        await hang(HangsText)


class HangsMail(AsyncEmailConsumer):
    cancelled = 0

    async def receive(self, message: Any) -> None:
        await hang(HangsMail)


@contextlib.contextmanager
def _mailbox() -> Iterator[Dovecot]:
    with dovecot() as server:
        server.append(b"From: ann@example.com\r\nTo: help@example.org\r\nSubject: hi\r\n\r\nhello\r\n")
        yield server


@contextlib.asynccontextmanager
async def _reading(server: Dovecot, target: Any, policy: Policy, timeout: float) -> AsyncIterator[None]:
    app = ProtocolTypeRouter({"email": EmailToRouter([default(target, policy=policy)])})
    settings = IMAPSettings(
        host="127.0.0.1",
        port=server.port,
        tls=False,
        username=USER,
        password=Secret(PASSWORD),
        handler_timeout=timeout,
    )
    async with asyncio.timeout(6 * LIMIT), IMAPReader(app, settings, name="support", state={}):
        yield


async def test_a_mailbox_is_no_exception(
    store: SQLiteStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("protocols.mail.imap.pending.FIRST_WAIT", 0.2)
    gate = Gate()

    def tries() -> int:
        return sum("message 1 deferred" in record.getMessage() for record in caplog.records)

    async def moved() -> bool:
        return await asyncio.to_thread(server.count, "Processed") == 1

    with _mailbox() as server:
        async with _reading(server, mail_to(gate), Policy(attempts=2), 0.1):
            await until(lambda: tries() >= 3)
            assert gate.runs == 1
            gate.open()
            await until(moved)
        assert (gate.runs, (await store.counts()).outgoing, (await store.counts()).dead) == (1, 1, 0)


async def test_the_last_attempt_at_a_message_of_a_mailbox_makes_the_dead_letter(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("protocols.mail.imap.pending.FIRST_WAIT", 0.2)
    HangsMail.cancelled = 0
    with _mailbox() as server:
        async with _reading(server, HangsMail, Policy(attempts=2), 0.1):
            await until(lambda: _dead(store))
            assert HangsMail.cancelled == 2


async def hang(consumer: Any) -> None:
    try:
        await asyncio.sleep(LIMIT)
    except asyncio.CancelledError:
        consumer.cancelled += 1
        raise


@pytest.mark.parametrize(
    ("serving", "consumer"), [pytest.param(texts, HangsText, id="sms"), pytest.param(mails, HangsMail, id="smtp")]
)
async def test_the_last_attempt_makes_the_dead_letter_though_its_server_ran_out_of_time(
    store: SQLiteStore, caplog: pytest.LogCaptureFixture, serving: Any, consumer: Any
) -> None:
    consumer.cancelled = 0
    async with serving(consumer, Policy(attempts=3), 0.05) as once:
        for _ in range(3):
            assert not (await once())[0]
            await settled()
        [dead] = await store.dead()
        assert (dead.attempts, consumer.cancelled) == (3, 3)
        assert "not done when its sender could wait no longer" in dead.error
        assert (await once())[0], "it is taken care of now"
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.__dict__["note"][:14] for record in told] == [f"attempt {number} of 3"[:14] for number in (1, 2, 3)]
    assert all("+447400123456" in str(record.msg) + str(record.args) or "ann@" in str(record.args) for record in told)


async def test_the_timeout_of_the_route_tells_the_sender_at_once_and_the_thread_goes_on(store: SQLiteStore) -> None:
    gate = Gate()
    app = Guard(mail_to(gate).as_asgi(), Policy(attempts=1, timeout=0.05), "label")
    assert await deliver(app, email(), MAIL) == [{"type": "email.defer"}]
    again = asyncio.ensure_future(deliver(app, email(), MAIL))
    await asyncio.sleep(0.05)
    assert not again.done(), "it waits for what the first left behind"
    gate.open()
    assert await again == [{"type": "email.accept"}]
    assert (gate.runs, (await store.counts()).dead) == (1, 0)


@pytest.fixture
def one_thread() -> Iterator[None]:
    with threads(1):
        yield


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("on_error", ["retry", "refuse", "dead-letter"])
async def test_a_call_that_finds_no_free_thread_is_given_up_and_is_no_attempt(
    store: SQLiteStore, on_error: Any
) -> None:
    """Its handler has not begun: no dead letter, no refusal, however often its sender comes."""
    gate = Gate()
    app = Guard(text_to(gate).as_asgi(), Policy(attempts=1, timeout=0.05, on_error=on_error), "label")
    assert await deliver(app, sms(), TEXT) == [{"type": "sms.defer"}]
    for _ in range(3):
        [answer] = await deliver(app, sms(message_id="m2"), TEXT)
        assert answer["type"] == "sms.defer"
    assert (gate.runs, (await store.counts()).dead) == (1, 0)
    gate.open()
    await settled()
    assert (await deliver(app, sms(message_id="m2"), TEXT))[0]["text"] == "answer 2"
    assert (await deliver(app, sms(), TEXT))[0]["text"] == "answer 1"
    assert gate.runs == 2


@pytest.mark.usefixtures("one_thread")
async def test_from_the_store_what_finds_no_free_thread_waits_on(store: SQLiteStore) -> None:
    gate = Gate()

    class Slow(MqttConsumer):
        def receive(self, topic: str, payload: bytes) -> None:
            gate.pass_through()

    app = mqtt_app(Slow, Policy(attempts=1, backoff=0.01, timeout=0.03))
    await publish(app, message("t", b"1", 1), message("u", b"2", 2))
    async with working(store, app):

        async def refused() -> bool:
            [other] = [each for each in await store.waiting() if each.error] or [None]
            return other is not None and other.attempts == 0 and "no thread was free" in other.error

        await until(refused)
        assert (gate.runs, (await store.counts()).dead) == (1, 0)
        gate.open()
        await until(lambda: done(store))
    assert (gate.runs, (await store.counts()).dead) == (2, 0)


async def test_of_a_mail_for_two_routes_one_that_runs_out_of_time_is_one_record(
    store: SQLiteStore, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()
    routes = [regex(f"^{name}@", mail_to(gate), policy=Policy(attempts=2)) for name in ("a", "b")]
    settings = SMTPSettings(bind="127.0.0.1:0", handler_timeout=SHORT)
    async with SMTPServer(ProtocolTypeRouter({"email": EmailToRouter(routes)}), settings, state={}) as server:
        host, _, port = server.address.rpartition(":")

        def send() -> int:
            with smtplib.SMTP(host, int(port), timeout=LIMIT) as client, pytest.raises(smtplib.SMTPDataError) as failed:
                client.sendmail("ann@example.com", ["a@example.org", "b@example.org"], MAIL[0]["body"])
            return failed.value.smtp_code

        assert await asyncio.to_thread(send) == 451
        gate.open()
        await settled()
    assert [record.levelname for record in caplog.records if record.levelno >= logging.WARNING] == ["WARNING"]


async def _dead(store: SQLiteStore) -> int:
    return (await store.counts()).dead


async def test_from_the_store_no_second_thread_begins_beside_the_first(
    store: SQLiteStore, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()

    class Slow(MqttConsumer):
        def receive(self, topic: str, payload: bytes) -> None:
            gate.pass_through()
            self.publish("answers", payload)

    app = mqtt_app(Slow, Policy(attempts=5, backoff=0.01, timeout=0.03))
    await publish(app, message("t", b"1", 1))
    async with working(store, app):
        await asyncio.sleep(0.3)
        assert (gate.runs, (await store.counts()).running) == (1, 1)
        gate.open()
        await until(lambda: done(store))
    assert (gate.runs, (await store.counts()).outgoing) == (1, 1)
    assert [record.levelname for record in caplog.records if record.levelno >= logging.WARNING] == ["WARNING"]


async def test_one_that_is_cut_hears_of_no_disconnect_because_it_had_no_connection(store: SQLiteStore) -> None:
    told: list[Any] = []

    class Slow(MqttConsumer):
        def receive(self, topic: str, payload: bytes) -> None: ...

        async def dispatch(self, event: Any) -> None:
            if event["type"] == "mqtt.receive":
                await asyncio.sleep(LIMIT)
            await super().dispatch(event)

        def disconnect(self, message: Any) -> None:
            told.append(message["type"])

    app = mqtt_app(Slow, Policy(attempts=1, timeout=0.03))
    await publish(app, message("t", b"1", 1))
    told.clear()
    async with working(store, app):
        await until(lambda: _dead(store))
    assert told == []


async def test_from_the_store_a_batch_on_a_thread_is_not_handled_again_beside_it(store: SQLiteStore) -> None:
    gate = Gate()

    class Slow(MqttBatchConsumer):
        max_delay = 0.05

        def receive_batch(self, messages: Sequence[Any]) -> None:
            gate.pass_through()
            for each in messages:
                self.publish("answers", each.payload)

    app = mqtt_app(Slow, Policy(attempts=5, backoff=0.01, timeout=0.05))
    sent = [{**message("t", b"%d" % number, number), "retain": False, "dup": False} for number in range(1, 9)]
    await publish(app, *sent)
    async with working(store, app):
        await asyncio.sleep(0.4)
        assert gate.together == 1
        gate.open()
        await until(lambda: done(store))
    assert gate.together == 1
    assert (await store.counts()).outgoing == 8


async def test_from_the_store_an_async_handler_is_cancelled_and_tried_again(store: SQLiteStore) -> None:
    runs: list[int] = []

    class Slow(AsyncMqttConsumer):
        async def receive(self, topic: str, payload: bytes) -> None:
            runs.append(1)
            await asyncio.sleep(LIMIT if len(runs) < 3 else 0)

    app = mqtt_app(Slow, Policy(attempts=5, backoff=0.01, timeout=0.03))
    await publish(app, message("t", b"1", 1))
    async with working(store, app):
        await until(lambda: done(store))
    assert (len(runs), (await store.counts()).dead) == (3, 0)
