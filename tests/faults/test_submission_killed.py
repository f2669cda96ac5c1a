"""kill -9 of the gateway and of its submission server, a real Postfix, in the middle of a thousand mails: none is lost,
and what Postfix takes twice was under way at a kill."""

import contextlib
import logging
import random
import re
import signal
import smtplib
import sqlite3
import time
from collections import defaultdict
from pathlib import Path

import pytest
from crashing import DATE, SEEDS
from servers.gateway_process import GatewayProcess
from servers.ports import free_port
from servers.postfix import MAILBOXES, Postfix, postfix_server
from servers.site import until
from test_sent_twice import leaving

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

logger = logging.getLogger(__name__)

MESSAGES, ANSWERS, KILLS, MOST = 10, 100, 6, 5
"""Mails in, mails out for each of them, kills; and ``max_connections``."""
HANDLERS = """
from gateway import EmailConsumer

BODY = "x" * 500


class Answers(EmailConsumer):
    def receive(self, message):
        for number in range(100):
            subject = f"{message['Subject']}-{number}"
            said = f"From: desk@example.net\\r\\nSubject: {subject}\\r\\n\\r\\n{BODY}\\r\\n"
            self.send_message(said.encode(), ["ann@example.org"])
"""
CONFIG = """
servers: {mail: {protocol: smtp, bind: "127.0.0.1:MAIL"}}
routes: {email: {app: answering.Answers, attempts: 50, backoff: 50ms}}
submission: "smtp://SUBMISSION"
log: {level: error}
"""
_MESSAGE_ID = re.compile(rb"^Message-ID: <(\S+)@", re.MULTILINE)
_QUEUE_ID = re.compile(rb"^\tby mx\.example\.org \(Postfix\) with ESMTP id (\w+)", re.MULTILINE)


def send(port: int, name: str) -> None:
    """Until it is taken, as a mail server does."""

    def taken() -> bool:
        with contextlib.suppress(OSError, smtplib.SMTPException), smtplib.SMTP("127.0.0.1", port, timeout=10) as peer:
            content = f"Subject: {name}\r\nMessage-ID: <{name}@example.net>\r\nDate: {DATE}\r\n\r\nhello\r\n"
            peer.sendmail("a@example.net", ["desk@example.org"], content)
            return True
        return False

    until(taken, f"{name} is taken", 30.0)


def outgoing(folder: Path) -> int:
    with contextlib.closing(sqlite3.connect(folder / "var" / "gateway.db", timeout=20)) as database:
        number: int = database.execute("SELECT count(*) FROM outgoing").fetchone()[0]
        return number


def queue_ids(server: Postfix) -> dict[bytes, set[bytes]]:
    """Item -> the ids under which Postfix took it. What one id delivered twice, Postfix delivered twice."""
    found: dict[bytes, set[bytes]] = defaultdict(set)
    for content in server.delivered("ann"):
        item, queue = _MESSAGE_ID.search(content), _QUEUE_ID.search(content)
        assert item is not None
        assert queue is not None, content[:500]
        found[item[1]].add(queue[1])
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_a_thousand_mails_through_kills_of_both_sides(tmp_path: Path, seed: int) -> None:
    chance, port = random.Random(seed), free_port()
    with postfix_server(main=MAILBOXES) as server:
        config = CONFIG.replace("MAIL", str(port)).replace("SUBMISSION", server.address)
        site = GatewayProcess(tmp_path / "site", "answering", HANDLERS, config)
        site.start()
        under_way: set[str] = set()
        servers_killed = 0
        try:
            for number in range(MESSAGES):
                send(port, f"m{number}")
                if number % 2 == 0 and number // 2 < KILLS:
                    time.sleep(chance.random())
                    if chance.random() < 0.5:
                        server.kill()
                        servers_killed += 1
                        server.start()
                    else:
                        site.stop(signal.SIGKILL)
                        under_way.update(leaving(site.folder / "var"))
                        site.start()
            until(lambda: outgoing(site.folder) == 0, lambda: f"all have left\n{site.output()[-2000:]}", 120.0)
            until(lambda: len(queue_ids(server)) == MESSAGES * ANSWERS, lambda: f"{len(queue_ids(server))}", 60.0)
            taken = queue_ids(server)
        finally:
            site.stop(signal.SIGKILL)
    twice = {item.decode() for item, ids in taken.items() if len(ids) > 1}
    logger.info("taken twice: %d of %d; under way at the kills: %d", len(twice), len(taken), len(under_way))
    assert len(twice - under_way) <= servers_killed * MOST
