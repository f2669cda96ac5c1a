"""Answers of a whole gateway: to mail by SMTP and from a Dovecot mailbox, with a policy and without, to a maildir and
to Postfix; each leaves under the id that the handler was given."""

import email
import email.header
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import aiosmtplib
import pytest
from servers.dovecot import PASSWORD, Dovecot, dovecot
from servers.postfix import postfix
from test_replace import LIMIT, ended, port, until

from gateway.config.loader import parse
from gateway.runtime.build import build
from gateway.runtime.install import install
from gateway.runtime.running import RunningGateway

HANDLERS = """
from gateway import AsyncEmailConsumer, EmailConsumer

ids, tokens, attempts = [], [], []

class Sync(EmailConsumer):
    def receive(self, message):
        tokens.append(self.token and self.token.id)
        answer = self.reply("Grüße", attachments=[("terms.txt", "all of them")], token="ticket-17", wait=True)
        attempts.append(answer)
        if FAILS and len(attempts) == 1:
            raise RuntimeError("the first attempt fails")
        forwarded = self.forward("bob@example.org", wait=True)
        ids.append([answer, forwarded])

class Async(AsyncEmailConsumer):
    async def receive(self, message):
        tokens.append(self.token and self.token.id)
        answer = await self.reply("Grüße", attachments=[("terms.txt", "all of them")], token="ticket-17", wait=True)
        attempts.append(answer)
        if FAILS and len(attempts) == 1:
            raise RuntimeError("the first attempt fails")
        forwarded = await self.forward("bob@example.org", wait=True)
        ids.append([answer, forwarded])

FAILS = False

class Thanks(AsyncEmailConsumer):
    async def receive(self, message):
        attempts.append(message.subject)
        ids.append(await self.reply("thank you"))
"""
FILE = """
servers:
  mail: {{protocol: smtp, bind: "127.0.0.1:0"}}
routes:
  email: {{app: answers_handlers.{app}, default: true, {policy}}}
submission: {{url: "{url}"}}
reply_tokens: {{secret: [the secret of this year, the secret of last year]}}
store: sqlite:answers.db
log: {{level: warning}}
"""
MAILBOX = """
  mail: {{protocol: imap, host: 127.0.0.1, port: {port}, tls: false, username: {user}, password: {password}}}
"""
GBK = "=?gb2312?B?1uzpRrv5?="  # GBK's bytes under gb2312's label
POLICIES = ["attempts: 3, backoff: 10ms", "inbox: true, attempts: 3, backoff: 10ms"]


@pytest.fixture
def handlers(replaced: Any) -> Any:
    return replaced("answers_handlers", HANDLERS)


def made(app: str, policy: str, url: str = "file:sent", servers: str = "") -> RunningGateway:
    text = FILE.format(app=app, policy=policy, url=url)
    if servers:
        text = text.replace('\n  mail: {protocol: smtp, bind: "127.0.0.1:0"}', servers.rstrip())
    return RunningGateway(build(parse(text, name="gateway.yaml", folder=Path())))


def sent() -> list[EmailMessage]:
    """What is in the maildir, in the order in which it was sent."""
    found = [email.message_from_bytes(path.read_bytes(), policy=default) for path in Path("sent/new").glob("*")]
    return sorted((mail for mail in found if isinstance(mail, EmailMessage)), key=lambda mail: str(mail["Message-ID"]))


def letter(to: str = "help@example.org", subject: str = GBK) -> bytes:
    head = f"From: Ann <ann@example.net>\r\nReply-To: ann@home.example\r\nTo: {to}\r\nSubject: {subject}\r\n"
    return f"{head}Message-ID: <1@example.net>\r\nDate: Sun, 29 Nov 2026 12:00:00 +0000\r\n\r\nHello\r\n".encode()


async def deliver(running: RunningGateway, message: bytes, to: str = "help@example.org") -> None:
    """As a mail-sending service does: its own return path is in the envelope."""
    sender = "bounces+17=ann@service.example"
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port(running, "mail"), timeout=LIMIT) as client:
        await client.sendmail(sender, [to], message)


@pytest.mark.parametrize("policy", ["", *POLICIES])
@pytest.mark.parametrize("app", ["Sync", "Async"])
async def test_by_smtp_and_back_with_its_token(app: str, policy: str, handlers: Any) -> None:
    running = made(app, policy)
    await install(running)
    try:
        await deliver(running, letter())
        await until(lambda: handlers.ids and len(sent()) == 2)
        [[answer, forwarded]] = handlers.ids
        assert [mail["Message-ID"] for mail in sent()] == sorted([answer, forwarded])
        mail = next(mail for mail in sent() if mail["Message-ID"] == answer)
        assert (mail["X-Envelope-To"], mail["Return-Path"]) == ("ann@home.example", "<>")
        assert (mail["To"], mail["In-Reply-To"]) == ("ann@home.example", "<1@example.net>")
        assert str(mail["Subject"]).startswith("Re: 朱")
        assert [part.get_filename() for part in mail.iter_attachments()] == ["terms.txt"]
        [address] = mail["Reply-To"].addresses
        await deliver(running, letter(address.addr_spec), address.addr_spec)
        await until(lambda: len(handlers.tokens) == 2)
        assert handlers.tokens == [None, "ticket-17"]
    finally:
        await ended(running)


