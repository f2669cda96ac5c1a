"""Connections that are kept open between mails, and what is sent over them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from contract import LIMIT
from servers.submission import EHLO, Peer, peer, sending
from waiting import until

from protocols.errors import NotSent, PermanentFailure
from protocols.mail.submission import Submission

MAIL = b"From: gateway@x.org\r\nSubject: hi\r\n\r\nbody\r\n"
PIPELINING = EHLO.replace("250 SIZE", "250-PIPELINING\r\n250 SIZE")


@pytest.fixture(params=["one by one", "pipelining"])
def ehlo(request: pytest.FixtureRequest) -> str:
    return EHLO if request.param == "one by one" else PIPELINING


@contextlib.asynccontextmanager
async def both(ehlo: str = PIPELINING, **settings: Any) -> AsyncIterator[tuple[Peer, Submission]]:
    async with peer({"EHLO": ehlo}) as there, sending(f"smtp://{there.address}", **settings) as submission:
        async with asyncio.timeout(LIMIT):
            yield there, submission


async def test_one_connection_for_one_mail_after_the_other(ehlo: str) -> None:
    async with both(ehlo) as (there, submission):
        for number in range(5):
            await submission.submit("me@x.org", [f"b{number}@x.org", "c@x.org"], MAIL)
    assert there.connections == 1
    assert there.taken == [([f"b{number}@x.org", "c@x.org"], MAIL) for number in range(5)]


async def test_it_is_closed_when_nothing_is_sent_for_a_while() -> None:
    async with both(keep_open=0.02) as (there, submission):
        await submission.submit("me@x.org", ["b@x.org"], MAIL)
        await until(lambda: not there.conversations)
        await submission.submit("me@x.org", ["b@x.org"], MAIL)
        await until(lambda: not there.conversations)
    assert (there.connections, len(there.taken), there.commands[-1]) == (2, 2, "QUIT")


async def test_none_is_kept_if_the_file_says_so(ehlo: str) -> None:
    async with both(ehlo, keep_open=0) as (there, submission):
        for _ in range(3):
            await submission.submit("me@x.org", ["b@x.org"], MAIL)
        await until(lambda: not there.conversations)
    assert (there.connections, len(there.taken)) == (3, 3)


async def test_what_is_kept_is_closed_with_quit_at_the_end() -> None:
    async with both() as (there, submission):
        await asyncio.gather(*(submission.submit("me@x.org", ["b@x.org"], MAIL) for _ in range(9)))
        assert there.connections <= 5
        await submission.close()
        assert there.commands.count("QUIT") == there.connections
        await submission.submit("me@x.org", ["b@x.org"], MAIL)
    assert len(there.taken) == 10


@pytest.mark.parametrize("how", ["closed", "closed with 421", "421 at MAIL", "closed at MAIL", "closed at DATA"])
async def test_a_mail_goes_over_a_new_connection_if_the_server_has_given_up_the_old_one(how: str, ehlo: str) -> None:
    async with both(ehlo) as (there, submission):
        await submission.submit("me@x.org", ["b@x.org"], MAIL)
        match how:
            case "closed":
                await there.hang_up()
            case "closed with 421":
                await there.hang_up(b"421 4.4.2 idle for too long\r\n")
            case "421 at MAIL":
                there.once["MAIL"] = "421 4.7.0 too many messages in this connection"
            case _:
                there.once[how[-4:]] = ""
        await submission.submit("me@x.org", ["c@x.org"], MAIL)
    assert [recipients for recipients, _ in there.taken] == [["b@x.org"], ["c@x.org"]]
    assert there.connections == 2


async def test_a_mail_whose_content_has_left_is_not_sent_over_another_connection(ehlo: str) -> None:
    """The server may have it. Whether it is tried again is for the outbox to decide."""
    async with both(ehlo) as (there, submission):
        await submission.submit("me@x.org", ["b@x.org"], MAIL)
        there.once["content"] = ""
        with pytest.raises(NotSent, match="connection lost"):
            await submission.submit("me@x.org", ["c@x.org"], MAIL)
    assert (there.connections, there.tried) == (1, 2)


@pytest.mark.parametrize(
    ("stage", "answer"),
    [
        ("MAIL", "550 5.7.1 no"),
        ("RCPT", "550 5.1.1 no such user"),
        ("RCPT", "450 4.2.0 later"),
        ("DATA", "554 5.5.1 no"),
        ("content", "554 5.7.1 spam"),
    ],
)
async def test_after_a_refusal_the_connection_takes_the_next_mail(stage: str, answer: str, ehlo: str) -> None:
    async with both(ehlo) as (there, submission):
        there.once[stage] = answer
        with pytest.raises(NotSent, match=answer[:3]):
            await submission.submit("me@x.org", ["b@x.org"], MAIL)
        await submission.submit("me@x.org", ["c@x.org"], MAIL)
    assert there.connections == 1
    assert there.taken == [(["c@x.org"], MAIL)]
    assert ("RSET" in there.commands) == (stage != "content"), "what the server keeps of the envelope is forgotten"


async def test_a_server_that_asks_for_the_message_though_it_has_no_recipient_gets_none() -> None:
    """RFC 2920 3.1: a lone dot ends it."""
    async with both() as (there, submission):
        there.answers |= {"b@x.org": "550 5.1.1 no such user", "DATA": "354 go ahead"}
        with pytest.raises(PermanentFailure):
            await submission.submit("me@x.org", ["b@x.org"], MAIL)
        await submission.submit("me@x.org", ["c@x.org"], MAIL)
    assert there.taken == [([], b""), (["c@x.org"], MAIL)]


async def test_cancelled_within_a_message_the_connection_is_given_up(ehlo: str) -> None:
    async with both(ehlo) as (there, submission):
        there.once["content"] = "hold"
        sent = asyncio.ensure_future(submission.submit("me@x.org", ["b@x.org"], MAIL))
        await until(lambda: there.held)
        sent.cancel()
        await asyncio.wait([sent])
        await until(lambda: not there.conversations)
        await submission.submit("me@x.org", ["c@x.org"], MAIL)
        assert (there.connections, there.commands.count("QUIT")) == (2, 0)


@pytest.mark.parametrize(
    "content", [b".\r\n.hidden\r\n..two\r\n.", b"no line end", b"x" * 1_000_000 + b"\r\n.\r\n" + b"y" * 10, b""]
)
async def test_the_content_arrives_as_it_is(content: bytes, ehlo: str) -> None:
    async with both(ehlo) as (there, submission):
        await submission.submit("me@x.org", ["b@x.org"], content)
        await submission.submit("me@x.org", ["b@x.org"], MAIL)
    end = b"" if content.endswith(b"\r\n") else b"\r\n"
    assert [message for _, message in there.taken] == [content + end, MAIL]


@pytest.mark.parametrize("answer", ["what?", "25", "9" * 9000, "250-\r\n" * 200 + "250 ok"])
async def test_an_answer_that_is_not_smtp(answer: str) -> None:
    async with both() as (there, submission):
        there.once["MAIL"] = answer
        with pytest.raises(NotSent, match=r"not SMTP|no end|too long"):
            await submission.submit("me@x.org", ["b@x.org"], MAIL)
        await submission.submit("me@x.org", ["b@x.org"], MAIL)
    assert len(there.taken) == 1


async def test_a_server_that_does_not_read_the_message() -> None:
    """The operator read ``TimeoutError``."""
    done, ended = asyncio.Event(), asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for reply in ("220 hi", "250 hi", "250 ok", "250 ok", "354 go"):
            writer.write(f"{reply}\r\n".encode())
            await reader.readline()
        await done.wait()
        writer.transport.abort()
        ended.set()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, limit=1024)
    url = f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with sending(url, timeout=0.3) as submission:
        with pytest.raises(NotSent, match=r"^127\.0\.0\.1: nothing of the message was taken for 0\.3 s$"):
            await submission.submit("me@x.org", ["b@x.org"], MAIL + b"body\r\n" * 5_000_000)
    done.set()
    await ended.wait()
    server.close()


async def test_a_server_that_falls_silent() -> None:
    async with both(timeout=0.05) as (there, submission):
        there.once["MAIL"] = "hold"
        with pytest.raises(NotSent, match=r"no answer for 0\.05 s"):
            await submission.submit("me@x.org", ["b@x.org"], MAIL)
