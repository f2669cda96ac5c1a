"""What takes effect at once when a daemon reads its file again: submission, policies, the log, the certificate."""

import asyncio
import signal
import smtplib
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiosmtplib
import pytest
from servers import certificates
from servers.command import run
from servers.gateway_process import GatewayProcess
from servers.ports import free_port
from servers.submission import Peer, peer
from waiting import until

HANDLERS = """
import logging
from gateway import AsyncEmailConsumer
from gateway.aio import send_mail

class Desk(AsyncEmailConsumer):
    async def receive(self, message):
        logging.getLogger("shop").debug("a quiet word about %s", message["subject"])
        if message["subject"] == "fails":
            raise RuntimeError("no")
        await send_mail("ann@example.net", subject=message["subject"], text="hello")
"""
FILE = """
servers:
  mail: {{protocol: smtp, bind: "127.0.0.1:{mail}"{mail_more}}}
routes:
  email: {{app: effect_handlers.Desk, default: true, inbox: true, attempts: {attempts}}}
store: sqlite:effect.db
submission: {{url: "smtp://{submission}", username: {user}, password: {password}, default_from: {sender}}}
log: {{level: {level}}}
"""
DEFAULTS = {
    "mail_more": "",
    "attempts": 5,
    "user": "shop",
    "password": "first",
    "sender": "old@example.org",
    "level": "info",
}


class Site(GatewayProcess):
    def __init__(self, folder: Path, submission: str) -> None:
        self.facts = {**DEFAULTS, "mail": free_port(), "submission": submission}
        super().__init__(folder, "effect_handlers", HANDLERS, FILE.format(**self.facts))
        self.start()

    async def reload(self, **facts: Any) -> "subprocess.CompletedProcess[str]":
        self.facts |= facts
        (self.folder / "gateway.yaml").write_text(FILE.format(**self.facts))
        done = await asyncio.to_thread(run, self.folder, "reload", "--force")
        assert done.returncode == 0, done.stderr
        return done

    async def mail(self, subject: str) -> None:
        letter = f"From: bob@example.net\r\nSubject: {subject}\r\n\r\nhello\r\n"
        async with aiosmtplib.SMTP(hostname="127.0.0.1", port=self.facts["mail"], timeout=20) as client:
            await client.sendmail("bob@example.net", ["desk@example.org"], letter)


Start = Callable[[Peer], Any]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    started: list[Site] = []

    async def site(there: Peer) -> Site:
        started.append(made := Site(tmp_path, there.address))
        await until(lambda: "try:" in made.output())
        return made

    yield site
    for each in started:
        each.stop(signal.SIGKILL)


async def test_mail_that_waits_leaves_by_the_new_server(start: Start) -> None:
    """The first one is away for a time, as far as it says."""
    async with peer({"MAIL": "451 4.3.0 come again later"}) as first, peer() as second:
        site = await start(first)
        await site.mail("waits")
        await until(lambda: first.tried)
        await site.reload(submission=second.address, password="other", sender="new@example.org")
        await until(lambda: len(second.taken) == 1)
        assert b"Subject: waits" in second.taken[0][1]
        await site.mail("comes")
        await until(lambda: len(second.taken) == 2)
        assert b"From: new@example.org" in second.taken[1][1]
        assert not first.taken


async def test_another_password_is_used_at_the_next_mail(start: Start) -> None:
    async with peer() as there:
        site = await start(there)
        await site.mail("one")
        await until(lambda: len(there.taken) == 1)
        await site.reload(password="second")
        await site.mail("two")
        await until(lambda: len(there.taken) == 2)
        logins = [line for line in there.lines if line.startswith("AUTH")]
        assert len(set(logins)) == 2, "each password once at least"
        assert b"From: old@example.org" in there.taken[1][1]


async def test_a_policy_counts_for_the_next_message(start: Start) -> None:
    """With five attempts a message waits after the first; with one it is dead."""
    async with peer() as there:
        site = await start(there)
        await site.mail("fails")
        await until(lambda: "attempt 1 of 5" in site.output())
        done = await site.reload(attempts=1)
        assert done.stdout.startswith("routes.email.attempts: 5 -> 1\n")
        await site.mail("fails")
        await until(lambda: "attempt 1 of 1, now among the dead letters" in site.output())


async def test_the_level_of_the_log(start: Start) -> None:
    async with peer() as there:
        site = await start(there)
        await site.mail("before")
        await until(lambda: len(there.taken) == 1)
        await site.reload(level="debug")
        await site.mail("after")
        await until(lambda: "a quiet word about after" in site.output())
        await site.reload(level="warning")
        await site.mail("later")
        await until(lambda: len(there.taken) == 3)
        assert "a quiet word about before" not in site.output()
        assert "a quiet word about later" not in site.output()


async def test_another_certificate_is_shown_to_the_next_client(start: Start, tmp_path: Path) -> None:
    made = [certificates.make(tmp_path / name) for name in ("one", "two") if (tmp_path / name).mkdir() is None]
    lines = [f", tls: {{certificate: {each.certificate}, key: {each.key}}}" for each in made]
    async with peer() as there:
        site = await start(there)
        shown = []
        for line in lines:
            await site.reload(mail_more=line)
            shown.append(await asyncio.to_thread(_certificate, site.facts["mail"]))
        assert shown == [_first(each.certificate) for each in made]


def _first(file: str) -> bytes:
    text, end = Path(file).read_text(), "-----END CERTIFICATE-----"
    return ssl.PEM_cert_to_DER_cert(text[: text.index(end) + len(end)])


def _certificate(port: int) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        client.starttls(context=context)
        assert isinstance(client.sock, ssl.SSLSocket)
        return client.sock.getpeercert(binary_form=True) or b""
