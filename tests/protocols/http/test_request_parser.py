"""The parser alone: requests out of bytes, however these come."""

import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.http.parser import RequestParser
from protocols.http.request import Refusal, Request

HEAD = b"POST /p?q HTTP/1.1\r\nHost: a\r\n"
MAX_LINE = 8192
MOST_FIELDS = 128
MAX_HEAD = 64 * 1024


class Peer:
    """Feeds a parser as a connection does: it takes one request after the other."""

    def __init__(self, max_line: int = MAX_LINE) -> None:
        self.holds = 0
        self.parser = RequestParser(self, max_line, MOST_FIELDS, MAX_HEAD)
        self.seen: list[Any] = []
        """(method, target, body, whether that is complete), or a refusal."""
        self._left = b""
        self._pieces: list[bytes] = []

    def hold_body(self) -> None:
        self.holds += 1

    def let_body(self) -> None:
        self.holds -= 1

    def say(self, data: bytes) -> "Peer":
        self._left += data
        before = None
        while self._left and len(self._left) != before and not self.parser.is_over:
            before = len(self._left)
            self._left = self.parser.feed(self._left)
            self._take()
        return self

    def _take(self) -> None:
        messages = self.parser.messages
        for message in list(messages):
            body = message.body if isinstance(message, Request) else None
            if body is not None and not body.broken:
                self._pieces.append(body.take())
                if not body.complete:
                    return
            self.seen.append(self._described(message))
            self._pieces = []
            messages.pop(0)

    def _described(self, message: Request | Refusal) -> Any:
        if isinstance(message, Refusal):
            return message.status
        whole = b"".join(self._pieces)
        return message.method, message.target, whole, message.body is None or not message.body.broken

    @property
    def rest(self) -> bytes:
        return self._left


