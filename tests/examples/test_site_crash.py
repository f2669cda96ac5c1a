"""kill -9 in the middle of handlers: for each message that was acknowledged there is a row."""

import contextlib
import signal
import smtplib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from email.message import EmailMessage

import httpx
import paho.mqtt.client as paho
import pytest
from servers.site import PATIENCE, Site, until

pytestmark = pytest.mark.fault
ACKNOWLEDGED = 20
"""Messages of each protocol that must have been acknowledged before the daemon is killed."""


class Sender(threading.Thread):
    """Sends numbered messages, one after the other, until the gateway is gone. ``acked`` are those it took."""

    def __init__(self, send: Callable[[int], bool]) -> None:
        super().__init__(daemon=True)
        self._send = send
        self.acked: list[int] = []
        self.sent = 0

    def run(self) -> None:
        with contextlib.suppress(OSError, RuntimeError, smtplib.SMTPException, httpx.HTTPError):
            while True:
                self.sent += 1
                if self._send(self.sent):
                    self.acked.append(self.sent)


def mail(site: Site) -> Callable[[int], bool]:
    def send(number: int) -> bool:
        message = EmailMessage()
        message["From"] = f"sender{number}@crash.example"
        message["Subject"] = "Crash"
        message.set_content(f"Number {number}")
        site.mail(message, sender=f"sender{number}@crash.example", to="help@support.example.org")
        return True  # no exception: the server said 250

    return send


def text(site: Site) -> Callable[[int], bool]:
    return lambda number: site.sms("Crash", sender="+447700900123", message_id=f"crash-{number}").status_code == 200


@contextlib.contextmanager
def device(site: Site) -> Iterator[Callable[[int], bool]]:
    """Publishes each number as a temperature at QoS 1; true when its PUBACK has come."""
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="crash", clean_session=True)
    client.connect("127.0.0.1", site.mqtt)
    client.loop_start()

    def send(number: int) -> bool:
        message = client.publish("sensors/crash/temperature", str(number), qos=1)
        message.wait_for_publish(PATIENCE)
        if not message.is_published():
            raise ConnectionError("no PUBACK")
        return True

    try:
        yield send
    finally:
        client.loop_stop()


def stored(site: Site) -> dict[str, set[int]]:
    mails = site.rows("SELECT sender FROM helpdesk_mail WHERE sender LIKE '%@crash.example'")
    texts = site.rows("SELECT message_id FROM helpdesk_text WHERE message_id LIKE 'crash-%'")
    readings = site.rows("SELECT celsius FROM helpdesk_reading WHERE sensor = 'crash'")
    return {
        "mail": {int(sender.removeprefix("sender").partition("@")[0]) for (sender,) in mails},
        "text": {int(message_id.removeprefix("crash-")) for (message_id,) in texts},
        "reading": {int(celsius) for (celsius,) in readings},
    }


@contextlib.contextmanager
def locked(site: Site) -> Iterator[None]:
    """Nobody else can write while this lasts: handlers wait in the middle of their work."""
    with contextlib.closing(sqlite3.connect(site.database, timeout=PATIENCE, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        yield


def still(senders: Iterable[Sender]) -> bool:
    """Whether nobody has got any further for a while."""
    before = [sender.sent for sender in senders]
    time.sleep(0.3)
    return [sender.sent for sender in senders] == before


def test_every_acknowledged_message_has_its_row_after_kill_9(own_site: Site) -> None:
    with device(own_site) as publish:
        senders = {"mail": Sender(mail(own_site)), "text": Sender(text(own_site)), "reading": Sender(publish)}
        for sender in senders.values():
            sender.start()
        until(lambda: all(len(sender.acked) >= ACKNOWLEDGED for sender in senders.values()), "traffic flows")
        with locked(own_site):
            until(lambda: still(senders.values()), "every sender waits for its handler")
            assert own_site.signal(signal.SIGKILL) == -signal.SIGKILL
    rows = stored(own_site)
    for name, sender in senders.items():
        assert set(sender.acked) <= rows[name], f"{name}: acknowledged and lost"


def test_what_a_handler_had_not_finished_was_not_acknowledged(own_site: Site) -> None:
    with device(own_site) as publish, locked(own_site):
        senders = {"mail": Sender(mail(own_site)), "text": Sender(text(own_site)), "reading": Sender(publish)}
        for sender in senders.values():
            sender.start()
        until(lambda: all(sender.sent for sender in senders.values()), "every sender has begun")
        until(lambda: still(senders.values()), "every sender waits for its handler")
        assert [sender.sent for sender in senders.values()] == [1, 1, 1]
        own_site.signal(signal.SIGKILL)
    assert [sender.acked for sender in senders.values()] == [[], [], []]
    assert all(not numbers for numbers in stored(own_site).values())
    own_site.start()
    assert mail(own_site)(1)
    assert text(own_site)(1)
    assert all(stored(own_site)[name] == {1} for name in ("mail", "text"))
