"""The example site reads a mailbox as soon as one is configured: IMAP_HOST and the rest, from the environment."""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.dovecot import PASSWORD, USER, Dovecot, dovecot
from servers.site import Site, until

LETTER = (
    "From: Ann <ann{0}@mailbox.example>\r\nReturn-Path: <ann{0}@mailbox.example>\r\nTo: help@support.example.org\r\n"
    "Delivered-To: help@support.example.org\r\nSubject: Mailbox {0}\r\nMessage-ID: <{0}@mailbox.example>\r\n"
    "\r\nHello\r\n"
)


class WithMailbox(Site):
    def at(self, server: Dovecot) -> None:
        """The example's own lines, plus the port and the plain text that a test server has."""
        text = self.config.read_text()
        more = "host: ${IMAP_HOST:-}\n    tls: false\n    port: " + str(server.port)
        self.config.write_text(text.replace("host: ${IMAP_HOST:-}", more))
        self.environment |= {"IMAP_HOST": "127.0.0.1", "IMAP_USERNAME": USER, "IMAP_PASSWORD": PASSWORD}

    def tickets(self) -> list[str]:
        return [subject for (subject,) in self.rows("SELECT subject FROM helpdesk_ticket ORDER BY id")]


@pytest.fixture
def mailbox() -> Iterator[Dovecot]:
    with dovecot() as server:
        yield server


@pytest.fixture
def site(tmp_path: Path, tables: Path, mailbox: Dovecot) -> Iterator[WithMailbox]:
    site = WithMailbox(tmp_path)
    site.database.parent.mkdir()
    shutil.copy(tables, site.database)
    site.at(mailbox)
    site.start()
    yield site
    site.close()


def letter(number: int) -> bytes:
    return LETTER.format(number).encode()


def test_a_message_in_the_mailbox_opens_a_ticket_is_answered_and_moved(site: WithMailbox, mailbox: Dovecot) -> None:
    until(lambda: "imap" in site.output(), "the mailbox is listed")
    mailbox.append(letter(1))
    until(lambda: site.tickets() == ["Mailbox 1"], "the ticket")
    until(lambda: mailbox.count("Processed") == 1, "the message is moved")
    assert mailbox.count("INBOX") == 0
    assert len(site.answers("ann1@mailbox.example")) == 1


def test_kill_9_loses_no_message_of_a_mailbox(site: WithMailbox, mailbox: Dovecot) -> None:
    mailbox.append(*(letter(number) for number in range(200)))
    until(lambda: len(site.tickets()) > 5, "some are handled")
    site.signal(signal.SIGKILL)
    assert len(site.tickets()) < 200
    site.start()
    until(lambda: mailbox.count("Processed") == 200, "all are moved", 60)
    assert sorted(site.tickets()) == sorted(f"Mailbox {number}" for number in range(200))  # each once: by Message-ID
