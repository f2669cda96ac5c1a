"""A large or a contrived mail, and how long the event loop stands for it: CPU seconds of its thread in one turn."""

import asyncio
import base64
import random
import smtplib
import threading
import tracemalloc
from typing import Any

import pytest
from conversation import LIMIT, Conversation, scope
from turns import counted

from gateway import AsyncEmailConsumer
from gateway.consumers.email import INLINE
from protocols.mail.message import InboundEmail
from protocols.mail.run import deliver
from protocols.mail.smtp.server import SMTPServer, SMTPSettings
from protocols.mail.verdict import Accept

A_TURN = 0.1


def nested(size: int) -> bytes:
    """Parts within parts: what the standard library's parser is slowest at."""
    part = b"Content-Type: multipart/mixed; boundary=%d\r\n\r\n--%d\r\n"
    return b"".join(part % (each, each) for each in range(size // 55))


HTML = b"From: a@x.org\r\nContent-Type: text/html\r\n\r\n"
MIXED = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"


def in_base64(html: bytes) -> bytes:
    """The largest mail of ``html``, repeated, that its handler reads on the event loop."""
    head = b"From: a@x.org\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    whole = b"<p class=gmail_attr>x" + html * (INLINE // len(html))
    return head + base64.encodebytes(whole)[: INLINE - len(head) - 200]


def undeclared() -> bytes:
    """The most texts whose charset is to be guessed."""
    made = random.Random(1)
    parts = (b"--b\n\n" + bytes(made.randrange(128, 256) for _ in range(26)) + b"\n" for _ in range(INLINE // 40))
    return MIXED + b"".join(parts)


def a_bounce(text: bytes) -> bytes:
    head = b"From: mailer-daemon@x.org\r\nSubject: Undelivered mail\r\n\r\n"
    return head + (text * INLINE)[: INLINE - len(head) - 400]


class Reading(AsyncEmailConsumer):
    sizes: list[int] = []

    async def receive(self, message: Any) -> None:
        self.sizes.append(len(self.raw))


class ReadsAll(Reading):
    """Reads what a support desk stores."""

    async def receive(self, message: InboundEmail) -> None:
        await super().receive(message)
        seen = (message.text, message.html, message.reply_text, message.attachments, message.calendar, message.defects)
        assert len(seen) == 6
        assert message.kind in ("person", "bounce")
        assert (message.bounce is not None) == (message.kind == "bounce")


def send(address: str, message: bytes) -> None:
    host, _, port = address.rpartition(":")
    with smtplib.SMTP(host, int(port)) as client:
        client.ehlo()
        client.mail("a@x.org")
        client.rcpt("b@x.org")
        client.docmd("DATA")
        client.send(message + b"\r\n.\r\n")
        assert client.getreply()[0] == 250


async def taking(scope: Any, receive: Any, send: Any) -> None:
    """An application that looks at nothing."""
    while (event := await receive())["type"] == "email.receive":
        Reading.sizes.append(len(event["body"]))


@pytest.mark.parametrize(
    ("app", "message"),
    [
        pytest.param(Reading.as_asgi(), nested(60 * 1024), id="nested"),
        pytest.param(Reading.as_asgi(), b"Subject: x\r\n\r\n" + (b"A" * 76 + b"\r\n") * 200_000, id="15 MB"),
        pytest.param(ReadsAll.as_asgi(), nested(60 * 1024), id="nested, read"),
        pytest.param(ReadsAll.as_asgi(), HTML + b"<p>x\r\n" * 100_000, id="paragraphs"),
        pytest.param(ReadsAll.as_asgi(), HTML + b"<div>\r\n" * 100_000, id="elements within elements"),
        pytest.param(
            ReadsAll.as_asgi(), b"From: a@x.org\r\n\r\n" + b"a@b 10:00:\r\n" * 50_000, id="lines above quotes"
        ),
        pytest.param(ReadsAll.as_asgi(), in_base64(b"<p>x"), id="encoded paragraphs"),
        pytest.param(ReadsAll.as_asgi(), in_base64(b"<br>x:"), id="encoded lines"),
        pytest.param(ReadsAll.as_asgi(), HTML + b"<p>x" * (INLINE // 5), id="few paragraphs"),
        pytest.param(ReadsAll.as_asgi(), b"Subject: x\r\n\r\n" + b":\r\n" * (INLINE // 4), id="colons"),
        pytest.param(ReadsAll.as_asgi(), undeclared(), id="undeclared texts"),
        pytest.param(ReadsAll.as_asgi(), b"From: " + b"\xe4@\xe4," * (INLINE // 4 - 200) + b"\r\n\r\nx", id="nobody"),
        pytest.param(ReadsAll.as_asgi(), a_bounce(b"a"), id="a bounce of one word"),
        pytest.param(ReadsAll.as_asgi(), a_bounce(b"a@b "), id="a bounce of addresses"),
        pytest.param(taking, b"Subject: x\r\n\r\n" + b"\n" * 6_000_000, id="bare line ends"),
    ],
)
async def test_no_mail_stops_the_loop(app: Any, message: bytes) -> None:
    Reading.sizes.clear()
    async with SMTPServer(app, SMTPSettings(bind="127.0.0.1:0")) as server, counted() as turns:
        await asyncio.to_thread(send, server.address, message)
    assert sum(Reading.sizes) >= len(message)
    assert turns.longest < A_TURN


@pytest.mark.parametrize("size", [50_000, 2_000_000])
async def test_a_short_text_beside_a_large_attachment_is_not_read_ahead(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(InboundEmail, "read", lambda message: pytest.fail("it was read"))
    head = (
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nHello\r\n--b\r\nContent-Type: image/png\r\n\r\n"
    )
    async with Conversation(Reading.as_asgi(), scope("email")) as peer:
        peer.say({"type": "email.receive", "body": head + b"x" * size + b"\r\n--b--\r\n", "more_body": False})
        await peer.end()


async def test_a_handler_that_looks_at_the_subject_does_not_pay_for_the_structure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("protocols.mail.message.inbound.parse", lambda raw: pytest.fail("it was split"))
    text = b"--b\r\n\r\nHello\r\n--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    async with Conversation(Reading.as_asgi(), scope("email")) as peer:
        body = MIXED + text + base64.encodebytes(b"x" * 20_000) + b"--b--\r\n"
        peer.say({"type": "email.receive", "body": body, "more_body": False})
        await peer.end()


async def test_mails_that_take_long_to_read_leave_the_other_threads_free(monkeypatch: pytest.MonkeyPatch) -> None:
    ended, begun = threading.Event(), threading.Semaphore(0)

    def read(message: InboundEmail) -> None:
        begun.release()
        assert ended.wait(LIMIT)

    monkeypatch.setattr(InboundEmail, "read", read)
    body = {"type": "email.receive", "body": b"Subject: x\r\n\r\n" + b"x" * 100_000, "more_body": False}

    async def handle(peer: Conversation) -> None:
        async with peer:
            peer.say(body)
            await peer.end()

    many = [Conversation(Reading.as_asgi(), scope("email")) for _ in range(64)]  # more than a default pool has threads
    async with asyncio.timeout(LIMIT), asyncio.TaskGroup() as group:
        for peer in many:
            group.create_task(handle(peer))
        assert await asyncio.to_thread(begun.acquire)  # by then all have been given to threads
        assert await asyncio.wait_for(asyncio.to_thread(lambda: True), LIMIT / 2)
        ended.set()


async def test_a_large_mail_is_held_once() -> None:
    """Neither its run nor its consumer makes a copy."""
    raw = b"From: a@x.org\r\nContent-Type: application/zip\r\n\r\n" + b"A" * 8 * 1024 * 1024
    email: Any = {**scope("email"), "size": len(raw)}
    tracemalloc.start()
    try:
        assert isinstance(await deliver(Reading.as_asgi(), email, raw, timeout=LIMIT), Accept)
        assert tracemalloc.get_traced_memory()[1] < 0.3 * len(raw)
    finally:
        tracemalloc.stop()
