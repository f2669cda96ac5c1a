"""Clients that send FIN behind their request and wait for the answer, and clients that have left with the same FIN."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from contract import LIMIT, connect
from http_peer import GET, Recorder, serving
from waiting import until

from protocols.app_run import AppRun, observed
from protocols.http.server import HTTPServer

SLOW = 0.3
"""Seconds: by then the application has heard of the FIN."""


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the body of the request, or with the path; after a while, or in pieces."""
    body = b""
    while (event := await receive())["type"] == "http.request":
        body += event["body"]
        if not event["more_body"]:
            break
    if scope["path"] == "/slow":
        await asyncio.sleep(SLOW)
    await send({"type": "http.response.start", "status": 200})
    if scope["path"] == "/pieces":
        for number in range(5):
            await send({"type": "http.response.body", "body": b"%d" % number, "more_body": True})
            await asyncio.sleep(SLOW / 5)
    await send({"type": "http.response.body", "body": body or scope["path"].encode()})


async def half_close(server: HTTPServer, data: bytes) -> bytes:
    reader, writer = await connect(server.address)
    writer.write(data)
    writer.write_eof()
    async with asyncio.timeout(LIMIT):
        answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize(
    ("data", "ends"),
    [
        (get("/quick"), [b"/quick"]),
        (get("/slow"), [b"/slow"]),
        (get("/pieces"), [b"1\r\n4\r\n7\r\n/pieces\r\n0\r\n\r\n"]),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", [b"hello"]),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", [b"hello"]),
        (get("/a") + get("/slow") + get("/b"), [b"/a", b"/slow", b"/b"]),
        (get("/a") + get("/b")[:20], [b"/a"]),
        (get("/slow") + b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhello", [b"/slow"]),
        (b"GET /old HTTP/1.0\r\n\r\n", [b"/old"]),
        (b"nonsense\r\n\r\n", [b"Bad Request"]),
    ],
)
async def test_who_sends_fin_behind_a_request_gets_its_answer_and_then_our_fin(data: bytes, ends: list[bytes]) -> None:
    async with serving(app) as server:
        first, *answers = (await half_close(server, data)).split(b"HTTP/1.1 ")
        assert first == b""
        assert [answer[-len(end) :] for answer, end in zip(answers, ends, strict=True)] == ends
        await until(lambda: not server.service.connections)


@pytest.mark.parametrize("data", [b"", b"GET / HT", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhello"])
async def test_who_sends_fin_in_the_middle_of_a_request_has_left(data: bytes) -> None:
    recorder = Recorder()
    async with serving(recorder) as server:
        assert await half_close(server, data) == b""
        await until(lambda: not server.active())


def told(*then: str) -> tuple[list[str], Callable[..., Awaitable[None]]]:
    events: list[str] = []

    async def waiting(scope: Any, receive: Any, send: Any) -> None:
        events.extend([(await receive())["type"], (await receive())["type"], (await receive())["type"]])
        for each in then:
            if each == "raise":
                raise OSError("its client has left")
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": each.encode()})

    return events, waiting


@pytest.mark.parametrize(("then", "end"), [((), b""), (("hello",), b"hello"), (("raise",), b"Internal Server Error")])
async def test_an_application_that_waits_hears_of_it_and_may_answer_all_the_same(
    then: tuple[str, ...], end: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    events, waiting = told(*then)
    async with serving(waiting) as server:
        answer = await half_close(server, GET)
        assert answer.endswith(end)
        assert bool(answer) == bool(end)
        await until(lambda: not server.service.connections)
    assert events == ["http.request", "http.disconnect", "http.disconnect"]
    assert [
        record for record in caplog.records if record.levelno >= logging.ERROR and "lifespan" not in record.msg
    ] == [record for record in caplog.records if "raise" in then and record.levelno == logging.ERROR]


@pytest.mark.parametrize(("then", "result"), [((), "client left"), (("hello",), 200), (("raise",), 500)])
async def test_what_has_come_of_it_is_what_the_client_got(
    then: tuple[str, ...], result: str | int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, waiting = told(*then)
    results: list[str | int] = []

    class Meter:
        """Notes what has come of each run, as metrics do."""

        @staticmethod
        def route() -> str:
            return ""

        def opened(self, run: AppRun) -> None: ...

        def ended(self, run: AppRun, seconds: float) -> None:
            results.append(run.final_result())

    async with serving(waiting) as server:
        monkeypatch.setattr(observed, "meter", Meter())
        await half_close(server, GET)
        await until(lambda: not server.service.running)
        monkeypatch.undo()
    assert results == [result]


async def test_an_application_that_never_answers_is_cancelled_after_its_grace() -> None:
    ended = asyncio.Event()

    async def never(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            ended.set()

    async with serving(never, disconnect_grace=0.1) as server:
        await half_close(server, GET)
        assert ended.is_set()
        await until(lambda: not server.service.connections)


async def test_a_stream_that_has_begun_hears_of_the_fin_too() -> None:
    """A quiet one learns from nothing else that its reader has left."""
    events: list[str] = []

    async def stream(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"1", "more_body": True})
        events.append((await receive())["type"])

    async with serving(stream) as server:
        reader, writer = await connect(server.address)
        writer.write(GET)
        async with asyncio.timeout(LIMIT):
            await reader.readuntil(b"\r\n\r\n")
            writer.write_eof()
            await until(lambda: events == ["http.disconnect"])
        writer.close()
