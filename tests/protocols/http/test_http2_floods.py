"""Attacks on HTTP/2, each by raw frames: what stops them, and that ordinary clients never meet it."""

import asyncio
import logging
import socket
from typing import Any

import pytest
from http2_peer import Peer, frame, peer, request
from http_peer import Recorder, serving
from test_http2_bad_input import CONTINUATION, DATA, GET, GOAWAY, HEADERS, PING, PRIORITY, RST, SETTINGS, WINDOW
from waiting import until

from protocols.http.connection import HTTPConnection
from protocols.http.http2.allowance import Allowance, Flooded
from protocols.http.server import HTTPServer

MANY = 5000
CANCEL = b"\0\0\0\x08"


def opened(stream: int, flags: int = 5) -> bytes:
    return frame(HEADERS, flags, stream, GET)


FLOODS: dict[str, list[bytes]] = {
    "rapid reset (CVE-2023-44487)": [opened(n) + frame(RST, 0, n, CANCEL) for n in range(1, 2 * MANY, 2)],
    "made you reset: a window of 0": [opened(n) + frame(WINDOW, 0, n, bytes(4)) for n in range(1, 2 * MANY, 2)],
    "made you reset: a window that overflows": [
        opened(n, 4) + frame(WINDOW, 0, n, b"\x7f\xff\xff\xff") for n in range(1, 2 * MANY, 2)
    ],
    "made you reset: DATA behind the end": [opened(n) + frame(DATA, 0, n, b"a") for n in range(1, 2 * MANY, 2)],
    "PING": [frame(PING, 0, 0, bytes(8))] * MANY,
    "SETTINGS": [frame(SETTINGS)] * MANY,
    "unknown settings": [frame(SETTINGS, 0, 0, b"".join(n.to_bytes(2) + bytes(4) for n in range(1000, 3000)))],
    "PRIORITY": [frame(PRIORITY, 0, n, b"\0\0\0\0\1") for n in range(1, 2 * MANY, 2)],
    "WINDOW_UPDATE": [frame(WINDOW, 0, 0, b"\0\0\0\1")] * MANY,
    "empty DATA": [opened(1, 4), *[frame(DATA, 0, 1)] * MANY],
    "DATA of padding alone": [opened(1, 4), *[frame(DATA, 8, 1, b"\0")] * MANY],
    "DATA on a stream that was reset": [opened(1, 4), frame(RST, 0, 1, CANCEL), *[frame(DATA, 0, 1, b"a")] * MANY],
    "empty CONTINUATION": [opened(1, 0), *[frame(CONTINUATION, 0, 1)] * MANY],
    "CONTINUATION without an end": [opened(1, 0), *[frame(CONTINUATION, 0, 1, bytes(16384))] * 20],
    "frames of an unknown type": [frame(0x20)] * MANY,
    "GOAWAY": [opened(1), *[frame(GOAWAY, 0, 0, bytes(8))] * MANY],
}
_OR_AT_ONCE = ("made you reset: a window of 0", "empty CONTINUATION")
"""What h2 ends with PROTOCOL_ERROR, if its bytes come one after the other."""


class Waits:
    """An application that does not end before its peer leaves. It counts how often it runs, and how many at a time."""

    def __init__(self) -> None:
        self.begun = self.running = self.most = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.begun += 1
        self.running += 1
        self.most = max(self.most, self.running)
        while (await receive())["type"] != "http.disconnect":
            pass
        self.running -= 1


@pytest.mark.parametrize("flood", FLOODS)
async def test_a_flood_ends_the_connection(flood: str, caplog: pytest.LogCaptureFixture) -> None:
    app = Waits()
    with caplog.at_level(logging.INFO, "protocols"):
        async with serving(app, http2=True) as server, peer(server) as client:
            client.raw(*FLOODS[flood])
            await client.until_closed()
            ((code, _),) = client.goaways
            assert code == "ENHANCE_YOUR_CALM" or (code == "PROTOCOL_ERROR" and flood in _OR_AT_ONCE)
            assert server.refusals[code] >= 1
            await until(lambda: not server.active())
    assert app.begun <= 202
    assert len([each for each in caplog.messages if each.endswith(f"; closed with {code}")]) == 1


async def test_too_many_requests_at_a_time() -> None:
    app = Waits()
    async with serving(app, http2=True) as server, peer(server) as client:
        client.raw(*[opened(n) for n in range(1, 1001, 2)])
        await client.until_closed()
        assert [said for said, _ in client.goaways] == ["PROTOCOL_ERROR"]  # 5.1.2
        await until(lambda: not server.active())
    assert app.most <= 100


async def test_a_reset_frees_no_place_before_its_application_has_ended() -> None:
    go = asyncio.Event()
    running = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal running
        running += 1
        await go.wait()
        await Recorder()(scope, receive, send)
        running -= 1

    async with serving(app, http2=True) as server, peer(server) as client:
        client.raw(*[opened(n) for n in range(1, 201, 2)])
        await until(lambda: running == 100)
        client.raw(*[frame(RST, 0, n, CANCEL) for n in range(1, 101, 2)], opened(201))
        await until(lambda: server.refusals == {"REFUSED_STREAM": 1})
        assert running == 100
        go.set()
        await until(lambda: running == 0)
        client.raw(opened(203))
        await until(lambda: server.refusals == {"REFUSED_STREAM": 1} and running == 0)


