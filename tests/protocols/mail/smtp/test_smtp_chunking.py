"""BDAT (RFC 3030): so many bytes are the message's, whatever they look like, and none of them is a command."""

import asyncio
import logging
import re

import pytest
from contract import LIMIT, connect
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from smtp_peer import ENVELOPE, HELLO, Inbox, Peer, peer_of, serving

MAIL = b"MAIL FROM:<a@x.org>\r\nRCPT TO:<b@x.org>\r\n"


async def replies(peer: Peer, sent: bytes, number: int) -> list[str]:
    peer.writer.write(sent)
    return [(await peer.reply())[:3] for _ in range(number)]


def chunk(content: bytes, last: bool = False) -> bytes:
    return b"BDAT %d%s\r\n" % (len(content), b" LAST" if last else b"") + content


async def test_a_message_in_chunks_all_sent_together() -> None:
    app = Inbox()
    sent = chunk(b"A: 1\r\n\r\n.\r\n") + chunk(b"..\r\nQUIT\r\n") + chunk(b"") + chunk(b"end\r\n", last=True)
    async with serving(app) as server, peer_of(server) as peer:
        assert await replies(peer, HELLO + MAIL + sent + b"NOOP\r\n", 8) == ["250"] * 8
        assert server.buffered.used == 0
    assert app.content() == b"A: 1\r\n\r\n.\r\n..\r\nQUIT\r\nend\r\n"


@pytest.mark.parametrize("size", [997, 40_000])
async def test_a_large_message_in_small_chunks_all_sent_together(size: int) -> None:
    app = Inbox()
    content = b"".join(b"%d\r\n" % number for number in range(400_000))
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    async with serving(app) as server, peer_of(server) as peer:
        await peer.ask(HELLO)
        sent = MAIL + b"".join(map(chunk, pieces)) + chunk(b"", last=True)
        assert set(await replies(peer, sent, 2 + len(pieces) + 1)) == {"250"}
    assert app.content() == content


async def test_line_ends_are_repaired_also_between_chunks_and_at_the_end() -> None:
    app = Inbox()
    async with serving(app) as server, peer_of(server) as peer:
        for content in ([b"a\r", b"\nb\n", b"c\r", b"d"], [b"a\r\nb", b"\r"], [b"a\r\n", b""]):
            sent = b"".join(map(chunk, content)) + chunk(b"", last=True)
            assert await replies(peer, ENVELOPE + sent, 3 + len(content) + 1) == ["250"] * (4 + len(content))
    bodies = [body.split(b"\r\n", 3)[3] for body in app.bodies]
    assert bodies == [b"a\r\nb\r\nc\r\nd\r\n", b"a\r\nb\r\n", b"a\r\n"]


@pytest.mark.parametrize(
    ("before", "sent", "expected"),
    [
        (b"", chunk(b"QUIT\r\n") + chunk(b"QUIT\r\n", last=True), ["503", "503"]),
        (HELLO + b"MAIL FROM:<>\r\n", chunk(b"QUIT\r\n", last=True), ["554"]),
        (HELLO + MAIL, chunk(b"x\r\n") + b"DATA\r\n", ["250", "503"]),
        (HELLO + MAIL, chunk(b"x\r\n") + b"RCPT TO:<c@x.org>\r\n", ["250", "503"]),
        (HELLO + MAIL, chunk(b"x\r\n") + b"MAIL FROM:<>\r\n", ["250", "503"]),
        (HELLO + MAIL, chunk(b"x\r\n") + b"RSET\r\n" + chunk(b"QUIT\r\n", last=True), ["250", "250", "503"]),
        (HELLO + MAIL, chunk(b"x" * 2000) + chunk(b"QUIT\r\n") + chunk(b"NOOP\r\n", last=True), ["552", "552", "552"]),
        (HELLO + MAIL, chunk(b"x" * 2000, last=True) + chunk(b"QUIT\r\n", last=True), ["552", "503"]),
        (HELLO + MAIL, b"DATA\r\n" + chunk(b"QUIT\r\n", last=True) + b".\r\n", ["354", "250"]),
    ],
)
async def test_bytes_of_a_refused_chunk_are_no_commands(before: bytes, sent: bytes, expected: list[str]) -> None:
    async with serving(Inbox(), max_message=1000) as server, peer_of(server) as peer:
        await peer.ask(before)
        assert await replies(peer, sent, len(expected)) == expected
        assert await replies(peer, b"RSET\r\nNOOP\r\n", 2) == ["250", "250"]
        assert server.buffered.used == 0


@pytest.mark.parametrize("argument", [b"", b" x", b" -1", b" 1 FIRST", b" 1 LAST LAST", b" 0x10", b" " + b"9" * 21])
async def test_where_nobody_knows_what_comes_the_connection_ends(argument: bytes) -> None:
    async with serving(Inbox()) as server, peer_of(server) as peer:
        await peer.ask(ENVELOPE)
        peer.writer.write(b"BDAT" + argument + b"\r\nMAIL FROM:<evil@x.org>\r\n")
        assert (await peer.reply()).startswith("501 5.5.4 ")
        assert await peer.reply() == ""


