"""Applications of others do under the gateway what they do under uvicorn: the same answers, the same clean-up when a
client leaves at the worst moment, and no log record that uvicorn does not write."""

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from raw import Answer, Peer
from served import PAGE, Outcome, Served, Visit, visit

BEYOND = 0.2
"""Seconds by which our clean-up may be later than uvicorn's."""
SETTLE = 0.05
"""Seconds in which no more may come."""
_OF_THE_SERVER = ("date", "server", "connection", "content-length", "transfer-encoding")


@dataclass(frozen=True)
class Scenario:
    run: Callable[[Visit], Awaitable[Any]]
    marks: int
    noisy: bool
    """Applications that leave it to the server to log their mistake: then both servers do, each in its own words."""


SCENARIOS: dict[str, Scenario] = {}


def scenario(marks: int = 0, *, noisy: bool = False) -> Callable[[Any], Any]:
    """``marks``: as many as the application makes."""

    def add(run: Any) -> Any:
        SCENARIOS[run.__name__] = Scenario(run, marks, noisy)
        return run

    return add


def of_each(name: str, marks: int, **values: Callable[[Visit], Awaitable[Any]]) -> None:
    """A scenario in several forms."""
    for form, run in values.items():
        SCENARIOS[f"{name}_{form}"] = Scenario(run, marks, noisy=False)


def seen(answer: Answer) -> Any:
    """What of an answer is compared."""
    headers = {key: value for key, value in answer.headers.items() if key not in _OF_THE_SERVER}
    return answer.status, headers, hashlib.sha256(answer.content).hexdigest()


# Plain answers.


def asking(path: str, method: str = "GET", body: bytes = b"", **headers: str) -> Callable[[Visit], Awaitable[Any]]:
    async def run(each: Visit) -> Any:
        async with each.dial() as peer:
            await peer.ask(path, method, body, **headers)
            answer = await peer.answer(bodiless=method == "HEAD")
            await peer.ask("/starlette/few?again")  # the connection goes on
            assert (await peer.answer()).status == 200
            return seen(answer)

    return run


of_each(
    "answers",
    3,  # of /starlette/few
    file=asking("/starlette/static/page.html"),
    file_head=asking("/starlette/static/page.html", "HEAD"),
    file_range=asking("/starlette/static/page.html", range="bytes=100-199"),
    file_ranges_refused=asking("/starlette/static/page.html", range="bytes=99999999-"),
    file_missing=asking("/starlette/static/no-such-page.html"),
    file_gzip=asking("/gzip/static/page.html", accept_encoding="gzip"),
    file_brotli=asking("/brotli/static/page.html", accept_encoding="br"),
    file_brotli_identity=asking("/brotli/static/page.html"),
    file_wrapped=asking("/wrapped/static/page.html"),
    stream_gzip=asking("/gzip/static/page.html", accept_encoding="gzip", range="bytes=0-50000"),
    wrong_method=asking("/starlette/stream", "DELETE"),
    wsgi=asking("/wsgi/hello"),
    wsgi_head=asking("/wsgi/hello", "HEAD"),
    django=asking("/django/hello/ann"),
    django_few_gzip=asking("/django/few", accept_encoding="gzip"),
    django_whitenoise=asking("/django/static/page.html"),
    django_whitenoise_range=asking("/django/static/page.html", range="bytes=10-19"),
    django_file=asking("/django/file"),
    litestar=asking("/litestar/hello/ann"),
    litestar_head=asking("/litestar/hello/ann", "HEAD"),
    litestar_file=asking("/litestar/file"),
    quart=asking("/quart/hello/ann"),
    quart_head=asking("/quart/hello/ann", "HEAD"),
    quart_file=asking("/quart/file"),
    quart_file_range=asking("/quart/file", range="bytes=100-199"),
    quart_order=asking("/quart/order", "POST", b'{"number": 7}', content_type="application/json"),
    quart_invalid=asking("/quart/order", "POST", b"{", content_type="application/json"),
    graphql=asking("/graphql/", "POST", b'{"query": "{ hello(name: \\"ann\\") }"}', content_type="application/json"),
)
of_each(
    "answers_once",
    4,
    fastapi_order=asking("/fastapi/order", "POST", b'{"number": 7}', content_type="application/json"),
    litestar_order=asking("/litestar/order", "POST", b'{"number": 7}', content_type="application/json"),
)
of_each(
    "answers_invalid",
    4,
    fastapi_order=asking("/fastapi/order", "POST", b'{"number": "x"}', content_type="application/json"),
    litestar_order=asking("/litestar/order", "POST", b'{"number": "x"}', content_type="application/json"),
)
of_each(
    "uploads",
    4,
    starlette=asking("/starlette/upload", "POST", b"x" * 300_000),
    litestar=asking("/litestar/upload", "POST", b"x" * 300_000),
    quart=asking("/quart/upload", "POST", b"x" * 300_000),
    wsgi=asking("/wsgi/upload", "POST", b"x" * 300_000),
    django=asking("/django/upload", "POST", b"x" * 300_000),
)


