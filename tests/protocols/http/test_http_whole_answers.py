"""A consumer's answer is sent in one step where nothing is unusual; its bytes are those of the two events."""

import asyncio
import re
from typing import Any

import pytest
from contract import LIMIT, connect
from http_peer import serving
from waiting import until

from gateway import AsyncHttpConsumer
from protocols.app_run import observed
from protocols.http.response import Response

TEXT = (b"content-type", b"text/plain")
ANSWERS: dict[str, tuple[Any, int, list[tuple[bytes, bytes]]]] = {
    "plain": (b"hello", 200, [TEXT]),
    "empty": (b"", 200, []),
    "not-found": ("nothing here", 404, [TEXT]),
    "crash": (b"sorry", 500, []),
    "no-content": (b"", 204, []),
    "not-modified": (b"", 304, [(b"etag", b'"1"')]),
    "unknown-status": (b"?", 599, []),
    "no-final-status": (b"?", 103, []),
    "long": (b"x" * 20_000, 200, [TEXT]),
    "its-length": (b"hello", 200, [(b"content-length", b"5")]),
    "wrong-length": (b"hello", 200, [(b"content-length", b"6")]),
    "its-date": (b"hello", 200, [(b"date", b"Tue, 01 Dec 2026 00:00:00 GMT")]),
    "closes": (b"hello", 200, [(b"connection", b"close")]),
    "chunked": (b"hello", 200, [(b"transfer-encoding", b"chunked")]),
    "bad-name": (b"hello", 200, [(b"a b", b"c")]),
    "bad-value": (b"hello", 200, [(b"a", b"b\r\nc: d")]),
    "cookie": (b"hello", 200, []),
}
REQUESTS = {
    "get": b"GET /{} HTTP/1.1\r\nHost: a\r\n\r\n",
    "head": b"HEAD /{} HTTP/1.1\r\nHost: a\r\n\r\n",
    "old": b"GET /{} HTTP/1.0\r\n\r\n",
    "old-kept": b"GET /{} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "last": b"GET /{} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "post": b"POST /{} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
}
DATE = re.compile(rb"\r\ndate: [^\r]*")


class Page(AsyncHttpConsumer):
    async def handle(self, body: bytes) -> None:
        name = self.scope["path"][1:]
        if name == "cookie":
            self.set_cookie("a", "b")
        content, status, headers = ANSWERS[name]
        await self.respond(content, status, headers)


direct = Page.as_asgi()


async def wrapped(scope: Any, receive: Any, send: Any) -> None:
    """Middleware that sees both events."""

    async def seen(event: Any) -> None:
        await send(event)

    await direct(scope, receive, seen)


async def asked(address: str, request: bytes) -> bytes:
    """The answers to ``request`` and to another one behind it, up to the end of the connection."""
    reader, writer = await connect(address)
    writer.write(request + b"GET /plain HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    async with asyncio.timeout(LIMIT):
        answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize("answer", ANSWERS)
async def test_an_answer_in_one_step_is_that_of_its_two_events(answer: str) -> None:
    async with serving(direct) as ours, serving(wrapped) as reference:
        for request in (each.replace(b"{}", answer.encode()) for each in REQUESTS.values()):
            one, two = await asked(ours.address, request), await asked(reference.address, request)
            assert DATE.sub(b"", one) == DATE.sub(b"", two)
            assert one.count(b"\r\ndate: ") == two.count(b"\r\ndate: ")


async def test_what_is_not_unusual_is_sent_in_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    in_one_step: list[bool] = []
    whole = Response.answer_whole

    async def noted(run: Response, status: int, headers: Any, body: bytes) -> bool:
        in_one_step.append(await whole(run, status, headers, body))
        return in_one_step[-1]

    monkeypatch.setattr(Response, "answer_whole", noted)
    async with serving(direct) as server:
        for name in ("plain", "not-found", "crash", "its-length", "its-date"):
            await asked(server.address, REQUESTS["get"].replace(b"{}", name.encode()))
    assert in_one_step == [True, False] * 5  # the second one is the last of its connection


async def test_who_observes_the_runs_sees_both_events() -> None:
    class Observer:
        def __init__(self) -> None:
            self.sent_types: list[str] = []

        def began(self, run: Any) -> None: ...
        def waits(self, run: Any) -> None: ...
        def received(self, run: Any, event: Any) -> None: ...
        def ended(self, run: Any) -> None: ...
        def sent(self, run: Any, event: Any) -> None:
            self.sent_types.append(event["type"])

    observer = Observer()
    observed.add(observer)
    try:
        async with serving(direct) as server:
            await asked(server.address, b"")
    finally:
        observed.remove(observer)
    assert observer.sent_types == ["http.response.start", "http.response.body"]


async def test_a_proxy_of_send_sees_both_events() -> None:
    seen: list[str] = []

    class Proxy:
        """What instrumentation puts around functions: it has the attributes of the function within it."""

        def __init__(self, wrapped: Any) -> None:
            self._wrapped = wrapped

        def __getattr__(self, name: str) -> Any:
            return getattr(self._wrapped, name)

        async def __call__(self, event: Any) -> None:
            seen.append(event["type"])
            await self._wrapped(event)

    async def instrumented(scope: Any, receive: Any, send: Any) -> None:
        await direct(scope, receive, Proxy(send))

    async with serving(instrumented) as server:
        await asked(server.address, REQUESTS["get"].replace(b"{}", b"plain"))
    assert seen == ["http.response.start", "http.response.body"] * 2


async def test_a_handler_that_gives_up_waiting_for_a_slow_peer_has_responded(caplog: pytest.LogCaptureFixture) -> None:
    given_up: list[str] = []

    class Hasty(AsyncHttpConsumer):
        async def handle(self, body: bytes) -> None:
            try:
                async with asyncio.timeout(0.05):
                    await self.respond(b"x" * 16_000)
            except TimeoutError:
                given_up.append("respond")

        async def disconnect(self) -> None:
            given_up.append("wait")

    async with serving(Hasty.as_asgi()) as server:
        _, writer = await connect(server.address)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 1500)
        await until(lambda: len(given_up) >= 2)
        writer.transport.abort()
    assert given_up[:2] == ["respond", "wait"]
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_consumer_may_have_attributes_of_common_names(caplog: pytest.LogCaptureFixture) -> None:
    class Busy(AsyncHttpConsumer):
        async def handle(self, body: bytes) -> None:
            self._stop = self._begin = self._gather = asyncio.Event()
            await self.respond(b"done")

    async with serving(Busy.as_asgi()) as server:
        assert (await asked(server.address, b"")).endswith(b"\r\n\r\ndone")
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_the_last_answer_of_a_server_that_stops_says_so() -> None:
    begun, goes_on = asyncio.Event(), asyncio.Event()

    class Slow(AsyncHttpConsumer):
        async def handle(self, body: bytes) -> None:
            begun.set()
            await goes_on.wait()
            await self.respond(b"done")

    async with serving(Slow.as_asgi()) as server:
        reader, writer = await connect(server.address)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await begun.wait()
        stopping = asyncio.create_task(server.service.drain(LIMIT))
        await until(lambda: server.service.draining)
        goes_on.set()
        async with asyncio.timeout(LIMIT):
            answer = await reader.read()
        await stopping
        writer.close()
    assert b"\r\nconnection: close\r\n" in answer
    assert answer.endswith(b"\r\n\r\ndone")
