"""What the server says to whom: every fault that aiosmtpd has and real senders or attackers bring out."""

import asyncio
import contextlib
import logging
import re
import smtplib
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from contract import LIMIT, connect, crashes, transport_of
from servers.programs import program
from smtp_peer import ENVELOPE, HELLO, Inbox, Peer, peer_of, serving
from waiting import until

from gateway import EmailToRouter, regex
from protocols.errors import BindError
from protocols.mail.smtp.server import SMTPServer, SMTPSettings
from protocols.mail.smtp.session import SMTPSession
from protocols.net.listener import TLS

DOT = b"\r\n.\r\n"


def verdict(**event: Any) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(event)

    return app


class Held:
    """An application that waits until it is released."""

    def __init__(self) -> None:
        self.running = asyncio.Event()
        self.release = asyncio.Event()
        self.outcome = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.running.set()
        try:
            await self.release.wait()
            self.outcome = "finished"
        except asyncio.CancelledError:
            self.outcome = "cancelled"
            raise


# What the application makes of a message


@pytest.mark.parametrize(
    ("event", "answer"),
    [
        ({"type": "email.accept"}, "250 2.0.0 "),
        ({"type": "email.reject"}, "550 5.7.1 Message rejected\r\n"),
        ({"type": "email.reject", "code": 552, "reason": "5.2.2 Full"}, "552 5.2.2 Full\r\n"),
        ({"type": "email.reject", "reason": "no\r\n250 yes é"}, "550 5.7.1 no 250 yes ?\r\n"),
        ({"type": "email.defer"}, "451 4.3.0 "),
        ({"type": "email.defer", "reason": "busy", "retry_after": 5.0}, "451 4.3.0 busy\r\n"),
    ],
)
async def test_verdicts_on_the_wire(event: dict[str, Any], answer: str) -> None:
    async with serving(verdict(**event)) as server, peer_of(server) as peer:
        assert (await peer.message(b"A: 1" + DOT)).startswith(answer)


async def test_the_envelope_is_reset_after_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("secret detail")

    async with serving(app) as server, peer_of(server) as peer:
        for _ in range(2):
            assert await peer.message(b"A: 1" + DOT) == "451 4.3.0 Temporary failure, please try again later\r\n"
    assert len(crashes(caplog)) == 2


async def test_a_handler_that_takes_too_long_is_cancelled_and_its_sender_told_to_try_again() -> None:
    app = Held()
    async with serving(app, handler_timeout=0.05) as server, peer_of(server) as peer:
        assert (await peer.message(b"A: 1" + DOT)).startswith("451 4.3.0 ")
        assert app.outcome == "cancelled"
        assert server.active() == {}


async def test_a_handler_that_cannot_be_cancelled_keeps_no_sender_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocols.mail.smtp.session.STUBBORN", 0.05)
    release = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(1000)
        await release.wait()

    async with serving(app, handler_timeout=0.05) as server, peer_of(server) as peer:
        assert (await peer.message(b"A: 1" + DOT)).startswith("451 4.3.0 ")
        assert server.active() == {"smtp": 1}
        release.set()
        await server.tasks.drain(LIMIT)
        assert server.buffered.used == 0


async def test_nothing_is_acknowledged_before_the_handler_is_done() -> None:
    app = Held()
    async with serving(app) as server, peer_of(server) as peer:
        await peer.ask(ENVELOPE + b"DATA\r\n")
        peer.writer.write(b"A: 1" + DOT)
        await app.running.wait()
        assert server.active() == {"smtp": 1}
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await peer.reader.read(1)
        app.release.set()
        assert (await peer.reply()).startswith("250 ")


@pytest.mark.parametrize("how", ["close", "eof", "reset"])
async def test_a_sender_that_leaves_does_not_cut_the_handler(how: str, caplog: pytest.LogCaptureFixture) -> None:
    app = Held()
    async with serving(app) as server:
        async with peer_of(server) as peer:
            await peer.ask(ENVELOPE + b"DATA\r\n")
            peer.writer.write(b"A: 1" + DOT)
            await app.running.wait()
            if how == "eof":
                peer.writer.write_eof()
            elif how == "reset":
                peer.writer.transport.abort()
        await asyncio.sleep(0.05)
        assert server.active() == {"smtp": 1}
        app.release.set()
        await server.tasks.drain(LIMIT)
        assert app.outcome == "finished"
    assert crashes(caplog) == []


@pytest.mark.parametrize("moment", ["at once", "in the handler"])
async def test_who_closes_its_half_hears_the_answers(moment: str, caplog: pytest.LogCaptureFixture) -> None:
    """``nc -N``, and scripts: a message and more, and then the end of what they have to say."""
    app = Held()
    message = b"MAIL FROM:<a@x.org>\r\nRCPT TO:<b@x.org>\r\nDATA\r\nA: 1" + DOT
    async with serving(app) as server, peer_of(server) as peer:
        peer.writer.write(HELLO + message + message + b"QUIT\r\n")
        if moment == "at once":
            peer.writer.write_eof()
        await app.running.wait()
        if moment == "in the handler":
            peer.writer.write_eof()
        app.release.set()
        answers = [(await peer.reply())[:3] for _ in range(10)]
        assert answers == ["250", "250", "250", "354", "250", "250", "250", "354", "250", "221"]
        assert await peer.over()
    assert crashes(caplog) == []