SENT = [
    (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", ("GET", b"/", b"", True)),
    (b"\r\nGET /%20?x HTTP/1.1\r\nhost:a\r\nx:  y \t\r\n\r\n", ("GET", b"/%20?x", b"", True)),
    (HEAD + b"Content-Length: 5\r\n\r\nhello", ("POST", b"/p?q", b"hello", True)),
    (HEAD + b"Content-Length: 0\r\n\r\n", ("POST", b"/p?q", b"", True)),
    (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nX: trailer\r\n\r\n",
        ("POST", b"/p?q", b"abc0123456789abcdef", True),
    ),
    (
        HEAD + b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhello",
        ("POST", b"/p?q", b"hello", True),
    ),
    (
        HEAD + b"Connection: upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        ("POST", b"/p?q", b"hi", True),
    ),
    (b"GET /u HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", ("GET", b"/u", b"", True)),
    (HEAD + b"Content-Length: 20000\r\n\r\n" + b"x" * 20_000, ("POST", b"/p?q", b"x" * 20_000, True)),
    (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", ("OPTIONS", b"*", b"", True)),
    (b"GET http://b:1?q HTTP/1.1\r\nHost: a\r\n\r\n", ("GET", b"/?q", b"", True)),
]


@given(st.lists(st.sampled_from(SENT), min_size=1, max_size=6), st.data())
def test_any_split_gives_the_same_requests(sent: list[Any], data: st.DataObject) -> None:
    stream = b"".join(each for each, _ in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    peer = Peer()
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        peer.say(stream[start:end])
    assert peer.seen == [expected for _, expected in sent]


@given(st.sampled_from(SENT), st.binary(max_size=30), st.data())
def test_any_bytes_behind_a_request_leave_it_as_it_is(sent: Any, junk: bytes, data: st.DataObject) -> None:
    stream, cut = sent[0] + junk, data.draw(st.integers(0, len(sent[0])))
    peer = Peer().say(stream[:cut])
    peer.say(stream[cut:])
    assert peer.seen[0] == sent[1]


def test_byte_by_byte() -> None:
    peer = Peer()
    for byte in b"".join(each for each, _ in SENT):
        peer.say(bytes([byte]))
    assert peer.seen == [expected for _, expected in SENT]


def test_what_follows_a_request_for_a_websocket_is_left() -> None:
    asks = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n"
    parser = Peer().parser
    assert parser.feed(asks + b"\x81\x00") == b"\x81\x00"
    (request,) = parser.messages
    assert isinstance(request, Request)
    assert request.upgrades
    assert parser.is_over


def test_what_follows_the_last_request_is_ignored() -> None:
    peer = Peer().say(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    peer.say(b"nonsense")
    assert peer.seen == [("GET", b"/", b"", True)]


@pytest.mark.parametrize(
    ("endless", "status"),
    [
        (b"GET /" + b"x" * 20_000, 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000, 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"x" * 20_000, 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"x: y\r\n" * 20_000, 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"x: y\r\n" * MOST_FIELDS + b"\r\n", 431),
        (b"\r\n" * 20_000, 431),
    ],
)
@pytest.mark.parametrize("step", [1, 100, 4096, 100_000])
def test_a_head_without_end_is_refused_early(endless: bytes, status: int, step: int) -> None:
    peer, read = Peer(), 0
    for start in range(0, len(endless), step):
        peer.say(endless[start : start + step])
        read += step
        if peer.seen:
            break
    assert peer.seen == [status]
    assert peer.parser.is_over


@pytest.mark.parametrize("limit", [100, 5000])
@pytest.mark.parametrize("step", [7, 100_000])
def test_the_longest_field_is_what_the_setting_says(limit: int, step: int) -> None:
    for more, status in ((0, None), (1, 431)):
        head = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * (limit - 1 + more) + b"\r\n\r\n"
        peer = Peer(limit)
        for start in range(0, len(head), step):
            peer.say(head[start : start + step])
        assert peer.seen == [status or ("GET", b"/", b"", True)]


@pytest.mark.parametrize(
    "framing",
    [
        b"1;" + b"x" * 40_000,
        b"1;" + b"x" * 300 + b"\r\na\r\n",
        b"0\r\n" + b"X: y\r\n" * 10_000,
        b"0\r\nX: " + b"y" * 40_000,
    ],
)
def test_chunk_extensions_and_trailers_have_a_bound(framing: bytes) -> None:
    peer = Peer().say(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    for _ in range(100):
        peer.say(framing)
        if peer.parser.is_over:
            break
    assert peer.parser.is_over
    peer._take()
    assert [each[3] for each in peer.seen] == [False]


def test_short_chunks_are_no_credit_for_a_long_trailer() -> None:
    peer = Peer().say(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 5000)
    assert not peer.parser.is_over
    peer.say(b"0\r\nX: " + b"y" * 40_000)
    assert peer.parser.is_over


@pytest.mark.parametrize(("size", "status"), [(1000, None), (10_000, 431)])
def test_a_head_behind_a_chunked_body_has_the_limits_of_every_head(size: int, status: int | None) -> None:
    fields = b"".join(b"x: %b\r\n" % (b"y" * size) for _ in range(14_000 // size))
    body = b"3a00\r\n" + b"x" * 0x3A00 + b"\r\n0\r\n\r\n"
    for before in (b"0\r\n\r\n", body):
        peer = Peer().say(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        peer.say(before + b"GET / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n")
        assert peer.seen[1] == (status or ("GET", b"/", b"", True))


def test_the_smallest_chunks_are_a_body() -> None:
    peer = Peer().say(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 50_000 + b"0\r\n\r\n")
    assert peer.seen == [("POST", b"/p?q", b"a" * 50_000, True)]


@pytest.mark.parametrize("host", [b"a", b"", b"a:1", b"[::1]", b"[::1]:80", b"a.b-c_d~", b"%41"])
def test_a_host(host: bytes) -> None:
    assert len(Peer().say(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n").seen[0]) == 4


NO_HOSTS = [b"a b", b"u@a", b"a:b", b"[::1", b"a,b@c", b"a#b", b"\xff"]


@pytest.mark.parametrize("host", [*NO_HOSTS, b"a/b", b"a?b"])
def test_what_is_no_host(host: bytes) -> None:
    assert Peer().say(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n").seen == [400]


@pytest.mark.parametrize("host", [*NO_HOSTS, b"", b":1"])
def test_what_is_no_host_in_a_target(host: bytes) -> None:
    assert Peer().say(b"GET http://" + host + b"/ HTTP/1.1\r\nHost: a\r\n\r\n").seen == [400]


def test_few_requests_wait_in_the_parser() -> None:
    """A peer that pipelines has bytes of its own waiting, and not a list of requests for each."""
    request = b"GET / HTTP/1.1\r\nHost:\r\n\r\n"
    parser = Peer().parser
    rest = parser.feed(request * 10_000)
    assert len(parser.messages) < 200
    assert len(rest) > 200_000


def test_small_chunks_do_not_fill_the_memory() -> None:
    parser, chunks = Peer().parser, b"2\r\nab\r\n" * 35_000
    parser.feed(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    tracemalloc.start()
    try:
        parser.feed(chunks)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 300_000  # one object each would take 1.5 MB
    (request,) = parser.messages
    assert isinstance(request, Request)
    assert request.body is not None
    assert request.body.take() == b"ab" * 35_000


def test_many_bodies_do_not_fill_the_memory() -> None:
    peer = Peer()
    peer.parser.feed(HEAD + b"Content-Length: 1000000\r\n\r\n" + b"x" * 60_000)
    assert peer.holds == 0
    peer.parser.feed(b"x" * 10_000)
    assert peer.holds == 1
    (request,) = peer.parser.messages
    assert isinstance(request, Request)
    assert request.body is not None
    assert len(request.body.take()) == 70_000
    assert peer.holds == 0
