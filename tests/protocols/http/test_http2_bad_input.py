"""What a client of HTTP/2 may not send, by the sections of RFC 9113 and RFC 7541, and what it is told."""

import asyncio
import logging
from typing import Any

import pytest
from http2_peer import Fields, frame, peer, request
from http_peer import Recorder, serving
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from waiting import until

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM = ACK = 1
END_HEADERS = 4
GET = bytes.fromhex("828684410161")
"""The header block of GET / with the authority a."""

CONNECTION: dict[str, tuple[list[bytes], str]] = {
    "4.1 a frame longer than SETTINGS_MAX_FRAME_SIZE": ([frame(DATA, 0, 1, bytes(16385))], "FRAME_SIZE_ERROR"),
    "4.3 a header block that cannot be decoded": ([frame(HEADERS, 5, 1, b"\xff\xff\xff\xff\xff")], "*"),
    "4.3 another frame within a header block": (
        [frame(HEADERS, 0, 1, GET), frame(PING, 0, 0, bytes(8))],
        "PROTOCOL_ERROR",
    ),
    "4.3 a frame of another stream within a header block": (
        [frame(HEADERS, 0, 1, GET), frame(CONTINUATION, 4, 3, GET)],
        "PROTOCOL_ERROR",
    ),
    "4.3 GOAWAY within a header block": ([frame(HEADERS, 0, 1, GET), frame(GOAWAY, 0, 0, bytes(8))], "PROTOCOL_ERROR"),
    "5.1 idle: DATA": ([frame(DATA, 1, 1, b"a")], "PROTOCOL_ERROR"),
    "5.1 idle: RST_STREAM": ([frame(RST, 0, 1, bytes(4))], "PROTOCOL_ERROR"),
    "5.1 idle: WINDOW_UPDATE": ([frame(WINDOW, 0, 1, b"\0\0\0\1")], "PROTOCOL_ERROR"),
    "5.1 idle: CONTINUATION": ([frame(CONTINUATION, 4, 1, GET)], "PROTOCOL_ERROR"),
    "5.1.1 an even number": ([frame(HEADERS, 5, 2, GET)], "PROTOCOL_ERROR"),
    "5.1.1 a number lower than one before": ([frame(HEADERS, 5, 5, GET), frame(HEADERS, 5, 3, GET)], "PROTOCOL_ERROR"),
    "6.1 DATA on stream 0": ([frame(DATA, 0, 0, b"a")], "PROTOCOL_ERROR"),
    "6.1 padding as long as the frame": ([frame(HEADERS, 4, 1, GET), frame(DATA, 8, 1, b"\x09abc")], "PROTOCOL_ERROR"),
    "6.2 HEADERS on stream 0": ([frame(HEADERS, 5, 0, GET)], "PROTOCOL_ERROR"),
    "6.2 padding as long as the frame": ([frame(HEADERS, 13, 1, b"\x40" + GET)], "*"),
    "6.3 PRIORITY on stream 0": ([frame(PRIORITY, 0, 0, bytes(5))], "PROTOCOL_ERROR"),
    "6.3 PRIORITY of another length": ([frame(PRIORITY, 0, 1, bytes(4))], "*"),
    "6.4 RST_STREAM on stream 0": ([frame(RST, 0, 0, bytes(4))], "PROTOCOL_ERROR"),
    "6.4 RST_STREAM of another length": ([frame(HEADERS, 4, 1, GET), frame(RST, 0, 1, bytes(3))], "*"),
    "6.5 SETTINGS on a stream": ([frame(SETTINGS, 0, 1)], "PROTOCOL_ERROR"),
    "6.5 an acknowledgement with settings": ([frame(SETTINGS, ACK, 0, bytes(6))], "*"),
    "6.5 a length that is no multiple of six": ([frame(SETTINGS, 0, 0, bytes(5))], "*"),
    "6.5.2 ENABLE_PUSH of 2": ([frame(SETTINGS, 0, 0, b"\0\2\0\0\0\2")], "PROTOCOL_ERROR"),
    "6.5.2 INITIAL_WINDOW_SIZE of 2^31": ([frame(SETTINGS, 0, 0, b"\0\4\x80\0\0\0")], "FLOW_CONTROL_ERROR"),
    "6.5.2 MAX_FRAME_SIZE of 16383": ([frame(SETTINGS, 0, 0, b"\0\5\0\0\x3f\xff")], "PROTOCOL_ERROR"),
    "6.6 PUSH_PROMISE of a client": (
        [frame(HEADERS, 5, 1, GET), frame(PUSH, 4, 1, b"\0\0\0\2" + GET)],
        "PROTOCOL_ERROR",
    ),
    "6.7 PING on a stream": ([frame(PING, 0, 1, bytes(8))], "PROTOCOL_ERROR"),
    "6.7 PING of another length": ([frame(PING, 0, 0, bytes(6))], "*"),
    "6.8 GOAWAY on a stream": ([frame(GOAWAY, 0, 1, bytes(8))], "PROTOCOL_ERROR"),
    "6.8 GOAWAY that is too short": ([frame(GOAWAY, 0, 0, bytes(4))], "*"),
    "6.9 WINDOW_UPDATE of 0 on the connection": ([frame(WINDOW, 0, 0, bytes(4))], "PROTOCOL_ERROR"),
    "6.9 WINDOW_UPDATE of another length": ([frame(WINDOW, 0, 0, bytes(3))], "*"),
    "6.9.1 a window over 2^31-1": ([frame(WINDOW, 0, 0, b"\x7f\xff\xff\xff")], "FLOW_CONTROL_ERROR"),
    "6.10 CONTINUATION after END_HEADERS": (
        [frame(HEADERS, 5, 1, GET), frame(CONTINUATION, 4, 1, GET)],
        "PROTOCOL_ERROR",
    ),
    "8.1.1 more bytes than Content-Length": (
        [frame(HEADERS, 4, 1, GET + b"\x0f\x0d\x011"), frame(DATA, 1, 1, b"ab")],
        "PROTOCOL_ERROR",
    ),
    "7541 2.3.3 an index of 0": ([frame(HEADERS, 5, 1, GET + b"\x80")], "*"),
    "7541 2.3.3 an index behind the tables": ([frame(HEADERS, 5, 1, GET + b"\xff\x80\x10")], "*"),
    "7541 5.2 a text longer than its block": ([frame(HEADERS, 5, 1, GET + b"\x40\x05ab")], "*"),
    "7541 4.2 a table larger than allowed": ([frame(HEADERS, 5, 1, b"\x3f\xff\xff\x7f" + GET)], "*"),
}
"""Mistakes that end a connection. ``*``: RFC 9113 has another code, and h2 says PROTOCOL_ERROR."""

