"""``reply()`` to a received mail, whatever its headers: it never raises, and what leaves is valid and can be read."""

import asyncio
import base64
import email
import re
import time
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP
from conversation import scope
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from servers.submission import sending

from gateway import AsyncEmailConsumer, EmailConsumer
from gateway.consumers.mail_writer import MailWriter
from gateway.consumers.new_mail import NewMail
from protocols.mail.message import InboundEmail
from protocols.mail.run import EmailRun, deliver
from protocols.mail.verdict import Accept

LIMIT = 10.0


class Sync(EmailConsumer):
    def receive(self, message: Any) -> None:
        self.reply("Thank you.\n\nGrüße")


class Async(AsyncEmailConsumer):
    async def receive(self, message: Any) -> None:
        await self.reply("Thank you.\n\nGrüße")


Sync.answers_per_hour = Async.answers_per_hour = 1000


class Taken:
    """What was submitted."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []

    async def submit(self, mail_from: str, rcpt_to: Any, message: bytes, *, dsn: Any = None) -> None:
        self.messages.append(message)


async def answer_to(raw: bytes, consumer: Any = Async, **envelope: Any) -> bytes | None:
    """The answer; None where nothing may leave."""
    taken = Taken()
    run = EmailRun(consumer.as_asgi(), mail(**envelope), raw, taken, LIMIT)
    assert await run.run() is None, run.error
    return taken.messages[0] if taken.messages else None


def mail(**envelope: Any) -> Any:
    return scope("email", listener="mail", mailbox=None, **envelope)


def read(answer: bytes) -> EmailMessage:
    """Strictly: RFC 5322's lines, ASCII, each field once; RFC 2047's words."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.isascii()
    assert b"\0" not in head
    # The address of its sender goes back as it is, and the local part of one may look like a word of RFC 2047.
    assert b"=?unknown-8bit" not in re.sub(rb"[^\s<,]+@", b"", head.lower())
    for line in head.split(b"\r\n"):
        assert len(line) <= 998
        assert b"\r" not in line
        assert b"\n" not in line
        assert re.match(rb"[!-9;-~]+:|[ \t]+\S", line), line
        for encoded in re.findall(rb"=\?[^?]*\?.\?[^?]*\?=", line):
            assert len(line) <= 76
            assert len(encoded) <= 75
    parsed = email.message_from_bytes(answer, policy=default)
    assert isinstance(parsed, EmailMessage)
    assert [] == parsed.defects == [defect for _, value in parsed.items() for defect in value.defects]
    assert len(set(map(str.lower, parsed.keys()))) == len(parsed.keys())
    assert parsed.get_content().replace("\r\n", "\n") == "Thank you.\n\nGrüße\n"
    assert body
    return parsed


def b(text: str, codec: str, label: str) -> bytes:
    return b"=?%b?B?%b?=" % (label.encode(), base64.b64encode(text.encode(codec)))


CASES = [
    (b"Subject: " + b("朱镕基发票", "gbk", "gb2312"), "Re: 朱镕基发票"),
    (b"Subject: " + b("髙橋①", "cp932", "iso-2022-jp"), "Re: 髙橋①"),
    (b"Subject: =?iso-2022-jp?B?" + base64.b64encode(b"\x1b$B-j%F%9%H\x1b(B") + b"?=", "Re: ㈱テスト"),
    (b"Subject: " + b("héllo", "utf-8", "unknown-8bit"), "Re: héllo"),
    (b"Subject: " + b("똠방", "cp949", "ks_c_5601-1989"), "Re: 똠방"),
    (b"Subject: " + "发票".encode("gbk") + b"\r\nContent-Type: text/plain; charset=gb2312", "Re: 发票"),
    (b"Subject: " + "发票".encode("gbk") + b"\r\nContent-Type: text/plain; Charset*=us-ascii'en'gb2312", "Re: 发票"),
    (b"Subject: " + "发票".encode("gbk") + b'\r\nContent-Type: text/plain; name="a;b"; charset="gb2312"', "Re: 发票"),
    (b"Subject: " + "Grüße".encode("latin-1"), "Re: Grüße"),
    (b"Subject: " + "Grüße".encode(), "Re: Grüße"),
    (b"Subject: \xff\xfe\x00\x01", "Re: ÿþ"),
    (b"Subject:", "Re:"),
    (b"", "Re:"),
    (b"Subject: RE: again", "RE: again"),
    (b"Subject: =?utf-8?q?a=0D=0ABcc=3A_evil=40x.org?=", "Re: a Bcc: evil@x.org"),
    (b"Subject: a\r\n folded\r\n\tline", "Re: a folded line"),
    (b"Subject: bare\rCR", "Re: bare"),
    (b"Subject: =?utf-8?q?=3D=3Futf-8=3Fq=3Fx=3F=3D?=", "Re: =?utf-8?q?x?="),
    (b"Subject: =?utf-8?q?cut", "Re: cut"),
    (b"Subject: " + b"x" * 5000, "Re: xxx"),
    (b"Subject: " + "ö".encode() * 5000, "Re: ööö"),
    (b"Subject: =?utf-7?Q?+2D0-?=", "Re: \ufffd"),
    (b"Subject: one\r\nSubject: two", "Re: one"),
]


