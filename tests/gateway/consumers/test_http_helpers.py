"""Bodies as streams, forms, cookies and server-sent events of HTTP consumers, with curl and httpx as clients."""

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest
from own_services import installed
from test_disconnect import dial, idle, serving
from waiting import until
from websockets.asyncio.client import connect as websocket

from gateway import (
    AsyncHttpConsumer,
    AsyncWebsocketConsumer,
    HttpConsumer,
    InMemoryChannelLayer,
    get_channel_layer,
    layer_event,
)
from gateway.consumers.form_data import LONGEST_URLENCODED, MOST, FormError, read
from gateway.consumers.http import HttpMethods
from gateway.layers import channel_layer
from protocols.errors import LocalProtocolError


async def curl(*arguments: str) -> bytes:
    process = await asyncio.create_subprocess_exec(
        "curl", "-sS", "--max-time", "10", *arguments, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output


# The body as a stream.


class AsyncUpload(AsyncHttpConsumer):
    def __init__(self, told: list[Any]) -> None:
        self.told = told
        self.size = 0

    async def receive_chunk(self, chunk: bytes) -> None:
        self.size += len(chunk)
        self.told.append(len(chunk))
        if self.size > 20_000_000:
            await self.respond("too much", status=413)

    async def handle(self, body: bytes) -> None:
        await self.respond_json([self.size, len(body)])


class SyncUpload(HttpConsumer):
    def __init__(self, told: list[Any]) -> None:
        self.told = told
        self.size = 0

    def receive_chunk(self, chunk: bytes) -> None:
        self.size += len(chunk)
        self.told.append(len(chunk))
        if self.size > 20_000_000:
            self.respond("too much", status=413)

    def handle(self, body: bytes) -> None:
        self.respond_json([self.size, len(body)])


UPLOADS: dict[str, Any] = {"async": AsyncUpload, "sync": SyncUpload}


@pytest.mark.parametrize("form", UPLOADS)
async def test_a_body_is_taken_in_pieces_and_handled_when_all_have_come(form: str) -> None:
    told: list[int] = []
    async with serving(UPLOADS[form].as_asgi(told=told)) as server, httpx.AsyncClient() as client:
        answer = await client.post(f"http://{server.address}/", content=b"x" * 5_000_000)
        assert answer.json() == [5_000_000, 0]
        assert sum(told) == 5_000_000
        assert max(told) < 1_000_000
        told.clear()
        assert (await client.get(f"http://{server.address}/")).json() == [0, 0]
        assert told == []


@pytest.mark.parametrize("form", UPLOADS)
async def test_a_response_before_the_end_of_the_body_is_the_last_call(form: str) -> None:
    told: list[int] = []
    async with serving(UPLOADS[form].as_asgi(told=told)) as server:
        async with dial(server) as (reader, writer):
            writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60000000\r\n\r\n" + b"x" * 20_000_001)
            async with asyncio.timeout(10):
                assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
            assert 20_000_000 < sum(told) <= 20_000_001
        await idle(server)
    assert sum(told) <= 20_000_001


async def test_a_client_is_not_read_while_a_piece_is_taken() -> None:
    told: list[int] = []
    go_on = asyncio.Event()

    class Slow(AsyncHttpConsumer):
        async def receive_chunk(self, chunk: bytes) -> None:
            told.append(len(chunk))
            await go_on.wait()

        async def handle(self, body: bytes) -> None:
            await self.respond("done")

    async with serving(Slow.as_asgi()) as server, dial(server) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30000000\r\n\r\n" + b"x" * 30_000_000)
        await until(lambda: bool(told))
        assert len(told) == 1
        assert server.traffic.bytes_received < 10_000_000
        go_on.set()
        async with asyncio.timeout(10):
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
    assert sum(told) == 30_000_000


# Forms.


class AsyncForms(AsyncHttpConsumer):
    async def handle(self, body: bytes) -> None:
        form = await self.form(body)
        files = {
            name: [(f.filename, f.content_type, len(f.content)) for f in sent] for name, sent in form.files.items()
        }
        await self.respond_json([{name: form.get_all(name) for name in form}, files])


class SyncForms(HttpConsumer):
    def handle(self, body: bytes) -> None:
        form = self.form(body)
        files = {
            name: [(f.filename, f.content_type, len(f.content)) for f in sent] for name, sent in form.files.items()
        }
        self.respond_json([{name: form.get_all(name) for name in form}, files])


FORMS: dict[str, Any] = {"async": AsyncForms, "sync": SyncForms}


@pytest.mark.parametrize("form", FORMS)
async def test_forms_of_curl(form: str, tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    file.write_bytes(b"\r\n--\0" * 40_000)
    async with serving(FORMS[form].as_asgi()) as server:
        address = f"http://{server.address}/"
        multipart = await curl(
            "-F", "name=Zoë", "-F", "tag=a", "-F", "tag=b", "-F", f"photo=@{file};type=image/png", address
        )
        urlencoded = await curl("--data-urlencode", "name=Zoë & Co", "-d", "tag=a&tag=", address)
    assert json.loads(multipart) == [
        {"name": ["Zoë"], "tag": ["a", "b"]},
        {"photo": [["picture.png", "image/png", 200_000]]},
    ]
    assert json.loads(urlencoded) == [{"name": ["Zoë & Co"], "tag": ["a", ""]}, {}]


async def test_forms_of_httpx() -> None:
    files = [("a", ("C:\\x\\ü.txt", b"1")), ("a", ("../../etc/passwd", b"22")), ("empty", ("", b""))]
    async with serving(AsyncForms.as_asgi()) as server, httpx.AsyncClient() as client:
        answer = await client.post(f"http://{server.address}/", data={"x": ["1", "2"]}, files=files)
    fields, got = answer.json()
    assert fields["x"] == ["1", "2"]
    assert [name for name, _, _ in got["a"]] == ["ü.txt", "passwd"]


@pytest.mark.parametrize("form", FORMS)
async def test_a_request_that_is_no_form_is_answered_400_with_one_line(
    form: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with serving(FORMS[form].as_asgi()) as server, httpx.AsyncClient() as client:
        answer = await client.post(
            f"http://{server.address}/", content=b"secret", headers={"content-type": "text/plain"}
        )
    said = "the request is not a form: its Content-Type is neither multipart/form-data nor urlencoded"
    assert (answer.status_code, answer.text) == (400, f"{said}\n")
    [line] = [line for line in caplog.messages if "not a form" in line]
    assert line.endswith(f"{said}; answered 400")
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


MULTIPART = b"multipart/form-data; boundary=abc"
PART = b'--abc\r\nContent-Disposition: form-data; name="a"\r\n\r\n'


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        (b"", b"a=1", "is not a form"),
        (b"multipart/form-data", b"", "is not a form"),
        (b"multipart/form-data; boundary=" + b"a" * 1000, b"", "is not multipart/form-data"),
        (MULTIPART, b"", "ends before its last boundary"),
        (MULTIPART, b"garbage", "is not multipart/form-data"),
        (MULTIPART, PART + b"x", "ends before its last boundary"),
        (MULTIPART, PART + b"\xff\r\n--abc--\r\n", "not UTF-8"),
        (MULTIPART, b"--abc\r\n\r\nx\r\n--abc--\r\n", "has no name"),
        (MULTIPART, b"--abc\r\n" + b"a" * 10_000 + b": x\r\n\r\nx\r\n--abc--\r\n", "is not multipart/form-data"),
        (MULTIPART, (PART + b"x\r\n") * (MOST + 1) + b"--abc--\r\n", f"more than {MOST} parts"),
        (b"application/x-www-form-urlencoded", b"a=%ff", "not UTF-8"),
        (b"application/x-www-form-urlencoded", b"a=\xff", "not UTF-8"),
        (b"application/x-www-form-urlencoded", b"a=1&" * (MOST + 1), f"more than {MOST} fields"),
        (b"application/x-www-form-urlencoded", b"a" * (LONGEST_URLENCODED + 1), "is longer than"),
    ],
)
def test_a_bad_form_is_an_error_in_words(kind: bytes, body: bytes, said: str) -> None:
    with pytest.raises(FormError, match=said):
        read(kind, body)


def test_the_last_of_several_values_counts_and_a_missing_one_is_a_key_error() -> None:
    form = read(b"application/x-www-form-urlencoded; charset=utf-8", b"a=1&a=2&b=")
    assert (form["a"], form["b"], form.get("c"), form.get_all("c"), dict(form)) == (
        "2",
        "",
        None,
        [],
        {"a": "2", "b": ""},
    )
    with pytest.raises(KeyError):
        form["c"]


# Cookies.


class Visits(AsyncHttpConsumer):
    async def handle(self, body: bytes) -> None:
        visits = int(self.cookies.get("visits", 0)) + 1
        if self.scope["path"] == "/leave":
            self.delete_cookie("visits")
        else:
            self.set_cookie("visits", str(visits), max_age=60)
            self.set_cookie("theme", "dark", path="/settings", httponly=False, samesite="Strict", secure=True)
        await self.respond_json(visits)
        with pytest.raises(LocalProtocolError, match="set_cookie: the response has begun"):
            self.set_cookie("late", "1")


async def test_a_client_sends_back_the_cookies_that_it_got_until_they_are_deleted() -> None:
    async with serving(Visits.as_asgi()) as server, httpx.AsyncClient(base_url=f"http://{server.address}") as client:
        answers = [await client.get(path) for path in ("/", "/", "/leave", "/")]
    assert [answer.json() for answer in answers] == [1, 2, 3, 1]
    assert answers[0].headers.get_list("set-cookie") == [
        "visits=1; Path=/; SameSite=Lax; Max-Age=60; HttpOnly",
        "theme=dark; Path=/settings; SameSite=Strict; Secure",
    ]


async def test_a_websocket_has_cookies_too() -> None:
    class Socket(AsyncWebsocketConsumer):
        async def connect(self, message: Any) -> None:
            self.set_cookie("b", "2")
            await self.accept(headers={"x-a": "1"})
            await self.send(self.cookies["a"])

    cookies = {"Cookie": 'x; a="1" ;a=3'}
    async with (
        serving(Socket.as_asgi()) as server,
        websocket(f"ws://{server.address}/", additional_headers=cookies) as peer,
    ):
        assert await peer.recv() == "1"
        assert peer.response is not None
        assert peer.response.headers["set-cookie"] == "b=2; Path=/; SameSite=Lax; HttpOnly"
        assert peer.response.headers["x-a"] == "1"


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (("a b", "1"), ValueError, "set_cookie: name may have letters, digits"),
        (("a", "1; Domain=x"), ValueError, "set_cookie: value may have ASCII"),
        (("a", "1\r\nx: y"), ValueError, "set_cookie: value may have ASCII"),
        (("a", 1), TypeError, "set_cookie: value is an int; write text"),
    ],
)
def test_what_no_cookie_can_have_is_an_error_at_its_line(
    arguments: tuple[Any, Any], error: type[Exception], said: str
) -> None:
    consumer: HttpMethods[Any] = AsyncForms()
    consumer.scope = {"scheme": "https"}
    with pytest.raises(error, match=said):
        consumer.set_cookie(*arguments)
    for wrong in ({"path": "/;x"}, {"domain": "a\n"}, {"samesite": "lax"}):
        with pytest.raises(ValueError, match=f"set_cookie: {next(iter(wrong))} "):
            consumer.set_cookie("a", "1", **wrong)


