"""What a hostile peer of a WebSocket may do: with its handshake, with floods, and with a denial."""

import asyncio
import contextlib
import logging
from typing import Any

import pytest
from client_frames import client_frame
from contract import LIMIT, connect
from http_peer import GET, Recorder, ask, read_answer, serving
from test_http_websocket import ACCEPT, HANDSHAKE, Echo, closed, one, to
from waiting import until

START = {"type": "websocket.http.response.start", "status": 401}
BODY = {"type": "websocket.http.response.body"}


async def open_raw(server: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await connect(server.address)
    writer.write(HANDSHAKE)
    assert (await read_answer(reader)).status == 101
    return reader, writer


# The handshake.


async def test_a_thousand_half_handshakes_are_closed_and_keep_nobody_waiting() -> None:
    app = Echo()
    async with serving(app, head_timeout=1) as server:
        halves = [await connect(server.address) for _ in range(1000)]
        for _, writer in halves:
            writer.write(HANDSHAKE[:-2])
        async with to(server) as socket:
            await socket.send("served")
            assert await socket.recv() == "served"
        async with asyncio.timeout(LIMIT):
            for reader, _ in halves:
                assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
        for _, writer in halves:
            writer.close()
        await until(lambda: not server.service.connections)
    assert len(app.scopes) == 1


@pytest.mark.parametrize(
    "handshake",
    [
        HANDSHAKE.replace(b"GET", b"POST"),
        HANDSHAKE.replace(b"GET", b"HEAD"),
        HANDSHAKE.replace(b"Upgrade: WebSocket", b"Upgrade: websocket2"),
        HANDSHAKE.replace(b"keep-alive, Upgrade", b"keep-alive"),
        HANDSHAKE.replace(b"keep-alive, Upgrade", b"close"),
    ],
)
async def test_a_request_that_asks_for_no_websocket_is_an_ordinary_one(handshake: bytes) -> None:
    app = Recorder()
    async with serving(app) as server:
        answer, _ = await ask(server, handshake, body=not handshake.startswith(b"HEAD"))
    assert (answer.status, app.scopes[0]["type"]) == (200, "http")


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (b"Sec-WebSocket-Version: 13\r\n", b"", 426),
        (b"Version: 13", b"Version: 14", 426),
        (b"Version: 13", b"Version: 13, 8", 426),
        (b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b"", 400),
        (b"Key: dGhlIHNhbXBsZSBub25jZQ==", b"Key: dGhlIHNhbXBsZSBub25jZQ", 400),
        (b"Key: dGhlIHNhbXBsZSBub25jZQ==", b"Key: " + b"A" * 4096, 400),
        (b"Host: a", b"Host: a\r\nContent-Length: 0", 101),
        (b"Host: a", b"Host: a\r\nContent-Length: 1", 400),
        (b"Host: a\r\n", b"", 400),
    ],
)
async def test_a_handshake_that_breaks_the_rules(old: bytes, new: bytes, status: int) -> None:
    assert old in HANDSHAKE
    async with serving(Echo()) as server:
        answer, closes = await ask(server, HANDSHAKE.replace(old, new))
    assert (answer.status, closes) == (status, status != 101)
    assert answer["sec-websocket-version"] == ("13" if status == 426 else None)


async def test_a_handshake_behind_a_request_and_a_request_behind_a_handshake() -> None:
    """The first is one after the other; what follows a handshake is frames, whatever it looks like."""
    paths: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        paths.append(scope["type"])
        if scope["type"] == "websocket":
            await Echo()(scope, receive, send)
        else:
            await asyncio.sleep(0.05)
            await Recorder()(scope, receive, send)

    async with serving(app) as server:
        reader, writer = await connect(server.address)
        writer.write(GET + HANDSHAKE + client_frame(0x81, b"early") + GET)
        assert (await read_answer(reader)).body == b"hello"
        assert (await read_answer(reader)).status == 101
        assert await reader.readexactly(4) == b"\x88\x02\x03\xea"  # GET is no frame
        writer.close()
        await until(lambda: not server.service.connections)
    assert paths == ["http", "websocket"]


