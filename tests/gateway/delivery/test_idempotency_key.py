"""Requests with an Idempotency-Key: a client, the HTTP server, the store, and an application that counts."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from contract import LIMIT
from own_services import delivering
from waiting import until

from gateway import ProtocolTypeRouter, URLRouter, url
from gateway.delivery.service import deliveries
from gateway.scopes.http.idempotency.app import FirstAnswers
from gateway.scopes.http.idempotency.new_keys import NewKeys
from gateway.scopes.http.idempotency.settings import Idempotency
from gateway.store import StoreUnavailable
from gateway.store.sqlite import SQLiteStore
from protocols.http.server import HTTPServer
from protocols.http.settings import HTTPSettings

KEY = {"Idempotency-Key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}


class Counts:
    """An application that answers with its number of requests, as their bodies say."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.scopes: list[Any] = []
        self.go = asyncio.Event()
        self.after = asyncio.Event()
        self.ended = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while (event := await receive())["type"] == "http.request":
            body += event["body"]
            if not event["more_body"]:
                break
        self.bodies.append(body)
        self.scopes.append(scope)
        words = body.decode().split()
        if "wait" in words:
            await self.go.wait()
        if "raise" in words:
            raise RuntimeError("on purpose")
        status = next((int(word) for word in words if word.isdigit()), 201)
        headers = [(b"x-number", b"%d" % len(self.bodies)), (b"x-more", b"b")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        if "long" in words:
            for _ in range(10):
                await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
        if "half" in words:
            raise RuntimeError("on purpose")
        await send({"type": "http.response.body", "body": b"answer %d" % len(self.bodies)})
        if "after" in words:
            await self.after.wait()
        assert (await receive())["type"] == "http.disconnect"
        self.ended += 1


@contextlib.asynccontextmanager
async def serving(app: Any, settings: Idempotency | None = None, **more: Any) -> AsyncIterator[httpx.AsyncClient]:
    routed = ProtocolTypeRouter({"http": URLRouter([url("^", FirstAnswers(app, settings or Idempotency()))])})
    server = HTTPServer(routed, HTTPSettings(bind="127.0.0.1:0", **more), state={})
    async with server, httpx.AsyncClient(base_url=f"http://{server.address}", timeout=LIMIT) as client:
        yield client


async def post(client: httpx.AsyncClient, body: str = "a", path: str = "/pay", **headers: str) -> httpx.Response:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.post(path, content=body, headers={**KEY, **fields})


async def test_a_repetition_gets_the_first_answer_and_is_not_handled(store: SQLiteStore) -> None:
    app = Counts()
    async with serving(app) as client:
        first, again = await post(client), await post(client)
        assert (await post(client, Idempotency_Key=KEY["Idempotency-Key"].strip('"'))).content == first.content
    assert len(app.bodies) == 1
    assert (first.status_code, first.content, first.headers["x-number"]) == (201, b"answer 1", "1")
    assert (again.status_code, again.content, again.headers["x-number"]) == (201, b"answer 1", "1")
    assert again.headers["x-more"] == "b"
    assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")


async def test_the_answer_is_there_after_a_restart(store: SQLiteStore) -> None:
    first_app, second_app = Counts(), Counts()
    async with serving(first_app) as client:
        await post(client)
    path = store.path
    await store.close()
    again = SQLiteStore(path)
    await again.open()
    try:
        with delivering(again):
            async with serving(second_app) as client:
                assert (await post(client)).content == b"answer 1"
    finally:
        await again.close()
    assert second_app.bodies == []


@pytest.mark.parametrize(
    "other",
    [
        {"authorization": "Bearer other"},
        {"cookie": "session=other"},
        {"x_api_key": "other"},
        {"path": "/refund"},
        {"Idempotency_Key": "other"},
    ],
)
async def test_another_client_path_or_key_is_another_request(store: SQLiteStore, other: dict[str, str]) -> None:
    app = Counts()
    mine = {"authorization": "Bearer mine", "cookie": "session=mine", "x_api_key": "mine"}
    async with serving(app) as client:
        await post(client, **mine)
        answer = await post(client, **{**mine, **other})
        client.cookies.clear()
    assert (len(app.bodies), answer.content) == (2, b"answer 2")


async def test_the_same_key_with_another_content_is_refused(store: SQLiteStore) -> None:
    app = Counts()
    async with serving(app) as client:
        await post(client)
        for changed in ({"body": "b"}, {"path": "/pay?amount=2"}, {"content_type": "text/plain"}):
            answer = await post(client, **changed)
            assert (answer.status_code, b"another request" in answer.content) == (422, True)
    assert len(app.bodies) == 1


async def test_a_repetition_of_one_that_is_handled_is_refused_and_later_answered(store: SQLiteStore) -> None:
    app = Counts()
    async with serving(app) as client:
        first = asyncio.create_task(post(client, "wait"))
        await until(lambda: app.bodies)
        busy = await post(client, "wait")
        assert (busy.status_code, busy.headers["retry-after"]) == (409, "1")
        app.go.set()
        assert (await first).content == (await post(client, "wait")).content == b"answer 1"
    assert len(app.bodies) == 1


async def test_it_is_handled_to_its_end_though_the_client_leaves(store: SQLiteStore) -> None:
    app = Counts()
    async with serving(app, disconnect_grace=0.1) as client:
        with pytest.raises(httpx.TimeoutException):
            await client.post("/pay", content="wait", headers=KEY, timeout=0.2)
        await until(lambda: app.bodies)
        app.go.set()
        await until(lambda: app.ended)
        assert (await post(client, "wait")).content == b"answer 1"
    assert len(app.bodies) == 1


async def half_closed(client: httpx.AsyncClient, app: Counts, seconds: float) -> bytes:
    """Send FIN behind a request; after ``seconds`` its handler goes on. Return what comes."""
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    writer.write(b"POST /pay HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nContent-Length: 9\r\n\r\nwait long")
    writer.write_eof()
    await until(lambda: app.bodies)
    await asyncio.sleep(seconds)
    app.go.set()
    async with asyncio.timeout(LIMIT):
        answer = await reader.read()
    writer.close()
    return answer


async def test_a_client_that_closes_its_half_behind_the_request_gets_the_answer(store: SQLiteStore) -> None:
    app = Counts()
    async with serving(app) as client:
        answer = await half_closed(client, app, 0.3)
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert b"answer 1" in answer


async def test_it_waits_for_the_answer_for_less_than_the_grace(
    store: SQLiteStore, caplog: pytest.LogCaptureFixture
) -> None:
    app = Counts()
    with caplog.at_level("INFO"):
        async with serving(app, disconnect_grace=0.2) as client:
            assert await half_closed(client, app, 0.6) == b""
            await until(lambda: app.ended)
    assert "its client left; it is handled all the same" in caplog.text
    assert "disconnect_grace" not in caplog.text


@pytest.mark.parametrize("body", ["500", "503", "429", "raise", "half"])
async def test_a_failure_is_not_kept(store: SQLiteStore, body: str) -> None:
    app = Counts()
    async with serving(app) as client:
        for _ in range(2):
            answer = await post(client, body)
            assert answer.status_code == int(body) if body.isdigit() else 500
    assert len(app.bodies) == 2


@pytest.mark.parametrize("status", [200, 302, 400, 404, 422])
async def test_other_answers_are_kept(store: SQLiteStore, status: int) -> None:
    app = Counts()
    async with serving(app) as client:
        assert [(await post(client, str(status))).status_code for _ in range(2)] == [status, status]
    assert len(app.bodies) == 1


async def test_an_answer_leaves_before_its_background_task_ends(store: SQLiteStore) -> None:
    app = Counts()
    async with serving(app) as client:
        assert [(await post(client, "after")).content for _ in range(2)] == [b"answer 1"] * 2
        assert app.ended == 0
        app.after.set()
        await until(lambda: app.ended)
    assert len(app.bodies) == 1


async def test_a_long_answer_is_sent_and_not_kept(store: SQLiteStore) -> None:
    app = Counts()
    async with serving(app) as client:
        first, again = await post(client, "long"), await post(client, "long")
    assert (first.status_code, len(first.content)) == (201, 1_000_000 + len("answer 1"))
    assert (again.status_code, b"too long" in again.content) == (409, True)
    assert len(app.bodies) == 1


async def test_a_long_answer_that_fails_in_the_middle_is_cut(store: SQLiteStore) -> None:
    app = Counts()
    async with serving(app) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await post(client, "long half")
        app.go.set()
        await until(lambda: len(app.bodies) == 1)


async def test_other_methods_and_requests_without_a_key_are_not_looked_at(store: SQLiteStore) -> None:
    app = Counts()
    async with serving(app, Idempotency(methods=("put",))) as client:
        assert [(await post(client)).content for _ in range(2)] == [b"answer 1", b"answer 2"]
        assert (await client.put("/", headers=KEY)).content == (await client.put("/", headers=KEY)).content
        assert [(await client.put("/")).content for _ in range(2)] == [b"answer 4", b"answer 5"]


async def test_a_key_may_be_required(store: SQLiteStore) -> None:
    app = Counts()
    async with serving(app, Idempotency(required=True)) as client:
        assert (await client.post("/")).status_code == 400
        assert (await client.get("/")).status_code == 201
        assert (await post(client)).status_code == 201


@pytest.mark.parametrize("key", ["", '""', "x" * 256, "a\tb", "ü".encode(), 'a"b', '"'])
async def test_keys_that_are_none(store: SQLiteStore, key: Any) -> None:
    app = Counts()
    async with serving(app) as client:
        answer = await client.post("/", headers={"Idempotency-Key": key})
        assert (answer.status_code, app.bodies) == (400, [])


async def test_two_keys_in_one_request_are_a_mistake(store: SQLiteStore) -> None:
    async with serving(Counts()) as client:
        answer = await client.post("/", headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "b")])
    assert answer.status_code == 400


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_long_body_is_refused(store: SQLiteStore, chunked: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 1000

    app = Counts()
    async with serving(app, Idempotency(max_body=10_000)) as client:
        answer = await client.post("/", content=pieces() if chunked else b"x" * 20_000, headers=KEY)
    assert (answer.status_code, app.bodies) == (413, [])


async def test_new_keys_are_bounded(store: SQLiteStore) -> None:
    app = Counts()
    async with serving(app, Idempotency(max_keys=3)) as client:
        answers = [await post(client, Idempotency_Key=str(number)) for number in range(4)]
        assert [each.status_code for each in answers] == [201, 201, 201, 503]
        assert (await client.post("/pay", content="a")).content == b"answer 4"
        assert answers[3].headers["retry-after"] == "30"


def test_places_for_new_keys_come_back() -> None:
    keys = NewKeys(2, 240.0)
    keys.add(0.0)
    keys.add(5.0)
    assert keys.are_used_up(239.0)
    assert not keys.are_used_up(240.0)
    keys.add(240.0)
    assert not keys.are_used_up(241.0)


async def test_a_store_that_is_away_is_a_503(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    away: set[str] = {"claim"}

    def failing(name: str) -> Any:
        real = getattr(store, name)

        async def call(*arguments: Any, **named: Any) -> Any:
            if name in away:
                raise StoreUnavailable("disk full")
            return await real(*arguments, **named)

        return call

    monkeypatch.setattr("gateway.delivery.retry_until_stored.PAUSE", 0.01)
    for name in ("claim", "settle"):
        monkeypatch.setattr(store, name, failing(name))
    app = Counts()
    async with serving(app) as client:
        assert (await post(client)).status_code == 503
        away.clear()
        away.add("settle")
        assert (await post(client)).status_code == 503
        assert (await post(client)).status_code == 409
        away.clear()
        await until(lambda: app.ended)
        assert (await post(client)).content == b"answer 1"
    assert len(app.bodies) == 1


async def test_a_file_is_no_answer_that_is_kept(store: SQLiteStore) -> None:
    app = Counts()
    async with serving(app, pathsend=True) as client:
        await post(client, TE="trailers")
    assert not [name for name in app.scopes[0]["extensions"] if name.startswith("http.response.")]


async def test_a_hundred_repetitions_at_once_are_handled_once(store: SQLiteStore) -> None:
    app = Counts()
    async with serving(app) as client:
        answers = await asyncio.gather(*(post(client) for _ in range(100)))
    assert len(app.bodies) == 1
    assert {each.status_code for each in answers} <= {201, 409}
    assert deliveries.get().attempts.active() == {}


async def test_a_client_that_leaves_with_its_body_is_not_handled(store: SQLiteStore) -> None:
    app = Counts()
    async with serving(app) as client:
        _, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        writer.write(b"POST /pay HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nContent-Length: 5\r\n\r\nab")
        await writer.drain()
        writer.close()
        assert (await post(client)).content == b"answer 1"


async def test_what_another_process_handles_is_busy(store: SQLiteStore) -> None:
    other = SQLiteStore(store.path)
    app = Counts()
    async with serving(app) as client:
        first = asyncio.create_task(post(client, "wait"))
        await until(lambda: app.bodies)
        await other.open()
        second = Counts()
        try:
            with delivering(other):
                async with serving(second) as elsewhere:
                    assert (await post(elsewhere, "wait")).status_code == 409
                    app.go.set()
                    assert (await first).content == (await post(elsewhere, "wait")).content
        finally:
            await other.close()
    assert second.bodies == []