@pytest.mark.parametrize("consumer", [Sync, Async])
@pytest.mark.parametrize(("header", "subject"), CASES)
async def test_what_real_subjects_are(header: bytes, subject: str, consumer: Any) -> None:
    answer = await answer_to(b"From: a@x.org\r\n" + header + b"\r\n\r\nhello\r\n", consumer)
    assert answer is not None
    head = answer.partition(b"\r\n\r\n")[0]
    said = read(answer)["Subject"]
    if subject.isascii() and "=?" in subject:  # the standard library reads once more what only looks like a word
        assert base64.b64encode(subject.partition(" ")[2].encode()) in head
    else:
        assert said.startswith(subject)
    assert len(said) <= 510


@pytest.mark.parametrize(
    ("headers", "ids"),
    [
        (b"Message-ID: <1@x.org>", ["<1@x.org>"]),
        (b"Message-ID: <1@x.org>\r\nReferences: <a@x> <b@x>", ["<a@x>", "<b@x>", "<1@x.org>"]),
        (b"Message-ID: <1@x.org>\r\nIn-Reply-To: your mail of today <a@x>", ["<a@x>", "<1@x.org>"]),
        (b"Message-ID: <1@x.org>\r\nReferences: <broken <b@x> c@x> \xff<d\xff@x>", ["<b@x>", "<1@x.org>"]),
        (b"Message-ID: 1@x.org", []),
        (b"Message-ID: <no at>", []),
        (b"Message-ID: <>", []),
        (b"Message-ID: <a\0b@x>", []),
        (b"Message-ID: <a(b@x>\r\nReferences: <ok@x>", ["<ok@x>"]),
        (b"Message-ID: <1@[192.0.2.1]>", ["<1@[192.0.2.1]>"]),
        (b"Message-ID:\r\n <" + b"x" * 300 + b"@x.org>", ["<" + "x" * 300 + "@x.org>"]),
        (b"Message-ID: <" + b"x" * 3000 + b"@x.org>", []),
    ],
)
async def test_threads(headers: bytes, ids: list[str]) -> None:
    answer = await answer_to(b"From: a@x.org\r\nSubject: x\r\n" + headers + b"\r\n\r\nhello\r\n")
    assert answer is not None
    parsed = read(answer)
    assert str(parsed["References"] or "").split() == ids
    assert str(parsed["In-Reply-To"] or "").split() == ids[-1:]


async def test_a_long_thread_keeps_its_first_and_its_last() -> None:
    references = b" ".join(b"<%d@x.org>" % number for number in range(300))
    raw = b"From: a@x.org\r\nMessage-ID: <last@x.org>\r\nReferences: " + references + b"\r\n\r\nx\r\n"
    answer = await answer_to(raw)
    assert answer is not None
    ids = str(read(answer)["References"]).split()
    assert (ids[0], ids[-1], len(ids)) == ("<0@x.org>", "<last@x.org>", 21)


HOSTILE = {
    "parameters": b"Content-Type: text/plain" + b";" * 500_000,
    "ids": b"References: " + b"<a@b> " * 2_000_000,
}


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE)
def test_no_header_takes_the_loop_s_time(raw: bytes) -> None:
    """An answer is composed on the loop."""
    message = InboundEmail(b"From: a@x.org\r\nSubject: x\r\n" + raw + b"\r\n\r\nhello\r\n")
    begun = time.process_time()
    MailWriter(mail(), b"", message).reply(NewMail(text="Thank you."), 1000)
    assert time.process_time() - begun < 0.1