@pytest.mark.parametrize("policy", POLICIES)
async def test_attempts_at_one_message_make_one_id_and_one_answer(policy: str, handlers: Any) -> None:
    handlers.FAILS = True
    running = made("Async", policy)
    await install(running)
    try:
        if "inbox" not in policy:
            with pytest.raises(aiosmtplib.SMTPDataError, match=r"4\.3\.0"):
                await deliver(running, letter())
        await deliver(running, letter())
        await until(lambda: handlers.ids and len(sent()) == 2)
        assert len(handlers.attempts) == 2
        assert len(set(handlers.attempts)) == 1
        assert {mail["Message-ID"] for mail in sent()} == set(handlers.ids[0])
    finally:
        await ended(running)


@pytest.fixture(scope="module")
def mailboxes() -> Iterator[Dovecot]:
    with dovecot() as server:
        yield server


@pytest.mark.parametrize("policy", ["", POLICIES[1]])
async def test_from_a_mailbox(policy: str, handlers: Any, mailboxes: Dovecot) -> None:
    user = f"u{len(policy)}@example.org"
    mailboxes.append(b"Return-Path: <bounces+17=ann@service.example>\r\n" + letter(user), user=user)
    servers = MAILBOX.format(port=mailboxes.port, user=user, password=PASSWORD)
    running = made("Sync", policy, servers=servers)
    await install(running)
    try:
        await until(lambda: handlers.ids and len(sent()) == 2)
        mail = next(mail for mail in sent() if mail["Message-ID"] == handlers.ids[0][0])
        assert (mail["X-Envelope-To"], mail["From"]) == ("ann@home.example", user)
        await until(lambda: mailboxes.count(user=user) == 0)
    finally:
        await ended(running)


NOT_PERSONS = {
    "to itself": b"From: help@example.org\r\n",
    "made by a service": b"From: Ann <ann@example.net>\r\nX-Auto-Generated: yes\r\n",
    "forwarded from here": b"From: Ann <ann@example.net>\r\nX-Loop: help@example.org\r\n",
    "a bounce without a report": b"From: Ann <ann@example.net>\r\nX-Failed-Recipients: bob@example.net\r\n",
    "automatic": b"From: Ann <ann@example.net>\r\nAuto-Submitted: auto-replied\r\n",
}


@pytest.mark.parametrize("policy", ["", POLICIES[1]])
@pytest.mark.parametrize("by", ["smtp", "imap"])
async def test_only_a_person_is_answered(by: str, policy: str, handlers: Any, mailboxes: Dovecot) -> None:
    user = f"p{len(policy)}@example.org"
    servers = MAILBOX.format(port=mailboxes.port, user=user, password=PASSWORD) if by == "imap" else ""
    running = made("Thanks", policy, servers=servers)
    await install(running)
    try:
        for subject, head in (*NOT_PERSONS.items(), ("a person", b"From: Ann <ann@example.net>\r\n")):
            mail = head + f"To: help@example.org\r\nSubject: {subject}\r\n\r\nHello\r\n".encode()
            if by == "imap":
                mailboxes.append(b"Delivered-To: help@example.org\r\n" + mail, user=user)
            else:
                await deliver(running, mail)
        await until(lambda: len(handlers.ids) == len(NOT_PERSONS) + 1)
        await until(sent)
        assert sorted(handlers.attempts) == sorted([*NOT_PERSONS, "a person"])
        assert [(mail["Subject"], mail["X-Envelope-To"]) for mail in sent()] == [("Re: a person", "ann@example.net")]
    finally:
        await ended(running)


async def test_a_route_can_ask_for_the_envelope_s_sender(handlers: Any) -> None:
    """RFC 3834; here it is a mail-sending service's return path, which gets nothing."""
    running = made("Async", "reply_to: envelope")
    await install(running)
    try:
        await deliver(running, letter())
        await until(lambda: handlers.ids)
        assert handlers.ids[0][0] == ""
        assert [mail["X-Envelope-To"] for mail in sent()] == ["bob@example.org"]
    finally:
        await ended(running)


async def all_left(running: RunningGateway) -> bool:
    dispatcher = running.gateway.dispatcher
    if dispatcher is None:
        return True
    store = dispatcher.deliveries.store
    assert not await store.outgoing(dead=True)
    return not await store.outgoing()


@pytest.fixture(scope="module")
def submission_server() -> Iterator[str]:
    with postfix() as address:
        yield address


@pytest.mark.parametrize("policy", ["", POLICIES[0]])
async def test_postfix_takes_them_from_us(policy: str, handlers: Any, submission_server: str) -> None:
    running = made("Async", policy, url=f"smtp://{submission_server}")
    await install(running)
    try:
        message = letter().replace(b"ann@home.example", b"ann@example.org, Bob <bob@example.org>")
        await deliver(running, message)
        await until(lambda: handlers.ids)
        await until(lambda: all_left(running))
    finally:
        await ended(running)
