"""kill -9 at random moments under load on MQTT, SMTP, IMAP and SMS at once: nothing acknowledged is lost."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from crashing import SEEDS, Crashing, Sender, all_handled, killed, mail, publish
from servers.dovecot import PASSWORD, USER, Dovecot, dovecot

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

KILLS = 3
CONFIG = """
servers:
  web: {protocol: http, bind: "127.0.0.1:8000"}
  devices: {protocol: mqtt, bind: "127.0.0.1:1883"}
  mail: {protocol: smtp, bind: "127.0.0.1:8025"}
  texts: {protocol: sms, provider: generic, on: web, path: /hooks/sms, secret: dev-secret}
  support: {protocol: imap, host: 127.0.0.1, port: IMAP, tls: false, username: USER, password: PASSWORD}
log: {level: warning}
"""
POLICIES = """
routes:
  mqtt: [{topic: "#", app: crash_handlers.Device, inbox: true, attempts: 50, backoff: 50ms}]
  email:
    - {recipient: "^inbox@", app: crash_handlers.Mail, inbox: true, attempts: 50, backoff: 50ms}
    - {default: true, app: crash_handlers.Mail, attempts: 50, backoff: 100ms}
  sms: [{default: true, app: crash_handlers.Text, attempts: 50}]
"""
NO_POLICY = """
routes: {mqtt: crash_handlers.Device, email: crash_handlers.Mail, sms: crash_handlers.Text}
"""


class Reading(Crashing):
    """It reads a mailbox, too."""

    server: Dovecot


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Reading]:
    with dovecot() as server:
        site = Reading(tmp_path)
        site.server = server
        yield site
        site.close()


def start(site: Reading, routes: str, *, slowest: float = 0.004, failing: float = 0.02) -> None:
    text = CONFIG.replace("IMAP", str(site.server.port)).replace("USER", USER).replace("PASSWORD", PASSWORD)
    site.configure(text + routes, slowest=slowest, failing=failing)
    site.start()


def text(site: Reading, what: str) -> bool:
    return site.sms(what, sender="+447700900123", message_id=what).status_code == 200


def fill(site: Reading, what: str, pause: float = 0.02) -> bool:
    letter = (
        f"From: ann@crash.example\r\nTo: {USER}\r\nSubject: {what}\r\nMessage-ID: <{what}@crash.example>\r\n\r\nhi\r\n"
    )
    site.server.append(letter.encode())
    time.sleep(pause)
    return True


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_acknowledged_is_lost(site: Reading, seed: int) -> None:
    start(site, POLICIES)
    senders = [
        Sender("mqtt", lambda what: publish(site, what)),
        Sender("smtp", lambda what: mail(site, what, "somebody@example.org")),
        Sender("inbox", lambda what: mail(site, what, "inbox@example.org")),
        Sender("sms", lambda what: text(site, what)),
        Sender("imap", lambda what: fill(site, what)),
    ]
    all_handled(site, killed(site, senders, KILLS, seed))
    assert site.signal(signal.SIGTERM) == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_nor_without_a_policy(site: Reading, seed: int) -> None:
    """Handlers are slow here: nearly every kill comes in the middle of one of each protocol's. None fails, which for
    a mailbox would be half a minute each time."""
    start(site, NO_POLICY, slowest=0.1, failing=0.0)
    senders = [
        Sender("mqtt", lambda what: publish(site, what)),
        Sender("smtp", lambda what: mail(site, what, "somebody@example.org")),
        Sender("sms", lambda what: text(site, what)),
        Sender("imap", lambda what: fill(site, what, 0.1)),
    ]
    all_handled(site, killed(site, senders, KILLS, seed))
    assert site.signal(signal.SIGTERM) == 0