@pytest.mark.parametrize(
    "said", [b"", b"NOOP\r\n", b"NOO", b"X" * 200_000, HELLO + b"MAIL FROM:<>\r\n", ENVELOPE + b"DATA\r\nA: 1\r\n"]
)
async def test_who_closes_its_half_in_the_middle_is_hung_up_on(said: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(Inbox()) as server, peer_of(server) as peer:
        peer.writer.write(said)
        peer.writer.write_eof()
        assert await peer.over()
        await until(lambda: not server._sessions)
        assert server.buffered.used == 0
    assert crashes(caplog) == []


async def test_the_clock_of_the_session_stops_while_the_handler_runs() -> None:
    app = Held()
    async with serving(app, timeout=0.5) as server, peer_of(server) as peer:
        await peer.ask(ENVELOPE + b"DATA\r\n")
        peer.writer.write(b"A: 1" + DOT)
        await app.running.wait()
        await asyncio.sleep(0.6)
        app.release.set()
        assert (await peer.reply()).startswith("250 ")
        assert (await peer.reply()).startswith("421 4.4.2 ")


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (b"\x16\x03\x01\x02\x00\x01secret", "(it looks like TLS: is implicit_tls: missing?)"),
        (b"POST / HTTP/1.1\r\n\r\n" + ENVELOPE + b"DATA\r\nSubject: secret" + DOT, "(it looks like HTTP)"),
    ],
)
async def test_who_speaks_another_protocol_is_hung_up_on_at_once(
    data: bytes, hint: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    inbox = Inbox()
    async with serving(inbox) as server, peer_of(server) as peer:
        peer.writer.write(data)
        assert (await peer.reply()).startswith("554 5.5.1 ")
        assert await peer.over()
        port = peer.writer.get_extra_info("sockname")[1]
    assert inbox.bodies == []
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("protocols")]
    assert lines == [f"smtp 127.0.0.1:{port}: closed: not SMTP {hint}"]