async def test_a_text_that_repeats_what_a_sender_wrote_can_leave() -> None:
    """NUL and other controls are in no mail (RFC 5322 2.3, 4.1), and eight bits are not for every server (RFC 6152)."""

    class Repeats(AsyncEmailConsumer):
        async def receive(self, message: Any) -> None:
            await self.reply("You wrote: n\0o\x1b[2J\tnew\nöl")

    answer = await answer_to(b"From: a@x.org\r\n\r\nhello\r\n", Repeats)
    assert answer is not None
    assert answer.isascii()
    text = email.message_from_bytes(answer, policy=default).get_content()
    assert text.replace("\r\n", "\n") == "You wrote: no[2J\tnew\nöl\n"


@pytest.mark.parametrize(
    "envelope",
    [{"rcpt_to": []}, {"mail_from": ""}, {"rcpt_to": ["undisclosed-recipients"]}],
)
async def test_nothing_leaves_where_nobody_knows_whose_it_would_be(envelope: dict[str, Any]) -> None:
    assert await answer_to(b"From: a@x.org\r\n\r\nhello\r\n", **envelope) is None


@pytest.mark.parametrize("address", ["a..b@x.org", ".a@x.org", '"a b"@x.org', "x" * 200 + "@x.org", "a@[192.0.2.1]"])
async def test_unusual_addresses(address: str) -> None:
    local, _, domain = address.rpartition("@")
    own = f"{local}@x.net"
    envelope = {"mail_from": address, "rcpt_to": [own], "extensions": {"reply": {"to": "envelope"}}}
    answer = await answer_to(f"From: a@{domain}\r\n\r\nhello\r\n".encode(), **envelope)
    assert answer is not None
    for field, meant in ((read(answer)["From"], own), (read(answer)["To"], address)):
        [found] = field.addresses
        assert found.addr_spec in (meant, '"{}"@{}'.format(*meant.rsplit("@", 1)))


names = st.sampled_from(
    [b"Subject", b"Message-ID", b"References", b"In-Reply-To", b"From", b"Reply-To", b"To", b"Content-Type", b"X-A"]
)
parts = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(
        [
            *(
                b"=?",
                b"?=",
                b"?B?",
                b"?q?",
                b"=?gb2312?B?",
                b"=?unknown-8bit?q?",
                b"=?utf-16?b?",
                b"<",
                b">",
                b"@",
                b"<a@b>",
            ),
            *(
                b"\r\n ",
                b"\r\n\t",
                b"\r",
                b"\n ",
                b"\0",
                b"\xff",
                b"text/plain; charset=",
                b"gbk",
                b"utf-7",
                b"+2D0-",
                b'"',
            ),
            *(b"multipart/mixed; boundary=x", "票".encode("gbk"), "é".encode(), b"x" * 400, b"Re: "),
        ]
    ),
)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@example([(b"From", b"=?unknown-8bit@0")], b"")
@given(st.lists(st.tuples(names, st.lists(parts, max_size=8).map(b"".join)), max_size=5), st.binary(max_size=40))
def test_whatever_the_headers(fields: list[tuple[bytes, bytes]], more: bytes) -> None:
    raw = b"".join(b"%b: %b\r\n" % field for field in fields) + more + b"\r\n\r\nhello\r\n"
    answer = asyncio.run(answer_to(raw))
    if answer is not None:
        read(answer)


@pytest.mark.parametrize(("header", "subject"), CASES)
async def test_they_leave_by_a_real_server(header: bytes, subject: str) -> None:
    got: list[bytes] = []

    class Handler:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            got.append(envelope.content)
            return "250 OK"

    loop = asyncio.get_running_loop()
    peer = await loop.create_server(lambda: SMTP(Handler(), hostname="x", loop=loop), "127.0.0.1", 0)
    host, port = peer.sockets[0].getsockname()
    async with peer, sending(f"smtp://{host}:{port}") as submission:
        raw = b"From: a@x.org\r\nMessage-ID: <1@x.org>\r\n" + header + b"\r\n\r\nhello\r\n"
        verdict = await deliver(Async.as_asgi(), mail(), raw, timeout=LIMIT, submission=submission)
    assert verdict == Accept()
    [message] = got
    assert str(read(message)["In-Reply-To"]) == "<1@x.org>"
