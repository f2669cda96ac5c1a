"""kill -9 of the gateway and of the mail server before it, a real Postfix, in the middle of a thousand mails: each is
handled, and what is handled twice is so under the same event id."""

import random
import signal
import smtplib
import time
from collections import defaultdict
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path

import pytest
from crashing import BOTH_KINDS
from servers.gateway_process import GatewayProcess
from servers.ports import free_port
from servers.postfix_relay import relay
from servers.site import until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

BATCHES, MAILS = 10, 100
HANDLERS = """
import os

from gateway import AsyncEmailConsumer

BOOK = os.open(os.environ["BOOK"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


class Mail(AsyncEmailConsumer):
    async def receive(self, message):
        event = self.scope["extensions"]["delivery"]["id"]
        os.write(BOOK, f"{message.subject} {event}\\n".encode())
"""
CONFIG = """
servers: {mail: {protocol: WAY, bind: "127.0.0.1:PORT"}}
routes: {email: {app: relayed.Mail, attempts: 50, backoff: 50ms}}
log: {level: error}
"""


def queue(port: int, subjects: list[str]) -> None:
    """Give the mails to Postfix, which has them on its disk then."""
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as peer:
        for subject in subjects:
            mail = EmailMessage()
            mail["From"], mail["Subject"], mail["Message-ID"], mail["Date"] = (
                "a@x.org",
                subject,
                make_msgid(),
                formatdate(),
            )
            mail.set_content("hello")
            peer.send_message(mail, "a@x.org", ["desk@example.org"])


def handled(book: Path) -> dict[str, set[str]]:
    """Subject -> the event ids under which it was handled."""
    found: dict[str, set[str]] = defaultdict(set)
    for line in book.read_text().splitlines() if book.exists() else []:
        subject, event = line.split()
        found[subject].add(event)
    return found


@pytest.mark.parametrize(("way", "seed"), [(("smtp", "lmtp")[seed % 2], seed) for seed in BOTH_KINDS])
def test_a_thousand_mails_through_kills_of_postfix_and_of_the_gateway(tmp_path: Path, way: str, seed: int) -> None:
    chance, port, book = random.Random(seed), free_port(), tmp_path / "book"
    config = CONFIG.replace("WAY", way).replace("PORT", str(port))
    gateway = GatewayProcess(tmp_path / "site", "relayed", HANDLERS, config, BOOK=str(book))
    gateway.start()
    sent: list[str] = []
    try:
        with relay(way, port) as postfix:
            for batch in range(BATCHES):
                subjects = [f"{batch}-{number}" for number in range(MAILS)]
                queue(postfix.port, subjects)
                sent += subjects
                time.sleep(0.3 * chance.random())
                if batch % 2:
                    gateway.stop(signal.SIGKILL)
                    gateway.start()
                else:
                    postfix.kill()
                    postfix.start()
            until(
                lambda: len(handled(book)) == len(sent),
                lambda: f"{len(handled(book))}\n{gateway.output()[-2000:]}",
                120.0,
            )
    finally:
        gateway.stop(signal.SIGKILL)
    found = handled(book)
    assert sorted(found) == sorted(sent), "none is lost, and none invented"
    assert {subject: ids for subject, ids in found.items() if len(ids) > 1} == {}
