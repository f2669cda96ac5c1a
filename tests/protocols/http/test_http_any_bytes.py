"""Any bytes on a connection, in any split, with h11 as the judge: our application gets the requests that h11 finds, or
the first of them; the answers are ones that h11's client accepts; and the split changes nothing.

``$HTTP_EXAMPLES`` is how many conversations are tried; `make faults` takes many.
"""

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import h11
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocols.http.server import HTTPServer, HTTPSettings

EXAMPLES = int(os.environ.get("HTTP_EXAMPLES", "60"))
LIMIT = 10.0
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
FORGIVEN = (b"\r\n\r\n\r\n", b"\n\r\n", b"  ", b"\t ", b" \t")
"""Bytes that httptools takes in a place where h11 does not: empty lines before a request, two spaces in its line."""


class Asked(NamedTuple):
    method: bytes
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


class Served(NamedTuple):
    asked: list[Asked]
    """What the application got, with whole bodies."""
    answers: bytes


class Echo(threading.Thread):
    """A server of ours on a thread of its own, whose application answers each request with its body."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.asked: dict[int, list[Asked]] = {}
        self.port = 0
        self._listens = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._closing = asyncio.Event()

    def __enter__(self) -> "Echo":
        self.start()
        assert self._listens.wait(LIMIT)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._closing.set)
        self.join(LIMIT)
        assert not self.is_alive()

    def run(self) -> None:
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        async with HTTPServer(self._app, HTTPSettings(bind="127.0.0.1:0"), state={}) as server:
            self.port = int(server.address.rpartition(":")[2])
            self._listens.set()
            await self._closing.wait()

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body, target = b"", scope["raw_path"]
        while (event := await receive())["type"] == "http.request":
            body += event["body"]
            if not event["more_body"]:
                break
        else:
            return
        target += b"?" + scope["query_string"] if scope["query_string"] else b""
        asked = Asked(scope["method"].encode(), target, tuple(scope["headers"]), body)
        self.asked.setdefault(scope["client"][1], []).append(asked)
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": body[:2], "more_body": len(body) % 2 == 1})
        if len(body) % 2 == 1:
            await send({"type": "http.response.body", "body": body[2:]})

    def visit(self, pieces: list[bytes]) -> Served:
        """Send ``pieces`` one by one, then FIN, and read to the end."""
        answers = b""
        with socket.create_connection(("127.0.0.1", self.port), LIMIT) as peer:
            own = peer.getsockname()[1]
            self.asked.pop(own, None)
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with contextlib.suppress(OSError):  # it has closed, or reset, because of what came before
                for piece in pieces:
                    peer.sendall(piece)
                peer.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionError):
                while piece := peer.recv(65536):
                    answers += piece
        return Served(self.asked.get(own, []), answers)


@pytest.fixture(scope="module")
def echo() -> Iterator[Echo]:
    with Echo() as server:
        yield server


def judged(data: bytes) -> list[Asked]:
    """The requests in ``data`` that are complete, as h11 reads them."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=2**20)
    connection.receive_data(data)
    connection.receive_data(b"")
    found: list[Asked] = []
    request, body = None, b""
    with contextlib.suppress(h11.RemoteProtocolError):
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                request, body = event, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                assert request is not None
                headers = tuple((bytes(name), bytes(value)) for name, value in request.headers)
                target = bytes(request.target).removesuffix(b"?")  # a scope has no empty query
                found.append(Asked(bytes(request.method), target, headers, body))
                connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is not h11.DONE:
                    break
                connection.start_next_cycle()
            else:
                break
    return found


def agree(asked: list[Asked], found: list[Asked], data: bytes) -> bool:
    """Whether the application got what h11 has found, or the first of it. h11 never keeps a connection of HTTP/1.0."""
    if b"HTTP/1.0" in data:
        asked = asked[: len(found)]
    return asked == found[: len(asked)]


def statuses(answers: bytes, asked: list[Asked]) -> list[int]:
    """The answers' statuses, as h11's client reads them; each is complete. The last may be that of a refused HEAD."""
    methods = [each.method for each in asked]
    try:
        return _statuses(answers, [*methods, b"GET"])
    except h11.RemoteProtocolError:
        return _statuses(answers, [*methods, b"HEAD"])


def _statuses(answers: bytes, methods: list[bytes]) -> list[int]:
    found: list[int] = []
    client = h11.Connection(h11.CLIENT)
    client.receive_data(answers)
    client.receive_data(b"")
    while client.trailing_data[0] not in (b"", CONTINUE):  # the latter: its client has left within the body
        client.send(h11.Request(method=methods.pop(0), target="/", headers=[("host", "a")]))
        client.send(h11.EndOfMessage())
        while not isinstance(event := client.next_event(), h11.EndOfMessage):
            assert isinstance(event, h11.Response | h11.InformationalResponse | h11.Data)
            if isinstance(event, h11.Response):
                found.append(event.status_code)
        if client.their_state is not h11.DONE:
            assert client.trailing_data[0] == b""
            break
        client.start_next_cycle()
    return found


