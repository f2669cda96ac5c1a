"""What an application is given: the scope and the body."""

import asyncio
from typing import Any, cast

import pytest
from contract import LIMIT, connect
from http_peer import GET, Recorder, ask, read_answer, serving

from protocols.http.server import HTTPServer, HTTPSettings


@pytest.mark.parametrize(
    ("target", "path", "raw_path", "query"),
    [
        (b"/", "/", b"/", b""),
        (b"/a%20b/%C3%A9?x=%20&y", "/a b/é", b"/a%20b/%C3%A9", b"x=%20&y"),
        (b"/%ff", "/\N{REPLACEMENT CHARACTER}", b"/%ff", b""),
        (b"/a%2Fb", "/a/b", b"/a%2Fb", b""),
        (b"//double", "//double", b"//double", b""),
        (b"/?", "/", b"/", b""),
        (b"/a?b?c", "/a", b"/a", b"b?c"),
        (b"http://example.org/abs%20olute?q", "/abs olute", b"/abs%20olute", b"q"),
        (b"http://example.org", "/", b"/", b""),
    ],
)
async def test_targets(target: bytes, path: str, raw_path: bytes, query: bytes) -> None:
    app = Recorder()
    async with serving(app) as server:
        await ask(server, b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    scope = app.scopes[0]
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == (path, raw_path, query)


async def test_the_scope() -> None:
    app = Recorder()
    async with serving(app, root_path="/app") as server:
        server.state["pool"] = object()
        await ask(server, b"OPTIONS * HTTP/1.0\r\nX-One:  a \r\nX-one: b\r\n\r\n")
        await ask(server, GET)
        host, port = server.address.split(":")
        first, second = app.scopes
        assert first["server"] == (host, int(port))
        assert first["client"][0] == "127.0.0.1"
        assert first["state"] == server.state
        assert first["state"] is not second["state"]
    assert first["type"] == "http"
    assert first["asgi"] == {"version": "3.0", "spec_version": "2.3"}
    assert (first["http_version"], second["http_version"]) == ("1.0", "1.1")
    assert (first["method"], first["scheme"], first["root_path"]) == ("OPTIONS", "http", "/app")
    assert first["headers"] == [(b"x-one", b"a"), (b"x-one", b"b")]
    assert second["path"] == "/app/"
    assert (first["extensions"], second["extensions"].keys()) == ({}, {"http.response.early_hint"})


async def test_the_host_of_an_absolute_target_counts() -> None:
    app = Recorder()
    async with serving(app) as server:
        await ask(server, b"GET http://Example.org:81/ HTTP/1.1\r\nX: 1\r\nHost: a\r\n\r\n")
    assert app.scopes[0]["headers"] == [(b"host", b"Example.org:81"), (b"x", b"1")]


async def test_bodies_by_length_and_in_chunks() -> None:
    app = Recorder()
    async with serving(app) as server:
        await ask(server, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345")
        chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        await ask(server, chunked + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n")
    assert app.received == [b"12345", b"abcde"]


@pytest.mark.parametrize(
    "framed", [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]
)
async def test_a_body_in_one_packet_with_a_head_that_asks_for_another_protocol(framed: bytes) -> None:
    app = Recorder()
    async with serving(app, stall_timeout=1.0) as server:
        request = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n" + framed
        reader, writer = await connect(server.address)
        writer.write(request + request)
        assert [(await read_answer(reader)).status for _ in range(2)] == [200, 200]
        writer.close()
    assert app.received == [b"hello", b"hello"]


@pytest.mark.parametrize("apart", [True, False])
async def test_a_pipelined_body_comes_whose_head_came_with_the_request_before(*, apart: bool) -> None:
    app = Recorder()
    async with serving(app, stall_timeout=1.0) as server:
        reader, writer = await connect(server.address)
        writer.write(
            GET + b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n" + b"x" * (5 if apart else 20_000)
        )
        assert (await read_answer(reader)).status == 200
        writer.write(b"x" * 19_995 + GET if apart else GET)
        assert [(await read_answer(reader)).status for _ in range(2)] == [200, 200]
        writer.close()
    assert app.received == [b"", b"x" * 20_000, b""]


async def test_a_body_that_is_not_read_holds_its_sender_back() -> None:
    release = asyncio.Event()
    got = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await release.wait()
        more = True
        while more:
            event = await receive()
            got.append(len(event["body"]))
            more = event["more_body"]
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    size = 32 * 1024 * 1024
    async with serving(app) as server:
        reader, writer = await connect(server.address)
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        writer.write(b"x" * size)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await writer.drain()
        assert writer.transport.get_write_buffer_size() > size // 2  # it stands in our buffer, not in the server's
        release.set()
        assert (await read_answer(reader)).status == 204
        writer.close()
    assert sum(got) == size
    assert max(got) < 4 * 1024 * 1024


async def test_100_continue_comes_when_the_body_is_asked_for() -> None:
    app = Recorder()
    async with serving(app) as server:
        reader, writer = await connect(server.address)
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert (await read_answer(reader)).status == 100
        writer.write(b"ok")
        assert (await read_answer(reader)).status == 200
        writer.close()
    assert app.received == [b"ok"]


async def test_a_body_that_was_neither_sent_nor_asked_for_ends_the_connection() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 403})
        await send({"type": "http.response.body"})

    async with serving(app) as server:
        reader, writer = await connect(server.address)
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\nExpect: 100-continue\r\n\r\n")
        answer = await read_answer(reader)
        assert (answer.status, answer["connection"]) == (403, "close")
        writer.write(GET)  # is it a body, or a request?
        assert await reader.read() == b""
        writer.close()


async def test_a_body_that_nobody_reads_does_not_become_the_next_request() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    async with serving(app) as server:
        reader, writer = await connect(server.address)
        body = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
        writer.write(b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        writer.write(b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await read_answer(reader)).body == b"/1"
        assert (await read_answer(reader)).body == b"/2"
        writer.close()


async def test_pipelined_requests_are_answered_in_order() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/0":
            await asyncio.sleep(0.02)
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    async with serving(app) as server:
        reader, writer = await connect(server.address)
        writer.write(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % n for n in range(100)))
        assert [(await read_answer(reader)).body for _ in range(100)] == [b"/%d" % n for n in range(100)]
        writer.close()


async def test_the_disconnect_reaches_an_application_that_waits_for_it_beside_its_work() -> None:
    told = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "http.request"
        assert (await receive())["type"] == "http.disconnect"
        await send({"type": "http.response.start", "status": 200})
        with pytest.raises(OSError, match="gone"):  # as soon as the peer has reset the connection
            while True:
                await send({"type": "http.response.body", "body": b"1", "more_body": True})
        told.set()

    async with serving(app) as server:
        _, writer = await connect(server.address)
        writer.write(GET)
        await asyncio.sleep(0.05)
        writer.close()
        async with asyncio.timeout(LIMIT):
            await told.wait()


async def test_the_disconnect_follows_the_response() -> None:
    events: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})
        events.extend([(await receive())["type"], (await receive())["type"]])

    async with serving(app) as server:
        await ask(server, GET)
    assert events == ["http.request", "http.disconnect"]