@scenario(4)
async def compression_shrinks_files(each: Visit) -> Any:
    sizes = []
    for path, coding in (("/gzip", "gzip"), ("/brotli", "br")):
        async with each.dial() as peer:
            await peer.ask(f"{path}/static/page.html", accept_encoding=coding)
            answer = await peer.answer()
            assert answer.content.decode() == PAGE
            sizes.append(len(answer.body))
    async with each.dial() as peer:
        await peer.ask("/starlette/file")
        assert (await peer.answer()).content.decode() == PAGE
    async with each.dial() as peer:
        await peer.ask("/starlette/task")
        await peer.answer()
    assert max(sizes) < len(PAGE) // 20
    return sizes


# Clients that leave in the middle of an answer.


def leaving(path: str, how: str, chunks: int = 3) -> Callable[[Visit], Awaitable[Any]]:
    async def run(each: Visit) -> Any:
        async with each.dial() as peer:
            await peer.ask(path)
            head = await peer.head()
            await peer.text(chunks)
            each.left(peer, how)
            if how == "half_close":
                await _to_the_end(peer)
        return head.status

    return run


async def _to_the_end(peer: Peer) -> None:
    """The server closes, in whatever way."""
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(5):
            while await peer.reader.read(65536):
                pass


of_each("stream_left_by", 3, **{how: leaving("/starlette/stream", how) for how in ("close", "reset", "half_close")})
of_each(
    "silent_stream_left_by",
    1,
    **{how: leaving("/starlette/silent", how, 1) for how in ("close", "reset", "half_close")},
)
of_each("flood_left_by", 1, **{how: leaving("/starlette/flood", how) for how in ("close", "reset")})
of_each("events_left_by", 1, **{how: leaving("/starlette/events", how) for how in ("close", "reset", "half_close")})
of_each(
    "left",
    1,
    wrapped_silent=leaving("/wrapped/silent", "close", 1),
    wrapped_events=leaving("/wrapped/events", "close"),
    gzip_silent=leaving("/gzip/events", "close", 1),
    django_stream=leaving("/django/stream", "close"),
    django_stream_reset=leaving("/django/stream", "reset"),
    wsgi_stream=leaving("/wsgi/stream", "close"),
    wsgi_stream_reset=leaving("/wsgi/stream", "reset"),
    quiet_events_after_the_head=leaving("/starlette/quiet", "close", 0),
)
for _how in ("close", "reset"):
    of_each(
        f"stream_of_others_left_by_{_how}",
        1,
        litestar=leaving("/litestar/stream", _how),
        litestar_events=leaving("/litestar/events", _how),
        quart=leaving("/quart/stream", _how),
    )
of_each("left_with_a_task", 3, wrapped_stream=leaving("/wrapped/stream", "close"))
of_each("left_with_a_session", 2, fastapi_stream=leaving("/fastapi/stream", "close"))
of_each("left_sync_stream", 0, starlette=leaving("/starlette/stream-sync", "close"))


# Right after the head; before it; at the last chunk; while a background task runs.


@scenario(3)
async def left_at_the_last_chunk(each: Visit) -> Any:
    async with each.dial() as peer:
        await peer.ask("/starlette/few")
        await peer.head()
        body = await peer.text(3)
        each.left(peer, "reset")
    return body


@scenario(2)
async def left_while_the_task_runs(each: Visit) -> Any:
    async with each.dial() as peer:
        await peer.ask("/starlette/task")
        answer = await peer.answer()
        each.left(peer, "reset")
    return seen(answer)


@scenario(2)
async def left_while_the_file_is_sent(each: Visit) -> Any:
    async with each.dial() as peer:
        await peer.ask("/starlette/file")
        answer = await peer.head()
        await peer.reader.readexactly(1000)
        each.left(peer, "reset")
    return answer.status


