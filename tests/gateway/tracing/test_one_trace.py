"""A reading, its row, the mail that it causes and that mail's answer are one trace: with real clients and servers, by
SMTP and by IMAP, and over kill -9 between the mail's commit and its leaving."""

import asyncio
import contextlib
import email
import signal
import smtplib
import sqlite3
import time
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import pytest
from servers.collector import Collector, Span, collecting
from servers.dovecot import PASSWORD, USER, Dovecot, dovecot
from servers.gateway_process import GatewayProcess
from servers.ports import free_port
from servers.postfix import MAILBOXES, Postfix, postfix_server
from servers.site import Site, until
from servers.traced_device import SENT, SPAN, TRACE, Device

pytestmark = [pytest.mark.fault, pytest.mark.timeout(180)]

HANDLERS = """
import django
from django.conf import settings
from opentelemetry import trace

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "rows.sqlite3"}},
    EMAIL_BACKEND="gateway.django.EmailBackend",
)
django.setup()

from django.core.mail import send_mail
from django.db import connection, models

from gateway import EmailConsumer, MqttBatchConsumer

tracer = trace.get_tracer("the application")


class Reading(models.Model):
    celsius = models.FloatField()

    class Meta:
        app_label = "readings"


with connection.cursor() as cursor:
    cursor.execute("CREATE TABLE IF NOT EXISTS readings_reading (id INTEGER PRIMARY KEY, celsius REAL)")
connection.close()


def as_instrumented(execute, sql, *rest):
    with tracer.start_as_current_span("INSERT readings"):
        return execute(sql, *rest)


class Readings(MqttBatchConsumer):
    def receive_batch(self, messages):
        with connection.execute_wrapper(as_instrumented):
            Reading.objects.bulk_create(Reading(celsius=float(message.payload)) for message in messages)
        send_mail("Too warm", "Look at it.", "support@example.org", ["ann@example.org"])


class Answers(EmailConsumer):
    def receive(self, message):
        with tracer.start_as_current_span("an answer"):
            pass
"""
CONFIG = """
servers:
  devices: {protocol: mqtt, bind: "127.0.0.1:MQTT"}
  mail: {protocol: smtp, bind: "127.0.0.1:SMTP"}
  support: {protocol: imap, host: 127.0.0.1, port: IMAP, tls: false, username: USER, password: PASSWORD}
routes:
  mqtt: [{topic: sensors/+/temperature, app: readings.Readings, inbox: true}]
  email: {app: readings.Answers, inbox: true}
submission: "smtp://POSTFIX"
store: sqlite:traced.db
log: {level: error, format: json}
tracing: {endpoint: "COLLECTOR", sample: 0%, trust: [devices]}
"""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


@pytest.fixture
def mailbox() -> Iterator[Dovecot]:
    with dovecot() as server:
        yield server


@pytest.fixture
def relay() -> Iterator[Postfix]:
    with postfix_server(main=MAILBOXES) as server:
        yield server


class Peers:
    """The gateway's daemon, and everybody whom it talks to."""

    def __init__(self, folder: Path, collector: Collector, mailbox: Dovecot, relay: Postfix) -> None:
        self.mqtt, self.smtp = free_port(), free_port()
        self.collector, self.mailbox, self.relay = collector, mailbox, relay
        config = CONFIG.replace("COLLECTOR", collector.url).replace("IMAP", str(mailbox.port))
        config = config.replace("MQTT", str(self.mqtt)).replace("SMTP", str(self.smtp)).replace("USER", USER)
        config = config.replace("PASSWORD", PASSWORD).replace("POSTFIX", relay.address)
        self.daemon = GatewayProcess(folder, "readings", HANDLERS, config, OTEL_BSP_SCHEDULE_DELAY="20")

    def start(self) -> None:
        self.daemon.start()
        until(lambda: Site.accepts(self.mqtt) and Site.accepts(self.smtp), self.daemon.output)

    def publish(self) -> None:
        async def publish() -> None:
            device = Device(self.mqtt)
            await device.publish("sensors/1/temperature", b"81.5", traceparent=SENT)
            device.close()

        asyncio.run(publish())

    def mail(self) -> EmailMessage:
        """What Ann gets."""
        until(lambda: self.relay.delivered("ann"), lambda: f"{self.relay.log()}\n{self.daemon.output()}")
        [content] = self.relay.delivered("ann")
        return email.message_from_bytes(content, policy=default)

    def answer(self, mail: EmailMessage, way: str, sender: str = "ann@example.org") -> None:
        """As a mail program writes it, which copies no field that it does not know."""
        answer = f"From: {sender}\r\nTo: {USER}\r\nSubject: Re: Too warm\r\nMessage-ID: <{sender}.1@example.org>\r\n"
        answer += f"In-Reply-To: {mail['Message-ID']}\r\nReturn-Path: <{sender}>\r\n\r\nI do.\r\n"
        if way == "imap":
            self.mailbox.append(answer.encode())
        else:
            with smtplib.SMTP("127.0.0.1", self.smtp, timeout=20) as peer:
                peer.sendmail(sender, [USER], answer)

    def span(self, name: str) -> Span:
        until(
            lambda: self.collector.first(name) is not None,
            lambda: f"{name}: {self.collector.spans}\n{self.daemon.output()}",
        )
        found = self.collector.first(name)
        assert found is not None
        return found

    def chain(self, *names: str) -> None:
        """Each is below the one before it, and all are in the device's trace."""
        parent = SPAN
        for name in names:
            span = self.span(name)
            assert (span.trace, span.parent) == (TRACE, parent), f"{name}: {self.collector.spans}"
            parent = span.id

    def rows(self) -> int:
        """Return how many the application has committed."""
        with contextlib.closing(sqlite3.connect(self.daemon.folder / "rows.sqlite3")) as database:
            return int(database.execute("SELECT count(*) FROM readings_reading").fetchone()[0])

    def is_true_to_time(self, published: int, acknowledged: int) -> None:
        """From the socket to the commit. The clock of all is this machine's; the limits are those of the device."""
        received, processed, handler = map(self.span, READING)
        row, created, sent = map(self.span, ("INSERT readings", "create email", "send email"))
        assert published < received.began < received.ended < acknowledged, "stored before it is acknowledged"
        assert received.began < processed.began < handler.began < row.began < row.ended < handler.ended
        assert row.ended < created.began <= created.ended < handler.ended
        assert handler.ended < processed.ended < sent.began, "the mail leaves when the message's end is committed"


