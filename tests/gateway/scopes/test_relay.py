"""A submission port: users who have logged in reach all addresses, and nobody else does, whatever is tried."""

import asyncio
import base64
import contextlib
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from contract import LIMIT
from own_services import delivering
from servers.postfix import postfix
from servers.programs import program
from servers.submission import peer as upstream
from servers.submission import sending
from smtp_peer import HELLO, Inbox, Peer, peer_of, serving

from gateway import EmailFromRouter, EmailToRouter, Policy, address, default, regex, relay
from gateway.store import codec
from gateway.store.sqlite import SQLiteStore
from protocols.mail.smtp.server import SMTPServer
from protocols.secret import Secret

USERS = {"ann@example.org": Secret(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("ann's"))}
LOGIN = HELLO + b"AUTH PLAIN " + base64.b64encode(b"\0ann@example.org\0ann's") + b"\r\n"
MAIL = b"From: ann@example.org\r\nTo: c@far.example\r\nBcc: secret@far.example\r\nSubject: hi\r\n\r\nhello\r\n.\r\n"
FROM = b"MAIL FROM:<ann@example.org>\r\n"


@contextlib.asynccontextmanager
async def submission_port(
    url: str = "", *, here: Any = None, policy: Policy | None = None, postmaster: Any = None, **settings: Any
) -> AsyncIterator[SMTPServer]:
    """A server with one address of its own, which passes on the rest."""
    routes = [address("here@example.org", here or Inbox()), default(relay, policy or Policy())]
    router = EmailToRouter(routes, postmaster=postmaster)
    async with contextlib.AsyncExitStack() as stack:
        submission = await stack.enter_async_context(sending(url)) if url else None
        yield await stack.enter_async_context(
            serving(router, users=USERS, submission=submission, **({"auth": "required"} | settings))
        )


async def sent(server: SMTPServer, *recipients: bytes, content: bytes = MAIL) -> str:
    """What ann's mail to ``recipients`` is answered."""
    async with peer_of(server) as peer:
        assert (await peer.ask(LOGIN)).startswith("235 ")
        await peer.ask(FROM)
        for recipient in recipients:
            answer = await peer.ask(b"RCPT TO:<" + recipient + b">\r\n")
            if not answer.startswith("250 "):
                return answer
        return await peer.message(content, b"NOOP\r\n")


async def test_a_users_mail_is_passed_on_without_its_blind_copies() -> None:
    async with upstream() as far, submission_port(f"smtp://{far.address}") as server:
        assert (await sent(server, b"c@far.example", b"secret@far.example")).startswith("250 2.0.0 ")
        [(recipients, content)] = far.taken
        assert recipients == ["c@far.example", "secret@far.example"]
        assert "MAIL FROM:<ann@example.org>" in "".join(far.lines)
        assert b"secret" not in content.lower()
        assert content.startswith(b"Received: from ")
        assert content.endswith(b"\r\n\r\nhello\r\n")


async def test_ones_own_recipients_are_handled_here_and_the_others_passed_on() -> None:
    here = Inbox()
    async with upstream() as far, submission_port(f"smtp://{far.address}", here=here) as server:
        assert (await sent(server, b"here@example.org", b"c@far.example")).startswith("250 ")
        assert [recipients for recipients, _ in far.taken] == [["c@far.example"]]
    assert here.scopes[0]["rcpt_to"] == ["here@example.org"]


@pytest.mark.parametrize(
    ("answers", "answer"),
    [
        ({"c@far.example": "550 5.1.1 no such user"}, "550 5.0.0 "),
        ({"c@far.example": "450 4.2.0 greylisted"}, "451 4.4.0 "),
        ({"content": "554 5.6.0 no"}, "550 5.0.0 "),
        ({"content": "451 4.3.0 busy"}, "451 4.4.0 "),
        ({"greeting": "554 5.7.1 go away"}, "451 4.4.0 "),
        ({"content": ""}, "451 4.4.0 "),
    ],
)
async def test_250_only_if_the_submission_server_has_taken_it(answers: dict[str, str], answer: str) -> None:
    async with upstream(answers) as far, submission_port(f"smtp://{far.address}") as server:
        assert (await sent(server, b"c@far.example")).startswith(answer)


