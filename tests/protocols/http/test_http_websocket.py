"""WebSocket, with the ``websockets`` library and with raw frames."""

import asyncio
import logging
import os
from typing import Any

import pytest
import websockets
from contract import LIMIT, connect, transport_of
from http_peer import ask, read_answer, serving
from waiting import until
from websockets.asyncio.client import ClientConnection

from protocols.errors import LocalProtocolError
from protocols.http.server import HTTPServer

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def to(server: HTTPServer, path: str = "/", **options: Any) -> Any:
    return websockets.connect(f"ws://{server.address}{path}", **{"compression": None, "open_timeout": LIMIT, **options})


async def closed(socket: ClientConnection) -> tuple[int, str]:
    """What closed the connection from the server's side."""
    async with asyncio.timeout(LIMIT):
        await socket.wait_closed()
    assert socket.close_code is not None
    return socket.close_code, socket.close_reason or ""


class Echo:
    """Accepts, sends back, and remembers."""

    def __init__(self, **accept: Any) -> None:
        self.accept = accept
        self.scopes: list[Any] = []
        self.events: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        while True:
            event = await receive()
            self.events.append(event)
            match event["type"]:
                case "websocket.connect":
                    await send({"type": "websocket.accept", **self.accept})
                case "websocket.receive":
                    await send({**event, "type": "websocket.send"})
                case _:
                    return


def one(*events: dict[str, Any], then: Exception | None = None) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert await receive() == {"type": "websocket.connect"}
        for event in events:
            await send(event)
        if then is not None:
            raise then

    return app


ACCEPT = {"type": "websocket.accept"}
BAD_CODES = (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)


async def test_echo_of_text_and_bytes_of_every_length() -> None:
    app = Echo()
    async with serving(app) as server, to(server) as socket:
        for message in ("", "é", "x" * 125, "x" * 126, "x" * 65535, "x" * 65536, b"", b"\0" * 70000, "x" * 1024 * 1024):
            await socket.send(message)
            assert await socket.recv() == message
        await socket.send(iter(["in ", "", "three ", "fragments"]))
        assert await socket.recv() == "in three fragments"


async def test_the_scope_and_the_handshake() -> None:
    app = Echo(subprotocol="b", headers=[(b"x-a", b"1")])
    async with serving(app) as server:
        async with to(server, "/p%20q?r=s", subprotocols=["a", "b"], compression="deflate") as socket:
            assert socket.subprotocol == "b"
            assert socket.response is not None
            assert socket.response.headers["x-a"] == "1"
            assert "sec-websocket-extensions" not in socket.response.headers
        scope = app.scopes[0]
    assert (scope["type"], scope["scheme"], scope["http_version"]) == ("websocket", "ws", "1.1")
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/p q", b"/p%20q", b"r=s")
    assert scope["subprotocols"] == ["a", "b"]
    assert scope["extensions"] == {"websocket.http.response": {}}
    assert "method" not in scope