_BODY = st.binary(max_size=40)
_NAMES = [
    b"X: y",
    b"X:",
    b"X-A:  b\t",
    b"Cookie: a=1; b=2",
    b"Connection: close",
    b"Connection: keep-alive",
    b"X: \xff",
]
_FRAMING = [b"TE: trailers", b"Content-Length: 3", b"Transfer-Encoding: chunked", b"Host: b", b"A: b\r\n c"]
_FIELDS = st.lists(st.sampled_from([*_NAMES, *_FRAMING, b"Expect: 100-continue"]), max_size=3)


@st.composite
def requests(draw: Any) -> bytes:
    """A request, nearly always a good one."""
    method = draw(st.sampled_from([b"GET", b"POST", b"HEAD", b"PUT", b"OPTIONS", b"DELETE"]))
    target = draw(st.sampled_from([b"/", b"/a?b=c", b"/%41%2f", b"//a", b"/a%20b", b"/a;b=c", b"/?"]))
    version = draw(st.sampled_from([b"1.1", b"1.1", b"1.1", b"1.1", b"1.0"]))
    body, framing = draw(_BODY), draw(st.sampled_from(["none", "length", "chunks", "chunks"]))
    fields = [b"Host: a", *draw(_FIELDS)]
    if framing == "none":
        body = b""
    elif framing == "length":
        fields.append(b"Content-Length: %d" % len(body))
    else:
        fields.append(b"Transfer-Encoding: chunked")
        cut = draw(st.integers(0, len(body)))
        extension = draw(st.sampled_from([b"", b";a", b";a=b"]))
        chunks = [b"%x%b\r\n%b\r\n" % (len(each), extension, each) for each in (body[:cut], body[cut:]) if each]
        body = b"".join(chunks) + draw(st.sampled_from([b"0\r\n\r\n", b"000\r\n\r\n", b"0\r\nX-T: a\r\n\r\n"]))
    return b"\r\n".join([b"%b %b HTTP/%b" % (method, target, version), *fields, b"", b""]) + body


@st.composite
def conversations(draw: Any) -> bytes:
    """Requests one behind the other, with a byte or two that are changed, inserted, or missing."""
    data = bytearray(b"".join(draw(st.lists(requests(), min_size=1, max_size=4))))
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2]))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        what = draw(st.sampled_from([b"", b"\r", b"\n", b"\x00", b" ", b":", b"0", b"\r\n", b"\xff", b";", b",", b"-"]))
        data[at : at + draw(st.integers(0, 2))] = what
    return bytes(data)


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(places)]


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=conversations(), cuts=st.lists(st.integers(0, 500), max_size=5))
def test_what_the_application_gets_is_what_h11_finds(echo: Echo, data: bytes, cuts: list[int]) -> None:
    served, found = echo.visit([data]), judged(data)
    if not any(each in data for each in FORGIVEN):
        assert agree(served.asked, found, data)
    told = statuses(served.answers, served.asked)
    assert told[: len(served.asked)] == [200] * len(served.asked)
    assert all(status >= 400 for status in told[len(served.asked) :])
    assert len(told) <= len(served.asked) + 1
    in_pieces = echo.visit(split(data, cuts))
    assert (in_pieces.asked, statuses(in_pieces.answers, in_pieces.asked)) == (served.asked, told)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(pieces=st.lists(requests(), min_size=1, max_size=4), cuts=st.lists(st.integers(0, 500), max_size=8))
def test_good_requests_are_all_served(echo: Echo, pieces: list[bytes], cuts: list[int]) -> None:
    data = b"".join(pieces)
    found = judged(data)
    served = echo.visit(split(data, cuts))
    assert agree(served.asked, found, data)
    doubtful = (
        b"Content-Length: 3",
        b"Host: b",
        b"A: b\r\n c",
        b"chunked\r\nTransfer",
        b"chunked\r\nContent",
        b"HTTP/1.0",
    )
    if data.count(b"Transfer-Encoding") == data.count(b"chunked\r\n") and not any(each in data for each in doubtful):
        bodies = [each.body for each in served.asked]
        assert bodies == [each.body for each in found]


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300), max_size=5))
def test_any_bytes_are_answered_once_or_not_at_all(echo: Echo, data: bytes, cuts: list[int]) -> None:
    served = echo.visit(split(data, cuts))
    assert len(statuses(served.answers, served.asked)) <= 1 + len(served.asked)
