"""Every byte from outside: a clear answer, one line in the log, and the next connection is served."""

import asyncio
import contextlib
import logging
from typing import Any

import pytest
from contract import LIMIT, connect, say
from http_peer import GET, Recorder, ask, read_answer, serving
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

HOST = b"Host: a\r\n"


def post(fields: bytes, body: bytes = b"") -> bytes:
    return b"POST / HTTP/1.1\r\n" + HOST + fields + b"\r\n" + body


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"secret\r\n\r\n", 400),
        (b"GET /secret\r\n\r\n", 505),
        (b"GET /secret HTTP/1.1\r\n\r\n", 400),
        (b"GET /secret HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /secret HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET /secret#fragment HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /\x01secret HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /caf\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET secret HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"SECRET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"CONNECT secret:443 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: secret\x00\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: secret\x01\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: secret\rY: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX : secret\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n secret: folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n: secret\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET /" + b"s" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"s" * 9000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: secret\r\n" * 200 + b"\r\n", 431),
        (post(b"Content-Length: -1\r\n"), 400),
        (post(b"Content-Length: 1, 1\r\n"), 400),
        (post(b"Content-Length: 0x1\r\n"), 400),
        (post(b"Content-Length: 1\r\nContent-Length: 1\r\n", b"s"), 400),
        (post(b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"), 400),
        (post(b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n"), 400),
        (post(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"), 400),
        (post(b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n"), 400),
        (post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"), 501),
        (post(b"Transfer-Encoding:\r\n", b"0\r\n\r\n"), 400),
        (post(b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"), 501),
        (post(b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"), 501),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        *(
            (post(b"Transfer-Encoding: chunked\r\n", chunks), 400)
            for chunks in (
                b"3\nabc\r\n0\r\n\r\n",
                b"3\r\nabc\n0\r\n\r\n",
                b"0x3\r\nabc\r\n0\r\n\r\n",
                b"+3\r\nabc\r\n0\r\n\r\n",
                b"3 \r\nabc\r\n0\r\n\r\n",
                b"3_0\r\nabc\r\n0\r\n\r\n",
                b"fffffffffffffffff\r\nabc",
                b"3;x\ny\r\nabc\r\n0\r\n\r\n",
                b"3;x\ry\r\nabc\r\n0\r\n\r\n",
                b"3\r\nabc\r\n0\n\n",
                b"0\r\nContent-Length: 5\r\n\r\n",
                b"0\r\nConnection: close\r\n\r\n",
                b"0\r\nProxy-Connection: close\r\n\r\n",
                b"0\r\nX: y\r\nUPGRADE: websocket\r\n\r\n",
            )
        ),
        (post(b"Content-Length: 99999999999\r\n"), 413),
        (post(b"Transfer-Encoding: chunked\r\n", b"secret\r\n"), 400),
        (post(b"Transfer-Encoding: chunked\r\n", b"3\r\nsecret\r\n"), 400),
        (post(b"Transfer-Encoding: chunked\r\n", b"7d1\r\n" + b"s" * 2001 + b"\r\n0\r\n\r\n"), 413),
    ],
)
async def test_what_is_refused(data: bytes, status: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    app = Recorder()
    async with serving(app, max_body=2000) as server:
        answer, closed = await ask(server, data)
        assert (answer.status, answer["connection"]) == (status, "close")
        assert closed or status == 413  # there, the rest of the body is read for a while, so that the answer arrives
        assert answer["content-type"] == "text/plain; charset=utf-8"
        assert len(answer.body) < 60
        assert (await ask(server, GET))[0].status == 200
    records = [record for record in caplog.records if record.name.startswith(("protocols", "aiohttp"))]
    assert len(records) == 1
    assert records[0].levelno == logging.INFO
    assert records[0].exc_info is None
    assert f"answered {status}" in records[0].getMessage()
    assert "secret" not in caplog.text.lower()


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03secret",
            "Invalid method encountered (it looks like TLS: is tls: missing?); answered 400",
        ),
        (b"SSH-2.0-secret\r\n", "(it looks like SSH); answered 400"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "proxy_protocol:?); answered"),
        (b"GET /secret HTTP/1.1\r\n\r\n", ": it has no Host; answered 400"),
    ],
)
async def test_who_has_come_to_the_wrong_port(data: bytes, hint: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with serving(Recorder()) as server:
        assert (await ask(server, data))[0].status in (400, 505)
    (line,) = (record.getMessage() for record in caplog.records if record.name.startswith("protocols"))
    assert hint in line
    assert "secret" not in line


async def test_a_malformed_body_reaches_an_application_that_is_reading_it() -> None:
    events: list[str] = []
    running = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while not events or events[-1] != "http.disconnect":
            events.append((await receive())["type"])
            running.set()

    async with serving(app) as server:
        reader, writer = await connect(server.address)
        writer.write(post(b"Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n"))
        async with asyncio.timeout(LIMIT):
            await running.wait()
        writer.write(b"zz\r\n")
        assert (await read_answer(reader)).status == 400
        assert await reader.read() == b""
        writer.close()
    assert events == ["http.request", "http.disconnect"]


async def test_who_goes_on_after_a_malformed_body_is_answered_once(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(Recorder()) as server:
        reader, writer = await connect(server.address)
        writer.write(post(b"Transfer-Encoding: chunked\r\n", b"zz\r\n"))
        assert (await read_answer(reader)).status == 400
        with contextlib.suppress(OSError):
            for _ in range(3):
                writer.write(b"zz\r\n" + GET)
                await asyncio.sleep(0.02)
            assert await reader.read() == b""
        writer.close()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_slow_head_is_cut_off() -> None:
    app = Recorder()
    async with serving(app, head_timeout=0.3) as server:
        reader, writer = await connect(server.address)
        with contextlib.suppress(OSError):
            for byte in GET * 5:
                writer.write(bytes([byte]))
                await asyncio.sleep(0.02)
                if reader.at_eof():
                    break
            assert (await read_answer(reader)).status == 408
        writer.close()
    assert app.scopes == []


async def test_an_idle_connection_is_closed() -> None:
    async with serving(Recorder(), keepalive_timeout=0.2) as server:
        reader, writer = await connect(server.address)
        writer.write(GET)
        assert (await read_answer(reader)).status == 200
        async with asyncio.timeout(LIMIT):
            assert await reader.read() == b""
        writer.close()


async def test_a_body_that_stands_still_is_a_408() -> None:
    async with serving(Recorder(), stall_timeout=0.2) as server:
        answer, _ = await ask(server, post(b"Content-Length: 10\r\n", b"123"))
    assert answer.status == 408


async def test_a_long_body_is_answered_although_its_sender_goes_on() -> None:
    async with serving(Recorder(), max_body=1000) as server:
        reader, writer = await connect(server.address)
        size = 8 * 1024 * 1024
        writer.write(post(b"Content-Length: %d\r\n" % size, b"x" * size))
        assert (await read_answer(reader)).status == 413
        writer.close()


LINES = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n",
        b"POST / HTTP/1.1\r\n",
        b"Host: a\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: upgrade\r\nUpgrade: websocket\r\n",
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
        b"Expect: 100-continue\r\n",
        b"\r\n",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
        b"\x81\x80\0\0\0\0",
    ]
)


@given(data=st.lists(LINES | st.binary(max_size=40), max_size=12).map(b"".join))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_bytes(data: bytes) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (await receive())["type"] == "websocket.receive":
                pass
            return
        await Recorder()(scope, receive, send)

    async def try_it() -> None:
        async with serving(app, stall_timeout=0.02, keepalive_timeout=0.02) as server:
            heard = await say(server.address, data, wait=0.06)
            assert not heard or heard.startswith(b"HTTP/1.1 ")
            assert b"Traceback" not in heard
            assert (await ask(server, GET))[0].status == 200

    asyncio.run(try_it())
