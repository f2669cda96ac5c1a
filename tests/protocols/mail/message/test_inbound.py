"""A mail is read when it is asked for, once, and freed at once."""

import email.message
import gc
import tracemalloc
import weakref

import pytest

import protocols.mail.message.inbound as inbound
from protocols.mail.message import InboundEmail

HTML = (
    b"From: Ann <ann@example.org>\r\nTo: help@shop.example\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n"
    b"<p>See <img src='cid:one'></p>\r\n--b\r\nContent-Type: image/png\r\nContent-ID: <one>\r\n\r\nPNG\r\n"
    b'--b\r\nContent-Type: image/png; name="../../a.png"\r\n\r\nPNG\r\n--b--\r\n'
)


def test_making_one_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(raw: bytes) -> None:
        raise AssertionError("it was parsed")

    monkeypatch.setattr(inbound, "parse", parse)
    message = InboundEmail(HTML)
    assert (message.subject, message.sender, message["X"], "to" in message) == ("Grüße", "ann@example.org", None, True)


def test_each_is_read_once() -> None:
    message = InboundEmail(HTML)
    assert message.text is message.text
    assert message.attachments is message.attachments
    assert message.stdlib is message.stdlib


def test_inline_images_are_told_apart_and_names_are_safe() -> None:
    attachments = InboundEmail(HTML).attachments
    assert [(each.filename, each.inline, each.read()) for each in attachments] == [
        ("image.png", True, b"PNG"),
        ("a.png", False, b"PNG"),
    ]


def test_texts_after_the_hundredth_are_attachments() -> None:
    head = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    message = InboundEmail(head + b"--b\r\n\r\nwords\r\n" * 102 + b"--b--\r\n")
    assert message.text.split() == ["words"] * 100
    assert [each.read() for each in message.attachments] == [b"words"] * 2
    assert message.defects == ("Only the first 100 texts are shown; the others are among the attachments.",)


def test_an_unending_word_hides_no_address_in_a_bounce() -> None:
    head = b"From: mailer-daemon@x.org\r\nSubject: Undelivered mail\r\n\r\n"
    bounce = InboundEmail(head + b"=" * 9999 + b"\r\n<carl@example.net>: 550 no such user\r\n").bounce
    assert bounce is not None
    assert (bounce.recipient, bounce.status) == ("carl@example.net", "5.0.0")


def test_a_mail_is_freed_when_it_is_no_longer_used() -> None:
    """It may hold 25 MB, and the garbage collector comes late where there are few objects."""
    gc.disable()
    try:
        message = InboundEmail(HTML, mail_from="ann@example.org")
        message.read()
        left = weakref.ref(message), weakref.ref(message._root)
        del message
        assert [each() for each in left] == [None, None]
    finally:
        gc.enable()


def test_a_large_mail_is_read_in_little_more_memory_than_its_own() -> None:
    raw = (
        HTML[: HTML.rindex(b"--b--")]
        + b"--b\r\nContent-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + b"A" * 76 * 100_000
    )
    tracemalloc.start()
    try:
        InboundEmail(raw, mail_from="ann@example.org").read()
        assert tracemalloc.get_traced_memory()[1] < len(raw) / 5
    finally:
        tracemalloc.stop()


def test_the_standard_librarys_message_is_there_for_any_bytes() -> None:
    part = b"Content-Type: multipart/mixed; boundary=%d\r\n\r\n--%d\r\n"
    nested = b"".join(part % (each, each) for each in range(3000))
    for raw in (nested, b"", b"\xff\0", b"Message-ID: <a@["):
        message = InboundEmail(raw)
        assert isinstance(message.stdlib, email.message.Message)
        assert list(message.walk())