def test_a_cookie_of_a_request_by_tls_is_secure() -> None:
    consumer: HttpMethods[Any] = AsyncForms()
    consumer.scope = {"scheme": "https"}
    consumer.set_cookie("a", "1", domain="example.org")
    assert consumer._set_cookies == (
        (b"set-cookie", b"a=1; Path=/; SameSite=Lax; Domain=example.org; Secure; HttpOnly"),
    )


# Server-sent events.


class AsyncFeed(AsyncHttpConsumer):
    async def handle(self, body: bytes) -> None:
        first = int(self.last_event_id or 0)
        await self.start_events({"x-first": str(first)})
        for number in range(first + 1, first + 3):
            await self.send_event(f"line 1\r\nline {number}", event="count", id=str(number), retry=5)
        await self.write(b"", more=False)


class SyncFeed(HttpConsumer):
    def handle(self, body: bytes) -> None:
        first = int(self.last_event_id or 0)
        self.start_events({"x-first": str(first)})
        for number in range(first + 1, first + 3):
            self.send_event(f"line 1\r\nline {number}", event="count", id=str(number), retry=5)
        self.write(b"", more=False)


@pytest.mark.parametrize("feed", [AsyncFeed, SyncFeed])
async def test_a_client_that_connects_again_goes_on_after_its_last_event(feed: Any) -> None:
    async with serving(feed.as_asgi()) as server:
        first = await curl("-i", f"http://{server.address}/")
        again = await curl("-H", "Last-Event-ID: 2", f"http://{server.address}/")
    head, _, body = first.partition(b"\r\n\r\n")
    assert {b"content-type: text/event-stream", b"cache-control: no-cache", b"x-first: 0"} <= set(head.split(b"\r\n"))
    assert body.decode() == "".join(
        f"event: count\nid: {number}\nretry: 5\ndata: line 1\ndata: line {number}\n\n" for number in (1, 2)
    )
    assert b"id: 3\n" in again