async def test_what_comes_before_the_handshake_is_accepted_is_bounded() -> None:
    release = asyncio.Event()
    got: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await release.wait()
        await send(ACCEPT)
        while (event := await receive())["type"] == "websocket.receive":
            got.append(len(event["bytes"]))

    frames = client_frame(0x82, bytes(1000), mask=bytes(4)) * 20_000
    async with serving(app) as server:
        reader, writer = await connect(server.address)
        writer.write(HANDSHAKE + frames)
        await until(lambda: server.service.connections and server.service.running)
        await asyncio.sleep(0.2)
        (connection,) = server.service.connections
        assert connection.bytes_received < 1_000_000 < len(frames)
        release.set()
        assert (await read_answer(reader)).status == 101
        writer.write(client_frame(0x88, b"\x03\xe8"))
        async with asyncio.timeout(LIMIT):
            assert await reader.read() == b"\x88\x02\x03\xe8"
        writer.close()
    assert got == [1000] * 20_000


async def test_a_peer_that_leaves_during_its_handshake_is_told_to_the_application() -> None:
    told: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        told.extend([await receive(), await receive()])
        with pytest.raises(OSError, match="gone"):
            await send(ACCEPT)

    async with serving(app) as server:
        _, writer = await connect(server.address)
        writer.write(HANDSHAKE)
        await until(lambda: told or server.service.running)
        writer.transport.abort()
        await until(lambda: not server.service.running)
    assert told == [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1006, "reason": ""}]


@pytest.mark.parametrize("seconds", [0, 0.3])
@pytest.mark.parametrize("before", [b"", GET])
async def test_a_peer_that_sends_frames_and_fin_before_it_is_accepted_is_let_go(seconds: float, before: bytes) -> None:
    app = Echo()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(seconds)
        await (app if scope["type"] == "websocket" else Recorder())(scope, receive, send)

    async with serving(slow) as server:
        reader, writer = await connect(server.address)
        writer.write(before + HANDSHAKE + client_frame(0x81, b"early"))
        writer.write_eof()
        async with asyncio.timeout(LIMIT):
            await reader.read()
        await until(lambda: not server.service.connections and not server.service.running)
        writer.close()
    assert [event for event in app.events if event["type"] != "websocket.receive"][1:] in (
        [],  # nobody was there to be accepted
        [{"type": "websocket.disconnect", "code": 1006, "reason": ""}],
    )


# Floods.


@pytest.mark.parametrize(
    "frame",
    [client_frame(0x89, b"x" * 125), client_frame(0x8A), client_frame(0x81), client_frame(0x01) + client_frame(0x80)],
    ids=["pings", "pongs", "messages", "fragments"],
)
async def test_a_flood_of_small_frames_takes_little_memory_and_leaves_others_their_turn(frame: bytes) -> None:
    """From a peer that never reads, to an application that never reads."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/flooded":
            await send(ACCEPT)
            await release.wait()
        else:
            await Echo()(scope, receive, send)

    release = asyncio.Event()
    async with serving(app) as server:
        _, writer = await connect(server.address)
        writer.write(HANDSHAKE.replace(b"GET /", b"GET /flooded"))
        data = frame * (500_000 // len(frame))

        async def flood() -> None:
            with contextlib.suppress(OSError):
                while True:
                    writer.write(data)
                    await writer.drain()

        flooding = asyncio.ensure_future(flood())
        try:
            async with to(server) as socket:
                for n in range(50):
                    await socket.send(str(n))
                    assert await socket.recv() == str(n)
            (flooded,) = (each for each in server.service.running if "flooded" in each.doing())
            reader: Any = flooded
            assert len(reader._queue) <= 32
            assert len(reader._reader._data) < 600_000
        finally:
            release.set()
            flooding.cancel()
            writer.transport.abort()
            await asyncio.wait([flooding])


async def test_a_million_empty_fragments_are_no_message(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with serving(Echo()) as server:
        reader, writer = await open_raw(server)
        writer.write(client_frame(0x01) + client_frame(0x00) * 20_000)
        assert await reader.readexactly(4) == b"\x88\x02\x03\xf0"
        writer.close()
    lines = [record.getMessage() for record in caplog.records if "closed with 1008" in record.getMessage()]
    assert len(lines) == 1
    assert "a message in too many fragments" in lines[0]


async def test_a_close_behind_messages_that_the_application_does_not_take_is_answered() -> None:
    """It has returned; its peer has sent more than it was going to read, and then the answer to our close."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        await receive()

    async with serving(app) as server:
        reader, writer = await open_raw(server)
        writer.write(client_frame(0x82, b"x" * 1000) * 2000)
        assert await reader.readexactly(4) == b"\x88\x02\x03\xe8"
        writer.write(client_frame(0x88, b"\x03\xe8"))
        async with asyncio.timeout(LIMIT):
            assert await reader.read() == b""
        writer.close()
        assert server.active() == {}