async def test_one_log_line_a_message_without_its_content(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(Inbox()) as server, peer_of(server) as peer:
        answer = await peer.message(b"Subject: content\r\n\r\ncontent" + DOT)
    lines = [record.getMessage() for record in caplog.records if record.name != "asyncio"]
    assert len(lines) == 1
    assert "email a@x.org -> b@x.org" in lines[0]
    assert re.search(r"bytes: accepted, \d+ ms$", lines[0])
    assert answer.split()[-1] in lines[0]
    assert "content" not in lines[0]


# LMTP


async def test_lmtp_answers_for_each_recipient() -> None:
    lhlo = b"LHLO x\r\nMAIL FROM:<>\r\n"
    app = verdict(type="email.defer")
    async with serving(app, protocol="lmtp", max_line=1000) as server, peer_of(server) as peer:
        await peer.ask(lhlo + b"RCPT TO:<a@x.org>\r\nRCPT TO:<bad\r\nRCPT TO:<b@x.org>\r\nDATA\r\n")
        peer.writer.write(b"A: 1" + DOT)
        assert [(await peer.reply())[:4] for _ in range(2)] == ["451 ", "451 "]
        await peer.ask(b"MAIL FROM:<>\r\nRCPT TO:<a@x.org>\r\nRCPT TO:<b@x.org>\r\nDATA\r\n")
        peer.writer.write(b"x" * 2000 + DOT)
        assert [(await peer.reply())[:9] for _ in range(2)] == ["500 5.5.2"] * 2
        assert (await peer.ask(b"MAIL FROM:<>\r\nDATA\r\n")).startswith("503 5.5.1 ")


async def judges(scope: Any, receive: Any, send: Any) -> None:
    """Accept a@, reject r@, defer d@, and leave the rest to what the crash of the application makes of it."""
    await send({"type": "email.accept", "rcpt_to": ["a@x.org"]})
    await send({"type": "email.reject", "reason": "5.2.2 Full", "rcpt_to": ["r@x.org"]})
    await send({"type": "email.defer", "reason": "busy", "rcpt_to": ["d@x.org"]})
    if "c@x.org" in scope["rcpt_to"]:
        raise RuntimeError


def to(*names: str, hello: bytes = b"LHLO x") -> bytes:
    return hello + b"\r\nMAIL FROM:<>\r\n" + b"".join(b"RCPT TO:<%s@x.org>\r\n" % name.encode() for name in names)


async def test_lmtp_answers_each_recipient_with_its_own_verdict() -> None:
    """RFC 2033, 4.2: one answer for each accepted RCPT, in their order, also where one was named twice."""
    async with serving(judges, protocol="lmtp") as server, peer_of(server) as peer:
        answers = [await peer.message(b"A: 1" + DOT, to("d", "a", "r", "a", "c", "o"))]
        answers += [await peer.reply() for _ in range(5)]
        assert [answer[:9] for answer in answers] == [
            *("451 4.3.0", "250 2.0.0", "550 5.2.2", "250 2.0.0", "451 4.3.0", "451 4.3.0")
        ]
        assert (await peer.ask(b"NOOP\r\n")).startswith("250 ")


@pytest.mark.parametrize(
    ("settings", "content", "answer"),
    [
        ({"max_message": 1000}, b"A: 1\r\n" * 300, "552 5.3.4"),
        ({"max_line": 1000}, b"x" * 2000, "500 5.5.2"),
        ({"handler_timeout": 0.05}, b"A: 1", "451 4.3.0"),
    ],
)
async def test_lmtp_refuses_a_message_for_each_recipient(settings: dict[str, Any], content: bytes, answer: str) -> None:
    async with serving(Held(), protocol="lmtp", **settings) as server, peer_of(server) as peer:
        answers = [await peer.message(content + DOT, to("a", "b")), await peer.reply()]
        assert [each[:9] for each in answers] == [answer] * 2
        assert (await peer.ask(b"NOOP\r\n")).startswith("250 ")


@pytest.mark.parametrize(
    ("names", "answer", "told"),
    [(("a", "r"), "250 2.0.0", True), (("a", "r", "d"), "451 4.3.0", False), (("r",), "550 5.2.2", False)],
)
async def test_smtp_has_one_answer_and_tells_the_operator_of_a_rejection_within_it(
    names: tuple[str, ...], answer: str, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        kinds = {"a": "accept", "r": "reject", "d": "defer"}
        for each in scope["rcpt_to"]:
            kind = kinds[each[0]]
            await send({"type": f"email.{kind}", "reason": "5.2.2 Full" * (kind == "reject"), "rcpt_to": [each]})

    async with serving(app) as server, peer_of(server) as peer:
        assert (await peer.message(b"A: 1" + DOT, to(*names, hello=b"EHLO x"))).startswith(answer)
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == told
    assert all("rejected, 550 for r@x.org (5.2.2 Full); its sender does not learn of it" in line for line in warned)


@pytest.mark.parametrize(
    ("events", "mistake"),
    [
        ([{"type": "email.accept", "rcpt_to": ["s@x.org"]}], "that the scope's rcpt_to has not"),
        ([{"type": "email.accept", "rcpt_to": ["a@x.org"]}] * 2, "there is a verdict"),
        ([{"type": "email.accept"}] * 2, "a verdict for every recipient"),
        ([{"type": "email.accept"}, {"type": "email.defer", "rcpt_to": ["a@x.org"]}], "a verdict for every recipient"),
        ([{"type": "email.accept", "rcpt_to": "a@x.org"}], "a list of recipients"),
        ([{"type": "email.accept", "rcpt_to": []}], "a list of recipients"),
        ([{"type": "email.accept", "rcpt_to": [1]}], "a list of recipients"),
    ],
)
async def test_a_verdict_that_is_for_nobody_is_a_crash(
    events: list[Any], mistake: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for event in events:
            await send(event)

    async with serving(app) as server, peer_of(server) as peer:
        assert (await peer.message(b"A: 1" + DOT, to("a", "b", hello=b"EHLO x"))).startswith("451 ")
    assert mistake in caplog.text


async def test_lmtp_has_a_greeting_of_its_own() -> None:
    async with serving(Inbox(), protocol="lmtp") as server, peer_of(server) as peer:
        assert (await peer.ask(b"EHLO x\r\n")).startswith("500 5.5.1 ")
        assert (await peer.ask(b"HELO x\r\n")).startswith("500 5.5.1 ")
        assert "250-PIPELINING\r\n" in await peer.ask(b"LHLO x\r\n")
    async with serving(Inbox()) as server, peer_of(server) as peer:
        assert (await peer.ask(b"LHLO x\r\n")).startswith("500 5.5.2 ")


async def test_lmtp_scope_and_trace() -> None:
    app = Inbox()
    async with serving(app, protocol="lmtp", hostname="mx.example") as server, peer_of(server) as peer:
        await peer.message(b"A: 1" + DOT, b"LHLO relay\r\nMAIL FROM:<>\r\nRCPT TO:<a@x.org>\r\n")
    assert app.scopes[0]["transport"] == "lmtp"
    assert b"by mx.example with LMTP id " in app.bodies[0]


async def test_the_trace_names_an_ipv6_address_as_smtp_writes_it() -> None:
    app = Inbox()
    async with serving(app, proxy_protocol=("127.0.0.1",)) as server:
        peer = Peer(*await connect(server.address))
        peer.writer.write(b"PROXY TCP6 2001:db8::1 2001:db8::2 1 25\r\n")
        assert (await peer.reply()).startswith("220 ")
        await peer.message(b"A: 1" + DOT)
        peer.writer.close()
    assert app.bodies[0].startswith(b"Received: from peer.example ([IPv6:2001:db8::1])\r\n")


# The scope


async def test_the_scope_and_the_body() -> None:
    app = Inbox()
    async with serving(app, hostname="mx.example") as server, peer_of(server) as peer:
        envelope = HELLO + b"MAIL FROM:<>\r\nRCPT TO:<A@X.org>\r\nRCPT TO:<A@x.ORG>\r\nRCPT TO:<postmaster>\r\n"
        address = server.address
        answer = await peer.message(b"Subject: s\r\nMessage-ID: <1@x>\r\n\r\n..dot\r\n\x00\xff" + DOT, envelope)
    scope, body = app.scopes[0], app.bodies[0]
    assert scope["mail_from"] == ""
    assert scope["rcpt_to"] == ["A@x.org", "postmaster"]
    assert scope["helo"] == "peer.example"
    assert scope["message_id"] == "<1@x>"
    assert scope["size"] == len(body)
    assert [name for name, _ in scope["headers"]] == [b"received", b"subject", b"message-id"]
    assert app.content() == b"Subject: s\r\nMessage-ID: <1@x>\r\n\r\n.dot\r\n\x00\xff\r\n"
    trace = f"Received: from peer.example ([127.0.0.1])\r\n\tby mx.example with ESMTP id {answer.split()[-1]};\r\n\t"
    assert body.startswith(trace.encode())
    assert scope["client"][0] == "127.0.0.1"
    assert f"127.0.0.1:{scope['server'][1]}" == address


async def test_a_strange_helo_is_made_harmless() -> None:
    app = Inbox()
    async with serving(app) as server, peer_of(server) as peer:
        greeting = "EHLO Büro\x00(\x7f) x\r\n".encode()
        await peer.message(b"A: 1" + DOT, greeting + b"MAIL FROM:<>\r\nRCPT TO:<a@x.org>\r\n")
    assert app.scopes[0]["helo"] == "B?ro?(?)?x"


async def test_a_peer_that_is_done_before_it_was_greeted_is_hung_up_on() -> None:
    """A proxy's health check, many times an hour: each would be a connection of its address, until ``timeout``."""
    async with serving(Inbox()) as server:
        loop = asyncio.get_running_loop()
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", int(server.address.rpartition(":")[2]))) as peer:
                peer.shutdown(socket.SHUT_WR)
                peer.settimeout(0)
                async with asyncio.timeout(LIMIT):
                    while await loop.sock_recv(peer, 100):
                        pass


async def test_over_a_unix_socket(tmp_path: Path) -> None:
    app = Inbox()
    server = SMTPServer(app, SMTPSettings(bind=f"unix:{tmp_path}/s"), state={})
    async with asyncio.timeout(LIMIT), server:
        peer = Peer(*await asyncio.open_unix_connection(f"{tmp_path}/s"))
        await peer.reply()
        assert (await peer.message(b"A: 1" + DOT)).startswith("250 ")
        peer.writer.close()
    assert app.scopes[0]["client"] is None
    assert app.bodies[0].startswith(b"Received: from peer.example\r\n")


# Recipients


class Routed(Inbox):
    asked: tuple[str, ...] = ()

    def routable(self, scope: Any) -> bool:
        self.asked += (scope["rcpt_to"][0],)
        if scope["rcpt_to"][0].startswith("crash"):
            raise RuntimeError("secret detail")
        return bool(scope["rcpt_to"][0].endswith("@here.example"))


async def test_a_recipient_without_a_route_is_refused_at_once(caplog: pytest.LogCaptureFixture) -> None:
    app = Routed()
    async with serving(app) as server, peer_of(server) as peer:
        await peer.ask(HELLO + b"MAIL FROM:<a@x.org>\r\n")
        assert (await peer.ask(b"RCPT TO:<a@x.org>\r\n")).startswith("550 5.1.1 ")
        assert (await peer.ask(b"DATA\r\n")).startswith("554 5.5.1 ")
        assert (await peer.ask(b"RCPT TO:<crash@x.org>\r\n")).startswith("451 4.3.0 ")
        assert (await peer.ask(b"RCPT TO:<a@here.example>\r\n")).startswith("250 2.1.5 ")
        assert (await peer.message(b"A: 1" + DOT, b"")).startswith("250 ")
    assert app.scopes[0]["rcpt_to"] == ["a@here.example"]
    assert app.asked == ("a@x.org", "crash@x.org", "a@here.example")
    assert len(crashes(caplog)) == 1


async def test_a_recipient_that_a_route_comes_to_no_end_with_is_refused() -> None:
    app = EmailToRouter([regex(r"^(?:(?=a)a+)+@here\.example$", Inbox())])
    async with serving(app) as server, peer_of(server) as peer:
        await peer.ask(HELLO + b"MAIL FROM:<a@x.org>\r\n")
        assert (await peer.ask(b"RCPT TO:<%b@there.example>\r\n" % (b"a" * 60))).startswith("550 5.1.1 ")
        assert (await peer.ask(b"RCPT TO:<aa@here.example>\r\n")).startswith("250 2.1.5 ")


async def test_too_many_recipients_are_for_the_next_transaction() -> None:
    async with serving(Inbox(), max_recipients=1) as server, peer_of(server) as peer:
        assert (await peer.ask(ENVELOPE + b"RCPT TO:<c@x.org>\r\n")).startswith("452 4.5.3 ")
        assert (await peer.message(b"A: 1" + DOT, b"")).startswith("250 ")


async def test_a_sender_with_far_too_many_recipients_is_not_taken_for_an_attacker(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """smtplib and others name all of them on one connection; those that were taken get their message."""
    caplog.set_level(logging.INFO)
    app = Inbox()
    everybody = b"".join(b"RCPT TO:<%d@x.org>\r\n" % number for number in range(10_000))
    async with serving(app) as server, peer_of(server) as peer:
        await peer.ask(HELLO + b"MAIL FROM:<a@x.org>\r\n")
        peer.writer.write(everybody)
        answers = [(await peer.reply())[:9] for _ in range(10_000)]
        assert answers == ["250 2.1.5"] * 100 + ["452 4.5.3"] * 9_900
        assert (await peer.message(b"A: 1" + DOT, b"")).startswith("250 ")
    assert len(app.scopes[0]["rcpt_to"]) == 100
    assert caplog.text.count("recipients") == 1


# Commands


async def test_what_is_announced() -> None:
    async with serving(Inbox(), max_message=1000, hostname="mx.example") as server, peer_of(server) as peer:
        assert (await peer.ask(HELLO)).split("\r\n")[:-1] == [
            "250-mx.example",
            "250-PIPELINING",
            "250-SIZE 1000",
            "250-8BITMIME",
            "250-SMTPUTF8",
            "250-CHUNKING",
            "250 ENHANCEDSTATUSCODES",
        ]


@pytest.mark.parametrize(
    ("commands", "answer"),
    [
        (b"MAIL FROM:<a@x.org>\r\n", "503 5.5.1 "),
        (b"RCPT TO:<a@x.org>\r\n", "503 5.5.1 "),
        (b"DATA\r\n", "503 5.5.1 "),
        (b"EHLO\r\n", "501 5.5.4 "),
        (b"HELO\r\n", "501 5.5.4 "),
        (b"HELO x\r\n", "250 "),
        (HELLO + b"RCPT TO:<a@x.org>\r\n", "503 5.5.1 "),
        (HELLO + b"MAIL FROM:<a@x.org>\r\nMAIL FROM:<a@x.org>\r\n", "503 5.5.1 "),
        (HELLO + b"MAIL\r\n", "501 5.5.4 "),
        (HELLO + b"MAIL FROM:<a@x.org\r\n", "501 5.5.4 "),
        (HELLO + b"MAIL FROM:<a\x00@x.org>\r\n", "553 5.1.3 "),
        (HELLO + b"MAIL FROM:<a@x.org> BODY=BINARYMIME\r\n", "501 5.5.4 "),
        (HELLO + b"MAIL FROM:<a@x.org> SIZE=x\r\n", "501 5.5.4 "),
        (HELLO + b"MAIL FROM:<a@x.org> SIZE=\xd9\xa3\r\n", "501 5.5.4 "),
        (HELLO + b"MAIL FROM:<a@x.org> NEW=1\r\n", "555 5.5.4 "),
        (HELLO + b"MAIL FROM:<a@x.org> SIZE=26214401\r\n", "552 5.3.4 "),
        (HELLO + b"MAIL FROM:<a@x.org> SIZE=10 BODY=8BITMIME SMTPUTF8\r\n", "250 2.1.0 "),
        (HELLO + b"MAIL FROM:<> AUTH=<> RET=HDRS ENVID=a+b/=@ XOORG=x.com\r\n", "250 2.1.0 "),
        (ENVELOPE + b"RCPT TO:<c@x.org> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;c@x.org\r\n", "250 2.1.5 "),
        (ENVELOPE + b"RCPT TO:<>\r\n", "553 5.1.3 "),
        (ENVELOPE + b"DATA now\r\n", "501 5.5.4 "),
        (ENVELOPE + b"RSET\r\nDATA\r\n", "503 5.5.1 "),
        (ENVELOPE + HELLO + b"DATA\r\n", "503 5.5.1 "),
        (HELLO + b"VRFY \xff\r\n", "252 2.5.0 "),
        (HELLO + b"HELP\r\n", "214 2.0.0 "),
        (HELLO + b"EXPN x\r\n", "502 5.5.1 "),
        (HELLO + b"AUTH PLAIN AGEAYg==\r\n", "502 5.5.1 "),
        (HELLO + b"STARTTLS\r\n", "454 4.7.0 "),
        (HELLO + b"BDAT 10\r\n0123456789", "503 5.5.1 "),
        (HELLO + b"MAIL FROM:<a@x.org>\r\nBDAT 0 LAST\r\n", "554 5.5.1 "),
        (HELLO + b"NOOP\r\n", "250 2.0.0 "),
        (b"\r\n", "500 5.5.2 "),
        (b"\xff\r\n", "500 5.5.2 "),
        (b"NOOP " + b"x" * 1_000_000 + b"\r\n", "500 5.5.2 "),
    ],
)
async def test_commands(commands: bytes, answer: str) -> None:
    async with serving(Inbox()) as server, peer_of(server) as peer:
        assert (await peer.ask(commands)).startswith(answer)
        assert (await peer.ask(b"QUIT\r\n")).startswith("221 2.0.0 ")
        assert await peer.over()


async def test_pipelined_commands_are_answered_in_order() -> None:
    app = Inbox()
    async with serving(app) as server, peer_of(server) as peer:
        await peer.ask(ENVELOPE + b"DATA\r\n")
        peer.writer.write(b"A: 1" + DOT + b"MAIL FROM:<>\r\nRCPT TO:<c@x.org>\r\nDATA\r\n")
        assert [(await peer.reply())[:3] for _ in range(4)] == ["250", "250", "250", "354"]
        peer.writer.write(b"A: 2" + DOT + b"QUIT\r\n")
        assert [(await peer.reply())[:3] for _ in range(2)] == ["250", "221"]
    assert [scope["rcpt_to"] for scope in app.scopes] == [["b@x.org"], ["c@x.org"]]


async def test_a_whole_conversation_in_one_packet() -> None:
    app = Inbox()
    async with serving(app) as server, peer_of(server) as peer:
        peer.writer.write(ENVELOPE + b"DATA\r\n" + b"A: 1" + DOT + b"QUIT\r\n")
        assert [(await peer.reply())[:3] for _ in range(6)] == ["250", "250", "250", "354", "250", "221"]
    assert app.content() == b"A: 1\r\n"


async def test_answers_to_commands_that_came_together_leave_together() -> None:
    async with serving(Inbox()) as server, peer_of(server) as peer:
        await peer.ask(HELLO)
        peer.writer.write(b"MAIL FROM:<>\r\nRCPT TO:<b@x.org>\r\nRCPT TO:<c@x.org>\r\nDATA\r\n")
        answers = await peer.reader.read(1000)
        assert [answer[:3] for answer in answers.splitlines()] == [b"250", b"250", b"250", b"354"]


@pytest.mark.parametrize("more", [b"", b"RCPT TO:<c@x", b"BDAT 5 LAST\r\n"])
async def test_an_answer_does_not_wait_for_what_may_come_only_after_it(more: bytes) -> None:
    async with serving(Inbox()) as server, peer_of(server) as peer:
        await peer.ask(HELLO)
        peer.writer.write(b"MAIL FROM:<>\r\nRCPT TO:<b@x.org>\r\n" + more)
        assert [(await peer.reply())[:9] for _ in range(2)] == ["250 2.1.0", "250 2.1.5"]


async def test_the_last_answer_comes_after_those_before_it() -> None:
    async with serving(Inbox()) as server, peer_of(server) as peer:
        await peer.ask(HELLO)
        peer.writer.write(b"MAIL FROM:<>\r\nRCPT TO:<b@x.org>\r\nQUIT\r\n")
        assert [(await peer.reply())[:3] for _ in range(3)] == ["250", "250", "221"]
        assert await peer.over()


# Content


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r"])
async def test_nothing_is_smuggled(end: bytes) -> None:
    app = Inbox()
    async with serving(app) as server, peer_of(server) as peer:
        answer = await peer.message(b"A: 1\r\n\r\nb" + end + b"MAIL FROM:<evil@x.org>\r\n" + DOT)
        assert answer.startswith("250 ")
        assert (await peer.ask(b"NOOP\r\n")).startswith("250 ")
    assert len(app.scopes) == 1
    assert b"\r\nMAIL FROM:<evil@x.org>\r\n" in app.content()


async def test_line_ends_of_scripts_are_repaired() -> None:
    app = Inbox()
    async with serving(app) as server, peer_of(server) as peer:
        assert (await peer.message(b"A: 1\n\nb\rc\n" + DOT)).startswith("250 ")
    assert app.content() == b"A: 1\r\n\r\nb\r\nc\r\n\r\n"


async def test_a_message_over_the_limit_is_refused_and_the_session_goes_on() -> None:
    async with serving(Inbox(), max_message=1000) as server, peer_of(server) as peer:
        assert (await peer.message(b"x" * 5_000_000 + DOT)).startswith("552 5.3.4 ")
        assert server.buffered.used == 0
        assert (await peer.message(b"x" * 998 + DOT, ENVELOPE)).startswith("250 ")


async def test_long_lines_are_taken_up_to_the_limit() -> None:
    app = Inbox()
    async with serving(app) as server, peer_of(server) as peer:
        assert (await peer.message(b"x" * (2**20 - 2) + DOT)).startswith("250 ")
        assert len(app.content()) == 2**20
        assert (await peer.message(b"x" * 10_000_000 + DOT)).startswith("500 5.5.2 ")


async def test_many_big_messages_at_one_time_are_deferred() -> None:
    app = Held()
    room = {"max_message": 100_002, "max_buffered": 150_000}
    async with serving(app, **room) as server, peer_of(server) as first, peer_of(server) as second:
        await first.ask(ENVELOPE + b"DATA\r\n")
        first.writer.write(b"x" * 100_000 + DOT)
        await app.running.wait()
        assert (await second.message(b"x" * 100_000 + DOT)).startswith("452 4.3.1 ")
        app.release.set()
        assert (await first.reply()).startswith("250 ")
        assert (await second.message(b"x" * 100_000 + DOT)).startswith("250 ")
        assert server.buffered.used == 0


async def test_what_a_lost_sender_had_sent_is_given_back() -> None:
    async with serving(Inbox()) as server:
        async with peer_of(server) as peer:
            await peer.ask(ENVELOPE + b"DATA\r\n")
            peer.writer.write(b"x" * 100_000)
            await until(lambda: server.buffered.used > 0)
        await until(lambda: server.buffered.used == 0)


# Bad company


async def test_one_connection_too_many() -> None:
    async with serving(Inbox(), max_connections=1) as server:
        async with peer_of(server):
            second = Peer(*await connect(server.address))
            assert (await second.reply()).startswith("421 4.3.2 ")
            assert await second.over()
            second.writer.close()
        await until(lambda: not server._sessions)
        async with peer_of(server) as third:
            assert (await third.ask(b"NOOP\r\n")).startswith("250 ")


async def test_one_connection_too_many_from_an_address() -> None:
    async with serving(Inbox(), max_per_address=1) as server, peer_of(server) as first:
        second = Peer(*await connect(server.address))
        assert (await second.reply()).startswith("421 4.3.2 ")
        assert await second.over()
        second.writer.close()
        assert (await first.ask(b"NOOP\r\n")).startswith("250 ")


async def test_too_many_errors(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(Inbox(), max_errors=3) as server, peer_of(server) as peer:
        assert (await peer.ask(b"DATA\r\n" * 3)).startswith("503 ")
        assert (await peer.ask(b"DATA\r\n")).startswith("421 4.7.0 ")
        assert await peer.over()
    assert crashes(caplog) == []


@pytest.mark.parametrize("protocol", ["smtp", "lmtp"])
async def test_what_the_application_refuses_is_no_error_of_the_sender(protocol: str) -> None:
    """A relay keeps its connection for many messages; each of them hears the verdict."""
    app = verdict(type="email.reject")
    hello = b"LHLO x\r\n" if protocol == "lmtp" else HELLO
    async with serving(app, max_errors=3, protocol=protocol) as server, peer_of(server) as peer:
        await peer.ask(hello)
        for _ in range(6):
            answer = await peer.message(b"A: 1" + DOT, b"MAIL FROM:<>\r\nRCPT TO:<b@x.org>\r\n")
            assert answer.startswith("550 5.7.1 ")


async def test_a_flood_of_commands_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many came together, everything else has a turn after a few."""
    answers, most = 0, 0
    write = SMTPSession.write

    async def counted(session: SMTPSession, status: str) -> None:
        nonlocal answers
        answers += 1
        await write(session, status)

    monkeypatch.setattr(SMTPSession, "write", counted)
    monkeypatch.setattr("protocols.mail.smtp.connection.IDLE", 5000)
    async with serving(Inbox()) as server, peer_of(server) as peer:
        peer.writer.write(b"NOOP\r\n" * 5000)
        async with asyncio.timeout(LIMIT):
            while answers < 5000:
                before = answers
                await asyncio.sleep(0)
                most = max(most, answers - before)
    assert 1 < most < 100


async def test_commands_that_are_none_count_like_any_refusal(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with serving(Inbox(), max_errors=8) as server, peer_of(server) as peer:
        for _ in range(8):
            assert (await peer.ask(b"XSECRET secret\r\n")) == "500 5.5.2 Command not recognized\r\n"
        assert (await peer.ask(b"XSECRET secret\r\n")).startswith("421 4.7.0 Too many errors")
        assert await peer.over()
    (line,) = (record.getMessage() for record in caplog.records if record.name.startswith("protocols"))
    assert line.endswith(": closed after 9 refused commands")


@pytest.mark.parametrize("command", [b"NOOP", b"RSET", b"VRFY a", b"HELP", b"HELO x", b"EHLO x"])
async def test_commands_without_mail_keep_no_connection_for_ever(command: bytes) -> None:
    async with serving(Inbox(), timeout=LIMIT) as server, peer_of(server) as peer:
        assert (await peer.ask((command + b"\r\n") * 100))[:1] == "2"
        assert (await peer.ask(command + b"\r\n")).startswith("421 4.7.0 Too many commands")
        assert await peer.over()


async def test_a_relay_may_keep_its_connection_between_messages() -> None:
    async with serving(Inbox()) as server, peer_of(server) as peer:
        for _ in range(3):
            await peer.ask(b"NOOP\r\n" * 60 + b"RSET\r\n")
            assert (await peer.message(b"A: 1" + DOT)).startswith("250 ")


async def test_a_silent_sender_is_dropped() -> None:
    async with serving(Inbox(), timeout=0.05) as server, peer_of(server) as peer:
        assert (await peer.reply()).startswith("421 4.4.2 ")
        assert await peer.over()


async def test_a_sender_that_trickles_is_dropped() -> None:
    async with serving(Inbox(), data_timeout=0.1) as server, peer_of(server) as peer:
        await peer.ask(ENVELOPE + b"DATA\r\n")
        trickle = asyncio.ensure_future(_trickle(peer))
        assert (await peer.reply()).startswith("421 4.4.2 ")
        trickle.cancel()
        assert await peer.over()
        assert server.buffered.used == 0


async def _trickle(peer: Peer) -> None:
    while True:
        peer.writer.write(b"x\r\n")
        await asyncio.sleep(0.01)


async def test_a_peer_that_does_not_read_is_dropped(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("protocols.mail.smtp.connection.LINGER", 0.1)
    async with serving(Inbox(), timeout=0.2) as server:
        _, writer = await connect(server.address)
        transport_of(writer).pause_reading()
        writer.write(b"EHLO x\r\n" * 200_000)  # the answers are bigger: they fill what the system buffers sooner
        await until(lambda: bool(server._sessions))
        await until(lambda: not server._sessions)
        writer.transport.abort()
    assert crashes(caplog) == []


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> TLS:
    folder = tmp_path_factory.mktemp("tls")
    command = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run(["openssl", *command.split(), *files], check=True, capture_output=True)
    return TLS(certificate=str(folder / "cert.pem"), key=str(folder / "key.pem"))


def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def test_starttls(certificate: TLS) -> None:
    app = Inbox()

    def send(host: str, port: str) -> Any:
        with smtplib.SMTP(host, int(port), timeout=LIMIT) as client:
            client.ehlo()
            assert client.has_extn("starttls")
            client.starttls(context=_trusting())
            assert client.docmd("MAIL", "FROM:<a@x.org>")[0] == 503  # RFC 3207 4.2: what was said before is forgotten
            client.ehlo()
            assert not client.has_extn("starttls")
            assert not client.has_extn("auth")
            assert client.docmd("STARTTLS")[0] == 503
            client.sendmail("a@x.org", ["b@x.org"], b"A: 1\r\n")

    async with serving(app, tls=certificate) as server:
        assert server.status.detail == "STARTTLS"
        await asyncio.to_thread(send, *server.address.split(":"))
        assert server.listener.counters.handshakes["completed"] == 1
    assert b" with ESMTPS id " in app.bodies[0]
    assert app.content() == b"A: 1\r\n"


async def test_commands_injected_before_the_handshake_are_dropped(certificate: TLS) -> None:
    async with serving(Inbox(), tls=certificate) as server, peer_of(server) as peer:
        await peer.ask(HELLO)
        peer.writer.write(b"STARTTLS\r\nNOOP\r\nMAIL FROM:<evil@x.org>\r\n")
        assert (await peer.reply()).startswith("220 ")
        await peer.writer.start_tls(_trusting())
        assert (await peer.ask(b"RCPT TO:<a@x.org>\r\n")).startswith("503 5.5.1 Error: send HELO first")


async def test_a_failed_handshake_is_no_crash(certificate: TLS, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(Inbox(), tls=certificate) as server:
        for _ in range(2):
            async with peer_of(server) as peer:
                assert (await peer.ask(HELLO + b"STARTTLS\r\n")).startswith("220 ")
                peer.writer.write(b"this is no handshake\r\n")
                assert await peer.over()
        await until(lambda: server.listener.counters.handshakes["not_tls"] == 2)
        async with peer_of(server) as peer:
            assert (await peer.message(b"A: 1" + DOT)).startswith("250 ")
    assert crashes(caplog) == []


async def test_a_peer_that_leaves_within_the_handshake(certificate: TLS) -> None:
    async with serving(Inbox(), tls=certificate) as server:
        async with peer_of(server) as peer:
            assert (await peer.ask(HELLO + b"STARTTLS\r\n")).startswith("220 ")
        await until(lambda: server.listener.counters.handshakes["left"] == 1)
        assert server.listener.counters.handshakes["completed"] == 0


async def test_implicit_tls(certificate: TLS) -> None:
    app = Inbox()

    def send(host: str, port: str) -> None:
        with smtplib.SMTP_SSL(host, int(port), timeout=LIMIT, context=_trusting()) as client:
            client.sendmail("a@x.org", ["b@x.org"], b"A: 1\r\n")
            assert not client.has_extn("starttls")

    async with serving(app, tls=certificate, implicit_tls=True) as server:
        assert server.status.detail == "TLS"
        await asyncio.to_thread(send, *server.address.split(":"))
    assert b" with ESMTPS id " in app.bodies[0]


async def test_tls_files_that_are_missing_are_one_sentence() -> None:
    with pytest.raises(BindError, match=r"TLS: .*none\.pem"):
        async with serving(Inbox(), tls=TLS(certificate="none.pem", key="none.pem")):
            pass
    with pytest.raises(ValueError, match="implicit_tls needs tls"):
        SMTPSettings(implicit_tls=True)


# The end


async def test_stop_says_goodbye_to_the_idle_and_lets_a_transaction_finish() -> None:
    app = Inbox()
    async with serving(app) as server, peer_of(server) as idle, peer_of(server) as busy:
        await busy.ask(ENVELOPE + b"DATA\r\n")
        stopping = asyncio.ensure_future(server.stop(LIMIT))
        assert (await idle.reply()).startswith("421 4.3.2 ")
        assert await idle.over()
        assert server.status.state == "draining"
        assert server.active() == {"smtp": 1}  # what the grace may be spent on
        busy.writer.write(b"A: 1" + DOT)
        assert (await busy.reply()).startswith("250 ")
        assert (await busy.reply()).startswith("421 4.3.2 ")
        await stopping
        assert server.status.state == "stopped"


async def test_stop_cuts_what_does_not_finish_with_a_451() -> None:
    app = Held()
    async with serving(app) as server, peer_of(server) as peer, peer_of(server) as slow:
        await slow.ask(ENVELOPE + b"DATA\r\n")
        await peer.ask(ENVELOPE + b"DATA\r\n")
        peer.writer.write(b"A: 1" + DOT)
        await app.running.wait()
        await server.stop(0.05)
        assert (await peer.reply()).startswith("451 4.3.0 ")
        assert (await peer.reply()).startswith("421 4.3.2 ")
        assert (await slow.reply()).startswith("421 4.3.2 ")
        assert await slow.over()
    assert app.outcome == "cancelled"


# Real peers


async def test_swaks_delivers(tmp_path: Path) -> None:
    app = Inbox()
    async with serving(app) as server:
        host, port = server.address.split(":")
        command = [program("swaks"), "--server", host, "--port", port, "--from", "a@x.org", "--to", "b@x.org,c@x.org"]
        process = await asyncio.create_subprocess_exec(
            *command, "--pipeline", "--helo", "swaks.example", stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    assert app.scopes[0]["rcpt_to"] == ["b@x.org", "c@x.org"]
    assert app.scopes[0]["helo"] == "swaks.example"


async def test_swaks_hears_an_answer_for_each_recipient_by_lmtp() -> None:
    async with serving(judges, protocol="lmtp") as server:
        host, port = server.address.split(":")
        command = [program("swaks"), "--protocol", "LMTP", "--server", host, "--port", port, "--from", "f@x.org"]
        process = await asyncio.create_subprocess_exec(
            *command, "--to", "a@x.org,r@x.org,d@x.org", stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        output, _ = await process.communicate()
    said = [line[4:] for line in output.decode().splitlines() if re.match(r"<(-|\*\*) +\d", line)]
    answers = [line.strip() for line in said[-4:-1]]
    assert [answer[:9] for answer in answers] == ["250 2.0.0", "550 5.2.2", "451 4.3.0"], output.decode()


KILLED = """
import asyncio, sys
from protocols.mail.smtp.server import SMTPServer
from protocols.mail.smtp.settings import SMTPSettings

async def app(scope, receive, send):
    await receive()
    print("handling", flush=True)
    await asyncio.sleep(1000)

async def main():
    async with SMTPServer(app, SMTPSettings(bind="127.0.0.1:0"), state={}) as server:
        print(server.address, flush=True)
        await asyncio.sleep(1000)

asyncio.run(main())
"""


async def test_killed_in_the_middle_of_a_handler_the_sender_got_no_250() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(4 * LIMIT):
            address = (await process.stdout.readline()).decode().strip()
            peer = Peer(*await connect(address))
            await peer.reply()
            await peer.ask(ENVELOPE + b"DATA\r\n")
            peer.writer.write(b"A: 1" + DOT)
            assert await process.stdout.readline() == b"handling\n"
            process.kill()
            assert await peer.reader.read() == b""
            peer.writer.close()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
