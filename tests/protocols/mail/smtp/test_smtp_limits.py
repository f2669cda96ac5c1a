"""Limits of one connection and of one address; mail that goes in circles; the last answer, which is not lost."""

import asyncio
import re
import socket
from typing import Any

import pytest
from contract import LIMIT, connect
from smtp_peer import ENVELOPE, HELLO, Inbox, Peer, peer_of, serving
from waiting import until

from protocols.mail.smtp.server import SMTPServer
from protocols.net.addresses import AddressRate, is_near

MAIL = b"MAIL FROM:<a@x.org>\r\nRCPT TO:<b@x.org>\r\n"
DOT = b"\r\n.\r\n"


async def far(server: SMTPServer, address: str = "192.0.2.7") -> Peer:
    """A peer that a proxy says is on another machine."""
    peer = Peer(*await connect(server.address))
    family = "TCP6" if ":" in address else "TCP4"
    here = "::1" if ":" in address else "127.0.0.1"
    peer.writer.write(f"PROXY {family} {address} {here} 1111 25\r\n".encode())
    return peer


def proxied(**settings: Any) -> Any:
    return serving(Inbox(), proxy_protocol=("127.0.0.1",), **settings)


async def test_a_connection_has_so_many_messages_and_then_another_is_opened() -> None:
    async with proxied(max_messages=2) as server:
        for _ in range(2):
            peer = await far(server)
            await peer.reply()
            await peer.ask(HELLO)
            for _ in range(2):
                assert (await peer.message(b"A: 1" + DOT, MAIL)).startswith("250 ")
            assert (await peer.ask(b"MAIL FROM:<a@x.org>\r\n")).startswith("421 4.7.0 ")
            assert await peer.over()
            peer.writer.close()


async def test_an_address_has_so_many_messages_a_minute_on_all_its_connections() -> None:
    async with proxied(max_message_rate=3) as server:
        answers = []
        for _ in range(2):
            peer = await far(server)
            await peer.reply()
            await peer.ask(HELLO)
            for _ in range(2):
                answers.append((await peer.ask(b"MAIL FROM:<a@x.org>\r\n"))[:9])
                await peer.ask(b"RSET\r\n")
            peer.writer.close()
        assert answers == ["250 2.1.0"] * 3 + ["451 4.7.1"]
        other = await far(server, "192.0.2.8")
        await other.reply()
        assert (await other.ask(HELLO + b"MAIL FROM:<a@x.org>\r\n")).startswith("250 ")
        other.writer.close()


async def test_an_address_has_so_many_new_connections_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    async with proxied(max_connection_rate=2) as server:
        for greeting in ("220 ", "220 ", "421 4.3.2 "):
            peer = await far(server, "2001:db8::1")
            assert (await peer.reply()).startswith(greeting)
            peer.writer.close()
        neighbour, other = await far(server, "2001:db8::2"), await far(server, "2001:db8:0:1::1")
        assert (await neighbour.reply()).startswith("421 ")  # the same /64
        assert (await other.reply()).startswith("220 ")
        neighbour.writer.close()
        other.writer.close()
    assert "2001:db8::1 opens more connections a minute than one address may" in caplog.text


async def test_this_machine_is_exempt() -> None:
    async with serving(Inbox(), max_messages=1, max_message_rate=1, max_connection_rate=1) as server:
        for _ in range(2):
            async with peer_of(server) as peer:
                await peer.ask(HELLO)
                for _ in range(2):
                    assert (await peer.message(b"A: 1" + DOT, MAIL)).startswith("250 ")


def test_the_rate_of_an_address_comes_back_with_time() -> None:
    now = 0.0
    rate = AddressRate(3, lambda: now)
    assert [rate.admit("192.0.2.1") for _ in range(5)] == [True, True, True, False, False]
    assert rate.admit("192.0.2.2")
    now = 20.0
    assert [rate.admit("192.0.2.1") for _ in range(2)] == [True, False]
    now = 1000.0
    assert [rate.admit("192.0.2.1") for _ in range(4)] == [True, True, True, False]
    unlimited = AddressRate(0)
    assert all(unlimited.admit("192.0.2.1") for _ in range(1000))


def test_many_addresses_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocols.net.addresses._MOST_ADDRESSES", 10)
    rate = AddressRate(1, lambda: 0.0)
    assert all(rate.admit(f"192.0.2.{number}") for number in range(100))
    assert len(rate._used_until) == 10