async def test_heads_that_take_long_leave_others_their_turn() -> None:
    refused: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        refused.append(server.refusals["431"])
        await Recorder()(scope, receive, send)

    async with serving(app, http2=True) as server, peer(server) as client, peer(server) as other:
        heads = [frame(HEADERS, 5, number, GET + b"\x90" * 1000) for number in range(1, 181, 2)]
        client.raw(*heads)
        await until(lambda: server.refusals)
        assert (await other.get()).status == "200"
        await until(lambda: server.refusals["431"] == len(heads))
    assert refused[0] < len(heads)


async def test_malformed_requests_one_after_the_other() -> None:
    async with serving(Recorder(), http2=True) as server, peer(server) as client:
        for _ in range(100):
            assert (await client.answer(client.ask([(":path", "/")]))).reset == "PROTOCOL_ERROR"
        client.ask([(":path", "/")])
        await client.until_closed()
        assert [said for said, _ in client.goaways] == ["ENHANCE_YOUR_CALM"]


async def test_a_peer_that_reads_nothing_is_not_read_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocols.http.http2.allowance._CONTROL", 10**9)  # nothing else stops it here
    monkeypatch.setattr("protocols.http.connection.LINGER", 0.1)
    async with serving(Recorder(), http2=True) as server:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", int(server.address.split(":")[1])))
        reader, writer = await asyncio.open_connection(sock=sock, limit=1)
        client = Peer(reader, writer)
        client.h2.initiate_connection()
        client.flush()
        await until(lambda: server.service.connections)
        (connection,) = server.service.connections
        assert isinstance(connection, HTTPConnection)
        for _ in range(400):
            client.raw(frame(PING, 0, 0, bytes(8)) * 2000)
            await asyncio.sleep(0.001)
            if connection.is_full:
                break
        await until(lambda: connection.is_full)
        assert connection.transport is not None
        assert connection.transport.get_write_buffer_size() < 2**20
        connection.wait(0)  # its keepalive_timeout is over
        await until(lambda: not server.service.connections)
        writer.transport.abort()


async def clients_work(server: HTTPServer, client: Peer) -> None:
    """An ordinary client: it reads much, cancels some of it, and asks often."""
    for _ in range(5):
        numbers = [client.ask(request("POST"), b"x" * 100) for _ in range(80)]
        for number in numbers[:10]:
            client.h2.reset_stream(number, 8)
        client.h2.ping(bytes(8))
        client.flush()
        for number in numbers[10:]:
            await client.answer(number)


async def test_an_ordinary_client_is_not_taken_for_an_attack() -> None:
    async with serving(Recorder(body=b"y" * 30_000), http2=True) as server, peer(server) as client:
        await clients_work(server, client)
        assert (await client.get()).status == "200"
        assert (client.goaways, server.refusals) == ([], {})


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_proxy_may_reset_the_event_streams_of_clients_that_leave(method: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass

    async with serving(app, http2=True) as server, peer(server) as client:
        for _ in range(1200):
            number = client.ask(request(method), ends=method == "GET")
            await client.until(lambda: client.streams[number].body)  # noqa: B023 -- it is called at once
            client.h2.reset_stream(number, 8)
            client.flush()
        await until(lambda: not server.active())
        assert (client.goaways, server.refusals) == ([], {})


@pytest.mark.parametrize("flags", [4, 5])
async def test_resets_that_come_after_their_requests_count(flags: int) -> None:
    app = Waits()
    async with serving(app, http2=True) as server, peer(server) as client:
        for number in range(1, 401, 2):
            client.raw(opened(number, flags))
            await until(lambda: server.active() or server.refusals)
            client.raw(frame(RST, 0, number, CANCEL))
            await until(lambda: not server.active())
        await client.until_closed()
        assert client.goaways == [("ENHANCE_YOUR_CALM", 201)]
    assert app.begun == 101


async def test_resets_of_streams_that_wait_for_a_second_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocols.http.http2.stream._YOUNG", 0.0)
    async with serving(Waits(), http2=True) as server, peer(server) as client:
        for number in range(1, 401, 2):
            client.raw(opened(number))
            await until(server.active)
            client.raw(frame(RST, 0, number, CANCEL))
            await until(lambda: not server.active())
        client.raw(frame(RST, 0, 399, CANCEL) * 5000)  # of one that has ended
        await client.until_closed()
        assert [code for code, _ in client.goaways] == ["ENHANCE_YOUR_CALM"]


def test_an_allowance_is_for_a_minute() -> None:
    now = 0.0
    allowance = Allowance(lambda: now)
    for _ in range(100):
        allowance.reset()
    allowance.answers += 1
    allowance.reset()
    with pytest.raises(Flooded):
        allowance.reset()
    now = 61.0
    for _ in range(100):
        allowance.reset()
    for _ in range(1000):
        allowance.control()
    allowance.moved(1024)
    allowance.control()
    with pytest.raises(Flooded):
        allowance.control()
