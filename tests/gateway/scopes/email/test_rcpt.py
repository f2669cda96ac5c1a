"""What a server with routes says to RCPT."""

from typing import Any

import pytest
from smtp_peer import Inbox, peer_of, serving

from gateway import EmailToRouter, address, domain, regex

DOT = b"\r\n.\r\n"
BEGIN = b"EHLO x\r\nMAIL FROM:<a@x.org>\r\n"


@pytest.mark.parametrize(
    ("rcpt_to", "answer", "in_scope"),
    [
        ("ann@bücher.example", "250", "ann@xn--bcher-kva.example"),
        ("ann@xn--bcher-kva.example", "250", "ann@xn--bcher-kva.example"),
        ("ann@BÜCHER.Example", "250", "ann@xn--bcher-kva.example"),
        ("help+" + "t" * 300 + "@example.org", "250", "help+" + "t" * 300 + "@example.org"),
        ("help@example.org", "250", "help@example.org"),
        ("helper@example.org", "550", ""),
        ("ann@bucher.example", "550", ""),
        ("sales@example.org.evil.example", "550", ""),
    ],
)
async def test_a_recipient(rcpt_to: str, answer: str, in_scope: str) -> None:
    inbox = Inbox()
    router = EmailToRouter(
        [domain("bücher.example", inbox), address("help@example.org", inbox), regex(r"^sales@example\.org$", inbox)]
    )
    async with serving(router) as server, peer_of(server) as peer:
        assert (await peer.ask(BEGIN + f"RCPT TO:<{rcpt_to}>\r\n".encode())).startswith(answer)
        if in_scope:
            assert (await peer.ask(b"DATA\r\n")).startswith("354")
            peer.writer.write(b"A: 1" + DOT)
            assert (await peer.reply()).startswith("250")
    assert [scope["rcpt_to"] for scope in inbox.scopes] == ([[in_scope]] if in_scope else [])


@pytest.mark.parametrize(
    ("delimiter", "answer", "tag"), [("+", "550", None), ("-", "250", "bill7"), ("+-", "250", "bill7")]
)
async def test_what_begins_a_tag_is_a_setting(delimiter: str, answer: str, tag: Any) -> None:
    inbox = Inbox()
    router = EmailToRouter([address("help@example.org", inbox)])
    async with serving(router, recipient_delimiter=delimiter) as server, peer_of(server) as peer:
        assert (await peer.ask(BEGIN + b"RCPT TO:<help-bill7@example.org>\r\n")).startswith(answer)
        if tag:
            await peer.ask(b"DATA\r\n")
            peer.writer.write(b"A: 1" + DOT)
            assert (await peer.reply()).startswith("250")
    assert [scope["recipients"][0]["tag"] for scope in inbox.scopes] == ([tag] if tag else [])


async def test_a_recipient_whose_conditions_may_be_met_is_accepted_and_the_message_is_not() -> None:
    inbox = Inbox()
    router = EmailToRouter([address("help@example.org", inbox, sender="boss@example.com")])
    async with serving(router) as server, peer_of(server) as peer:
        envelope = BEGIN + b"RCPT TO:<help@example.org>\r\n"
        assert (await peer.message(b"From: ann@example.net" + DOT, envelope)).startswith("550 5.7.1 this message")
        envelope = envelope.removeprefix(b"EHLO x\r\n")
        assert (await peer.message(b"From: boss@example.com" + DOT, envelope)).startswith("250")
    assert len(inbox.scopes) == 1
