"""Mails that were made to cost time, memory or depth are read like others: bounded, and in time linear in their size.

Nothing is measured: each of these takes minutes, or more memory than there is, where a step is quadratic or a bound is
missing, and pytest's time limit ends it.
"""

import base64
import random
import threading
import zlib

import pytest
from corpus import mails
from test_generated import read_all
from tnef import tnef

from protocols.mail.message import InboundEmail

MB = 1024 * 1024
TEXT = b"Content-Type: text/plain\r\n\r\n"
HTML = b"Content-Type: text/html\r\n\r\n"
MIXED = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n"


def nested(depth: int, kind: bytes = b"mixed") -> bytes:
    parts = (b'Content-Type: multipart/%s; boundary="b%d"\r\n\r\n--b%d\r\n' % (kind, n, n) for n in range(depth))
    return b"".join(parts) + b"\r\nin the middle"


def base64_in_base64(depth: int) -> bytes:
    """A mail in a mail in a mail, each in base64."""
    raw = b"Subject: in the middle\r\n\r\nwords"
    for _ in range(depth):
        raw = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(raw)
    return raw


def der(depth: int) -> bytes:
    """Sequences of indefinite length within each other."""
    head = b"Content-Type: application/pkcs7-mime; smime-type=signed-data\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    return head + base64.encodebytes(b"\x30\x80" * depth + b"\0\0" * depth)


def winmail(data: bytes) -> bytes:
    return b"Content-Type: application/ms-tnef; name=winmail.dat\r\n\r\n" + data


def report(recipients: int) -> bytes:
    field = b"Final-Recipient: rfc822; carl@example.net\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n"
    head = b"Content-Type: multipart/report; report-type=delivery-status; boundary=x\r\n\r\n--x\r\n\r\nwords\r\n"
    return head + b"--x\r\nContent-Type: message/delivery-status\r\n\r\n" + field * recipients + b"--x--\r\n"


def calendar(events: int) -> bytes:
    event = b"BEGIN:VEVENT\r\nUID:1\r\nDTSTART:20261201T090000Z\r\nEND:VEVENT\r\n"
    return b"Content-Type: text/calendar\r\n\r\nBEGIN:VCALENDAR\r\n" + event * events + b"END:VCALENDAR\r\n"