async def test_without_a_submission_server_it_is_deferred() -> None:
    async with submission_port() as server:
        assert (await sent(server, b"c@far.example")).startswith("451 ")


async def test_a_mail_that_cannot_be_sent_is_refused() -> None:
    twice = b"From: ann@example.org\r\nSubject: a\r\nSubject: b\r\n\r\n.\r\n"
    async with upstream() as far, submission_port(f"smtp://{far.address}") as server:
        assert (await sent(server, b"c@far.example", content=twice)).startswith("550 5.6.0 ")
        assert far.taken == []


async def test_with_a_policy_250_says_that_the_outbox_has_it(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "gateway.db")
    await store.open()
    with delivering(store):
        async with submission_port(policy=Policy(attempts=3)) as server:
            assert (await sent(server, b"c@far.example", b"d@far.example")).startswith("250 ")
    await store.close()
    reopened = SQLiteStore(tmp_path / "gateway.db")
    await reopened.open()
    [summary] = await reopened.outgoing()
    item = await reopened.get_outgoing(summary.id)
    assert item is not None
    _, [event] = codec.decode(item.content)
    assert event["mail_from"] == "ann@example.org"
    assert event["rcpt_to"] == ["c@far.example", "d@far.example"]
    assert b"secret" not in event["message"]
    await reopened.close()


# An open relay is what spammers look for. All of this is tried by somebody who has not logged in, or as somebody else.

TRICKS = [
    b"c@far.example",
    b"c%far.example@example.org",
    b"c%far.example",
    b"far.example!c",
    b"far.example!c@example.org",
    b"@example.org:c@far.example",
    b"@example.org,@x.example:c@far.example",
    b'"c@far.example"',
    b'"c@far.example"@example.org',
    b'"c%far.example"@example.org',
    b"c@far.example@example.org",
    b"c@[127.0.0.1]",
    b"c@localhost",
    b"c@",
    b"",
    b" c@far.example",
    b"c@far.example\x00@example.org",
    b"c@far.example.",
    b"c@\xef\xbd\x86ar.example",
]


@pytest.mark.parametrize("recipient", TRICKS)
@pytest.mark.parametrize("sender", [b"", b"here@example.org", b"ann@example.org", b"postmaster"])
async def test_who_has_not_logged_in_reaches_nobody_else(recipient: bytes, sender: bytes) -> None:
    for auth in ("optional", "required"):
        async with submission_port(auth=auth) as server, peer_of(server) as peer:
            await peer.ask(HELLO)
            answer = await peer.ask(b"MAIL FROM:<" + sender + b"> AUTH=ann@example.org\r\n")
            assert answer.startswith("250 " if auth == "optional" else "530 ")
            assert (await peer.ask(b"RCPT TO:<" + recipient + b">\r\n"))[0] == "5"
            assert (await peer.ask(b"DATA\r\n"))[0] == "5"
            if auth == "optional":
                assert (await peer.ask(b"RCPT TO:<here@example.org>\r\n")).startswith("250 ")


async def _dialogue(peer: Peer, *lines: bytes) -> list[str]:
    return [(await peer.ask(line + b"\r\n"))[:3] for line in lines]


async def test_a_login_ends_with_its_connection_and_a_failed_one_is_none() -> None:
    wrong = base64.b64encode(b"\0ann@example.org\0x")
    async with submission_port(auth="optional") as server, peer_of(server) as peer:
        said = (HELLO.strip(), b"AUTH PLAIN " + wrong, FROM.strip(), b"RCPT TO:<c@far.example>", b"RSET")
        assert await _dialogue(peer, *said) == ["250", "535", "250", "550", "250"]
        assert (await peer.ask(LOGIN)).startswith("235 ")
        async with peer_of(server) as other:
            assert await _dialogue(other, HELLO.strip(), FROM.strip(), b"RCPT TO:<c@far.example>") == [
                "250",
                "250",
                "550",
            ]


@pytest.mark.parametrize(
    "sender", [b"boss@example.org", b"ann@example.org@far.example", b'"ann@example.org"@x.example']
)
async def test_a_user_sends_as_nobody_else(sender: bytes) -> None:
    async with submission_port() as server, peer_of(server) as peer:
        await peer.ask(LOGIN)
        assert (await peer.ask(b"MAIL FROM:<" + sender + b">\r\n"))[:3] in ("553", "501")