@scenario(4)
async def the_next_request_does_not_wait_for_the_task(each: Visit) -> Any:
    """In the order of events: the task of the first request ends after the second has been answered."""
    async with each.dial() as peer:
        await peer.ask("/starlette/task")
        await peer.answer()
        await peer.ask("/starlette/task")
        await peer.answer()
        return each.marks().count("task ended")


@scenario(6)
async def a_stream_is_over_before_the_upload(each: Visit) -> Any:
    """Starlette listens for the disconnect meanwhile, which takes pieces of the body that nobody reads."""
    async with each.dial() as peer:
        await peer.ask("/starlette/few", "POST", b"x" * 10, content_length="300000")
        first = await peer.answer()
        peer.writer.write(b"x" * 299_990)
        await peer.ask("/starlette/few")
        return [(answer.status, answer.body) for answer in (first, await peer.answer())]


def leaving_after(path: str) -> Callable[[Visit], Awaitable[Any]]:
    async def run(each: Visit) -> Any:
        async with each.dial() as peer:
            await peer.ask(path)
            answer = await peer.answer()
            each.left(peer)
        return seen(answer)

    return run


of_each("task_after_the_answer", 3, fastapi=leaving_after("/fastapi/task"))
of_each("task_after_the_answer", 2, litestar=leaving_after("/litestar/task"), quart=leaving_after("/quart/task"))


def leaving_before(path: str, how: str) -> Callable[[Visit], Awaitable[Any]]:
    async def run(each: Visit) -> Any:
        async with each.dial() as peer:
            await peer.ask(path)
            await asyncio.sleep(0.05)
            each.left(peer, how)

    return run


for _how in ("close", "reset", "half_close"):
    of_each(f"left_by_{_how}_before_the_answer", 1, poll=leaving_before("/starlette/poll", _how))
    of_each(f"left_by_{_how}_before_the_slow_answer", 1, starlette=leaving_before("/starlette/slow", _how))
of_each(
    "left_before_the_answer",
    1,
    wrapped=leaving_before("/wrapped/slow", "close"),
    wsgi=leaving_before("/wsgi/slow", "close"),
    litestar=leaving_before("/litestar/slow", "close"),
    quart=leaving_before("/quart/slow", "close"),
    django=leaving_before("/django/slow", "close"),
    django_sync=leaving_before("/django/slow-sync", "close"),
)
of_each("left_before_the_answer_with_a_session", 2, fastapi=leaving_before("/fastapi/slow", "close"))


def leaving_upload(path: str, how: str) -> Callable[[Visit], Awaitable[Any]]:
    async def run(each: Visit) -> Any:
        async with each.dial() as peer:
            await peer.ask(path, "POST", b"x" * 100_000, content_length="300000")
            await asyncio.sleep(0.05)
            each.left(peer, how)

    return run


of_each(
    "upload_left_by", 1, **{how: leaving_upload("/starlette/upload", how) for how in ("close", "reset", "half_close")}
)
of_each("upload_left", 0, django=leaving_upload("/django/upload", "close"))


@scenario(1, noisy=True)
async def upload_left_and_the_framework_raises(each: Visit) -> Any:
    await leaving_upload("/starlette/upload-lax", "close")(each)


# Mistakes of applications.


@scenario(0, noisy=True)
async def a_crash_is_a_500(each: Visit) -> Any:
    async with each.dial() as peer:
        await peer.ask("/starlette/crash")
        answer = await peer.answer()
    return answer.status, answer.body


@scenario(0, noisy=True)
async def a_crash_in_the_middle_cuts_off(each: Visit) -> Any:
    async with each.dial() as peer:
        await peer.ask("/starlette/crash-late")
        await peer.head()
        got = await peer.text(1)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await peer.chunk()
    return got


# WebSockets.


def leaving_websocket(path: str, say: str | None, hears: int, how: str) -> Callable[[Visit], Awaitable[Any]]:
    async def run(each: Visit) -> Any:
        async with each.dial() as peer:
            answer = await peer.upgrade(path)
            if say is not None:
                peer.say(say)
            heard = [await peer.hear() for _ in range(hears)]
            if how == "goodbye":
                peer.say("\x0f\xa1", opcode=8)  # 4001
                each.left_at = asyncio.get_running_loop().time()
                heard.append(await peer.hear())
            else:
                each.left(peer, how)
        return answer.status, heard

    return run


