"""Each limit of an HTTP server under its attack: the answer, what it costs, and that others are served."""

import asyncio
import contextlib
import gc
import os
import socket
import tracemalloc
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
from contract import LIMIT, connect
from http_peer import GET, Answer, Recorder, ask, read_answer, serving
from servers.certificates import make
from servers.nginx import Nginx
from test_http_websocket import HANDSHAKE
from waiting import until

from protocols.http.limits import Limits
from protocols.http.server import HTTPServer, HTTPSettings
from protocols.net.addresses import AddressRate

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"
TRUSTING: dict[str, Any] = {"trusted_proxies": ("127.0.0.1",)}
"""So that the client of a request is whom it names."""


def get(client: str = "192.0.2.7", more: bytes = b"") -> bytes:
    return b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: %b\r\n%b\r\n" % (client.encode(), more)


async def serves_others(server: HTTPServer) -> bool:
    return (await ask(server, GET))[0].status == 200


async def rest(reader: asyncio.StreamReader) -> bytes:
    """What still comes before the end of the connection. A reset raises."""
    async with asyncio.timeout(LIMIT):
        return await reader.read()


class Gate:
    """An application that answers once it is told to."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.inside = self.cancelled = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.inside += 1
        try:
            if scope["type"] == "websocket" and scope["path"] == "/open":
                await send({"type": "websocket.accept"})
                while (await receive())["type"] != "websocket.disconnect":
                    pass
                return
            await self.open.wait()
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"hello"})
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


# Requests at a time.


async def test_one_request_more_than_the_server_may_have_gets_503_and_the_others_their_answers() -> None:
    app = Gate()
    async with serving(app, max_concurrent_requests=5) as server:
        busy = [await connect(server.address) for _ in range(5)]
        for _, writer in busy:
            writer.write(GET)
        await until(lambda: app.inside == 5)
        refused = await asyncio.gather(*(ask(server, GET) for _ in range(50)))
        assert {(answer.status, answer["retry-after"], closed) for answer, closed in refused} == {(503, "1", False)}
        assert server.refusals["503"] == 50
        app.open.set()
        assert [(await read_answer(reader)).status for reader, _ in busy] == [200] * 5
        await until(lambda: not server.service.running)
        assert await serves_others(server)
        for _, writer in busy:
            writer.close()


async def test_open_websockets_do_not_count_and_a_handshake_above_the_limit_gets_503() -> None:
    app = Gate()
    async with serving(app, max_concurrent_requests=2) as server:
        async with contextlib.AsyncExitStack() as sockets:
            for _ in range(4):
                await sockets.enter_async_context(websockets.connect(f"ws://{server.address}/open"))
            assert server.service.uncounted == 4
            busy = [await connect(server.address) for _ in range(2)]
            for _, writer in busy:
                writer.write(GET)
            await until(lambda: app.inside == 6)
            with pytest.raises(websockets.InvalidStatus) as refused:
                await websockets.connect(f"ws://{server.address}/open")
            assert refused.value.response.status_code == 503
            app.open.set()
            for reader, writer in busy:
                assert (await read_answer(reader)).status == 200
                writer.close()
        await until(lambda: server.service.uncounted == 0)


async def test_refused_requests_take_no_place_of_others() -> None:
    limits: dict[str, Any] = {"max_concurrent_requests": 1, "max_request_rate": 1, **TRUSTING}
    async with serving(Recorder(), **limits) as server:
        assert (await ask(server, get()))[0].status == 200
        peers = [await connect(server.address) for _ in range(30)]
        *refused, other = peers
        for _ in range(10):
            for _, writer in refused:
                writer.write(get() * 3)
            other[1].write(GET)
            assert (await read_answer(other[0])).status == 200
        for reader, writer in refused:
            assert {(await read_answer(reader)).status for _ in range(30)} <= {429, 503}
            writer.close()
        other[1].close()
        await until(lambda: server.service.uncounted == 0)


# Requests a minute.


async def test_an_address_that_asks_too_often_gets_429_and_others_are_served() -> None:
    app = Recorder()
    async with serving(app, max_request_rate=3, **TRUSTING) as server:
        answers = [(await ask(server, get()))[0] for _ in range(5)]
        assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
        assert 1 <= int(answers[3]["retry-after"] or 0) <= 20
        assert answers[3].body == b"Too Many Requests"
        assert (await ask(server, get("192.0.2.8")))[0].status == 200
        assert (await ask(server, get("2001:db8::1")))[0].status == 200
        assert (await ask(server, get("2001:db8::2")))[0].status == 200
        assert (await ask(server, get("2001:db8::ffff:1")))[0].status == 200
        assert (await ask(server, get("2001:db8::ffff:2")))[0].status == 429
        assert (await ask(server, get("2001:db8:0:1::1")))[0].status == 200
        assert [(await ask(server, GET))[0].status for _ in range(5)] == [200] * 5
        assert server.refusals["429"] == 3
    assert len(app.scopes) == 13


async def test_a_refused_client_keeps_its_connection_and_pipelined_requests_are_answered_in_order() -> None:
    async with serving(Recorder(), max_request_rate=3, **TRUSTING) as server:
        reader, writer = await connect(server.address)
        writer.write(get() * 500 + b"HEAD" + get()[3:] + get("192.0.2.8", b"Connection: close\r\n"))
        answers = [await read_answer(reader) for _ in range(500)]
        head = await read_answer(reader, body=False)
        last = await read_answer(reader)
        assert [answer.status for answer in answers] == [200] * 3 + [429] * 497
        assert (head.status, head["content-length"], last.status) == (429, "17", 200)
        assert await rest(reader) == b""
        writer.close()


@pytest.mark.parametrize("request_", [POST, POST + b"x" * 999, GET.replace(b"1.1", b"1.0")])
async def test_a_refused_request_whose_body_has_not_come_ends_the_connection(request_: bytes) -> None:
    said = request_.replace(b"Host: a\r\n", b"Host: a\r\nX-Forwarded-For: 192.0.2.7\r\n")
    async with serving(Recorder(), max_request_rate=1, **TRUSTING) as server:
        assert (await ask(server, get()))[0].status == 200
        reader, writer = await connect(server.address)
        writer.write(said)
        answer = await read_answer(reader)
        assert (answer.status, answer["connection"]) == (429, "close")
        assert await rest(reader) == b""
        writer.close()
        assert await serves_others(server)


async def test_a_refused_request_whose_body_has_come_keeps_the_connection() -> None:
    said = (POST + b"x" * 1000).replace(b"Host: a\r\n", b"Host: a\r\nX-Forwarded-For: 192.0.2.7\r\n")
    async with serving(Recorder(), max_request_rate=1, **TRUSTING) as server:
        reader, writer = await connect(server.address)
        for status in (200, 429, 429):
            writer.write(said)
            assert (await read_answer(reader)).status == status
        writer.write(GET)
        assert (await read_answer(reader)).status == 200
        writer.close()


async def test_a_refused_client_that_leaves_at_once_leaves_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(Recorder(), max_request_rate=1, disconnect_grace=0.1, **TRUSTING) as server:
        assert (await ask(server, get()))[0].status == 200
        for _ in range(50):
            _, writer = await connect(server.address)
            writer.write(get() * 3)
            writer.transport.abort()
        await until(lambda: server.refusals["429"] and not server.service.connections)
        await asyncio.sleep(0.2)
        assert not server.service.running
        assert await serves_others(server)
    assert "disconnect_grace" not in caplog.text


def test_a_flood_of_addresses_takes_bounded_memory() -> None:
    limits = Limits(HTTPSettings(max_request_rate=10))

    def flood(start: int) -> None:
        for number in range(start, start + 15_000):
            assert limits.excess(0, (f"198.{number >> 16}.{number >> 8 & 0xFF}.{number & 0xFF}", 1)) is None

    flood(0)
    gc.collect()
    tracemalloc.start()
    flood(15_000)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert grown < 3_000_000  # the 10,000 addresses, in place of those before


def test_the_pause_ends_when_the_next_request_is_admitted() -> None:
    now = 0.0
    rate = AddressRate(6, lambda: now)
    assert all(rate.admit("192.0.2.7") for _ in range(6))
    assert not rate.admit("192.0.2.7")
    assert rate.pause("192.0.2.7") == pytest.approx(10.0)
    assert rate.pause("192.0.2.8") == 0.0
    now = rate.pause("192.0.2.7")
    assert rate.admit("192.0.2.7")
    assert AddressRate(0).pause("192.0.2.7") == 0.0


@pytest.mark.parametrize("own", ["peer", "\0gateway-test-{}"], ids=["path", "abstract"])
async def test_a_peer_on_a_unix_socket_may_have_a_name_of_its_own(own: str, tmp_path: Path) -> None:
    app, path = Recorder(), str(tmp_path / "g")
    name = own.format(os.getpid()) if own.startswith("\0") else str(tmp_path / own)
    settings: dict[str, Any] = {"trusted_proxies": ("unix",), "max_request_rate": 1}
    async with serving(app, bind=f"unix:{path}", **settings):
        with socket.socket(socket.AF_UNIX) as client:
            client.bind(name)
            client.connect(path)
            client.setblocking(False)
            reader, writer = await asyncio.open_unix_connection(sock=client)
            answers = []
            for data in (GET, GET, get("192.0.2.7"), get("192.0.2.7")):
                writer.write(data)
                answers.append((await read_answer(reader)).status)
            writer.close()
    assert answers == [200, 200, 200, 429]
    assert [scope["client"] for scope in app.scopes] == [None, None, ("192.0.2.7", 0)]


async def test_a_refused_request_has_its_line_in_the_access_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with serving(Recorder(), max_request_rate=1, access_log=True, **TRUSTING) as server:
        for _ in range(2):
            await ask(server, get())
    refused, line = caplog.messages[-2:]
    assert refused.endswith("more than max_request_rate requests a minute from 192.0.2.7; answered 429")
    assert line.startswith("http 192.0.2.7:0 GET '/' 429 17 ")


async def test_a_reload_changes_the_limits_and_keeps_what_they_have_counted() -> None:
    async with serving(Recorder(), max_request_rate=3, **TRUSTING) as server:

        async def become(**settings: Any) -> None:
            made = HTTPSettings(bind=server.settings.bind, **TRUSTING, **settings)
            await server.become(HTTPServer(Recorder(), made, state={}))

        assert [(await ask(server, get()))[0].status for _ in range(4)] == [200, 200, 200, 429]
        await become(max_request_rate=4, max_requests_per_connection=1)
        assert (await ask(server, get()))[0].status == 429
        assert (await ask(server, get("192.0.2.8")))[1]
        await become()
        assert [(await ask(server, get()))[0].status for _ in range(6)] == [200] * 6


# What one connection may have.


async def test_the_last_answer_of_a_connection_says_so_and_what_was_pipelined_behind_it_does_not_reset_it() -> None:
    app = Recorder(body=b"x" * 100_000)
    async with serving(app, max_requests_per_connection=3) as server:
        reader, writer = await connect(server.address)
        writer.write(GET * 1000)
        answers = [await read_answer(reader) for _ in range(3)]
        writer.write(GET * 1000)
        assert [answer["connection"] for answer in answers] == [None, None, "close"]
        assert all(len(answer.body) == 100_000 for answer in answers)
        assert await rest(reader) == b""
        writer.close()
        assert await serves_others(server)
    assert len(app.scopes) == 4


@pytest.mark.parametrize("secure", [False, True], ids=["", "tls"])
@pytest.mark.parametrize("limits", [{"max_requests_per_connection": 7}, {"max_connection_age": 0.02}])
async def test_a_client_that_heeds_the_close_loses_no_request(
    limits: dict[str, Any], secure: bool, tmp_path: Path
) -> None:
    app = Recorder()
    async with serving(app, tls=make(tmp_path) if secure else None, **limits) as server:
        url = f"http{'s' if secure else ''}://{server.address}"
        options: Any = {"limits": httpx.Limits(max_connections=5), "timeout": LIMIT, "verify": False}
        async with httpx.AsyncClient(base_url=url, **options) as client:
            answers = await asyncio.gather(*(client.post("/", content=b"x" * 1000) for _ in range(200)))
    assert [answer.status_code for answer in answers] == [200] * 200
    assert len(app.scopes) == 200
    assert {answer.headers.get("connection") for answer in answers} == {None, "close"}


UPSTREAM = "upstream gateway {{ server {address}; keepalive 4; }}"
THROUGH = """
location / {
    proxy_pass http://gateway;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
}
"""


@pytest.mark.parametrize("limits", [{"max_requests_per_connection": 3}, {"max_connection_age": 0.02}])
async def test_nginx_that_keeps_connections_to_the_server_loses_no_request(
    limits: dict[str, Any], tmp_path: Path
) -> None:
    """It would not send a POST again: a lost one is a 502."""
    app = Recorder()
    async with serving(app, **limits) as server:
        nginx = Nginx(tmp_path / "nginx", 0, location=THROUGH, more=UPSTREAM.format(address=server.address))
        try:
            options: Any = {"limits": httpx.Limits(max_connections=8), "timeout": LIMIT}
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{nginx.port}", **options) as client:
                answers = await asyncio.gather(*(client.post("/", content=b"x" * 5000) for _ in range(200)))
        finally:
            nginx.close()
    assert [answer.status_code for answer in answers] == [200] * 200
    assert len(app.scopes) == 200


async def test_an_old_connection_is_not_closed_while_it_is_idle_but_with_its_next_answer() -> None:
    async with serving(Recorder(), max_connection_age=0.2) as server:
        reader, writer = await connect(server.address)
        writer.write(GET)
        assert (await read_answer(reader))["connection"] is None
        await asyncio.sleep(0.3)
        assert not reader.at_eof()
        writer.write(GET)
        assert (await read_answer(reader))["connection"] == "close"
        assert await rest(reader) == b""
        writer.close()


async def test_an_old_websocket_goes_on() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": event["text"]})

    async with (
        serving(app, max_connection_age=0.01, max_requests_per_connection=1) as server,
        websockets.connect(f"ws://{server.address}/") as socket,
    ):
        await asyncio.sleep(0.1)
        await socket.send("hello")
        assert await socket.recv() == "hello"


# Time.


async def test_heads_that_come_byte_by_byte_get_408_and_others_are_served() -> None:
    app = Recorder()
    async with serving(app, head_timeout=0.5) as server:

        async def slowly() -> Answer:
            reader, writer = await connect(server.address)
            with contextlib.suppress(OSError):
                for byte in b"GET / HTTP/1.1\r\nHost: " + b"a" * 10_000:
                    writer.write(bytes([byte]))
                    await asyncio.sleep(0.05)
                    if reader.at_eof() or reader._buffer:  # type: ignore[attr-defined]
                        break
            answer = await read_answer(reader)
            writer.close()
            return answer

        slow = asyncio.gather(*(slowly() for _ in range(50)))
        assert await serves_others(server)
        assert {answer.status for answer in await slow} == {408}
        assert server.refusals["408"] == 50
        assert await serves_others(server)
    assert len(app.scopes) == 2


async def test_an_idle_connection_has_the_whole_time_for_its_next_head() -> None:
    async with serving(Recorder(), head_timeout=5, keepalive_timeout=0.4) as server:
        reader, writer = await connect(server.address)
        writer.write(GET[:5])
        await asyncio.sleep(0.6)
        writer.write(GET[5:])
        assert (await read_answer(reader)).status == 200
        writer.write(GET + GET[:5])
        assert (await read_answer(reader)).status == 200
        await asyncio.sleep(0.6)
        writer.write(GET[5:])
        assert (await read_answer(reader)).status == 200
        writer.close()


async def test_a_body_that_comes_steadily_and_takes_too_long_gets_408() -> None:
    app = Recorder()
    async with serving(app, body_timeout=0.5, stall_timeout=5) as server:
        reader, writer = await connect(server.address)
        writer.write(POST)
        with contextlib.suppress(OSError):
            for _ in range(900):
                writer.write(b"x")
                await asyncio.sleep(0.02)
                if reader._buffer:  # type: ignore[attr-defined]
                    break
        answer = await read_answer(reader)
        assert (answer.status, answer["connection"]) == (408, "close")
        writer.close()
        assert await serves_others(server)


async def test_without_a_body_timeout_only_a_stall_ends_a_body() -> None:
    async with serving(Recorder(), body_timeout=0, stall_timeout=0.4) as server:
        reader, writer = await connect(server.address)
        writer.write(POST)
        for _ in range(10):
            writer.write(b"x" * 100)
            await asyncio.sleep(0.08)
        assert (await read_answer(reader)).status == 200
        writer.close()


async def test_an_application_that_does_not_answer_in_time_is_cancelled_and_its_client_gets_503(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = Gate()
    async with serving(app, handler_timeout=0.3) as server:
        answers = await asyncio.gather(*(ask(server, GET) for _ in range(20)))
        assert {(answer.status, answer["connection"]) for answer, _ in answers} == {(503, "close")}
        await until(lambda: app.cancelled == 20)
        await until(lambda: not server.service.running)
        app.open.set()
        assert await serves_others(server)
    assert caplog.text.count("no answer within handler_timeout") == 20
    assert "Traceback" not in caplog.text


class Stubborn:
    """An application that does not end before it may, whether it is cancelled or not."""

    def __init__(self) -> None:
        self.end = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        while not self.end.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await self.end.wait()


@pytest.mark.parametrize("request_head", [GET, POST, HANDSHAKE])
async def test_an_application_that_ignores_its_cancellation_keeps_no_connection(
    request_head: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("protocols.http.exchange._TO_END", 0.1)
    app = Stubborn()
    async with serving(app, handler_timeout=0.2) as server:
        reader, writer = await connect(server.address)
        writer.write(request_head)
        assert (await read_answer(reader)).status == 503
        assert await reader.read() == b"", "the server has closed"
        writer.close()
        await until(lambda: not server.service.connections and "still runs 0.1 s after it was cancelled" in caplog.text)
        assert sum(server.active().values()) == 1, "it counts in max_concurrent_requests"
        app.end.set()
        await until(lambda: not server.active())
        assert not server.service.overrunning
    assert "Traceback" not in caplog.text


async def test_connections_bound_the_applications_that_ignore_their_cancellation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("protocols.http.service._OVERRUNNING", 2)
    app = Stubborn()
    async with serving(app, handler_timeout=0.2) as server:
        answers = [await connect(server.address) for _ in range(5)]
        for _, writer in answers:
            writer.write(GET)
        for reader, _ in answers:
            assert (await read_answer(reader)).status == 503
        await until(lambda: len(server.service.connections) == 3)
        assert server.active() == {"http": 5}
        app.end.set()
        await until(lambda: not server.active() and not server.service.connections)
        for _, writer in answers:
            writer.close()


async def test_a_handshake_that_is_not_answered_in_time_gets_503() -> None:
    async with serving(Gate(), handler_timeout=0.3) as server:
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(f"ws://{server.address}/shut")
        assert refused.value.response.status_code == 503
        async with websockets.connect(f"ws://{server.address}/open") as socket:
            await asyncio.sleep(0.7)
            await socket.ping()


async def test_the_time_of_the_body_and_of_a_stream_is_not_the_handlers() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200})
        for _ in range(3):
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            await asyncio.sleep(0.2)
        await send({"type": "http.response.body"})

    async with serving(app, handler_timeout=0.3) as server:
        reader, writer = await connect(server.address)
        writer.write(POST)
        for _ in range(10):
            await asyncio.sleep(0.06)
            writer.write(b"x" * 100)
        answer = await read_answer(reader)
        assert (answer.status, answer.body) == (200, b"xxx")
        writer.close()


async def test_a_max_body_of_0_refuses_each_body_and_nothing_else() -> None:
    app = Recorder()
    chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with serving(app, max_body=0) as server:
        for request, status in (
            (GET, 200),
            (POST.replace(b"1000", b"0"), 200),
            (chunked + b"0\r\n\r\n", 200),
            (POST, 413),
            (chunked + b"1\r\na\r\n0\r\n\r\n", 413),
        ):
            answer, _ = await ask(server, request)
            assert answer.status == status


# Heads.


async def test_a_max_head_below_max_header_counts_for_a_single_field() -> None:
    async with serving(Recorder(), max_head=1000, max_header=8192) as server:
        assert (await ask(server, GET[:-2] + b"x: " + b"y" * 900 + b"\r\n\r\n"))[0].status == 200
        assert (await ask(server, GET[:-2] + b"x: " + b"y" * 1000 + b"\r\n\r\n"))[0].status == 431


def fields(number: int, size: int = 1) -> bytes:
    return b"".join(b"x%d: %b\r\n" % (each, b"y" * size) for each in range(number))


@pytest.mark.parametrize("step", [1, 100_000])
@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + fields(9) + b"\r\n", 200),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + fields(10) + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + fields(9, 200) + b"\r\n", 200),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + fields(9, 250) + b"\r\n", 431),
        (b"GET /" + b"x" * 1900 + b" HTTP/1.1\r\nHost: a\r\n" + fields(1, 200) + b"\r\n", 431),
    ],
)
async def test_the_number_of_fields_and_the_size_of_the_head_are_bounded(head: bytes, status: int, step: int) -> None:
    async with serving(Recorder(), max_header_fields=10, max_head=2000) as server:
        reader, writer = await connect(server.address)
        for start in range(0, len(head), step):
            writer.write(head[start : start + step])
            await asyncio.sleep(0)
        assert (await read_answer(reader)).status == status
        writer.close()
        assert await serves_others(server)


async def test_a_head_of_64_kib_at_most_is_read_by_default() -> None:
    async with serving(Recorder()) as server:
        whole = b"GET / HTTP/1.1\r\nHost: a\r\n" + fields(8, 8000) + b"\r\n"
        assert (await ask(server, whole))[0].status == 200
        assert (await ask(server, whole[:-2] + fields(1, 2000) + b"\r\n"))[0].status == 431


async def test_heads_that_never_end_are_refused_before_they_take_memory() -> None:
    async with serving(Recorder()) as server:
        peers = [await connect(server.address) for _ in range(20)]
        tracemalloc.start()
        for number in range(100):
            for _, writer in peers:
                writer.write(b"x%d: " % number + b"y" * 7000 + b"\r\n" if number else b"GET / HTTP/1.1\r\nHost: a\r\n")
            await asyncio.sleep(0)
        for reader, _ in peers:
            assert (await read_answer(reader)).status == 431
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert held < 20 * 1024 * 1024  # with the bytes that the peers could not send yet
        assert await serves_others(server)
        for _, writer in peers:
            writer.close()