async def test_the_example_of_the_rfc() -> None:
    """RFC 6455, 1.3."""
    async with serving(Echo()) as server:
        reader, writer = await connect(server.address)
        writer.write(HANDSHAKE)
        answer = await read_answer(reader)
        writer.close()
    assert (answer.status, answer["sec-websocket-accept"]) == (101, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")


@pytest.mark.parametrize("repeats", [10, 50_000])
async def test_compression_where_it_is_switched_on(repeats: int) -> None:
    async with serving(Echo(), compression=True) as server, to(server, compression="deflate") as socket:
        assert socket.response is not None
        assert "permessage-deflate" in socket.response.headers["sec-websocket-extensions"]
        for _ in range(3):
            await socket.send("compress me " * repeats)
            assert await socket.recv() == "compress me " * repeats


async def test_a_bomb_is_not_inflated() -> None:
    async with serving(Echo(), compression=True) as server, to(server, compression="deflate") as socket:
        await socket.send("x" * 50_000_000)
        assert (await closed(socket))[0] == 1009


@pytest.mark.parametrize(
    ("said", "told"), [((1000, ""), (1000, "")), ((4001, "bye"), (4001, "bye")), ((None, ""), (1005, ""))]
)
async def test_the_peer_closes(said: tuple[int | None, str], told: tuple[int, str]) -> None:
    app = Echo()
    async with serving(app) as server, to(server) as socket:
        if said[0] is None:
            await socket.send("before")
            await socket.recv()
            socket.transport.write(b"\x88\x80\0\0\0\0")
        else:
            await socket.close(*said)
        await closed(socket)
    assert app.events[-1] == {"type": "websocket.disconnect", "code": told[0], "reason": told[1]}


async def test_the_peer_is_cut_off() -> None:
    app = Echo()
    async with serving(app) as server:
        async with to(server) as socket:
            socket.transport.abort()
            await socket.wait_closed()
        await until(lambda: [event.get("code") for event in app.events] == [None, 1006])


@pytest.mark.parametrize(
    ("app", "code", "reason"),
    [
        (one(ACCEPT, {"type": "websocket.close", "code": 4321, "reason": "é"}), 4321, "é"),
        (one(ACCEPT, {"type": "websocket.close"}), 1000, ""),
        (one(ACCEPT), 1000, ""),
        (one(ACCEPT, then=RuntimeError()), 1011, ""),
        (one(ACCEPT, {"type": "websocket.close", "code": 1014}), 1014, ""),
        (one(ACCEPT, {"type": "websocket.close", "code": 1006}), 1011, ""),
        (one(ACCEPT, {"type": "websocket.close", "code": 1016}), 1011, ""),
        (one(ACCEPT, {"type": "websocket.close", "code": 2999}), 1011, ""),
        (one(ACCEPT, {"type": "websocket.close", "code": 5000}), 1011, ""),
        (one(ACCEPT, {"type": "websocket.close", "reason": "x" * 124}), 1011, ""),
        (one(ACCEPT, {"type": "websocket.send"}), 1011, ""),
        (one(ACCEPT, {"type": "websocket.send", "text": None, "bytes": None}), 1011, ""),
        (one(ACCEPT, ACCEPT), 1011, ""),
    ],
)
async def test_the_application_ends_it(app: Any, code: int, reason: str) -> None:
    async with serving(app) as server:
        async with to(server) as socket:
            assert await closed(socket) == (code, reason)
        assert server.active() == {}


@pytest.mark.parametrize(
    ("app", "status"),
    [
        (one({"type": "websocket.close"}), 403),
        (one(then=RuntimeError()), 500),
        (one(), 500),
        (one({"type": "websocket.send", "text": "too early"}), 500),
        (one({"type": "websocket.accept", "headers": [(b"x", b"a\r\nb")]}), 500),
        (one({"type": "websocket.accept", "subprotocol": "a\r\nb: c"}), 500),
    ],
)
async def test_no_handshake(app: Any, status: int) -> None:
    async with serving(app) as server:
        with pytest.raises(websockets.InvalidStatus) as caught:
            await to(server)
    assert caught.value.response.status_code == status


async def test_the_denial_response() -> None:
    start = {"type": "websocket.http.response.start", "status": 401, "headers": [(b"www-authenticate", b"Basic")]}
    body = {"type": "websocket.http.response.body"}
    async with serving(one(start, {**body, "body": b"no", "more_body": True}, {**body, "body": b"!"})) as server:
        answer, closes = await ask(server, HANDSHAKE)
    assert (answer.status, answer["www-authenticate"], answer.body, closes) == (401, "Basic", b"no!", True)


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (b"Version: 13", b"Version: 8", 426),
        (b"Version: 13", b"Version: 13\r\nSec-WebSocket-Version: 13", 400),
        (b"Version: 13", b"Version: 13\r\nSec-WebSocket-Version: 8", 400),
        (b"Key: dGhl", b"Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Key: dGhl", 400),
        (b"Key: dGhl", b"Key: ", 400),
        (b"Key: dGhl", b"Key: \xff", 400),
        (b"GET / HTTP/1.1", b"GET / HTTP/1.0", 400),
        (b"Host: a", b"Host: a\r\nContent-Length: 3", 400),
        (b"Host: a", b"Host: a\r\nTransfer-Encoding: chunked", 400),
    ],
)
async def test_bad_handshakes(old: bytes, new: bytes, status: int, caplog: pytest.LogCaptureFixture) -> None:
    app = Echo()
    async with serving(app) as server:
        answer, closes = await ask(server, HANDSHAKE.replace(old, new))
    assert (answer.status, closes) == (status, True)
    assert answer["sec-websocket-version"] == ("13" if status == 426 else None)
    assert app.scopes == []
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (b"\x83\x80\0\0\0\0", 1002),
        (b"\xc1\x80\0\0\0\0", 1002),
        (b"\x09\x80\0\0\0\0", 1002),
        (b"\x80\x80\0\0\0\0", 1002),
        (b"\x89\xfe\0\x7e\0\0\0\0", 1002),
        (b"\x88\x81\0\0\0\0\0", 1002),
        (b"\x81\x01a", 1002),
        (b"\x01\x81\0\0\0\0a\x81\x81\0\0\0\0b", 1002),
        *((b"\x88\x82\0\0\0\0" + bad.to_bytes(2), 1002) for bad in BAD_CODES),
        (b"\x88\x84\0\0\0\0\x03\xe8\xc3\x28", 1007),
        (b"\x01\x81\0\0\0\0\xc3\x80\x81\0\0\0\0\x28", 1007),
        (b"\x81\x82\0\0\0\0\xc0\xaf", 1007),
        (b"\x81\x83\0\0\0\0\xed\xa0\x80", 1007),
        (b"\x81\x84\0\0\0\0\xf4\x90\x80\x80", 1007),
        (b"\x81\x81\0\0\0\0\xff", 1007),
        (b"\x81\xff\0\0\0\0\0\x10\0\x01", 1009),
        (b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff", 1009),
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
async def test_bad_frames(frames: bytes, code: int, caplog: pytest.LogCaptureFixture, *, at_once: bool) -> None:
    caplog.set_level(logging.INFO)
    told: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        told.append(await receive())
        with pytest.raises(OSError, match="gone"):
            await send({"type": "websocket.send", "text": ""})

    async with serving(app) as server:
        reader, writer = await connect(server.address)
        writer.write(HANDSHAKE + frames if at_once else HANDSHAKE)  # in one packet, which nothing forbids
        assert (await read_answer(reader)).status == 101
        for byte in b"" if at_once else frames:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.001)
        assert await reader.readexactly(4) == b"\x88\x02" + code.to_bytes(2)
        writer.write(b"\x88\x82\0\0\0\0" + code.to_bytes(2) + b"anything after it")
        writer.close()
    assert told == [{"type": "websocket.disconnect", "code": code, "reason": ""}]
    assert type(told[0]["code"]) is int
    assert len([record for record in caplog.records if "closed with" in record.getMessage()]) == 1
    assert [record for record in caplog.records if record.exc_info] == []


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_peer_that_stays_after_a_bad_frame_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, *, at_once: bool
) -> None:
    monkeypatch.setattr("protocols.http.websocket.CLOSE_TIMEOUT", 0.1)
    async with serving(Echo()) as server:
        reader, writer = await connect(server.address)
        writer.write(HANDSHAKE + b"\x81\x01a" if at_once else HANDSHAKE)
        assert (await read_answer(reader)).status == 101
        if not at_once:
            writer.write(b"\x81\x01a")
        await until(lambda: not server.service.connections)
        writer.close()


