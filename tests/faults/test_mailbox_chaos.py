"""A mailbox whose server, sessions and readers are killed at random while mails come in: none is lost, none is handled
twice without the same event id, and of two daemons with one store one reads."""

import random
import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from crashing import BOTH_KINDS
from servers.dovecot import PASSWORD, USER, Dovecot, dovecot
from servers.site import Site, until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

HANDLERS = """
import os

from gateway import AsyncEmailConsumer

BOOK = os.open(os.environ["BOOK"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


class Mail(AsyncEmailConsumer):
    async def receive(self, message):
        extensions = self.scope["extensions"]
        event = extensions.get("delivery", extensions["event"])["id"]
        os.write(BOOK, f"{message['Subject']} {event} {os.environ['NAME']}\\n".encode())
"""
CONFIG = """
store: sqlite:STORE
servers:
  web: {protocol: http, bind: "127.0.0.1:8000"}
  devices: {protocol: mqtt, bind: "127.0.0.1:1883"}
  mail: {protocol: smtp, bind: "127.0.0.1:8025"}
  support: {protocol: imap, host: 127.0.0.1, port: PORT, tls: false, username: USER, password: PASSWORD,
            folders: [INBOX, Orders, Later], connections: 2, poll: 200ms, reconnect: 100ms}
routes:
  websocket: gateway.WebsocketConsumer
  mqtt: gateway.MqttConsumer
  email: ROUTE
"""
FOLDERS = ("INBOX", "Orders", "Later")
ROUTES = ("chaos_handlers.Mail", "{app: chaos_handlers.Mail, attempts: 50, backoff: 50ms}")
ROUNDS, MAILS = 6, 50
"""Rounds of chaos, and mails for each folder in a round."""


class WithMailbox(Site):
    def example(self) -> str:
        (self.folder / "chaos_handlers.py").write_text(HANDLERS)
        return ""

    def configure(self, server: Dovecot, folder: Path, route: str) -> None:
        text = CONFIG.replace("PORT", str(server.port)).replace("USER", USER).replace("PASSWORD", PASSWORD)
        text = text.replace("STORE", str(folder / "gateway.db")).replace("ROUTE", route)
        self.environment |= {"BOOK": str(folder / "book"), "NAME": self.folder.name}
        self.config.write_text(self.at_its_addresses(text))


@pytest.fixture
def mailbox() -> Iterator[Dovecot]:
    with dovecot() as server:
        with server.program() as program:
            for folder in FOLDERS[1:]:
                program.create(folder)
        yield server


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[list[WithMailbox]]:
    sites = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        sites.append(WithMailbox(tmp_path / name))
    yield sites
    for site in sites:
        site.close()


def letter(subject: str) -> bytes:
    return f"From: ann@example.net\r\nTo: {USER}\r\nSubject: {subject}\r\n\r\nhello\r\n".encode()


def handled(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """Subject -> the event id and the daemon of each run."""
    runs: dict[str, list[tuple[str, str]]] = defaultdict(list)
    book = folder / "book"
    for line in book.read_text().splitlines() if book.exists() else []:
        subject, event, name = line.split()
        runs[subject].append((event, name))
    return runs


def left(mailbox: Dovecot) -> int:
    return sum(mailbox.count(folder) for folder in FOLDERS)


@pytest.mark.parametrize("seed", BOTH_KINDS)
def test_nothing_is_lost_and_nothing_is_handled_twice_as_two_events(
    sites: list[WithMailbox], mailbox: Dovecot, tmp_path: Path, seed: int
) -> None:
    """A server that is killed in the middle of a MOVE may have the message twice then: in both folders."""
    chance = random.Random(seed)
    for site in sites:
        site.configure(mailbox, tmp_path, ROUTES[seed % 2])
        site.start()
    sent = []
    for round_ in range(ROUNDS):
        for folder in FOLDERS:
            subjects = [f"{folder}-{round_}-{number}" for number in range(MAILS)]
            mailbox.append(*map(letter, subjects), folder=folder)
            sent += subjects
        time.sleep(0.3 * chance.random())
        match (round_ + seed) % 3:
            case 0:
                site = chance.choice(sites)
                site.signal(signal.SIGKILL)
                site.start()
            case 1:
                mailbox.kill()
                time.sleep(0.2 * chance.random())
                mailbox.start()
            case 2:
                mailbox.kick()
    until(lambda: left(mailbox) == 0 and mailbox.count("Processed") >= len(sent), lambda: _standing(mailbox), 60)
    runs = handled(tmp_path)
    assert sorted(runs) == sorted(sent), "none is lost, and none invented"
    for subject, each in runs.items():
        assert len({event for event, _ in each}) == 1, (subject, each)
    twice = sum(len(each) - 1 for each in runs.values())
    assert twice <= ROUNDS * len(FOLDERS), "at most what was running at each kill"


def _standing(mailbox: Dovecot) -> str:
    return f"{left(mailbox)} are left, {mailbox.count('Processed')} are processed"


def test_one_daemon_reads_and_the_other_takes_over_when_it_is_killed(
    sites: list[WithMailbox], mailbox: Dovecot, tmp_path: Path
) -> None:
    for site in sites:
        site.configure(mailbox, tmp_path, "chaos_handlers.Mail")
        site.start()
    mailbox.append(*[letter(f"before-{number}") for number in range(30)])
    until(lambda: mailbox.count("Processed") == 30, "one daemon handles them")
    before = handled(tmp_path)
    assert [len(runs) for runs in before.values()] == [1] * 30
    [reader] = {name for runs in before.values() for _, name in runs}
    dead, heir = sorted(sites, key=lambda site: site.folder.name != reader)
    assert "is kept by another gateway that is running" in heir.output()
    dead.signal(signal.SIGKILL)
    mailbox.append(letter("after"))
    until(lambda: handled(tmp_path)["after"], "the other one takes over", 10)
    assert [name for _, name in handled(tmp_path)["after"]] == [heir.folder.name]
