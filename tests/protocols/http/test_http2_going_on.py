"""How connections in HTTP/2 end: when the server stops or reloads, and when the client goes."""

import asyncio
from typing import Any

import pytest
from h2.settings import SettingCodes
from http2_peer import frame, peer, request
from http_peer import Recorder, serving
from test_http2_bad_input import GET, GOAWAY, HEADERS, PING
from waiting import until

from protocols.http.server import HTTPServer, HTTPSettings

LAST = 2**31 - 1


class Slow:
    """Answers when it may."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.running = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.running += 1
        await self.go.wait()
        await Recorder()(scope, receive, send)


async def test_a_stop_finishes_what_is_under_way_and_what_is_on_its_way() -> None:
    app = Slow()
    async with serving(app, http2=True) as server, peer(server) as client:
        first = client.ask()
        await until(lambda: app.running == 1)
        stopping = asyncio.ensure_future(server.stop(30.0))
        await until(lambda: server.service.draining)
        second = client.ask()  # sent before the client has read anything of it
        await until(lambda: app.running == 2)
        app.go.set()
        assert (await client.answer(first)).body == b"hello"
        assert (await client.answer(second)).body == b"hello"
        await client.until_closed()
        assert client.goaways == [("NO_ERROR", LAST), ("NO_ERROR", second)]
        await stopping


async def test_a_stop_closes_an_idle_connection_at_once() -> None:
    async with serving(Recorder(), http2=True) as server, peer(server) as client:
        number = client.ask()
        await client.answer(number)
        stopping = asyncio.ensure_future(server.stop(30.0))
        await client.until_closed()
        await stopping
        assert client.goaways == [("NO_ERROR", LAST), ("NO_ERROR", number)]


async def test_after_the_last_goaway_a_request_is_refused_so_that_it_may_be_repeated() -> None:
    app = Slow()
    async with serving(app, http2=True) as server, peer(server) as client:
        first = client.ask()
        await until(lambda: app.running == 1)
        stopping = asyncio.ensure_future(server.stop(30.0))
        await client.until(lambda: len(client.goaways) == 2)
        late = client.ask()
        assert (await client.answer(late)).reset == "REFUSED_STREAM"
        app.go.set()
        assert (await client.answer(first)).body == b"hello"
        await stopping


async def test_an_application_that_does_not_end_is_cancelled_and_its_peer_gets_503() -> None:
    async with serving(Slow(), http2=True) as server, peer(server) as client:
        number = client.ask()
        await until(lambda: server.active())
        stopping = asyncio.ensure_future(server.stop(0.2))
        assert (await client.answer(number)).status == "503"
        await stopping


async def test_an_event_stream_ends_with_its_data_and_not_properly() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        await send({"type": "http.response.body", "body": b"data: 2\n\n", "more_body": True})

    async with serving(app, http2=True) as server, peer(server) as client:
        number = client.ask()
        await client.until(lambda: client.streams[number].body)
        stopping = asyncio.ensure_future(server.stop(30.0))
        answer = await client.answer(number)
        assert (answer.body, answer.ended, answer.reset) == (b"data: 1\n\ndata: 2\n\n", False, "CANCEL")
        await stopping


async def test_a_client_that_goes_away_gets_its_answers() -> None:
    app = Slow()
    async with serving(app, http2=True) as server, peer(server) as client:
        number = client.ask()
        client.raw(frame(GOAWAY, 0, 0, bytes(8) + b"debug"))
        await until(lambda: app.running == 1)
        app.go.set()
        assert (await client.answer(number)).body == b"hello"
        await client.until_closed()
        assert client.goaways == []


async def test_a_goaway_in_pieces_between_other_frames() -> None:
    async with serving(Recorder(), http2=True) as server, peer(server) as client:
        data = frame(HEADERS, 5, 1, GET) + frame(GOAWAY, 0, 0, bytes(8) + b"debug") + frame(HEADERS, 5, 3, GET)
        client.streams.clear()
        client.h2.get_next_available_stream_id()
        for byte in data[:-1]:
            client.raw(bytes((byte,)))
            await asyncio.sleep(0)
        await until(lambda: server.refusals == {})
        client.raw(data[-1:])
        await until(lambda: not server.active())


async def test_a_reload_lets_a_client_connect_again_and_loses_nothing() -> None:
    app = Slow()
    async with serving(app, http2=True) as server, peer(server) as client:
        first = client.ask()
        await until(lambda: app.running == 1)
        await server.become(HTTPServer(Recorder(body=b"new"), HTTPSettings(bind="127.0.0.1:0", http2=True), state={}))
        for each in server.outdated():
            each.reconnect(1.0)
        second = client.ask()  # sent before the client has read anything of it
        app.go.set()
        assert (await client.answer(first)).body == b"hello"
        assert (await client.answer(second)).body == b"new"
        await client.until_closed()
        assert client.goaways == [("NO_ERROR", LAST), ("NO_ERROR", second)]


async def test_a_reload_switches_http2_on_and_off() -> None:
    async with serving(Recorder()) as server:
        for http2 in (True, False):
            made = HTTPServer(Recorder(), HTTPSettings(bind="127.0.0.1:0", http2=http2), state={})
            assert server.can_become(made)
            await server.become(made)
            async with peer(server, begins=False) as client:
                client.h2.initiate_connection()
                client.flush()
                number = client.ask()
                if http2:
                    assert (await client.answer(number)).status == "200"
                else:
                    data = await client.reader.read()
                    assert data.startswith(b"HTTP/1.1 ")


async def test_the_last_request_of_a_goaway_is_never_a_later_one() -> None:
    app = Slow()
    async with serving(app, http2=True) as server, peer(server) as client:
        first = client.ask()
        await until(lambda: app.running == 1)
        (connection,) = server.service.connections
        connection.retire()
        await client.until(lambda: len(client.goaways) == 2)
        assert (await client.answer(client.ask())).reset == "REFUSED_STREAM"
        connection.finish()
        await client.until(lambda: len(client.goaways) == 3)
        app.go.set()
        assert (await client.answer(first)).body == b"hello"
        await client.until_closed()
        assert [last for _, last in client.goaways] == [LAST, first, first]


async def test_a_client_that_does_not_answer_the_first_goaway_gets_no_more_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("protocols.http.http2.session._PATIENCE", 0.1)
    async with serving(Recorder(), http2=True, max_requests_per_connection=2) as server, peer(server) as client:
        whole = client._without_goaway
        monkeypatch.setattr(client, "_without_goaway", lambda data: [f for f in whole(data) if f[3] != PING])
        numbers: list[int] = []
        while not client.closed and len(numbers) < 100:
            numbers.append(number := client.ask())
            await client.until(lambda: client.closed or client.streams[number].is_over)
            await asyncio.sleep(0.01)
        (_, first), (_, second) = client.goaways
        assert first == LAST
        assert second in numbers


async def test_requests_after_answers_while_a_successor_takes_over() -> None:
    async with serving(Recorder(), http2=True) as server, peer(server) as client:
        server.service.draining = True  # as retire() does
        number = client.ask(request())
        assert (await client.answer(number)).body == b"hello"
        await client.until_closed()
        assert client.goaways == [("NO_ERROR", LAST), ("NO_ERROR", number)]


async def test_a_stop_waits_for_the_windows_of_answers_whose_applications_have_ended() -> None:
    async with serving(Recorder(body=b"y" * 50_000), http2=True) as server, peer(server) as client:
        client.takes = False
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1000})
        client.flush()
        number = client.ask()
        await client.until(lambda: len(client.streams[number].body) == 1000)
        await until(lambda: not server.active())
        stopping = asyncio.ensure_future(server.stop(10.0))
        await client.until(lambda: client.goaways)
        client.h2.increment_flow_control_window(100_000, number)
        client.flush()
        assert len((await client.answer(number)).body) == 50_000
        await client.until_closed()
        await stopping
        assert client.goaways[-1] == ("NO_ERROR", number)