async def test_a_peer_that_talks_on_after_our_close_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where its bytes would have been the answer to a ping."""
    monkeypatch.setattr("protocols.http.websocket.CLOSE_TIMEOUT", 0.5)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(ACCEPT)
        await pinged.wait()
        await send({"type": "websocket.close"})

    pinged = asyncio.Event()
    async with serving(app, ping_interval=0.05) as server:
        reader, writer = await connect(server.address)
        writer.write(HANDSHAKE)
        assert (await read_answer(reader)).status == 101
        assert await reader.readexactly(2) == b"\x89\x00"
        pinged.set()
        assert await reader.readexactly(4) == b"\x88\x02\x03\xe8"
        writer.write(b"\x81\x80\0\0\0\0")
        assert await reader.read() == b""  # no ping after our close
        await until(lambda: not server.service.connections)
        writer.close()


async def test_a_ping_is_answered_however_slow_the_application_is() -> None:
    release = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(ACCEPT)
        await release.wait()

    async with serving(app) as server, to(server) as socket, asyncio.timeout(LIMIT):
        await socket.send("unread")
        await (await socket.ping(b"now"))
        release.set()


async def test_silent_peers_are_cut_off_and_living_ones_are_not() -> None:
    app = Echo()
    async with serving(app, ping_interval=0.1, ping_timeout=0.1) as server:
        reader, writer = await connect(server.address)
        writer.write(HANDSHAKE)
        assert (await read_answer(reader)).status == 101
        async with to(server) as living:
            async with asyncio.timeout(LIMIT):
                with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                    await reader.readexactly(100)
            await living.send("still here")
            assert await living.recv() == "still here"
        writer.close()
    assert {"type": "websocket.disconnect", "code": 1006, "reason": ""} in app.events


async def test_the_next_ping_waits_for_the_interval_alone_once_a_ping_is_answered() -> None:
    """A proxy between us counts on that: nginx closes a WebSocket on which nothing moved for a minute."""
    async with serving(Echo(), ping_interval=0.05, ping_timeout=3600) as server:
        reader, writer = await connect(server.address)
        writer.write(HANDSHAKE)
        assert (await read_answer(reader)).status == 101
        async with asyncio.timeout(LIMIT):
            for _ in range(3):
                assert await reader.readexactly(2) == b"\x89\x00"
                writer.write(b"\x8a\x80\x00\x00\x00\x00")
        writer.close()


async def test_a_full_inbox_stops_the_reading_and_loses_nothing() -> None:
    release, count = asyncio.Event(), 20_000
    got: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(ACCEPT)
        await receive()
        await release.wait()
        while len(got) < count:
            got.append((await receive())["text"])

    async with serving(app) as server, to(server, ping_interval=None) as socket:

        async def flood() -> None:
            for n in range(count):
                await socket.send(f"{n:1000}")

        flooding = asyncio.ensure_future(flood())
        await asyncio.sleep(0.5)
        assert not flooding.done()
        (instance,) = server.service.running
        assert len(instance._queue) < 100  # type: ignore[attr-defined]
        release.set()
        await flooding
        await closed(socket)
    assert got == [f"{n:1000}" for n in range(count)]


@pytest.mark.parametrize("compression", [True, False])
async def test_a_peer_that_does_not_read_holds_the_application_back_and_is_cut_off(
    caplog: pytest.LogCaptureFixture, *, compression: bool
) -> None:
    sent = 0
    piece = os.urandom(65536)
    over = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await send(ACCEPT)
        try:
            while True:
                await send({"type": "websocket.send", "bytes": piece})
                sent += 1
        finally:
            over.set()

    offer = b"Key: dGhl", b"Extensions: permessage-deflate\r\nSec-WebSocket-Key: dGhl"
    async with serving(app, stall_timeout=0.2, compression=compression) as server:
        reader, writer = await connect(server.address)
        writer.write(HANDSHAKE.replace(*offer))
        await read_answer(reader)
        transport_of(writer).pause_reading()
        async with asyncio.timeout(LIMIT):
            await over.wait()
        writer.close()
    assert sent < 500
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_peer_that_leaves_while_a_message_is_compressed_is_no_crash(caplog: pytest.LogCaptureFixture) -> None:
    over = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(ACCEPT)
        try:
            while True:
                await send({"type": "websocket.send", "bytes": bytes(8 * 1024 * 1024)})  # on aiohttp's thread
        finally:
            over.set()

    async with serving(app, compression=True) as server:
        reader, writer = await connect(server.address)
        writer.write(HANDSHAKE.replace(b"Key: dGhl", b"Extensions: permessage-deflate\r\nSec-WebSocket-Key: dGhl"))
        await read_answer(reader)
        await asyncio.sleep(0.05)
        writer.transport.abort()
        async with asyncio.timeout(LIMIT):
            await over.wait()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_stop_says_1012_to_both_before_anything_is_cancelled() -> None:
    told: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        told.append(await receive())
        with pytest.raises(OSError, match="gone"):
            await send({"type": "websocket.send", "text": "late"})
        await asyncio.sleep(0.1)
        told.append("cleaned up")

    async with serving(app) as server, to(server) as socket:
        assert server.active() == {"websocket": 1}
        stopping = asyncio.ensure_future(server.stop(LIMIT))
        assert await closed(socket) == (1012, "server shutting down")
        await stopping
        assert server.active() == {}
    assert told == [{"type": "websocket.disconnect", "code": 1012, "reason": "server shutting down"}, "cleaned up"]


async def test_nothing_may_be_sent_after_the_close() -> None:
    raised: list[Exception] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        await send({"type": "websocket.close"})
        try:
            await send({"type": "websocket.send", "text": "after"})
        except LocalProtocolError as error:
            raised.append(error)
        raised.append(await receive())

    async with serving(app) as server, to(server) as socket:
        assert await closed(socket) == (1000, "")
    assert "nothing more" in str(raised[0])
    assert raised[1] == {"type": "websocket.disconnect", "code": 1000, "reason": ""}