COSTLY = {
    "100,000 parts": MIXED + b"--x\r\n\r\na\r\n" * 100_000,
    "100,000 empty parts": MIXED + b"--x\r\n" * 100_000,
    "3,000 multiparts in each other": nested(3000),
    "3,000 alternatives in each other": nested(3000, b"alternative"),
    "3,000 related in each other": nested(3000, b"related"),
    "25 mails in each other, in base64": base64_in_base64(25),
    "2,000 mails in each other": b"Content-Type: message/rfc822\r\n\r\n" * 2000 + b"\r\nwords",
    "500,000 fields": b"X: y\r\n" * 500_000 + b"\r\nwords",
    "a field of 5 MB": b"X: " + b"y" * 5 * MB + b"\r\n\r\nwords",
    "a field of 1,000,000 folds": b"Subject: a\r\n" + b" b\r\n" * 1_000_000 + b"\r\nwords",
    "10 MB of CR": b"\r" * 10 * MB,
    "10 MB of LF": b"\n" * 10 * MB,
    "a text of 10 MB of CR": TEXT + b"\r" * 10 * MB,
    "50,000 encoded words": b"Subject: " + b"=?utf-8?q?a?= " * 50_000 + b"\r\n\r\nwords",
    "half encoded words": b"Subject: " + b"=?a?q?" * 50_000 + b"\r\n\r\nwords",
    "1 MB of =?": b"Subject: " + b"=?" * (MB // 2) + b"\r\n\r\nwords",
    "50,000 parameters": b"Content-Type: text/plain" + b"; a=b" * 50_000 + b"\r\n\r\nwords",
    "50,000 continued parameters": b"Content-Disposition: attachment"
    + b"".join(b"; filename*%d=a" % number for number in range(50_000))
    + b"\r\n\r\nwords",
    "a parameter numbered 10**9": b"Content-Disposition: attachment; filename*999999999=a; filename*0=b\r\n\r\nwords",
    "a number of 5,000 digits": b"Content-Disposition: attachment; filename*" + b"9" * 5000 + b"=a\r\n\r\nwords",
    "1 MB of quotes": b"From: " + b'"' * MB + b'\r\nContent-Type: text/plain; name="' + b'\\"' * MB + b"\r\n\r\nwords",
    "1 MB of brackets": b"From: " + b"(" * MB + b"\r\nTo: " + b"<" * MB + b"\r\n\r\nwords",
    "200,000 addresses": b"To: " + b"a@b.example, " * 200_000 + b"\r\n\r\nwords",
    "200,000 references": b"References: " + b"<a@b.example> " * 200_000 + b"\r\n\r\nwords",
    "1 MB of < in references": b"References: " + b"<a" * (MB // 2) + b"\r\nDate: " + b"1 " * MB + b"\r\n\r\nwords",
    "2 MB of quoted-printable signs": b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + b"=" * 2 * MB,
    "2 MB of broken base64": b"Content-Transfer-Encoding: base64\r\n\r\n" + b"=a" * MB,
    "200,000 beginnings of files": TEXT + b"begin 644 a\r\n" * 200_000,
    "50,000 beginnings of one file": TEXT + b"begin 644 a\r\n!\r\n" * 50_000 + b"end\r\n",
    "20,000 files": TEXT + b"begin 644 a\r\n#86)C\r\n`\r\nend\r\n" * 20_000,
    "attributions": TEXT + b"On a " * 200_000,
    "lines of fields": TEXT + b"From: x\r\n" * 100_000,
    "lines of addresses": TEXT + b"On 1 Jan 2026 a <a@b.example> wrote\r\n" * 30_000,
    "quoted lines": b"Content-Type: text/plain; format=flowed\r\n\r\n" + b">" * MB + b" \r\n" + b"> a \r\n" * 200_000,
    "1 MB of blanks": TEXT + b" \t" * (MB // 2) + b":" + b"\r\n" * MB,
    "1 MB of <": HTML + b"<" * MB,
    "1 MB of &": HTML + b"&" * MB,
    "1 MB of comments": HTML + b"<!--" * (MB // 4),
    "1 MB of links": HTML + b"<a href=x>" * (MB // 10),
    "100,000 div": HTML + b"<div>" * 100_000,
    "100,000 blockquote": HTML + b"<blockquote>" * 100_000 + b"a",
    "100,000 table": HTML + b"<table>" * 100_000 + b"a",
    "100,000 attributes": HTML + b"<p " + b"".join(b"a%d=1 " % number for number in range(100_000)) + b">a",
    "an attribute of 5 MB": HTML + b'<p style="' + b"display:none;" * 400_000 + b'">a',
    "5 MB of tables": HTML + b"<table><tr><td>a<td>b</table>" * 180_000,
    "20 texts of HTML": MIXED + (b"--x\r\n" + HTML + b"<p>a<b>b</b></p>" * 20_000 + b"\r\n") * 20,
    "1,000 texts in unknown charsets": MIXED
    + b"--x\r\nContent-Type: text/plain\r\n\r\n\xe4\xf6\xfc \xff\xc0 abc\r\n" * 1000,
    "5 MB of undeclared bytes": TEXT + random.Random(1).randbytes(5 * MB).replace(b"\r", b""),
    "5 MB of Japanese escapes": b"Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n" + b"\x1b$B\x1b(B" * 700_000,
    "5 MB of UTF-7": b"Content-Type: text/plain; charset=utf-7\r\n\r\n" + b"+AAA" * MB,
    "100,000 DER sequences": der(100_000),
    "DER of a huge length": b"Content-Type: application/pkcs7-mime\r\n\r\n\x30\x84\xff\xff\xff\xff"
    + b"\x06\x84\xff" * 1000,
    "TNEF of 1,000 files": winmail(tnef(attachments=[("a.txt", b"a")] * 1000)),
    "TNEF of a huge length": winmail(tnef(body=b"a")[:40] + b"\xff" * 1000),
    "TNEF in TNEF": winmail(tnef(attachments=[("winmail.dat", tnef(attachments=[("winmail.dat", tnef(body=b"a"))]))])),
    "100,000 failed recipients": report(100_000),
    "20,000 events": calendar(20_000),
    "1 MB of BEGIN": b"Content-Type: text/calendar\r\n\r\n" + b"BEGIN:VEVENT\r\n" * 70_000,
    "1 MB of addresses in a bounce": b"From: mailer-daemon@b.example\r\nSubject: Undelivered mail\r\n\r\n"
    + b"a@" * (MB // 2),
    "PGP signatures": TEXT + b"-----BEGIN PGP SIGNED MESSAGE-----\r\n" * 30_000,
    "deflated text, which no mail program inflates": b"Content-Encoding: deflate\r\n\r\n"
    + zlib.compress(b"0" * 10 * MB),
}
"""What costs -> a mail that has much of it."""


@pytest.mark.parametrize("raw", COSTLY.values(), ids=COSTLY)
def test_a_costly_mail_is_read(raw: bytes) -> None:
    message = read_all(raw)
    assert len(message.attachments) <= 10_000
    assert len(message.text) <= 4 * len(raw) + 1000


def test_what_was_left_out_is_said() -> None:
    for name in ("100,000 parts", "3,000 multiparts in each other", "500,000 fields", "100,000 div"):
        assert InboundEmail(COSTLY[name]).defects or "HTML" in InboundEmail(COSTLY[name]).text, name


def test_threads_that_read_one_message_see_the_same() -> None:
    big = sorted(mails(), key=lambda mail: -len(mail.raw))[:40]
    for mail in big:
        message, seen = mail.read(), []
        threads = [threading.Thread(target=lambda m=message, s=seen: s.append(_everything(m))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(seen) == 4, mail
        assert all(each == seen[0] for each in seen), mail


def _everything(message: InboundEmail) -> tuple[object, ...]:
    files = [(each.filename, each.read()) for each in message.attachments]
    return message.subject, message.text, message.reply_text, message.html, files, message.kind, message.defects
