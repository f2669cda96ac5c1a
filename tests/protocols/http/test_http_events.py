"""What cannot be an answer is the application's error at its line; what it sends then is the answer all the same."""

from typing import Any

import pytest
import websockets
from contract import LIMIT
from http_peer import GET, ask, serving
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import LocalProtocolError
from protocols.http.events import start
from protocols.http.head import encode, status_line

START = {"type": "http.response.start", "status": 200, "headers": []}
BODY = {"type": "http.response.body", "body": b"ok"}


def head(*headers: Any) -> dict[str, Any]:
    return {**START, "headers": list(headers)}


@pytest.mark.parametrize(
    ("before", "wrong", "sentence"),
    [
        ([], {**START, "status": 99}, "http.response.start: status is 99; write an integer from 200 to 599"),
        ([], {**START, "status": 600}, "status is 600"),
        ([], {**START, "status": "200"}, "status is '200'"),
        ([], {**START, "status": 200.0}, r"status is 200\.0"),
        ([], {**START, "status": None}, "status is None"),
        ([], {"type": "http.response.start"}, "needs the key 'status'"),
        ([], head((b"x-a", b"b\r\nset-cookie: c")), "control character"),
        ([], head((b"x a", b"b")), "the header 'x a': its name is not a token"),
        (
            [],
            head((b"content-length", b"5"), (b"content-length", b"3")),
            "content-length is 5, and 3 as well; leave it",
        ),
        ([], head(("x-a", "b")), "pairs, both of them bytes"),
        ([], head((b"x-a", b"b", b"c")), "pairs, both of them bytes"),
        ([], head(b"ab"), "pairs, both of them bytes"),
        ([], head((b"content-length", 5)), "pairs, both of them bytes"),
        ([], head((b"content-length", b"-5")), "is not a length"),
        ([], {**START, "headers": {b"x-a": b"b"}}, "pairs, both of them bytes"),
        ([], {**START, "headers": 7}, "pairs, both of them bytes"),
        ([], {"type": "http.response.early_hint", "links": b"</a>"}, "links is a bytes; write a list of bytes"),
        ([], {"type": "http.response.early_hint", "links": ["</a>"]}, "links is a list; write a list of bytes"),
        ([], {"type": "http.response.early_hint", "links": [b"a\n"]}, "control character"),
        ([START], {**BODY, "body": "ok"}, "body is a str; write bytes"),
        ([START], {**BODY, "body": None}, "body is None; write bytes"),
        ([START], {**BODY, "body": [b"ok"]}, "body is a list; write bytes"),
        ([START], {"type": "http.response.pathsend", "path": 1}, "path is 1; write the path of a file"),
        ([], {}, "a dict with a str under 'type'"),
        ([], "http.response.start", "a dict with a str under 'type'"),
        ([], {"type": ["x"]}, "a dict with a str under 'type'"),
    ],
)
async def test_a_response(before: list[Any], wrong: Any, sentence: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for event in before:
            await send(event)
        with pytest.raises(LocalProtocolError, match=sentence):
            await send(wrong)
        for event in [START, BODY][len(before) :]:
            await send(event)

    async with serving(app) as server:
        answer, closed = await ask(server, GET)
    assert (answer.status, answer.body, closed) == (200, b"ok", False)


@pytest.mark.parametrize("body", [bytearray(b"ok"), memoryview(b"ok"), memoryview(b"o\0k\0").cast("H")])
async def test_bytes_of_every_kind_are_a_body(body: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send({**BODY, "body": body})

    async with serving(app) as server:
        answer, closed = await ask(server, GET)
    assert (answer.body, closed) == (bytes(body), False)


ACCEPT = {"type": "websocket.accept"}


@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize(
    ("accepted", "wrong", "sentence"),
    [
        (False, {**ACCEPT, "subprotocol": b"chat"}, "subprotocol is a bytes; write text"),
        (False, {**ACCEPT, "subprotocol": "a\r\nb: c"}, "control character"),
        (False, {**ACCEPT, "headers": [("a", "b")]}, "pairs, both of them bytes"),
        (False, {**ACCEPT, "headers": [(b"a", b"b\n")]}, "control character"),
        (True, {"type": "websocket.send", "text": "a", "bytes": b"b"}, "text and bytes; write one of them"),
        (True, {"type": "websocket.send"}, "needs the key 'bytes'"),
        (True, {"type": "websocket.send", "text": None, "bytes": None}, "bytes is None; write bytes"),
        (True, {"type": "websocket.send", "text": b"a"}, "text is a bytes; write text"),
        (True, {"type": "websocket.send", "text": "\ud800"}, "lone surrogates"),
        (True, {"type": "websocket.send", "bytes": "a"}, "bytes is a str; write bytes"),
        (True, {"type": "websocket.close", "code": 1006}, "websocket.close: code is 1006; write 1000"),
        (True, {"type": "websocket.close", "code": "1000"}, "code is '1000'"),
        (True, {"type": "websocket.close", "reason": b"x"}, "reason is a bytes; write text"),
        (True, {"type": "websocket.close", "reason": "x" * 124}, "reason has 124 bytes; 123 is the most"),
    ],
)
async def test_a_websocket(accepted: bool, wrong: Any, sentence: str, compression: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if accepted:
            await send(ACCEPT)
        with pytest.raises(LocalProtocolError, match=sentence):
            await send(wrong)
        if not accepted:
            await send(ACCEPT)
        await send({"type": "websocket.send", "text": "é"})
        await send({"type": "websocket.send", "bytes": memoryview(b"x")})
        await send({"type": "websocket.close", "code": 4000, "reason": "bye"})

    async with (
        serving(app) as server,
        websockets.connect(f"ws://{server.address}/", compression=compression, open_timeout=LIMIT) as socket,
    ):
        assert [await socket.recv(), await socket.recv()] == ["é", b"x"]
        await socket.wait_closed()
    assert (socket.close_code, socket.close_reason) == (4000, "bye")


junk = st.one_of(st.none(), st.integers(), st.floats(), st.text(), st.binary(), st.lists(st.binary(), max_size=3))


@given(st.one_of(junk, st.lists(st.one_of(junk, st.tuples(junk, junk)), max_size=3)))
def test_headers_are_bytes_or_the_application_s_error(headers: Any) -> None:
    try:
        fields, _, _, _ = encode(headers)
    except LocalProtocolError:
        return
    assert fields.endswith(b"\r\n") or not fields


@given(junk)
def test_a_status_is_a_line_or_the_application_s_error(status: Any) -> None:
    try:
        line = status_line(start({"type": "http.response.start", "status": status})["status"])
    except LocalProtocolError:
        return
    assert line.startswith(b"HTTP/1.1 %d " % status)