for _how in ("close", "reset", "goodbye"):
    of_each(
        f"websocket_left_by_{_how}",
        1,
        starlette=leaving_websocket("/starlette/echo", "hi", 1, _how),
        fastapi=leaving_websocket("/fastapi/ws", "hi", 1, _how),
        litestar=leaving_websocket("/litestar/ws", "hi", 1, _how),
        quart=leaving_websocket("/quart/ws", "hi", 1, _how),
        channels=leaving_websocket("/django/chat", "hi", 2, _how),
        channels_sync=leaving_websocket("/django/sync-chat", "hi", 1, _how),
    )
    of_each(  # their send() raises, as the specification says, and Channels gives up
        f"websocket_left_by_{_how}_while_a_handler_runs",
        0,
        channels=leaving_websocket("/django/chat", "slow", 0, _how),
        channels_sync=leaving_websocket("/django/sync-chat", "slow", 0, _how),
    )
of_each(
    "websocket_that_never_listens_left_by",
    2,
    **{how: leaving_websocket("/starlette/talk", None, 3, how) for how in ("close", "reset")},
)


@scenario(1)
async def websocket_refused(each: Visit) -> Any:
    async with each.dial() as peer:
        return (await peer.upgrade("/starlette/refuse")).status


def subscribing(how: str) -> Callable[[Visit], Awaitable[Any]]:
    async def run(each: Visit) -> Any:
        async with each.dial() as peer:
            answer = await peer.upgrade("/graphql/", "graphql-transport-ws")
            peer.say('{"type": "connection_init"}')
            heard = [json.loads((await peer.hear())[1])]
            query = {"query": "subscription { count }"}
            peer.say(json.dumps({"type": "subscribe", "id": "1", "payload": query}))
            heard += [json.loads((await peer.hear())[1]) for _ in range(3)]
            each.left(peer, how)
        return answer.status, answer.headers["sec-websocket-protocol"], heard

    return run


of_each("subscription_left_by", 1, **{how: subscribing(how) for how in ("close", "reset")})


# Socket.IO.


@scenario(2)
async def socketio_over_a_websocket(each: Visit) -> Any:
    async with each.dial() as peer:
        answer = await peer.upgrade("/socketio/?EIO=4&transport=websocket")
        opened = json.loads((await peer.hear())[1][1:])
        peer.say("40")
        connected = (await peer.hear())[1][:2]
        peer.say('420["say","hi"]')
        heard = sorted([(await peer.hear())[1] for _ in range(2)])
        each.left(peer, "reset")
    return answer.status, opened["upgrades"], connected, heard


@scenario(2)
async def socketio_by_polling(each: Visit) -> Any:
    async with each.dial() as peer:
        base = "/socketio/?EIO=4&transport=polling"
        await peer.ask(base)
        opened = await peer.answer()
        sid = json.loads(opened.body[1:])["sid"]
        said = [opened.status]
        for body in (b"40", b'420["say","hi"]'):
            await peer.ask(f"{base}&sid={sid}", "POST", body, content_type="text/plain;charset=UTF-8")
            answer = await peer.answer()
            said.append((answer.status, answer.body))
        await peer.ask(f"{base}&sid={sid}")
        polled = (await peer.answer()).body.split(b"\x1e")
        said.append(sorted(part[:6] for part in polled))
        await peer.ask(f"{base}&sid={sid}", "POST", b"1", content_type="text/plain;charset=UTF-8")
        each.left_at = asyncio.get_running_loop().time()
        said.append((await peer.answer()).status)
    return said


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Served]]:
    made = Served("uvicorn", _folder(tmp_path_factory)), Served("gateway", _folder(tmp_path_factory))
    try:
        for each in made:
            each.start()
        for each in made:
            each.wait()
        yield made
    finally:
        for each in made:
            each.close()


def _folder(factory: pytest.TempPathFactory) -> Path:
    return factory.mktemp("zoo")


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_as_under_uvicorn(name: str, both: tuple[Served, Served]) -> None:
    asked = SCENARIOS[name]

    async def beside() -> list[Outcome]:
        return await asyncio.gather(*(visit(each, asked.run, asked.marks, SETTLE) for each in both))

    theirs, ours = asyncio.run(beside())
    assert ours.said == theirs.said
    assert sorted(ours.marks) == sorted(theirs.marks)
    assert len(theirs.marks) == asked.marks, theirs.marks
    if asked.noisy:
        assert bool(ours.records) == bool(theirs.records), ours.records
    else:
        assert ours.records == [] or theirs.records, ours.records
    for _ in range(3):  # on a busy machine
        if ours.lateness <= theirs.lateness + BEYOND:
            break
        theirs, ours = asyncio.run(beside())
    assert ours.lateness <= theirs.lateness + BEYOND