@pytest.fixture
def peers(tmp_path: Path, collector: Collector, mailbox: Dovecot, relay: Postfix) -> Iterator[Peers]:
    made = Peers(tmp_path, collector, mailbox, relay)
    yield made
    with contextlib.suppress(Exception):
        made.daemon.stop(signal.SIGKILL)


READING = ("receive sensors/+/temperature", "process sensors/+/temperature", "Readings.receive_batch")


@pytest.mark.parametrize("way", ["smtp", "imap"])
def test_a_reading_its_row_its_mail_and_the_answer(peers: Peers, way: str) -> None:
    peers.start()
    published = time.time_ns()
    peers.publish()
    acknowledged = time.time_ns()
    mail = peers.mail()
    peers.chain(*READING, "INSERT readings")
    peers.chain(*READING, "create email", "send email")
    peers.is_true_to_time(published, acknowledged)
    assert peers.rows() == 1
    assert mail["Traceparent"] == f"00-{TRACE}-{peers.span('create email').id}-01"
    answered = time.time_ns()
    peers.answer(mail, way)
    peers.chain(*READING, "create email", "receive email", "process email", "Answers.receive", "an answer")
    assert answered < peers.span("receive email").began
    assert {span.trace for span in peers.collector.spans} == {TRACE}, "and nothing else is traced"
    assert peers.daemon.stop(signal.SIGTERM) == 0, peers.daemon.output()


def test_killed_between_stored_and_sent(peers: Peers) -> None:
    peers.relay.stop()
    peers.start()
    peers.publish()
    peers.chain(*READING, "create email", "send email")
    assert peers.span("send email").failed
    peers.daemon.stop(signal.SIGKILL)
    peers.relay.start()
    peers.start()
    mail = peers.mail()
    until(lambda: len(peers.collector.named("send email")) >= 2, "it is sent by another attempt")
    assert {span.parent for span in peers.collector.named("send email")} == {peers.span("create email").id}
    peers.daemon.stop(signal.SIGKILL)  # what the mail's id stands for is in the store
    peers.start()
    peers.answer(mail, "smtp")
    peers.chain(*READING, "create email", "receive email", "process email", "Answers.receive", "an answer")


def test_who_answers_and_is_no_recipient_joins_no_trace(peers: Peers) -> None:
    peers.start()
    peers.publish()
    peers.answer(peers.mail(), "smtp", sender="mallory@example.net")
    answer = peers.span("receive email")
    assert answer.trace != TRACE
    assert answer.parent == ""
    assert answer.links == ((TRACE, peers.span("create email").id),)


@pytest.mark.parametrize("trusted", [True, False])
def test_a_mailbox_is_trusted_only_by_its_name(peers: Peers, trusted: bool) -> None:
    """Whatever says who the mail is from."""
    file = peers.daemon.folder / "gateway.yaml"
    if trusted:
        file.write_text(file.read_text().replace("trust: [devices]", "trust: [devices, support]"))
    peers.start()
    fields = f"Traceparent: {SENT}\r\nAuthentication-Results: mx.example; dkim=pass header.d=example.net\r\n"
    peers.mailbox.append(f"{fields}From: ann@example.net\r\nMessage-ID: <1@example.net>\r\n\r\nhello\r\n".encode())
    mail = peers.span("receive email")
    assert (mail.parent, mail.links) == ((SPAN, ()) if trusted else ("", ((TRACE, SPAN),)))
    assert (mail.trace == TRACE) == trusted
