"""Each mail of the corpus is answered and forwarded: only persons get an answer, and what leaves can be read."""

import re
from typing import Any

import pytest
from conversation import scope
from corpus import RECIPIENT, Mail, mails, tidy

from gateway import AsyncEmailConsumer
from protocols.mail.headers import parse_headers
from protocols.mail.message import InboundEmail
from protocols.mail.run import EmailRun

CORPUS = mails()
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
WORDS = "Danke für Ihre Mail.\n\nGrüße\n"


class Answers(AsyncEmailConsumer):
    """Answers, and forwards in both forms."""

    answers_per_hour = 1_000_000

    async def receive(self, message: InboundEmail) -> None:
        await self.reply(WORDS)
        await self.forward("desk@staff.example", text="Please see.")
        await self.forward("other@staff.example", text="Please see.", inline=True)


class Sent:
    """What was submitted: by recipient, the mails."""

    def __init__(self) -> None:
        self.mails: dict[str, bytes] = {}

    async def submit(self, mail_from: str, rcpt_to: Any, message: bytes, *, dsn: Any = None) -> None:
        self.mails[",".join(rcpt_to)] = message


async def sent_for(mail: Mail) -> dict[str, bytes]:
    sent = Sent()
    given: Any = scope("email", listener="mail", mailbox=None, mail_from=mail.mail_from, rcpt_to=mail.rcpt_to)
    given["headers"] = parse_headers(mail.raw)
    run = EmailRun(Answers.as_asgi(), given, mail.raw, sent, 10.0)
    assert await run.run() is None, run.error
    return sent.mails


def whole(message: bytes) -> InboundEmail:
    """Read a mail that leaves. Its lines are those of SMTP (RFC 5321, 4.5.3.1.6)."""
    assert all(len(line) <= 998 for line in message.split(b"\r\n"))
    assert message.count(b"\r") == message.count(b"\n") == message.count(b"\r\n")
    read = InboundEmail(message)
    assert read.defects == () or read.encrypted
    return read


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_what_leaves_can_be_read_and_says_what_came() -> None:
    for mail in CORPUS:
        message = mail.read()
        sent = await sent_for(mail)
        answers = {to: raw for to, raw in sent.items() if "@staff.example" not in to}
        assert len(answers) <= 1, mail
        if message.kind != "person":
            assert not answers, mail
        for to, raw in answers.items():
            _check_answer(mail, message, to, whole(raw))
        if message.kind == "own":
            assert not sent, mail
            continue
        _check_forwarded(mail, message, whole(sent["desk@staff.example"]))
        _check_inline(mail, message, whole(sent["other@staff.example"]))


def _check_answer(mail: Mail, message: InboundEmail, to: str, answer: InboundEmail) -> None:
    assert to.split(",") == [str(each) for each in message.reply_to or message.from_ or [message.sender]], mail
    assert [str(each) for each in answer.to] == to.split(","), mail
    assert answer.sender == RECIPIENT or mail.rcpt_to != [RECIPIENT], mail
    assert tidy(answer.text) == tidy(WORDS), mail
    assert answer.in_reply_to == ((message.message_id,) if "@" in message.message_id else ()), mail
    assert answer.kind == "auto-reply", mail
    bare = re.sub(r"(?i)^re: ?", "", answer.subject)
    assert re.sub(r"(?i)^re: ?", "", message.subject).startswith(bare[:60]), mail


def _check_forwarded(mail: Mail, message: InboundEmail, forwarded: InboundEmail) -> None:
    """The mail is attached as it is; a mail with bare line ends, or with long lines, is attached in base64."""
    assert tidy(forwarded.text) == "Please see.", mail
    (attached,) = forwarded.attachments
    again = InboundEmail(attached.read(), mail_from=mail.mail_from, rcpt_to=mail.rcpt_to)
    assert (again.subject, again.text) == (message.subject, message.text), mail
    assert [each.read() for each in again.attachments] == [each.read() for each in message.attachments], mail


def _check_inline(mail: Mail, message: InboundEmail, forwarded: InboundEmail) -> None:
    lines = _CONTROLS.sub("", message.text).split("\n")
    missing = [line for line in lines if line.strip() and line.strip() not in forwarded.text]
    assert not missing, mail
    files = {each.read() for each in forwarded.attachments}
    assert files.issuperset(each.read() for each in message.attachments if not each.inline), mail
