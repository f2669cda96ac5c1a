"""Daemons that are killed, and senders that repeat what they say until it is acknowledged, as real ones do.

Each handler writes down what it handles and, where there is one, under which event id. Importable by every test of this
folder.
"""

import os
import random
import signal
import smtplib
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from email.utils import formatdate
from pathlib import Path

import httpx
import paho.mqtt.client as paho
from servers.site import PATIENCE, Site, until

SEEDS = range(int(os.environ.get("FAULT_SEEDS", "1")))
"""``make faults`` sets many."""
BOTH_KINDS = range(max(2, len(SEEDS)))
"""Seeds of a test whose even seeds do something else than its odd ones."""
DATE = formatdate()
"""A mail that is sent again has the one that it had."""

HANDLERS = """
import os, random, time

from gateway import AsyncEmailConsumer, EmailConsumer, MqttConsumer, SMSConsumer

SLOWEST = float(os.environ.get("SLOWEST", "0.004"))
FAILING = float(os.environ.get("FAILING", "0.02"))
BOOK = os.open(os.environ["BOOK"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def handle(consumer, what):
    if random.random() < FAILING:
        raise RuntimeError("now and then")
    time.sleep(random.random() * SLOWEST)
    event = consumer.scope["extensions"].get("delivery", {"id": "-"})["id"]
    os.write(BOOK, f"{what} {event}\\n".encode())


class Device(MqttConsumer):
    def receive(self, topic, payload):
        handle(self, payload.decode())


class Mail(EmailConsumer):
    def receive(self, message):
        handle(self, message["Subject"])


class Text(SMSConsumer):
    same_answers_per_hour = answers_per_hour = 1_000_000  # one sender texts all the time

    def receive(self, text, media):
        handle(self, text)
        self.reply("taken")
"""


class Crashing(Site):
    """``configure`` it before it is started; ``folder / "book"`` is its book, where no other is given."""

    def example(self) -> str:
        (self.folder / "crash_handlers.py").write_text(HANDLERS)
        return ""

    def configure(self, text: str, *, book: Path | None = None, slowest: float = 0.004, failing: float = 0.02) -> None:
        """``slowest``: seconds that a handler takes, at most. ``failing``: how many of them raise."""
        self.book = book or self.folder / "book"
        self.environment |= {"BOOK": str(self.book), "SLOWEST": str(slowest), "FAILING": str(failing)}
        self.config.write_text(self.at_its_addresses(text))

    def kill_again_and_again(self, times: int, chance: random.Random) -> None:
        """At random moments, each time started again."""
        for _ in range(times):
            time.sleep(0.3 + chance.random())
            self.signal(signal.SIGKILL)
            self.start()

    def handled(self) -> dict[str, set[str]]:
        return handled(self.book)


def handled(book: Path) -> dict[str, set[str]]:
    """What was handled, and the event ids it was handled under."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for line in book.read_text().splitlines() if book.exists() else ():
        what, event = line.split()
        found[what].add(event)
    return found


class Sender(threading.Thread):
    """Sends ``prefix-0``, ``prefix-1`` ... each again and again until it is acknowledged."""

    def __init__(self, prefix: str, send: Callable[[str], bool]) -> None:
        super().__init__(daemon=True)
        self.prefix = prefix
        self._send = send
        self.acknowledged: list[str] = []
        self.stopping = threading.Event()

    def run(self) -> None:
        while not self.stopping.is_set():
            what = f"{self.prefix}-{len(self.acknowledged)}"
            while not self._taken(what):
                time.sleep(0.05)
            self.acknowledged.append(what)

    def _taken(self, what: str) -> bool:
        try:
            return self._send(what)
        except (OSError, smtplib.SMTPException, httpx.HTTPError, RuntimeError, ValueError):
            return False


def publish(site: Crashing, what: str) -> bool:
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="", clean_session=True)
    client.connect("127.0.0.1", site.mqtt)
    client.loop_start()
    try:
        message = client.publish("sensors/1", what, qos=1)
        message.wait_for_publish(2.0)
        return message.is_published()
    finally:
        client.disconnect()
        client.loop_stop()


def mail(site: Crashing, what: str, to: str) -> bool:
    text = f"Subject: {what}\r\nMessage-ID: <{what}@crash.example>\r\nDate: {DATE}\r\n\r\nhello\r\n"
    with smtplib.SMTP("127.0.0.1", site.smtp, timeout=PATIENCE) as client:
        client.sendmail("ann@crash.example", [to], text.encode())
    return True


def under_way(senders: Sequence[Sender], seconds: float = PATIENCE) -> None:
    """Each has had a few messages acknowledged."""
    until(
        lambda: all(len(sender.acknowledged) > 3 for sender in senders),
        lambda: f"all get on: {[(sender.prefix, len(sender.acknowledged)) for sender in senders]}",
        seconds,
    )


def finish(senders: Sequence[Sender], seconds: float = PATIENCE) -> set[str]:
    """Let each sender have its last message acknowledged: all that was acknowledged."""
    under_way(senders, seconds)
    for sender in senders:
        sender.stopping.set()
    for sender in senders:
        sender.join(seconds)
        assert not sender.is_alive(), f"{sender.prefix} gets no answer to its last message"
    return {what for sender in senders for what in sender.acknowledged}


def killed(site: Crashing, senders: Sequence[Sender], times: int, seed: int) -> set[str]:
    """Kill ``site`` while ``senders`` send: all that was acknowledged."""
    for sender in senders:
        sender.start()
    site.kill_again_and_again(times, random.Random(seed))
    time.sleep(0.3)
    return finish(senders, 60.0)


def all_handled(site: Crashing, acknowledged: set[str], seconds: float = 60.0) -> None:
    """Every one of ``acknowledged``, and twice only under one event id; but a device that repeats cannot be told apart
    at QoS 1. Without a policy there is no event id, and nobody knows."""
    until(
        lambda: acknowledged <= site.handled().keys(),
        lambda: f"handled: {sorted(acknowledged - site.handled().keys())[:20]}\n{site.output()[-3000:]}",
        seconds,
    )
    found = site.handled().items()
    assert not {what: events for what, events in found if len(events) > 1 and not what.startswith("mqtt")}