async def test_a_unix_socket(tmp_path: Any) -> None:
    app = Recorder()
    path = str(tmp_path / "s")
    async with asyncio.timeout(20), HTTPServer(app, HTTPSettings(bind=f"unix:{path}"), state={}) as server:
        assert server.address == f"unix:{path}"
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(GET)
        assert (await read_answer(reader)).status == 200
        writer.close()
    assert app.scopes[0]["client"] is None
    assert app.scopes[0]["server"] == (path, None)


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize(
    ("last", "behind"),
    [
        (b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"garbage"),
        (b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", GET * 2),
        (b"GET /last HTTP/1.0\r\n\r\n", GET),
        (b"POST /last HTTP/1.0\r\nContent-Length: 3\r\n\r\n123", b"4"),
    ],
)
async def test_what_comes_behind_the_last_request_is_ignored(last: bytes, behind: bytes, *, apart: bool) -> None:
    """RFC 9112, 9.6."""
    app = Recorder()
    async with serving(app) as server:
        reader, writer = await connect(server.address)
        writer.write(GET)
        if apart:
            await read_answer(reader)
        writer.write(last + behind)
        if not apart:
            await read_answer(reader)
        answer = await read_answer(reader)
        assert (answer.status, answer.body) == (200, b"hello")
        assert await reader.read() == b""
        writer.close()
    assert [scope["path"] for scope in app.scopes] == ["/", "/last"]


@pytest.mark.parametrize("split", [False, True])
async def test_requests_before_garbage_are_answered(*, split: bool) -> None:
    app = Recorder()
    async with serving(app) as server:
        reader, writer = await connect(server.address)
        data = GET + b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n123" + GET + b"no request\r\n\r\n"
        for piece in [data[:20], data[20:]] if split else [data]:
            writer.write(piece)
            await asyncio.sleep(0.01)
        assert [(await read_answer(reader)).status for _ in range(4)] == [200, 200, 200, 400]
        assert await reader.read() == b""
        writer.close()
    assert app.received == [b"", b"123", b""]


async def test_who_pipelines_without_end_is_not_read_while_it_waits() -> None:
    release = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await release.wait()
        await Recorder()(scope, receive, send)

    async with serving(app) as server:
        reader, writer = await connect(server.address)
        request = GET[:-2] + b"x: " + b"x" * 1000 + b"\r\n\r\n"
        writer.write(request * 20_000)  # 20 MB
        await asyncio.sleep(0.1)
        (connection,) = cast("Any", server.service.connections)
        assert len(connection._pipelined) < 1024 * 1024
        assert writer.transport.get_write_buffer_size() > 0
        release.set()
        for _ in range(1000):
            assert (await read_answer(reader)).status == 200
        writer.transport.abort()