async def test_nothing_is_read_behind_a_close() -> None:
    app = Echo()
    async with serving(app) as server:
        reader, writer = await open_raw(server)
        writer.write(client_frame(0x88, b"\x03\xe8bye") + client_frame(0x81, b"late") + b"\xff" * 100)
        async with asyncio.timeout(LIMIT):
            assert await reader.read() == b"\x88\x02\x03\xe8"
        writer.close()
    assert app.events[1:] == [{"type": "websocket.disconnect", "code": 1000, "reason": "bye"}]


# Denials.


async def test_a_denial_may_be_streamed_and_have_any_status() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        headers = [(b"content-type", b"text/plain"), (b"retry-after", b"7"), (b"x-a", b"1"), (b"x-a", b"2")]
        await send({**START, "status": 503, "headers": headers})
        for n in range(100):
            await send({**BODY, "body": b"%04d" % n, "more_body": True})
            await asyncio.sleep(0)
        await send(BODY)

    async with serving(app) as server:
        answer, closes = await ask(server, HANDSHAKE)
    assert (answer.status, closes, answer["retry-after"]) == (503, True, "7")
    assert [value for name, value in answer.headers if name == "x-a"] == ["1", "2"]
    assert answer.body == b"".join(b"%04d" % n for n in range(100))


@pytest.mark.parametrize(
    ("events", "status"),
    [
        ([START], 500),
        ([START, ACCEPT], 500),
        ([START, {**BODY, "body": "text"}], 500),
        ([{**START, "status": 101}], 500),
        ([{**START, "headers": [(b"content-length", b"5")]}, {**BODY, "body": b"too long"}], 500),
    ],
)
async def test_a_denial_that_is_wrong_is_500(events: list[Any], status: int) -> None:
    async with serving(one(*events)) as server:
        answer, closes = await ask(server, HANDSHAKE)
    assert (answer.status, closes) == (status, True)


async def test_a_denial_to_a_client_that_has_left_ends_quietly(caplog: pytest.LogCaptureFixture) -> None:
    over = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await receive()
            assert (await receive())["type"] == "websocket.disconnect"
            await send(START)
            await send({**BODY, "body": b"no"})
        finally:
            over.set()

    async with serving(app) as server:
        _, writer = await connect(server.address)
        writer.write(HANDSHAKE)
        await until(lambda: server.service.running)
        writer.transport.abort()
        async with asyncio.timeout(LIMIT):
            await over.wait()
        await until(lambda: not server.service.running)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


# Ends.


async def test_a_websocket_that_is_accepted_while_the_server_stops_is_closed_with_1012() -> None:
    release = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await release.wait()
        await send(ACCEPT)
        await receive()

    async with serving(app) as server:
        reader, writer = await connect(server.address)
        writer.write(HANDSHAKE)
        await until(lambda: server.service.running)
        stopping = asyncio.ensure_future(server.stop(LIMIT))
        await until(lambda: server.service.draining)
        release.set()
        assert (await read_answer(reader)).status == 101
        assert (await reader.read()).startswith(b"\x88\x16\x03\xf4server shutting down")
        writer.close()
        await stopping


async def test_a_thousand_websockets_open_and_close_at_once() -> None:
    app = Echo()
    async with serving(app) as server:

        async def visit(n: int) -> None:
            async with to(server, ping_interval=None) as socket:
                await socket.send(str(n))
                assert await socket.recv() == str(n)
                await socket.close()
                assert await closed(socket) == (1000, "")

        for first in range(0, 1000, 250):
            await asyncio.gather(*(visit(n) for n in range(first, first + 250)))
        await until(lambda: not server.service.connections)
    assert len(app.scopes) == 1000