async def test_events_of_a_group_reach_a_stream_until_its_client_leaves() -> None:
    told: list[str] = []

    class News(AsyncHttpConsumer):
        groups = ("news",)
        ping_interval = 0.01

        async def handle(self, body: bytes) -> None:
            await self.start_events()

        @layer_event("news.told")
        async def on_news(self, message: Any) -> None:
            await self.send_event(message["text"])

        async def disconnect(self) -> None:
            told.append("left")

    with installed({channel_layer: InMemoryChannelLayer()}):
        async with serving(News.as_asgi()) as server, httpx.AsyncClient() as client:
            async with client.stream("GET", f"http://{server.address}/") as stream:
                lines = stream.aiter_lines()
                assert await anext(lines) == ":"  # it is quiet so far
                await get_channel_layer().group_send("news", {"type": "news.told", "text": "one"})
                async with asyncio.timeout(5):
                    while (line := await anext(lines)) in (":", ""):
                        pass
                assert line == "data: one"
            await idle(server)
        assert not get_channel_layer()._groups  # type: ignore[attr-defined]
    assert told == ["left"]


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"data": {"a": 1}}, TypeError, "send_event: data is a dict; write text; for JSON"),
        ({"data": "", "id": "1\n"}, ValueError, "send_event: id has a line break"),
        ({"data": "", "event": "a\rb"}, ValueError, "send_event: event has a line break"),
        ({"data": "", "id": "a\0"}, ValueError, "send_event: id has a line break or a NUL"),
        ({"data": "", "retry": 1.5}, TypeError, "send_event: retry is a float; write a number of milliseconds"),
    ],
)
def test_what_no_event_can_have_is_an_error_at_its_line(
    arguments: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        SyncFeed().send_event(**arguments)
