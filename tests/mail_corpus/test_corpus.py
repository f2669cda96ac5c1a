"""What the reader makes of each mail of the corpus is what a person sees in it, whichever way the mail came."""

import asyncio
import re
import smtplib
from collections.abc import Iterator

import pytest
from corpus import MAILS, Mail, mails
from own_services import threads
from smtp_peer import serving

from gateway import EmailConsumer
from protocols.mail.message import InboundEmail

CORPUS = mails()


@pytest.mark.parametrize("mail", CORPUS, ids=str)
def test_a_mail_reads_as_a_person_sees_it(mail: Mail) -> None:
    differences = list(mail.differences(mail.read()))
    assert not differences, "\n".join([mail.expected["about"], *differences])


def test_each_mail_has_its_expectations_and_says_what_it_is_about() -> None:
    assert {path.stem for path in MAILS.rglob("*.yaml")} == {path.stem for path in MAILS.rglob("*.eml")}
    assert all(re.search(r"[.:!?]$", mail.expected["about"]) or len(mail.expected) > 1 for mail in CORPUS)
    assert [str(mail) for mail in CORPUS if len(mail.expected) < 2] == []


class Reads(EmailConsumer):
    """Keeps the messages that it gets."""

    seen: list[InboundEmail] = []

    def receive(self, message: InboundEmail) -> None:
        assert message.raw == self.raw
        self.seen.append(message)


async def test_a_mail_that_came_by_smtp_reads_the_same() -> None:
    sent = list(_sendable())
    Reads.seen = []
    with threads(2):
        async with serving(Reads.as_asgi()) as server:
            await asyncio.to_thread(_send, server.address, sent)
    differences = {
        str(mail): found
        for mail, message in zip(sent, Reads.seen, strict=True)
        if (found := list(mail.differences(message)))
    }
    assert not differences
    assert len(sent) > 100


def _sendable() -> Iterator[Mail]:
    """Yield mails that a client may send: with CRLF line ends only, and a header that begins at once."""
    for mail in CORPUS:
        ends = mail.raw.count(b"\r\n")
        regular = mail.raw.count(b"\r") == mail.raw.count(b"\n") == ends
        if regular and re.match(rb"[A-Za-z-]+:", mail.raw) and mail.mail_from.isascii():
            yield mail


def _send(address: str, sent: list[Mail]) -> None:
    host, _, port = address.rpartition(":")
    with smtplib.SMTP(host, int(port), timeout=30) as client:
        for mail in sent:
            client.sendmail(mail.mail_from, mail.rcpt_to, mail.raw)