STREAM: dict[str, Fields] = {
    "8.2.1 a name in capitals": request("GET", "/", ("X-A", "b")),
    "8.2.1 a name with a space": request("GET", "/", ("x a", "b")),
    "8.2.1 a name with a colon": request("GET", "/", ("x:a", "b")),
    "8.2.1 an empty name": request("GET", "/", ("", "b")),
    "8.2.1 a value with a line feed": request("GET", "/", ("x", "a\nb: c")),
    "8.2.1 a value with NUL": request("GET", "/", ("x", "a\0")),
    "8.2.1 a value that ends with a space": request("GET", "/", ("x", "a ")),
    "8.2.2 Connection": request("GET", "/", ("connection", "keep-alive")),
    "8.2.2 Transfer-Encoding": request("GET", "/", ("transfer-encoding", "chunked")),
    "8.2.2 Upgrade": request("GET", "/", ("upgrade", "websocket")),
    "8.2.2 Proxy-Connection": request("GET", "/", ("proxy-connection", "x")),
    "8.2.2 TE other than trailers": request("GET", "/", ("te", "gzip, trailers")),
    "8.3 an unknown pseudo-header field": request("GET", "/", (":x", "y")),
    "8.3 one of a response": request("GET", "/", (":status", "200")),
    "8.3 one behind another field": [*request()[:3], ("x", "y"), (":path", "/")],
    "8.3 one twice": [*request(), (":path", "/b")],
    "8.3.1 no :method": request()[1:],
    "8.3.1 no :scheme": [request()[0], *request()[2:]],
    "8.3.1 no :path": request()[:3],
    "8.3.1 an empty :path": request("GET", ""),
    "8.3.1 a :path that is none": request("GET", "a"),
    "8.3.1 a :path with a space": request("GET", "/a b"),
    "8.3.1 a :path with a fragment": request("GET", "/#a"),
    "8.3.1 * for GET": request("GET", "*"),
    "8.3.1 no :authority and no Host": [request()[0], request()[1], request()[3]],
    "8.3.1 an :authority that is no host": [*request()[:2], (":authority", "a@b"), (":path", "/")],
    "8.3.1 Host beside another :authority": request("GET", "/", ("host", "b")),
    "8.3.1 two Hosts": request("GET", "/", ("host", "a"), ("host", "a")),
    "8.3.1 a method that is no token": request("G T"),
    "8.5 CONNECT with a :path": request("CONNECT"),
    "8.1.1 Content-Length without a body": request("GET", "/", ("content-length", "3")),
    "8.1.1 Content-Length twice": request("GET", "/", ("content-length", "0"), ("content-length", "0")),
    "RFC 8441, 4 :protocol without CONNECT": [*request(), (":protocol", "websocket")],
}
"""Mistakes that end a stream, and not its connection."""

