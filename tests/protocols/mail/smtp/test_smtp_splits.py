"""The same commands in any packets: the same answers, the same messages."""

import asyncio
import re

from contract import LIMIT, connect
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from smtp_peer import ENVELOPE, HELLO, Inbox, serving

COMMANDS = st.one_of(
    # After QUIT the connection is gone, and with it what had not been read.
    st.binary(max_size=40).filter(lambda line: b"quit" not in line.lower()).map(lambda line: line + b"\r\n"),
    st.sampled_from(
        [
            HELLO,
            ENVELOPE,
            ENVELOPE + b"DATA\r\n",
            ENVELOPE + b"DATA\r\nA: 1\r\n\r\n..dot\r\n.\r\n",
            b"DATA\r\n",
            b"\n.\n",
            b"\r.\r",
            b"\r\n.\r",
            b".\r\n",
            b"RSET\r\n",
            b"VRFY \xff\x00\r\n",
            b"MAIL FROM:<> SIZE=\r\n",
            b'RCPT TO:<"a b"@\xc3\xbc.example>\r\n',
            b"RCPT TO:<@relay.example:b@x.org>\r\n",
            b"NOOP " + b"x" * 5000 + b"\r\n",
            b"x" * 200_000 + b"\r\n",
        ]
    ),
)


async def heard(sent: list[bytes]) -> tuple[bytes, list[bytes]]:
    """What the server says to these packets, without what differs each time; and the messages."""
    app = Inbox()
    async with serving(app, hostname="mx.example", max_errors=1000) as server:
        reader, writer = await connect(server.address)
        async with asyncio.timeout(LIMIT):
            hearing = asyncio.ensure_future(reader.read())
            for packet in sent:
                writer.write(packet)
                await asyncio.sleep(0)
            answers = await hearing
        writer.close()
        await server.stop(LIMIT)
    return re.sub(rb"Accepted as \w+", b"Accepted", answers), [body.split(b"\r\n", 3)[3] for body in app.bodies]


@given(st.lists(COMMANDS, max_size=8).map(b"".join), st.lists(st.integers(1, 3000), max_size=30))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_the_answers_do_not_depend_on_the_packets(stream: bytes, cuts: list[int]) -> None:
    stream = b"HELO x\r\n" + stream + b"\r\n.\r\nQUIT\r\n"
    packets, rest = [], stream
    for cut in cuts:
        packets.append(rest[:cut])
        rest = rest[cut:]
    whole, split = await heard([stream]), await heard([*packets, rest])
    assert whole == split
    assert b"Traceback" not in whole[0]
