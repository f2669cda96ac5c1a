"""Requests and their responses, as our server runs them."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from gateway import AsyncHttpConsumer
from gateway.testing import HttpCommunicator
from protocols import LocalProtocolError


async def answer(send: Any, *pieces: bytes, status: int = 200, headers: Any = ()) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    for number, piece in enumerate(pieces, 1):
        await send({"type": "http.response.body", "body": piece, "more_body": number < len(pieces)})


async def mirror(scope: Any, receive: Any, send: Any) -> None:
    body = (await receive())["body"]
    lines = [scope["method"], scope["path"], scope["query_string"].decode(), dict(scope["headers"]), body]
    await answer(send, "\n".join(map(str, lines)).encode(), b"!", headers=[(b"X-Kind", b"mirror")])


async def test_a_request_and_its_response() -> None:
    response = await HttpCommunicator(mirror, "post", "/caf%C3%A9/?q=1 2", b"body", [(b"X-A", b"1")]).get_response()
    assert (response["status"], response.status) == (200, 200)
    assert response["headers"] == [(b"X-Kind", b"mirror")]
    assert response.header("x-kind") == "mirror"
    assert response.header("x-none") is None
    assert response.text.splitlines() == [
        "POST",
        "/café/",
        "q=1%202",
        "{b'host': b'testserver', b'content-length': b'4', b'x-a': b'1'}",
        "b'body'!",
    ]


async def test_json_goes_in_and_comes_out() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert dict(scope["headers"])[b"content-type"] == b"application/json"
        await answer(send, (await receive())["body"])

    response = await HttpCommunicator(app, "POST", "/", json={"a": [1, None]}).get_response()
    assert response.json() == {"a": [1, None]}


async def test_a_consumer_class_and_headers_as_a_dict() -> None:
    class Hello(AsyncHttpConsumer):
        async def handle(self, body: bytes) -> None:
            name = dict(self.scope["headers"])[b"x-name"]
            await self.respond(b"hello " + name)

    response = await HttpCommunicator(
        Hello, "GET", "/", headers={"X-Name": "ann", "Host": "example.org"}
    ).get_response()
    assert response.text == "hello ann"


async def test_a_crash_comes_out_of_the_response() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, b"a", b"b", b"c"[:0]) if scope["path"] == "/late" else None
        raise ZeroDivisionError

    for path in ("/", "/late"):
        with pytest.raises(ZeroDivisionError):
            async with HttpCommunicator(app, "GET", path) as request:
                await request.get_response(timeout=3600)


async def test_what_a_framework_answers_with_500_is_raised_unless_you_want_the_response() -> None:
    def broken(request: Any) -> Any:
        raise ZeroDivisionError("of a view")

    app = Starlette(routes=[Route("/", broken)])
    with pytest.raises(ZeroDivisionError, match="of a view"):
        await HttpCommunicator(app, "GET", "/").get_response()
    response = await HttpCommunicator(app, "GET", "/", raise_request_exception=False).get_response()
    assert (response.status, response.text) == (500, "Internal Server Error")

    async def unavailable(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, b"later", status=503)

    assert (await HttpCommunicator(unavailable, "GET", "/").get_response()).status == 503


async def test_an_application_that_does_not_answer() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    with pytest.raises(AssertionError, match=r"sent no http.response.start, and has ended"):
        await HttpCommunicator(app, "GET", "/").get_response(timeout=3600)


@pytest.mark.parametrize(
    ("length", "error", "words"),
    [("3", LocalProtocolError, "1 bytes longer"), ("9", AssertionError, "5 bytes short")],
)
async def test_a_body_of_another_length_than_it_says(length: str, error: type[Exception], words: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, b"four", headers=[(b"content-length", length.encode())])

    with pytest.raises(error, match=words):
        await HttpCommunicator(app, "GET", "/").get_response()


async def test_a_response_may_be_a_file(tmp_path: Path) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.pathsend", "path": str(tmp_path / "a.txt")})

    (tmp_path / "a.txt").write_bytes(b"of a file")
    assert (await HttpCommunicator(app, "GET", "/").get_response()).body == b"of a file"


async def test_an_application_that_asks_on_hears_the_disconnect_each_time() -> None:
    heard: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await answer(send, b"done")
        heard.extend([(await receive())["type"], (await receive())["type"]])

    async with HttpCommunicator(app, "GET", "/") as request:
        assert (await request.get_response()).body == b"done"
        await request.wait()
    assert heard == ["http.disconnect", "http.disconnect"]


async def test_a_stream_is_left_with_the_block() -> None:
    heard = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        assert (await receive())["type"] == "http.disconnect"
        heard.set()

    async with HttpCommunicator(app, "GET", "/events") as request:
        await request.send_input({"type": "http.request"})
        assert (await request.receive_output())["status"] == 200
        assert (await request.receive_output())["body"] == b"one"
    assert heard.is_set()


def test_what_is_no_request() -> None:
    with pytest.raises(TypeError, match="the path is bytes; write text"):
        HttpCommunicator(mirror, "GET", b"/")
    with pytest.raises(TypeError, match="the body is str; write bytes, or json="):
        HttpCommunicator(mirror, "GET", "/", "text")


async def test_a_request_has_one_body() -> None:
    with pytest.raises(TypeError, match="body or json, one of them"):
        HttpCommunicator(mirror, "POST", "/", b"a", json={"b": 1})


async def test_headers_are_a_dict_or_pairs() -> None:
    wrong: Any = {"headers is a str; write a dict": "x: y", "an item of headers is": [("x",)], "of 'x'": {"x": None}}
    for said, given in wrong.items():
        with pytest.raises(TypeError, match=f"request: .*{said}"):
            HttpCommunicator(mirror, "GET", "/", headers=given)
    assert (b"x-n", b"1") in HttpCommunicator(mirror, "GET", "/", headers={"X-N": 1}).scope["headers"]
