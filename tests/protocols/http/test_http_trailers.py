"""Fields behind a body: `http.response.trailers`."""

import asyncio
import logging
from typing import Any

import pytest
from contract import connect, crashes
from http_peer import GET, Recorder, ask, read_answer, serving
from servers.programs import program
from waiting import until

from protocols.errors import LocalProtocolError
from protocols.http.head import trailers

WANTED = b"GET / HTTP/1.1\r\nHost: a\r\nTE: gzip, Trailers\r\n\r\n"
CLOSING = b"%b / HTTP/1.%d\r\nHost: a\r\nTE: trailers\r\nConnection: close\r\n\r\n"
TRAILER = {"type": "http.response.trailers", "headers": [(b"X-Sum", b"900150983cd24fb0")]}


def begin(*fields: tuple[bytes, bytes], status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": fields, "trailers": True}


def body(content: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": content, "more_body": more}


def sends(*events: dict[str, Any]) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for event in events:
            await send(event)

    return app


async def all_of(server: Any, request: bytes) -> tuple[bytes, bytes]:
    """Return head and rest of everything that the server sends before it closes."""
    reader, writer = await connect(server.address)
    writer.write(request)
    head, _, rest = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return head.lower(), rest


@pytest.mark.parametrize(
    ("request_", "announced"),
    [
        (GET, False),
        (WANTED, True),
        (CLOSING % (b"GET", 1), True),
        (CLOSING % (b"GET", 0), False),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTE: gzip\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTE: gzip\r\nTE: trailers\r\n\r\n", True),
    ],
)
async def test_trailers_are_announced_to_peers_that_read_them(request_: bytes, announced: bool) -> None:
    app = Recorder()
    async with serving(app) as server:
        await ask(server, request_)
    assert ("http.response.trailers" in app.scopes[0]["extensions"]) is announced


@pytest.mark.parametrize("fields", [(), ((b"content-length", b"3"),)])
async def test_trailers_follow_the_last_chunk(fields: Any) -> None:
    more = {**TRAILER, "headers": [(b"x-b", b"2")]}
    async with serving(sends(begin(*fields), body(b"abc"), {**TRAILER, "more_trailers": True}, more)) as server:
        head, rest = await all_of(server, CLOSING % (b"GET", 1))
    assert b"transfer-encoding: chunked" in head
    assert b"content-length" not in head
    assert rest == b"3\r\nabc\r\n0\r\nx-sum: 900150983cd24fb0\r\nx-b: 2\r\n\r\n"


@pytest.mark.parametrize(
    ("request_", "status", "expected"),
    [
        (CLOSING.replace(b"TE: trailers\r\n", b"") % (b"GET", 1), 200, b"abcd"),
        (CLOSING % (b"GET", 0), 200, b"abcd"),
        (CLOSING % (b"HEAD", 1), 200, b""),
        (CLOSING % (b"GET", 1), 204, b""),
    ],
)
async def test_other_peers_get_the_body_alone(request_: bytes, status: int, expected: bytes) -> None:
    async with serving(sends(begin((b"content-length", b"4"), status=status), body(b"abcd"), TRAILER)) as server:
        _, rest = await all_of(server, request_)
    assert rest == expected


async def test_chunks_without_trailers_end_as_usual() -> None:
    async with serving(sends(begin(), body(b"a", more=True), body(b"b"), TRAILER)) as server:
        answer, closed = await ask(server, GET)
    assert (answer.body, closed) == (b"ab", False)


async def test_the_connection_serves_the_next_request() -> None:
    async with serving(sends(begin(), body(b"abc"), {**TRAILER, "headers": []})) as server:
        reader, writer = await connect(server.address)
        writer.write(WANTED * 2)
        assert [(await read_answer(reader)).body for _ in range(2)] == [b"abc", b"abc"]
        writer.close()


async def test_an_answer_without_its_trailers_is_aborted(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(sends(begin(), body(b"abc"))) as server:
        _, rest = await all_of(server, CLOSING % (b"GET", 1))
    assert b"0\r\n" not in rest
    assert "ended before its response did" in caplog.text


async def test_trailers_that_are_late_early_or_not_announced_are_mistakes(caplog: pytest.LogCaptureFixture) -> None:
    plain = {**begin(), "trailers": False}
    wrong = [
        (begin(), body(b"a", more=True), TRAILER),
        (begin(), body(b"a"), body(b"b")),
        (begin(), TRAILER),
        (plain, body(b"a"), TRAILER),
        (plain, body(b"a", more=True), TRAILER),
        (begin(), body(b"a"), {**TRAILER, "headers": b"x"}),
        (begin(), body(b"a"), {"type": "http.response.trailers"}),
    ]
    for events in wrong:
        caplog.clear()
        async with serving(sends(*events)) as server:
            await all_of(server, CLOSING % (b"GET", 1))
        assert len(crashes(caplog)) == 1, events


@pytest.mark.parametrize("name", [b"Content-Length", b"transfer-encoding", b"Host", b"set-cookie", b"trailer"])
def test_fields_of_heads_are_no_trailers(name: bytes) -> None:
    with pytest.raises(LocalProtocolError, match="belongs in the head"):
        trailers([(b"x", b"1"), (name, b"1")])
    with pytest.raises(LocalProtocolError, match="not a token"):
        trailers([(b"x", b"1\r\nset-cookie: a=b")])


async def test_a_slow_reader_holds_the_application_up(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    big = body(b"x" * 30_000_000)
    async with serving(sends(begin(), big, TRAILER), stall_timeout=0.5) as server:
        _, writer = await connect(server.address)
        writer.write(WANTED)
        await until(lambda: not server.service.connections)
        writer.close()
    assert "it reads nothing" in caplog.text


async def test_curl_shows_them() -> None:
    async with serving(sends(begin((b"trailer", b"x-sum")), body(b"abc"), TRAILER)) as server:
        curl = await asyncio.create_subprocess_exec(
            program("curl"), "-sS", "-m", "5", "-i", "-H", "TE: trailers", f"http://{server.address}/", stdout=-1
        )
        out, _ = await curl.communicate()
    assert out.endswith(b"\r\n\r\nabcx-sum: 900150983cd24fb0\r\n")


async def test_curl_shows_early_hints() -> None:
    hint = {"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]}
    plain = {**begin(), "trailers": False}
    async with serving(sends(hint, plain, body(b"abc"))) as server:
        curl = await asyncio.create_subprocess_exec(
            program("curl"), "-sS", "-m", "5", "-i", f"http://{server.address}/", stdout=-1
        )
        out, _ = await curl.communicate()
    first, second = out.split(b"HTTP/1.1 ")[1:]
    assert first == b"103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n"
    assert second.startswith(b"200 OK")


async def test_one_with_http_1_0_sees_no_early_hint() -> None:
    hint = {"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]}
    seen = Recorder()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.scopes.append(scope)
        await sends(hint, {**begin(), "trailers": False}, body(b"abc"))(scope, receive, send)

    async with serving(app) as server:
        head, _ = await all_of(server, CLOSING % (b"GET", 0))
    assert head.startswith(b"http/1.1 200")
    assert "http.response.early_hint" not in seen.scopes[0]["extensions"]
