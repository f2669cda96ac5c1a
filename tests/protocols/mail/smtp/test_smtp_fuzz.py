"""Any bytes on a connection: the server still serves the next one."""

import asyncio
import contextlib

from contract import LIMIT, connect
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from smtp_peer import ENVELOPE, HELLO, Inbox, Peer, peer_of, serving

PIECES = st.one_of(
    st.binary(max_size=200),
    st.sampled_from(
        [
            HELLO,
            ENVELOPE,
            b"HELO x\r\n",
            b"LHLO x\r\n",
            b"DATA\r\n",
            b"A: 1\r\n",
            b".\r\n",
            b"\r\n",
            b"\n",
            b"\r",
            b"RSET\r\n",
            b"STARTTLS\r\n",
            b"AUTH PLAIN\r\n",
            b"VRFY \xff\x00\r\n",
            b"MAIL FROM:<> SIZE=\r\n",
            b"RCPT TO:<\r\n",
            b"QUIT\r\n",
            b"x" * 100_000,
        ]
    ),
)


@given(st.lists(PIECES, max_size=12))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_bytes(pieces: list[bytes]) -> None:
    async with serving(Inbox(), max_message=10_000) as server:
        reader, writer = await connect(server.address)
        with contextlib.suppress(OSError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            writer.write_eof()
            async with asyncio.timeout(LIMIT):
                heard = await reader.read()
            assert b"Traceback" not in heard
        writer.close()
        async with peer_of(server) as peer:
            assert (await peer.message(b"A: 1\r\n.\r\n")).startswith("250 ")
        await server.stop(LIMIT)
        assert server.active() == {}
        assert server.buffered.used == 0


async def test_many_at_one_time() -> None:
    app = Inbox()
    async with serving(app) as server:

        async def send(number: int) -> str:
            peer = Peer(*await connect(server.address))
            await peer.reply()
            answer = await peer.message(b"Subject: %d\r\n.\r\n" % number)
            peer.writer.close()
            return answer[:4]

        assert await asyncio.gather(*(send(number) for number in range(50))) == ["250 "] * 50
    assert len(app.scopes) == 50
