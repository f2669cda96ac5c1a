"""A mailbox under a route's policy, on a real Dovecot: dead letters, repetitions, kill -9. No count of its own."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers.command import run
from servers.dovecot import PASSWORD, USER, Dovecot, dovecot
from servers.site import Site, until

pytestmark = pytest.mark.fault

HANDLERS = """
import os, signal, time

from gateway import EmailConsumer

BOOK = os.open("book", os.O_WRONLY | os.O_APPEND | os.O_CREAT)


class Mail(EmailConsumer):
    def receive(self, message):
        delivery = self.scope["extensions"]["delivery"]
        os.write(BOOK, f"{message['Subject']} {delivery['attempt']} {delivery['id']}\\n".encode())
        match message["Subject"]:
            case "poison":
                os.kill(os.getpid(), signal.SIGKILL)
            case "bad" if not os.path.exists("mended"):
                raise RuntimeError("not yet mended")
            case "later" if not os.path.exists("mended"):
                self.defer(retry_after=0.3)
            case "slow":
                while not os.path.exists("go"):
                    time.sleep(0.02)
"""
CONFIG = """
servers:
  web: {protocol: http, bind: "127.0.0.1:8000"}
  devices: {protocol: mqtt, bind: "127.0.0.1:1883"}
  mail: {protocol: smtp, bind: "127.0.0.1:8025"}
  support: {protocol: imap, host: 127.0.0.1, port: PORT, tls: false, username: USER, password: PASSWORD}
routes:
  websocket: gateway.WebsocketConsumer
  mqtt: gateway.MqttConsumer
  email: {app: mailbox_handlers.Mail, attempts: 3, backoff: 300ms}
"""


class WithMailbox(Site):
    def example(self) -> str:
        (self.folder / "mailbox_handlers.py").write_text(HANDLERS)
        return ""

    def configure(self, server: Dovecot) -> None:
        text = CONFIG.replace("PORT", str(server.port)).replace("USER", USER).replace("PASSWORD", PASSWORD)
        self.config.write_text(self.at_its_addresses(text))

    def handled(self, subject: str) -> list[tuple[int, str]]:
        """The attempts at it: which, and under which event id."""
        book = self.folder / "book"
        lines = [line.split() for line in book.read_text().splitlines()] if book.exists() else []
        return [(int(attempt), event) for what, attempt, event in lines if what == subject]

    def dead(self) -> list[dict[str, Any]]:
        letters: list[dict[str, Any]] = json.loads(run(self.folder, "dead", "list", "--json").stdout)
        return letters


@pytest.fixture
def mailbox() -> Iterator[Dovecot]:
    with dovecot() as server:
        yield server


@pytest.fixture
def site(tmp_path: Path, mailbox: Dovecot) -> Iterator[WithMailbox]:
    site = WithMailbox(tmp_path)
    site.configure(mailbox)
    site.start()
    yield site
    site.close()


def letter(subject: str) -> bytes:
    return f"From: ann@example.net\r\nTo: {USER}\r\nSubject: {subject}\r\n\r\nhello\r\n".encode()


def test_after_the_last_attempt_it_is_a_dead_letter_and_moved_to_failed(site: WithMailbox, mailbox: Dovecot) -> None:
    mailbox.append(letter("bad"), letter("good"))
    until(lambda: (mailbox.count("Processed"), mailbox.count("Failed")) == (1, 1), "both are moved")
    assert mailbox.messages("Failed") == [letter("bad")]
    assert mailbox.count("INBOX") == 0
    tries = site.handled("bad")
    assert [attempt for attempt, _ in tries] == [1, 2, 3]
    assert len({event for _, event in tries}) == 1
    [dead] = site.dead()
    assert (dead["id"], dead["type"], dead["attempts"]) == (tries[0][1], "email", 3)
    assert "not yet mended" in dead["error"]
    (site.folder / "mended").touch()
    assert run(site.folder, "dead", "retry", dead["id"]).returncode == 0
    until(lambda: len(site.handled("bad")) == 4, "it is tried again, from the store")
    assert site.handled("bad")[-1][1] == dead["id"]
    until(lambda: site.dead() == [], "it is dead no more")
    assert len(site.handled("good")) == 1


def test_a_deferral_is_not_counted_and_waits_as_long_as_was_wished(site: WithMailbox, mailbox: Dovecot) -> None:
    mailbox.append(letter("later"))
    until(lambda: len(site.handled("later")) > 4, "more often than the attempts that the route has")
    assert mailbox.messages("INBOX") == [letter("later")]
    (site.folder / "mended").touch()
    until(lambda: mailbox.count("Processed") == 1, "it is moved")
    assert len({event for _, event in site.handled("later")}) == 1
    assert site.dead() == []


def test_killed_between_the_handler_and_the_mark_it_is_marked_and_not_handled_again(
    site: WithMailbox, mailbox: Dovecot
) -> None:
    mailbox.append(letter("slow"))
    until(lambda: site.handled("slow"), "the handler runs")
    mailbox.kill()
    (site.folder / "go").touch()
    # The reader sees that the connection is lost when it comes to mark: the handler's "done" is in the store.
    until(lambda: "next try in" in site.output(), "the mark cannot be made")
    site.signal(signal.SIGKILL)
    mailbox.start()
    assert mailbox.messages("INBOX") == [letter("slow")]
    site.start()
    until(lambda: mailbox.count("Processed") == 1, "it is moved")
    assert [attempt for attempt, _ in site.handled("slow")] == [1]
    assert "has been handled before; move Processed" in site.output()


def test_a_message_that_kills_the_process_each_time_is_counted_out(site: WithMailbox, mailbox: Dovecot) -> None:
    mailbox.append(letter("poison"))
    for _ in range(3):
        until(site.died, "the message kills the daemon")
        site.spawn()
    until(lambda: mailbox.count("Failed") == 1, "it is given up and moved")
    assert not site.died()
    assert [attempt for attempt, _ in site.handled("poison")] == [1, 2, 3]
    [dead] = site.dead()
    assert "attempts were cut off" in dead["error"]
    mailbox.append(letter("good"))
    until(lambda: site.handled("good"), "the next one is handled")