async def test_a_scope_without_a_user_is_rejected_also_if_a_router_passes_it_on() -> None:
    """An application of somebody else's may not ask whether a route takes the recipient."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await relay(scope, receive, send)

    async with serving(app) as server, peer_of(server) as peer:
        assert (await peer.message(MAIL, HELLO + FROM + b"RCPT TO:<c@far.example>\r\n")).startswith("550 5.7.1 ")


async def test_lmtp_relays_nothing() -> None:
    router = EmailToRouter([default(relay)])
    async with serving(router, protocol="lmtp") as server, peer_of(server) as peer:
        await peer.ask(b"LHLO x\r\n" + FROM)
        assert (await peer.ask(b"RCPT TO:<c@far.example>\r\n")).startswith("550 ")


@pytest.mark.parametrize("policy", [None, Policy(attempts=3)])
@pytest.mark.parametrize("is_named", [True, False])
async def test_a_strangers_mail_for_postmaster_is_ours(policy: Policy | None, is_named: bool) -> None:
    operator = Inbox() if is_named else None
    async with submission_port(policy=policy, postmaster=operator, auth="optional") as server, peer_of(server) as peer:
        envelope = HELLO + b"MAIL FROM:<>\r\nRCPT TO:<postmaster@example.org>\r\n"
        assert (await peer.message(MAIL, envelope)).startswith("250 ")
    assert operator is None or operator.scopes[0]["rcpt_to"] == ["postmaster@example.org"]


async def test_a_strangers_mail_for_postmaster_is_ours_also_if_a_router_stands_before_the_relay() -> None:
    router = EmailToRouter([regex("^", EmailFromRouter([default(relay)]))])
    async with serving(router) as server, peer_of(server) as peer:
        envelope = HELLO + b"MAIL FROM:<>\r\nRCPT TO:<postmaster@example.org>\r\n"
        assert (await peer.message(MAIL, envelope)).startswith("250 ")
        assert (await peer.ask(FROM + b"RCPT TO:<c@far.example>\r\n")).startswith("550 ")


async def test_a_users_mail_for_a_postmaster_elsewhere_leaves() -> None:
    operator = Inbox()
    async with upstream() as far, submission_port(f"smtp://{far.address}", postmaster=operator) as server:
        assert (await sent(server, b"abuse@far.example")).startswith("250 ")
        assert [recipients for recipients, _ in far.taken] == [["abuse@far.example"]]
    assert operator.scopes == []


# Peers that somebody else wrote.


def _swaks(server: SMTPServer, *more: str) -> list[str]:
    host, port = server.address.split(":")
    return [program("swaks"), "--server", host, "--port", port, "--from", "ann@example.org", *more]


async def _ran(command: list[str]) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    heard, _ = await asyncio.wait_for(process.communicate(), LIMIT)
    return process.returncode, heard.decode()


async def test_swaks_relays_with_a_login_and_not_without() -> None:
    login = ["--auth", "LOGIN", "--auth-user", "ann@example.org", "--auth-password", "ann's"]
    async with upstream() as far, submission_port(f"smtp://{far.address}", auth="optional") as server:
        code, said = await _ran(_swaks(server, "--to", "c@far.example", *login))
        assert code == 0, said
        code, said = await _ran(_swaks(server, "--to", "c@far.example"))
        assert code == 24, said  # no recipient was taken
        assert len(far.taken) == 1


async def test_postfix_takes_what_a_user_sends() -> None:
    with postfix() as at:
        async with submission_port(f"smtp://{at}") as server:
            assert (await sent(server, b"bob@example.org")).startswith("250 ")
            assert (await sent(server, b"nobody@example.org")).startswith("550 5.0.0 ")
            assert (await sent(server, b"later@example.org")).startswith("451 4.4.0 ")


def test_its_route_is_no_route_for_others() -> None:
    router = EmailToRouter([regex("^a@", relay)])
    scope: Any = {"type": "email", "rcpt_to": ["a@x.org"], "user": None}
    assert not router.routable(scope)
    assert router.routable({**scope, "user": "ann"})