async def test_a_chunk_that_never_comes_is_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(Inbox(), data_timeout=0.1) as server, peer_of(server) as peer:
        await peer.ask(ENVELOPE)
        peer.writer.write(b"BDAT 99999999999999999999\r\nx")
        assert (await peer.reply()).startswith("421 4.4.2 ")
        assert await peer.over()
        assert server.buffered.used == 0


async def test_small_chunks_for_ever_are_dropped() -> None:
    async with serving(Inbox(), data_timeout=0.1) as server, peer_of(server) as peer:
        await peer.ask(ENVELOPE)
        while (answer := await peer.ask(chunk(b"xx"))).startswith("250 "):
            pass
        assert answer.startswith("421 4.4.2 ")
        assert await peer.over()
        assert server.buffered.used == 0


async def test_chunks_that_wait_for_their_last_take_memory_until_the_sender_leaves() -> None:
    async with serving(Inbox()) as server:
        async with peer_of(server) as peer:
            await peer.ask(ENVELOPE)
            assert await replies(peer, chunk(b"x" * 50_000), 1) == ["250"]
            assert server.buffered.used == 50_000
            assert await replies(peer, b"RSET\r\n", 1) == ["250"]
            assert server.buffered.used == 0
            await peer.ask(MAIL)
            assert await replies(peer, chunk(b"x" * 50_000), 1) == ["250"]
        await server.stop(LIMIT)
        assert server.buffered.used == 0


async def test_too_much_mail_at_one_time_defers_a_chunk() -> None:
    async with (
        serving(Inbox(), max_message=10_000, max_buffered=20_000) as server,
        peer_of(server) as first,
        peer_of(server) as second,
        peer_of(server) as third,
    ):
        for peer in (first, second):
            await peer.ask(ENVELOPE)
            assert await replies(peer, chunk(b"x" * 9000), 1) == ["250"]
        await third.ask(ENVELOPE)
        assert await replies(third, chunk(b"x" * 9000) + chunk(b"QUIT\r\n", last=True), 2) == ["452", "452"]
        assert await replies(first, chunk(b"", last=True), 1) == ["250"]
        assert await replies(second, chunk(b"", last=True), 1) == ["250"]


async def test_chunks_behind_one_that_was_deferred_are_deferred_and_no_error_of_the_sender(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with (
        serving(Inbox(), max_message=10_000, max_buffered=20_000, max_errors=3) as server,
        peer_of(server) as first,
        peer_of(server) as second,
    ):
        await first.ask(ENVELOPE)
        assert await replies(first, chunk(b"x" * 9000) + b"NOOP\r\n", 2) == ["250", "250"]
        server.buffered.take(10_000)
        await second.ask(ENVELOPE)
        sent = chunk(b"x" * 9000) + chunk(b"x") * 10 + chunk(b"x", last=True)
        assert await replies(second, sent + MAIL, 14) == ["452"] * 12 + ["250"] * 2
    assert caplog.text.count("BDAT refused") == 1


async def test_lmtp_refuses_the_last_chunk_for_each_recipient() -> None:
    async with serving(Inbox(), protocol="lmtp", max_message=1000) as server, peer_of(server) as peer:
        await peer.ask(b"LHLO x\r\n" + MAIL + b"RCPT TO:<c@x.org>\r\n")
        sent = chunk(b"x" * 2000) + chunk(b"b\r\n", last=True) + b"NOOP\r\n"
        assert await replies(peer, sent, 4) == ["552", "552", "552", "250"]


async def test_lmtp_answers_for_each_recipient_after_the_last_chunk() -> None:
    async with serving(Inbox(), protocol="lmtp") as server, peer_of(server) as peer:
        await peer.ask(b"LHLO x\r\n" + MAIL + b"RCPT TO:<c@x.org>\r\n")
        assert await replies(peer, chunk(b"a\r\n") + chunk(b"b\r\n", last=True), 3) == ["250"] * 3


PIECES = st.lists(st.sampled_from([b"\r", b"\n", b".", b"a", b"\r\n.\r\n", b"QUIT\r\n", b"x" * 70_000]), max_size=6)


@given(st.lists(PIECES.map(b"".join), min_size=1, max_size=5), st.lists(st.integers(1, 100_000), max_size=20))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_chunks_in_any_packets_are_the_same_message(chunks: list[bytes], cuts: list[int]) -> None:
    stream = HELLO + MAIL + b"".join(map(chunk, chunks)) + chunk(b"", last=True) + b"NOOP\r\nQUIT\r\n"
    app = Inbox()
    async with serving(app) as server:
        reader, writer = await connect(server.address)
        async with asyncio.timeout(LIMIT):
            for cut in [*cuts, len(stream)]:
                writer.write(stream[:cut])
                stream = stream[cut:]
                await asyncio.sleep(0)
            heard = await reader.read()
        writer.close()
    last = re.findall(rb"^(\d\d\d)[ ]", heard, re.MULTILINE)
    assert last == [b"220"] + [b"250"] * (3 + len(chunks) + 2) + [b"221"]
    sent = b"".join(chunks)
    whole = re.sub(rb"\r\n|\r|\n", b"\r\n", sent)
    assert app.content() == (whole if whole.endswith(b"\n") or not whole else whole + b"\r\n")