REFUSED: dict[str, tuple[Fields, str]] = {
    "a long target": (request("GET", "/" + "a" * 9000), "414"),
    "a long field": (request("GET", "/", ("x", "a" * 9000)), "431"),
    "many fields": (request("GET", "/", *[("x", "y")] * 200), "431"),
    "CONNECT": ([(":method", "CONNECT"), (":authority", "a:1")], "501"),
    "another protocol": ([*request("CONNECT"), (":protocol", "connect-udp")], "501"),
    "another version of WebSocket": ([*request("CONNECT"), (":protocol", "websocket")], "400"),
    "a long body": (request("POST", "/", ("content-length", "2000")), "413"),
}
"""Requests that are answered, and that no application gets."""


@pytest.mark.parametrize("case", CONNECTION)
async def test_a_mistake_that_ends_the_connection(case: str, caplog: pytest.LogCaptureFixture) -> None:
    frames, code = CONNECTION[case]
    with caplog.at_level(logging.INFO, "protocols"):
        async with serving(Recorder(), http2=True) as server, peer(server) as client:
            client.raw(*frames)
            await client.until_closed()
            ((said, _),) = client.goaways
            assert server.refusals == {said: 1}
    assert said == code or code == "*"
    assert len([each for each in caplog.messages if "it breaks the rules of HTTP/2" in each]) == 1


@pytest.mark.parametrize("more", [frame(HEADERS, 5, 1, GET), frame(DATA, 0, 1, b"a")])
async def test_what_comes_behind_the_end_of_a_request_ends_its_stream(more: bytes) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async with serving(app, http2=True) as server, peer(server) as client:
        number = client.ask()
        client.raw(more)
        assert (await client.answer(number)).reset == "STREAM_CLOSED"  # 5.1, half-closed (remote)
        await until(lambda: not server.active())


async def test_bytes_behind_the_preface_that_are_no_settings() -> None:
    async with serving(Recorder(), http2=True) as server, peer(server, begins=False) as client:
        client.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", frame(PING, 0, 0, bytes(8)))
        await client.until_closed()
        assert client.goaways[0][0] == "PROTOCOL_ERROR"


@pytest.mark.parametrize("case", STREAM)
async def test_a_mistake_that_ends_a_stream(case: str, caplog: pytest.LogCaptureFixture) -> None:
    app = Recorder()
    with caplog.at_level(logging.INFO, "protocols"):
        async with serving(app, http2=True) as server, peer(server) as client:
            answer = await client.answer(client.ask(STREAM[case]))
            assert (answer.reset, answer.heads) == ("PROTOCOL_ERROR", [])
            assert (await client.get("/good")).status == "200"
            assert server.refusals == {"PROTOCOL_ERROR": 1}
    assert [scope["path"] for scope in app.scopes] == ["/good"]
    assert len([each for each in caplog.messages if each.endswith("; reset with PROTOCOL_ERROR")]) == 1


