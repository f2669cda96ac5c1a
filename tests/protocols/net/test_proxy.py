"""The PROXY protocol's header, as bytes."""

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import RemoteProtocolError
from protocols.net.endpoints import Endpoints
from protocols.net.proxy import LONGEST_BLOCK, V2, missing, parse, read_header

LIMIT = 5.0
FOUR = Endpoints(("192.0.2.1", 56324), ("198.51.100.7", 443))
SIX = Endpoints(("2001:db8::1", 1), ("::1", 65535))
PORTS = st.integers(0, 65535)


def block(command: int, family: int, content: bytes) -> bytes:
    return V2 + bytes((command, family)) + len(content).to_bytes(2, "big") + content


def packed(endpoints: Endpoints) -> bytes:
    kind = IPv6Address if ":" in endpoints.client[0] else IPv4Address
    hosts = b"".join(kind(end[0]).packed for end in (endpoints.client, endpoints.server))
    return hosts + b"".join(end[1].to_bytes(2, "big") for end in (endpoints.client, endpoints.server))


def v2(endpoints: Endpoints, more: bytes = b"") -> bytes:
    return block(0x21, 0x21 if ":" in endpoints.client[0] else 0x11, packed(endpoints) + more)


def v1(endpoints: Endpoints) -> bytes:
    (client, client_port), (server, server_port) = endpoints.client, endpoints.server
    return f"PROXY TCP{6 if ':' in client else 4} {client} {server} {client_port} {server_port}\r\n".encode()


@st.composite
def any_endpoints(draw: st.DrawFn) -> Endpoints:
    host = draw(st.sampled_from((st.ip_addresses(v=4), st.ip_addresses(v=6)))).map(str)
    return Endpoints((draw(host), draw(PORTS)), (draw(host), draw(PORTS)))


def read(stream: bytes, most: int = 1 << 20) -> tuple[Endpoints | None, bytes]:
    """As :func:`read_header` does, from a peer whose pieces have at most ``most`` bytes; with what is left."""
    header = b""
    while count := missing(header):
        piece = stream[: min(count, most)]
        if not piece:
            raise EOFError
        header, stream = header + piece, stream[len(piece) :]
    return parse(header), stream


@given(endpoints=any_endpoints(), more=st.binary(max_size=300), after=st.binary(max_size=40), most=st.integers(1, 200))
def test_what_was_written_is_read_in_any_pieces_and_not_a_byte_more(
    endpoints: Endpoints, more: bytes, after: bytes, most: int
) -> None:
    for header in (v1(endpoints), v2(endpoints), v2(endpoints, more)):
        assert read(header + after, most) == (endpoints, after)


@given(stream=st.binary(max_size=300), most=st.integers(1, 40))
def test_any_bytes_are_a_header_or_an_error_however_they_are_split(stream: bytes, most: int) -> None:
    for start in (b"", b"PROXY ", b"PROXY TCP4 ", V2, V2 + b"\x21\x11\x00", V2 + b"\x21\x21\x00\x24"):
        assert outcome(start + stream, most) == outcome(start + stream, 1 << 20)


def outcome(stream: bytes, most: int) -> object:
    try:
        return read(stream, most)
    except (RemoteProtocolError, EOFError) as error:
        return type(error)


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN ffff::1 anything at all 1\r\n",
        b"PROXY UNKNOWN ".ljust(105, b"f") + b"\r\n",
        block(0x20, 0x00, b""),
        block(0x20, 0x11, packed(FOUR)),  # LOCAL: the family is to be ignored (2.2)
        block(0x20, 0x99, b"what"),
        block(0x21, 0x00, b"\x03\x00\x00"),
        block(0x21, 0x31, b"/run/a".ljust(108, b"\0") + b"/run/b".ljust(108, b"\0")),
    ],
)
def test_headers_that_leave_the_connection_its_own_ends(header: bytes) -> None:
    assert read(header + b"after") == (None, b"after")


@pytest.mark.parametrize(
    "header",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(20),
        b"proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n" + bytes(100),
        b"PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
        b"PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n",
        b"PROXY TCP4 1.2.3.256 1.2.3.4 1 2\r\n",
        b"PROXY TCP4 ::1 ::1 1 2\r\n",
        b"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXY UNKNOWNX\r\n",
        b"PROXY UNKNOWN ".ljust(106, b"f") + b"\r\n",
        block(0x11, 0x11, packed(FOUR)),
        block(0x22, 0x11, packed(FOUR)),
        block(0x21, 0x12, packed(FOUR)),
        block(0x21, 0x41, packed(FOUR)),
        block(0x21, 0x11, packed(FOUR)[:-1]),
        block(0x21, 0x21, packed(FOUR)),
        block(0x21, 0x11, bytes(LONGEST_BLOCK + 1)),
    ],
)
def test_everything_else_is_refused(header: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        read(header)


def test_the_longest_lines() -> None:
    longest = b"PROXY TCP6 " + b" ".join([b"ffff:" * 7 + b"ffff"] * 2) + b" 65535 65535\r\n"
    assert len(longest) == 104
    assert read(longest)[0] == Endpoints(("ffff:" * 7 + "ffff", 65535), ("ffff:" * 7 + "ffff", 65535))


@pytest.mark.parametrize("header", [v1(FOUR), v2(SIX, bytes(100))])
async def test_a_header_is_read_from_a_socket_and_what_follows_stays_in_it(header: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0)
        reading = asyncio.ensure_future(read_header(ours))
        for at in range(0, len(header), 7):
            theirs.send(header[at : at + 7])
            await asyncio.sleep(0)
        theirs.send(b"after")
        async with asyncio.timeout(LIMIT):
            assert await reading in (FOUR, SIX)
        assert ours.recv(100) == b"after"


async def test_a_proxy_that_leaves_within_its_header() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0)
        theirs.send(b"PROXY TCP4")
        theirs.close()
        with pytest.raises(RemoteProtocolError):
            await read_header(ours)