def test_who_is_near() -> None:
    assert all(map(is_near, ("127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1")))
    assert not any(map(is_near, ("192.0.2.1", "::ffff:192.0.2.1", "fe80::1%eth0", "10.0.0.1")))


@pytest.mark.parametrize(("hops", "answer"), [(100, "250 "), (101, "554 5.4.6 ")])
async def test_mail_that_goes_in_circles_is_refused(hops: int, answer: str) -> None:
    app = Inbox()
    async with serving(app) as server, peer_of(server) as peer:
        header = b"Received: from a by b\r\n" * hops
        assert (await peer.message(header + b"A: 1\r\n\r\nhello" + DOT)).startswith(answer)
        assert server.buffered.used == 0
    assert len(app.bodies) == (hops <= 100)


# The last answer.


async def _last_words(server: SMTPServer, before: bytes, flood: bytes) -> bytes:
    """What a peer reads that goes on sending for a while after the last answer was written, and reads it then."""
    loop = asyncio.get_running_loop()
    host, port = server.address.split(":")
    with socket.socket() as raw:
        raw.setblocking(False)
        await loop.sock_connect(raw, (host, int(port)))
        await loop.sock_sendall(raw, before)
        await until(lambda: any(session._leaving for session in server._sessions))
        for _ in range(20):
            await loop.sock_sendall(raw, flood)
            await asyncio.sleep(0)
        raw.shutdown(socket.SHUT_WR)
        heard = b""
        async with asyncio.timeout(LIMIT):
            while data := await loop.sock_recv(raw, 65536):
                heard += data
    return heard


@pytest.mark.parametrize(
    ("before", "last"),
    [
        (HELLO + b"QUIT\r\nNOOP\r\n", rb"221 2\.0\.0 Bye\r\n$"),
        (HELLO + b"BOGUS\r\n" * 30, rb"421 4\.7\.0 Too many errors.*\r\n$"),
        (HELLO + b"NOOP\r\n" * 150, rb"421 4\.7\.0 Too many commands.*\r\n$"),
        (b"GET / HTTP/1.1\r\n\r\n" + b"x" * 5000, rb"554 5\.5\.1 .*\r\n$"),
        (ENVELOPE + b"BDAT nonsense\r\n" + b"x" * 5000, rb"501 5\.5\.4 .*\r\n$"),
    ],
)
async def test_the_last_answer_is_not_overtaken_by_a_reset(before: bytes, last: bytes) -> None:
    async with serving(Inbox()) as server:
        heard = await _last_words(server, before, b"NOOP\r\n" * 5000)
        assert re.search(last, heard)
        await until(lambda: not server._sessions)


async def test_who_does_not_leave_after_the_last_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocols.mail.smtp.connection.LINGER", 0.1)
    async with serving(Inbox()) as server, peer_of(server) as peer:
        assert (await peer.ask(HELLO + b"QUIT\r\n")).startswith("221 ")
        assert await peer.over()
        await until(lambda: not server._sessions)


# Every answer has an enhanced status code (RFC 2034), except greetings, what is announced, and 3yz.


async def test_every_answer_has_an_enhanced_status_code() -> None:
    said = [b"NOOP", b"VRFY x", b"HELP", b"EXPN x", b"RSET", b"FOO", b"", b"\xff", b"x" * 3000, b"DATA", b"RCPT TO:<x>"]
    said += [
        b"MAIL",
        b"MAIL FROM:<a@x.org> BODY=X",
        b"MAIL FROM:<a@x.org> Y=1",
        b"MAIL FROM:<a@x.org> SIZE=99999999999",
    ]
    said += [b"MAIL FROM:<@>", b"STARTTLS", b"AUTH PLAIN", b"QUIT x", b"MAIL FROM:<a@x.org>", b"MAIL FROM:<a@x.org>"]
    said += [b"DATA", b"RCPT TO:<b@x.org>", b"DATA x", b"BDAT 0", b"BDAT 1 LAST\r\nx", b"QUIT"]
    async with serving(Inbox(), max_errors=100) as server, peer_of(server) as peer:
        await peer.ask(HELLO)
        for line in said:
            peer.writer.write(line + b"\r\n")
            answer = await peer.reply()
            assert re.match(r"([245])\d\d \1\.\d{1,3}\.\d{1,3} ", answer), (line, answer)