@pytest.mark.parametrize("case", REFUSED)
async def test_a_request_that_is_refused_with_a_status(case: str) -> None:
    fields, status = REFUSED[case]
    app = Recorder()
    async with serving(app, http2=True, max_body=1000) as server, peer(server) as client:
        answer = await client.answer(
            client.ask(fields, ends=case not in ("a long body", "another version of WebSocket"))
        )
        assert answer.status == status
        assert (await client.get("/good")).status == "200"
        assert server.refusals == {status: 1}
    assert [scope["path"] for scope in app.scopes] == ["/good"]


async def test_a_body_that_grows_too_long_and_one_that_ends_too_early() -> None:
    app = Recorder()
    async with serving(app, http2=True, max_body=1000) as server, peer(server) as client:
        assert (await client.answer(client.ask(request("POST"), bytes(2000)))).status == "413"
        number = client.ask(request("POST", "/", ("content-length", "9")), b"abc", ends=False)
        client.h2.send_headers(number, [("x", "y")], end_stream=True)
        client.flush()
        assert (await client.answer(number)).reset == "PROTOCOL_ERROR"
        await until(lambda: not server.active())
    assert len(app.scopes) == 2


@pytest.mark.parametrize("trailer", [(":path", "/"), ("X", "y"), ("connection", "close")])
async def test_trailers_that_may_not_be(trailer: tuple[str, str]) -> None:
    async with serving(Recorder(), http2=True) as server, peer(server) as client:
        number = client.ask(request("POST"), b"abc", ends=False)
        client.h2.send_headers(number, [trailer], end_stream=True)
        client.flush()
        assert (await client.answer(number)).reset == "PROTOCOL_ERROR"
        assert (await client.get()).status == "200"


async def test_a_header_list_that_inflates_beyond_its_limit() -> None:
    async with serving(Recorder(), http2=True) as server, peer(server) as client:
        entry = b"\x40\x01x\x7f\x81\x1e" + b"a" * 4000  # into the table
        client.raw(frame(HEADERS, 5, 1, GET + entry + b"\xbe" * 8000))
        await client.until_closed()
        assert client.goaways == [("ENHANCE_YOUR_CALM", 0)]


async def test_what_is_unknown_is_passed_over() -> None:
    async with serving(Recorder(), http2=True) as server, peer(server) as client:
        client.raw(
            frame(0x20, 0xFF, 0, b"abc"),
            frame(SETTINGS, 0, 0, b"\xf0\x00\0\0\0\1"),
            frame(PING, 0xFE, 0, bytes(8)),
            frame(PRIORITY, 0, 77, b"\0\0\0\1\xff"),
        )
        assert (await client.get()).status == "200"


_BYTES = st.one_of(
    st.binary(max_size=60),
    st.builds(
        frame,
        st.integers(0, 12),
        st.integers(0, 255),
        st.sampled_from([0, 1, 2, 3, 5, 0x80000001]),
        st.one_of(st.binary(max_size=40), st.just(GET), st.just(bytes(8))),
    ),
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(sent=st.lists(_BYTES, max_size=8), step=st.integers(1, 50))
async def test_any_bytes_end_in_an_answer_or_an_error(sent: list[bytes], step: int, caplog: Any) -> None:
    caplog.clear()
    async with serving(Recorder(), http2=True) as server, peer(server) as client:
        data = b"".join(sent)
        for at in range(0, len(data), step):
            client.raw(data[at : at + step])
            await asyncio.sleep(0)
        client.writer.write_eof()
        await client.until_closed()
        await until(lambda: not server.service.connections and not server.active())
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


async def test_a_peer_that_leaves_in_the_middle_of_a_frame() -> None:
    async with serving(Recorder(), http2=True) as server:
        async with peer(server) as client:
            client.raw(frame(HEADERS, 0, 1, GET)[:11])
        await until(lambda: not server.service.connections)
