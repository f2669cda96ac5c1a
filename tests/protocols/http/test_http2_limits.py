"""The limits of an HTTP server, for the streams of an HTTP/2 connection."""

import asyncio
from typing import Any

import pytest
from http2_peer import peer, request
from http_peer import Recorder, serving
from test_http_limits import Stubborn
from waiting import until

FROM = ("x-forwarded-for", "192.0.2.7")
TRUSTING: dict[str, Any] = {"http2": True, "trusted_proxies": ("127.0.0.1",)}


async def test_streams_above_the_rate_get_429_and_the_connection_goes_on() -> None:
    app = Recorder()
    async with serving(app, max_request_rate=2, **TRUSTING) as server, peer(server) as client:
        answers = [await client.get("/", FROM) for _ in range(4)]
        answers.append(await client.answer(client.ask(request("POST", "/", FROM), b"x" * 100)))
        answers.append(await client.get())
        assert [each.status for each in answers] == ["200", "200", "429", "429", "429", "200"]
        assert int(answers[2].heads[0]["retry-after"]) >= 1
        assert answers[2].body == b"Too Many Requests"
        assert server.refusals["429"] == 3
    assert len(app.scopes) == 3


async def test_streams_above_the_servers_number_get_503() -> None:
    gate = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await gate.wait()
        await Recorder()(scope, receive, send)

    async with serving(app, http2=True, max_concurrent_requests=2) as server, peer(server) as client:
        first, second = client.ask(), client.ask()
        await until(lambda: len(server.service.running) == 2)
        assert (await client.get()).status == "503"
        gate.set()
        assert [(await client.answer(each)).status for each in (first, second)] == ["200", "200"]


@pytest.mark.parametrize("limit", [{"max_requests_per_connection": 2}, {"max_connection_age": 0.001}])
async def test_a_connection_that_has_had_its_share_is_told_to_go_and_loses_no_request(limit: dict[str, Any]) -> None:
    async with serving(Recorder(), http2=True, **limit) as server, peer(server) as client:
        await asyncio.sleep(0.01)
        numbers = [client.ask() for _ in range(5)]
        answers = [await client.answer(each) for each in numbers]
        assert {each.status for each in answers if not each.reset} == {"200"}
        assert {each.reset for each in answers} <= {None, "REFUSED_STREAM"}  # those may be sent again (RFC 9113, 8.7)
        await client.until_closed()
        assert client.goaways
        assert {name for name, _ in client.goaways} == {"NO_ERROR"}


async def test_an_application_that_does_not_answer_in_time_is_cancelled() -> None:
    cancelled = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(scope["path"])
            raise

    async with serving(app, http2=True, handler_timeout=0.2) as server, peer(server) as client:
        assert (await client.get("/a")).status == "503"
        await until(lambda: cancelled == ["/a"])
        assert (await client.get("/b")).status == "503"


async def test_a_body_that_takes_too_long_gets_408() -> None:
    async with serving(Recorder(), http2=True, body_timeout=0.3, stall_timeout=5) as server, peer(server) as client:
        number = client.ask(request("POST", "/"), b"x", ends=False)
        stream = client.streams[number]
        for _ in range(200):
            if stream.heads:
                break
            client.h2.send_data(number, b"x")
            client.flush()
            await asyncio.sleep(0.02)
            try:
                async with asyncio.timeout(0.001):
                    await client._read()
            except TimeoutError:
                pass
        assert (await client.answer(number)).status == "408"


async def test_the_number_and_the_size_of_fields_are_bounded() -> None:
    options: Any = {"http2": True, "max_header_fields": 5, "max_head": 1000}
    async with serving(Recorder(), **options) as server, peer(server) as client:
        assert (await client.get("/", *((f"x{each}", "y") for each in range(5)))).status == "200"
        assert (await client.get("/", *((f"x{each}", "y") for each in range(6)))).status == "431"
        assert (await client.get("/", *((f"x{each}", "y" * 300) for each in range(4)))).status == "431"
        assert (await client.get()).status == "200"


async def test_cookies_in_fields_of_their_own_count_in_the_size_of_a_head() -> None:
    async with serving(Recorder(), http2=True, max_head=1000) as server, peer(server) as client:
        assert (await client.get("/", *(("cookie", "a" * 100) for _ in range(8)))).status == "200"
        assert (await client.get("/", *(("cookie", "a" * 100) for _ in range(12)))).status == "431"
        assert (await client.get()).status == "200"


async def test_cookies_in_fields_of_their_own_count_as_the_field_that_they_become() -> None:
    async with serving(Recorder(), http2=True, max_header=1000) as server, peer(server) as client:
        most = (1000 - len("cookie") + len("; ")) // len("aaa; ")
        assert (await client.get("/", *(("cookie", "aaa") for _ in range(most)))).status == "200"
        assert (await client.get("/", *(("cookie", "aaa") for _ in range(most + 1)))).status == "431"


async def test_an_application_that_ignores_its_cancellation_keeps_a_place_and_no_stream() -> None:
    app = Stubborn()
    async with serving(app, http2=True, handler_timeout=0.2) as server, peer(server) as client:
        number = client.ask(request("POST", "/"), b"x", ends=False)
        assert (await client.answer(number)).status == "503"
        await client.until(lambda: client.streams[number].is_over)
        (connection,) = server.service.connections
        session: Any = connection._session  # type: ignore[attr-defined]
        await until(lambda: not session.streams)
        assert (server.active(), session._running) == ({"http": 1}, 1)
        app.end.set()
        await until(lambda: not server.active() and not session._running)
