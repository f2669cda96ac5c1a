"""What a peer is sent: framing, errors of the application, slow readers, files."""

import asyncio
import contextlib
import logging
import os
import re
import socket
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from contract import LIMIT, connect, crashes, transport_of
from http_peer import GET, Recorder, ask, read_answer, serving
from servers.programs import program
from waiting import until

from protocols.errors import LocalProtocolError
from protocols.http.connection import HTTPConnection

LENGTH = b"content-length"


def sends(*events: dict[str, Any]) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for event in events:
            await send({"type": f"http.response.{event.pop('kind')}", **event} if "kind" in event else event)

    return app


def start(status: int = 200, **headers: str) -> dict[str, Any]:
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http.response.start", "status": status, "headers": fields}


def piece(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def test_a_whole_body_has_a_length_and_the_connection_stays() -> None:
    async with serving(sends(start(x_a="b"), piece(b"hello"))) as server:
        answer, closed = await ask(server, GET)
    assert (answer.status, answer.body, closed) == (200, b"hello", False)
    assert answer["x-a"] == "b"
    assert answer["content-length"] == "5"
    assert answer["date"].endswith("GMT")
    assert answer["server"] is None


async def test_a_body_in_pieces_is_chunked_and_closes_a_1_0_connection() -> None:
    app = sends(start(), piece(b"a", more=True), piece(b"", more=True), piece(b"bc", more=True), piece(b""))
    async with serving(app) as server:
        answer, closed = await ask(server, GET)
        assert (answer["transfer-encoding"], answer.body, closed) == ("chunked", b"abc", False)
        answer, closed = await ask(server, b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert (answer["transfer-encoding"], answer["connection"], answer.body) == (None, "close", b"abc")


async def test_keep_alive_and_close() -> None:
    app = Recorder()
    async with serving(app) as server:
        answer, closed = await ask(server, b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert (answer["connection"], closed) == ("keep-alive", False)
        answer, closed = await ask(server, b"GET / HTTP/1.0\r\n\r\n")
        assert (answer["connection"], closed) == ("close", True)
        answer, closed = await ask(server, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert (answer["connection"], closed) == ("close", True)
        app.headers = [(b"connection", b"close")]
        answer, closed = await ask(server, GET)
        assert (answer["connection"], closed) == ("close", True)


@pytest.mark.parametrize(
    ("method", "status", "headers", "length"),
    [
        (b"HEAD", 200, {"content_length": "5"}, "5"),
        (b"HEAD", 200, {}, None),
        (b"GET", 204, {"content_length": "5"}, None),
        (b"GET", 304, {"content_length": "5"}, "5"),
        (b"GET", 304, {}, None),
    ],
)
async def test_what_has_no_body(method: bytes, status: int, headers: dict[str, str], length: str | None) -> None:
    async with serving(sends(start(status, **headers), piece(b"hello"))) as server:
        reader, writer = await connect(server.address)
        for _ in range(2):
            writer.write(method + b" / HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = await read_answer(reader, body=False)
            assert (answer.status, answer["content-length"], answer["transfer-encoding"]) == (status, length, None)
        writer.close()


async def test_the_application_does_not_frame() -> None:
    app = sends(start(transfer_encoding="gzip, chunked", content_length="5"), piece(b"he", more=True), piece(b"llo"))
    async with serving(app, server_header="gateway") as server:
        answer, _ = await ask(server, GET)
    assert (answer["transfer-encoding"], answer["content-length"], answer.body) == (None, "5", b"hello")
    assert answer["server"] == "gateway"


@pytest.mark.parametrize(
    "events",
    [
        [start(content_length="3"), piece(b"four")],
        [start(content_length="x"), piece(b"")],
        [
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-length", b"1"), (b"content-length", b"2")],
            }
        ],
        [start(x="a\r\nset-cookie: b"), piece(b"")],
        [start(x="a\nb"), piece(b"")],
        [start(x="a\0b"), piece(b"")],
        [{"type": "http.response.start", "status": 200, "headers": [(b"x y", b"")]}],
        [{"type": "http.response.start", "status": 200, "headers": [(b"x:", b"")]}],
        [{"type": "http.response.start", "status": 200, "headers": [(b"", b"")]}],
        [start(101)],
        [start(1000)],
        [{"type": "http.response.start"}],
        [start(), start()],
        [piece(b"")],
        [start()],
        [],
    ],
)
async def test_an_application_that_errs_before_it_answers_is_a_500(
    events: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(sends(*events)) as server:
        answer, closed = await ask(server, GET)
    assert (answer.status, answer.body, closed) == (500, b"Internal Server Error", True)
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1


async def test_a_crash_within_the_response_is_no_complete_response() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        await send(piece(b"half", more=True))
        await asyncio.sleep(0.05)
        raise RuntimeError

    async with serving(app) as server:
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await ask(server, GET)


async def test_a_body_that_ends_short_is_cut_off_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(sends(start(content_length="9"), piece(b"half"))) as server:
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await ask(server, GET)
    assert "5 bytes short" in caplog.text


async def test_too_long_a_body_raises_out_of_send_and_the_rest_may_still_come() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start(content_length="4"))
        await send(piece(b"ok", more=True))
        with pytest.raises(LocalProtocolError, match="1 bytes longer"):
            await send(piece(b"ok!"))
        await send(piece(b"ok"))
        with pytest.raises(LocalProtocolError, match="nothing more"):
            await send(piece(b""))

    async with serving(app) as server:
        answer, closed = await ask(server, GET)
    assert (answer.body, closed) == (b"okok", False)


async def test_a_slow_reader_holds_the_application_back() -> None:
    sent = 0
    chunk = b"x" * 65536

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await send(start())
        for _ in range(512):
            await send(piece(chunk, more=True))
            sent += 1
        await send(piece(b""))

    async with serving(app) as server:
        reader, writer = await connect(server.address)
        transport_of(writer).pause_reading()
        writer.write(GET)
        await asyncio.sleep(0.3)
        assert sent < 256
        transport_of(writer).resume_reading()
        assert len((await read_answer(reader)).body) == 512 * 65536
        writer.close()


async def test_a_peer_that_stops_reading_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    outcome: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        try:
            while True:
                await send(piece(b"x" * 65536, more=True))
        except OSError as error:
            outcome.set_result(error)
            raise

    async with serving(app, stall_timeout=0.2) as server:
        _, writer = await connect(server.address)
        transport_of(writer).pause_reading()
        writer.write(GET)
        async with asyncio.timeout(LIMIT):
            assert "the peer is gone" in str(await outcome)
        writer.close()
    assert [record.levelno for record in caplog.records if record.name.startswith("protocols")] == [logging.INFO]


@pytest.mark.parametrize("more", [True, False])
async def test_a_peer_that_leaves_a_download_is_no_crash(caplog: pytest.LogCaptureFixture, *, more: bool) -> None:
    ended = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        try:
            await send(piece(b"x" * 16 * 1024 * 1024, more=more))
        finally:
            ended.set()

    async with serving(app) as server:
        reader, writer = await connect(server.address)
        writer.write(GET)
        await reader.readexactly(100)
        writer.transport.abort()
        async with asyncio.timeout(LIMIT):
            await ended.wait()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_what_is_left_in_the_buffer_does_not_keep_a_connection_for_ever() -> None:
    async with serving(Recorder(body=b"x" * 30_000), stall_timeout=0.3, keepalive_timeout=0.1) as server:
        host, port = server.address.split(":")
        for last in (GET, GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")):
            with socket.socket() as peer:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                peer.connect((host, int(port)))
                await until(lambda: server.service.connections)
                (connection,) = cast("Any", server.service.connections)
                while not connection.transport.get_write_buffer_size():
                    peer.sendall(GET)
                    await asyncio.sleep(0.001)
                peer.sendall(last)
                await until(lambda: not server.service.connections)


@pytest.mark.parametrize("offered", [False, True])
async def test_pathsend_is_offered_where_the_setting_says_so(offered: bool) -> None:
    app = Recorder()
    async with serving(app, pathsend=offered) as server:
        await ask(server, GET)
    assert ("http.response.pathsend" in app.scopes[0]["extensions"]) is offered


@pytest.mark.parametrize("size", [0, 5, 1_000_000])
async def test_pathsend(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    (tmp_path / "f").write_bytes(content)
    path = str(tmp_path / "f")
    async with serving(sends(start(), {"type": "http.response.pathsend", "path": path})) as server:
        answer, closed = await ask(server, GET)
        head, _ = await ask(server, b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", body=False)
    assert (answer.body, answer["content-length"], closed) == (content, str(size), False)
    assert head["content-length"] == str(size)


async def test_pathsend_of_no_file_is_a_500(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    event = {"type": "http.response.pathsend", "path": str(tmp_path / "none")}
    async with serving(sends(start(), event)) as server:
        assert (await ask(server, GET))[0].status == 500
    assert len(crashes(caplog)) == 1


async def test_early_hints() -> None:
    hint = {"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]}
    async with serving(sends(hint, start(), piece(b"ok"))) as server:
        reader, writer = await connect(server.address)
        writer.write(GET)
        first, second = await read_answer(reader), await read_answer(reader)
        writer.close()
        old, _ = await ask(server, b"GET / HTTP/1.0\r\n\r\n")
    assert (first.status, first["link"]) == (103, "</a.css>; rel=preload")
    assert (second.body, old.body) == (b"ok", b"ok")


async def test_curl() -> None:
    app = Recorder(body=b"from curl's side")
    async with serving(app) as server:
        for options in ([], ["-0"], ["-d", "@-"], ["-T", "-"], ["-H", "Expect: 100-continue", "-d", "x"]):
            curl = await asyncio.create_subprocess_exec(
                program("curl"), "-sS", "-m", "5", *options, f"http://{server.address}/", stdin=-1, stdout=-1, stderr=-1
            )
            out, err = await curl.communicate(b"y" * 100_000)
            assert (curl.returncode, out, err) == (0, app.body, b""), options
    assert list(map(len, app.received)) == [0, 0, 100_000, 100_000, 1]


async def test_httpx_on_one_connection() -> None:
    app = Recorder(headers=[(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")])
    async with serving(app) as server, httpx.AsyncClient(base_url=f"http://{server.address}") as client:
        answers = [await client.post("/", content=b"x" * n) for n in range(20)]
    assert {answer.status_code for answer in answers} == {200}
    assert answers[0].headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert len({scope["client"] for scope in app.scopes}) == 1


async def test_stop_answers_a_request_that_has_only_just_come() -> None:
    async with serving(Recorder()) as server:
        reader, writer = await connect(server.address)
        writer.write(GET)
        assert (await read_answer(reader)).status == 200
        (connection,) = cast("Any", server.service.connections)
        connection.data_received(GET)  # in the turn of the loop in which a signal is heard
        await server.stop(LIMIT)
        assert (await read_answer(reader)).status == 200
        writer.close()


async def test_stop_closes_idle_connections_and_ends_busy_ones_after_their_response() -> None:
    running, release = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/slow":
            running.set()
            body = (await receive())["body"]
            await release.wait()
            body += (await receive())["body"]
            await send(start())
            await send(piece(body))
        await send(start())
        await send(piece(b"ok"))

    async with serving(app) as server:
        idle, idle_writer = await connect(server.address)
        idle_writer.write(GET)
        await read_answer(idle)
        busy, busy_writer = await connect(server.address)
        busy_writer.write(b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345")
        await running.wait()
        stopping = asyncio.ensure_future(server.stop(LIMIT))
        assert await idle.read() == b""
        assert server.active() == {"http": 1}
        busy_writer.write(b"67890")  # an upload goes on while the server drains
        release.set()
        answer = await read_answer(busy)
        assert (answer.body, answer["connection"]) == (b"1234567890", "close")
        await stopping
        assert server.status.state == "stopped"
        idle_writer.close()
        busy_writer.close()


async def test_one_connection_more_than_the_limit_is_told_so() -> None:
    async with serving(Recorder(), max_connections=1) as server:
        reader, writer = await connect(server.address)
        writer.write(GET)
        assert (await read_answer(reader)).status == 200
        refused, other = await connect(server.address)
        answer = await read_answer(refused)
        assert (answer.status, answer["date"]) == (503, None), "it was made at the start"
        other.close()
        writer.close()


async def test_the_access_log_has_no_query(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with serving(Recorder(), access_log=True) as server:
        await ask(server, b"GET /a%0Ab?token=secret HTTP/1.1\r\nHost: a\r\n\r\n")
    line = next(record.getMessage() for record in caplog.records if "GET" in record.getMessage())
    assert re.search(r"GET '/a\\nb' 200 5 \d+ ms$", line)
    assert "secret" not in caplog.text


async def test_a_peer_that_resets_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(Recorder()) as server:
        host, port = server.address.split(":")
        for data in (b"", b"GET", GET, GET * 50, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1"):
            with contextlib.closing(socket.create_connection((host, int(port)))) as peer:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                peer.sendall(data)
        await asyncio.sleep(0.1)
        assert (await ask(server, GET))[0].status == 200
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("more", [False, True])
async def test_a_long_body_is_written_itself_and_not_a_copy_that_joins_its_head(
    monkeypatch: pytest.MonkeyPatch, *, more: bool
) -> None:
    written: list[bytes] = []
    real = HTTPConnection.write

    def write(connection: HTTPConnection, data: bytes) -> None:
        written.append(data)
        real(connection, data)

    monkeypatch.setattr(HTTPConnection, "write", write)
    body = bytes(100_000_000)
    events = [piece(body, more=True), piece(b"")] if more else [piece(body)]
    async with serving(sends(start(), *events)) as server:
        reader, writer = await connect(server.address)
        writer.write(GET)
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()
    assert any(each is body for each in written)
    assert sum(map(len, written)) < len(body) + 1000
