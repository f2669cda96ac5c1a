"""WebSockets over HTTP/2 (RFC 8441), with websockets' sans-I/O frames on a stream of h2."""

import asyncio
from typing import Any

import pytest
from h2.events import PingAckReceived
from http2_peer import Peer, peer, request
from http_peer import serving
from waiting import until
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from gateway import URLRouter, url
from protocols.app_run import on_departure
from protocols.http.server import HTTPServer, HTTPSettings

CONNECT = [*request("CONNECT", "/chat"), (":protocol", "websocket"), ("sec-websocket-version", "13")]


class Echo:
    """Sends back what it gets, and remembers the rest."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []
        self.events: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept", "subprotocol": "b", "headers": [(b"x", b"y")]})
        while (event := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", **{k: v for k, v in event.items() if k != "type"}})
            if event.get("text") == "close":
                await send({"type": "websocket.close", "code": 3001})
        self.events.append(event)


def frames(data: bytes) -> list[Frame]:
    """The frames of a server in ``data``."""
    reader, found = StreamReader(), []
    reader.feed_data(data)
    while True:
        parsing = Frame.parse(reader.read_exact, mask=False)
        try:
            next(parsing)
        except StopIteration as end:
            found.append(end.value)
        else:
            return found


def send(client: Peer, number: int, opcode: Opcode, payload: bytes) -> None:
    data = Frame(opcode, payload).serialize(mask=True)
    for at in range(0, len(data), 16384):
        client.h2.send_data(number, data[at : at + 16384])
    client.flush()


async def test_messages_pings_and_a_close() -> None:
    app = Echo()
    async with serving(app, http2=True) as server, peer(server) as client:
        assert client.h2.remote_settings.enable_connect_protocol == 1
        number = client.ask([*CONNECT, ("sec-websocket-protocol", "a, b")], ends=False)
        stream = client.streams[number]
        await client.until(lambda: stream.heads)
        assert (stream.status, stream.heads[0]["sec-websocket-protocol"], stream.heads[0]["x"]) == ("200", "b", "y")
        assert not {"sec-websocket-accept", "upgrade", "connection"} & stream.heads[0].keys()
        send(client, number, Opcode.TEXT, b"hi")
        send(client, number, Opcode.BINARY, b"z" * 40_000)
        send(client, number, Opcode.PING, b"p")
        await client.until(lambda: len(frames(stream.body)) == 3)
        assert {(each.opcode, bytes(each.data)) for each in frames(stream.body)} == {
            (Opcode.TEXT, b"hi"),
            (Opcode.BINARY, b"z" * 40_000),
            (Opcode.PONG, b"p"),
        }
        send(client, number, Opcode.CLOSE, (1000).to_bytes(2))
        answer = await client.answer(number)
        assert (frames(answer.body)[-1].opcode, answer.ended) == (Opcode.CLOSE, True)
        await until(lambda: not server.active())
    scope = app.scopes[0]
    assert (scope["type"], scope["http_version"], scope["path"], scope["scheme"]) == ("websocket", "2", "/chat", "ws")
    assert scope["subprotocols"] == ["a", "b"]
    assert app.events[0] == {"type": "websocket.disconnect", "code": 1000, "reason": ""}


async def test_what_comes_before_the_handshake_is_answered_is_not_lost() -> None:
    go = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await go.wait()
        await Echo()(scope, receive, send)

    async with serving(app, http2=True) as server, peer(server) as client:
        number = client.ask(CONNECT, ends=False)
        send(client, number, Opcode.TEXT, b"early")
        send(client, number, Opcode.BINARY, b"z" * 40_000)
        await until(lambda: server.active())
        client.h2.ping(bytes(8))
        client.flush()
        await client.until(lambda: client.seen(PingAckReceived))  # the server has all of it
        assert client.h2.local_flow_control_window(number) < 30_000
        go.set()
        await client.until(lambda: len(frames(client.streams[number].body)) == 2)
        assert [len(each.data) for each in frames(client.streams[number].body)] == [5, 40_000]
        send(client, number, Opcode.CLOSE, b"")
        assert (await client.answer(number)).ended


async def test_an_application_that_closes() -> None:
    app = Echo()
    async with serving(app, http2=True) as server, peer(server) as client:
        number = client.ask(CONNECT, ends=False)
        await client.until(lambda: client.streams[number].heads)
        send(client, number, Opcode.TEXT, b"close")
        await client.until(lambda: len(frames(client.streams[number].body)) == 2)
        assert frames(client.streams[number].body)[-1].data == (3001).to_bytes(2)
        send(client, number, Opcode.CLOSE, (3001).to_bytes(2))
        assert (await client.answer(number)).ended
        await until(lambda: not server.active())


@pytest.mark.parametrize("how", ["end", "end at once", "reset", "leave"])
async def test_a_client_that_leaves_without_a_close(how: str) -> None:
    app = Echo()
    async with serving(app, http2=True) as server:
        async with peer(server) as client:
            number = client.ask(CONNECT, ends=how == "end at once")
            await client.until(lambda: client.streams[number].heads)
            if how == "end":
                client.h2.end_stream(number)
                client.flush()
            if how.startswith("end"):
                assert (await client.answer(number)).is_over
            elif how == "reset":
                client.h2.reset_stream(number, 8)
                client.flush()
            if how != "leave":
                await until(lambda: app.events)
        await until(lambda: app.events and not server.active())
    assert app.events[0]["code"] == 1006


@pytest.mark.parametrize("versions", [[], ["8"], ["13", "13"], ["13", "8"]])
async def test_another_version_or_several_get_400(versions: list[str]) -> None:
    app = Echo()
    async with serving(app, http2=True) as server, peer(server) as client:
        asked = [*CONNECT[:-1], *(("sec-websocket-version", each) for each in versions)]
        assert (await client.answer(client.ask(asked, ends=False))).status == "400"
    assert app.scopes == []


@pytest.mark.parametrize(("denial", "status"), [(False, "403"), (True, "418")])
async def test_a_handshake_that_is_refused(denial: bool, status: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if denial:
            await send({"type": "websocket.http.response.start", "status": 418, "headers": []})
            await send({"type": "websocket.http.response.body", "body": b"tea"})
        else:
            await send({"type": "websocket.close"})

    async with serving(app, http2=True) as server, peer(server) as client:
        number = client.ask(CONNECT, ends=False)
        answer = await client.answer(number)
        assert (answer.status, answer.ended) == (status, True)
        await until(lambda: not server.active())


async def test_a_slow_application_stops_its_websocket_alone() -> None:
    go, count = asyncio.Event(), 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal count
        await receive()
        await send({"type": "websocket.accept"})
        if scope["path"] == "/chat":
            await go.wait()
        while (await receive())["type"] == "websocket.receive":
            count += 1
        await send({"type": "websocket.close"})

    async with serving(app, http2=True) as server, peer(server) as client:
        number, sent = client.ask(CONNECT, ends=False), 0
        await client.until(lambda: client.streams[number].heads)
        frame = Frame(Opcode.BINARY, bytes(1000)).serialize(mask=True)
        while client.h2.local_flow_control_window(number) >= len(frame) and sent < 1000:
            client.h2.send_data(number, frame)
            client.flush()
            sent += 1
            await asyncio.sleep(0)
        assert sent < 200  # the window is shut
        go.set()
        await client.until(lambda: client.h2.local_flow_control_window(number) >= 32_000)
        await until(lambda: count == sent)
        client.h2.reset_stream(number, 8)
        client.flush()


@pytest.mark.parametrize("how", ["end", "reset", "leave"])
async def test_messages_of_a_client_that_has_left_reach_a_slow_application(how: str) -> None:
    go = asyncio.Event()
    got: list[int] = []
    left: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        on_departure(receive, left.append)
        await receive()
        await send({"type": "websocket.accept"})
        await go.wait()
        while (event := await receive())["type"] == "websocket.receive":
            got.append(int(event["text"]))
        got.append(event["code"])

    async with serving(app, http2=True) as server:
        async with peer(server) as client:
            number = client.ask(CONNECT, ends=False)
            await client.until(lambda: client.streams[number].heads)
            data = b"".join(Frame(Opcode.TEXT, b"%d" % n).serialize(mask=True) for n in range(1000))
            client.h2.send_data(number, data, end_stream=how == "end")
            client.h2.ping(bytes(8))
            client.flush()
            await client.until(lambda: client.seen(PingAckReceived))  # the server has all of it
            if how == "reset":
                client.h2.reset_stream(number, 8)
                client.flush()
            if how != "leave":
                await until(lambda: left)
        await until(lambda: left)
        assert (server.active(), got) == ({"websocket": 1}, [])
        go.set()
        await until(lambda: not server.active())
    assert got == [*range(1000), 1006]


async def test_a_stop_closes_it_with_1012() -> None:
    async with serving(Echo(), http2=True) as server, peer(server) as client:
        number = client.ask(CONNECT, ends=False)
        await client.until(lambda: client.streams[number].heads)
        stopping = asyncio.ensure_future(server.stop(10.0))
        await client.until(lambda: frames(client.streams[number].body))
        assert frames(client.streams[number].body)[0].data[:2] == (1012).to_bytes(2)
        send(client, number, Opcode.CLOSE, (1012).to_bytes(2))
        await client.until_closed()
        await stopping


async def test_a_reload_changes_the_pages_that_may_connect_on_an_open_connection() -> None:
    def serves(*origins: str) -> URLRouter:
        return URLRouter([url("^chat", Echo(), origins=origins)])

    def from_page(host: str) -> list[tuple[str, str]]:
        return [*CONNECT, ("origin", f"https://{host}")]

    async with serving(serves("https://a.example"), http2=True) as server, peer(server) as client:
        before = client.ask(from_page("a.example"), ends=False)
        await client.until(lambda: client.streams[before].heads)
        assert client.streams[before].status == "200"
        assert (await client.answer(client.ask(from_page("b.example"), ends=False))).status == "403"

        settings = HTTPSettings(bind=server.settings.bind, http2=True)
        await server.become(HTTPServer(serves("https://b.example"), settings, state={}))
        assert (await client.answer(client.ask(from_page("a.example"), ends=False))).status == "403"
        after = client.ask(from_page("b.example"), ends=False)
        for number in (before, after):  # who was let in stays
            send(client, number, Opcode.TEXT, b"hello")
            await client.until(lambda number=number: frames(client.streams[number].body))
            assert frames(client.streams[number].body)[0].data == b"hello"
            client.h2.reset_stream(number, 8)
        client.flush()


async def test_compressed_messages() -> None:
    async with serving(Echo(), http2=True, compression=True) as server, peer(server) as client:
        number = client.ask([*CONNECT, ("sec-websocket-extensions", "permessage-deflate")], ends=False)
        await client.until(lambda: client.streams[number].heads)
        assert "permessage-deflate" in client.streams[number].heads[0]["sec-websocket-extensions"]
        send(client, number, Opcode.TEXT, b"a" * 5000)
        await client.until(lambda: client.streams[number].body)
        assert client.streams[number].body[0] & 0x40  # RSV1: compressed
        assert len(client.streams[number].body) < 100
        client.h2.reset_stream(number, 8)
        client.flush()
