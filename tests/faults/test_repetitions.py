"""Senders that repeat, daemons that are killed: each mail of a camera is handled, and no handler runs beside itself."""

import signal
import smtplib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from crashing import SEEDS, Crashing, Sender, killed
from servers.site import PATIENCE, until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

KILLS = 2
HANDLERS = """
import os, random, time

from gateway import EmailConsumer, SMSConsumer

BOOK = os.open(os.environ["BOOK"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def write(*words):
    os.write(BOOK, (" ".join(map(str, words)) + "\\n").encode())


class Mail(EmailConsumer):
    def receive(self, message):
        if random.random() < 0.1:
            raise RuntimeError("now and then")
        write("handled", message["Subject"])


class Text(SMSConsumer):
    same_answers_per_hour = answers_per_hour = 1_000_000  # one sender texts all the time

    def receive(self, text, media):
        write("begin", os.getpid(), text)
        time.sleep(random.random() * 0.4)
        write("end", os.getpid(), text)
        if random.random() < 0.2:
            raise RuntimeError("now and then")
        write("handled", text)
        self.reply("taken")
"""
CONFIG = """
servers:
  web: {protocol: http, bind: "127.0.0.1:8000"}
  devices: {protocol: mqtt, bind: "127.0.0.1:1883"}
  mail: {protocol: smtp, bind: "127.0.0.1:8025"}
  texts: {protocol: sms, provider: generic, on: web, path: /hooks/sms, secret: dev-secret, timeout: 200ms}
routes:
  websocket: gateway.WebsocketConsumer
  mqtt: gateway.MqttConsumer
  email:
    - {recipient: "^inbox@", app: repeated_handlers.Mail, inbox: true, attempts: 50, backoff: 50ms}
    - {default: true, app: repeated_handlers.Mail, attempts: 50}
  sms: {app: repeated_handlers.Text, attempts: 50}
log: {level: warning}
"""


class Repeating(Crashing):
    def example(self) -> str:
        (self.folder / "repeated_handlers.py").write_text(HANDLERS)
        return ""

    def lines(self) -> list[list[str]]:
        return [line.split() for line in self.book.read_text().splitlines()] if self.book.exists() else []

    def times(self, what: str) -> int:
        return sum(line == ["handled", what] for line in self.lines())


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Repeating]:
    site = Repeating(tmp_path)
    site.configure(CONFIG)
    site.start()
    yield site
    site.close()


def motion(site: Repeating, to: str) -> bool:
    """As a camera says it: the same each time, with no name of its own."""
    with smtplib.SMTP("127.0.0.1", site.smtp, timeout=PATIENCE) as client:
        client.sendmail("cam@crash.example", [f"{to}@example.org"], f"Subject: {to}\r\n\r\nMotion detected\r\n")
    return True


@pytest.mark.parametrize("seed", SEEDS)
def test_each_mail_that_was_acknowledged_is_handled_though_all_say_the_same(site: Repeating, seed: int) -> None:
    senders = [Sender(to, lambda _, to=to: motion(site, to)) for to in ("inbox", "here")]
    killed(site, senders, KILLS, seed)
    for sender in senders:
        taken = len(sender.acknowledged)
        until(
            lambda taken=taken, to=sender.prefix: site.times(to) >= taken,
            lambda taken=taken, to=sender.prefix: f"{taken} of {to} were taken, {site.times(to)} handled",
        )
    assert site.signal(signal.SIGTERM) == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_a_handler_that_runs_out_of_time_never_runs_beside_itself(site: Repeating, seed: int) -> None:
    """Half of the texts take longer than their provider is kept waiting."""

    def text(what: str) -> bool:
        return site.sms(what, sender="+447700900123", message_id=what).status_code == 200

    senders = [Sender(name, text) for name in ("a", "b", "c")]
    killed(site, senders, KILLS, seed)
    acknowledged = [what for sender in senders for what in sender.acknowledged]
    at_work: Counter[tuple[str, str]] = Counter()
    for verb, *words in site.lines():
        if verb != "handled":
            at_work[words[0], words[1]] += 1 if verb == "begin" else -1
            assert at_work[words[0], words[1]] <= 1, words
    handled = Counter(words[0] for verb, *words in site.lines() if verb == "handled")
    assert set(acknowledged) <= handled.keys()
    twice = [what for what, times in handled.items() if times > 1]
    assert len(twice) <= KILLS * len(senders), "only what was handled when the process was killed is so again"
