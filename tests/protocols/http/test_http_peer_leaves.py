"""Peers that leave at a moment at which the loop does not notice it: it is writing, or does not read."""

import asyncio
import contextlib
import logging
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from client_frames import client_frame
from contract import LIMIT
from http_peer import GET, serving
from servers.certificates import make
from test_http_websocket import HANDSHAKE
from waiting import until

from protocols.app_run import on_departure
from protocols.http.server import HTTPServer

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"
START: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": []}


def connected(server: HTTPServer) -> socket.socket:
    host, port = server.address.split(":")
    return socket.create_connection((host, int(port)), timeout=LIMIT)


def reset(peer: socket.socket) -> None:
    """Close with a reset, which the loop can learn of in its next turn only."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    peer.close()


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_body_that_is_read_after_a_failed_write_ends_with_the_disconnect(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reset(peer)
        await send(START)
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        heard.append(await receive())

    async with serving(app) as server:
        peer = connected(server)
        peer.sendall(POST)
        await until(lambda: heard and not server.active())
    assert heard == [{"type": "http.disconnect"}]
    assert errors(caplog) == []


async def test_a_body_that_nobody_reads_is_discarded_until_a_write_fails(caplog: pytest.LogCaptureFixture) -> None:
    aborted = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": b"x"})
        for each in server.service.connections:
            each.transport.abort()  # type: ignore[attr-defined]  # as the loop does when a write fails
        aborted.set()

    async with serving(app) as server:
        peer = connected(server)
        peer.sendall(POST)
        await aborted.wait()
        peer.close()
        await until(lambda: not server.service.connections and not server.service.tasks)
    assert errors(caplog) == []


async def test_the_end_of_a_connection_that_its_peer_has_just_reset_is_quiet(caplog: pytest.LogCaptureFixture) -> None:
    lingered = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        [connection] = server.service.connections
        await send(START)
        await send({"type": "http.response.body", "body": b"x"})
        reset(peer)
        connection.linger()  # type: ignore[attr-defined]  # it sends FIN
        lingered.set()

    async with serving(app) as server:
        peer = connected(server)
        peer.sendall(POST)
        await until(lingered.is_set)
        await until(lambda: not server.service.connections and not server.active())
    assert errors(caplog) == []


@pytest.mark.parametrize("leave", [socket.socket.close, reset])
async def test_a_peer_that_leaves_while_its_next_requests_wait_is_noticed(leave: Any) -> None:
    """So much is read ahead that reading pauses, while the application waits for nothing but the disconnect."""
    heard: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (event := await receive())["type"] == "http.request":
            heard.append(event)
        heard.append(event)

    async with serving(app, stall_timeout=0.05) as server:
        peer = connected(server)
        try:
            peer.sendall(GET)
            await until(lambda: heard)
            peer.sendall(b"GET /next HTTP/1.1\r\nHost: a\r\nX-Fill: %b\r\n\r\n" % (b"x" * 4000) * 20)
            await until(lambda: all(each._holds for each in server.service.connections))  # type: ignore[attr-defined]
            await asyncio.sleep(0.2)
            assert len(heard) == 1, "a peer that is there keeps its connection"
        finally:
            leave(peer)
        await until(lambda: not server.service.connections)
    assert heard[-1] == {"type": "http.disconnect"}


@pytest.mark.parametrize("leave", [socket.socket.close, reset])
async def test_a_peer_that_leaves_while_its_body_waits_for_the_application_is_noticed(leave: Any) -> None:
    """The application takes one piece of an upload, and then only waits to be told that its peer has left."""
    heard: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        heard.append((await receive())["type"])
        await until(lambda: "left" in heard)
        while heard[-1] != "http.disconnect":
            heard.append((await receive())["type"])

    async with serving(app, stall_timeout=0.05) as server:
        peer = connected(server)
        try:
            peer.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n" + b"x" * 200_000)
            await until(lambda: heard and all(each._holds for each in server.service.connections))  # type: ignore[attr-defined]
            await asyncio.sleep(0.2)
            assert server.service.connections, "a peer that is there keeps its connection"
        finally:
            leave(peer)
        await until(lambda: not server.service.connections)
        heard.append("left")
        await until(lambda: not server.active())
    assert heard[-1] == "http.disconnect"


MANY = 900
"""Messages: more than an application is given at a time, and more than are read with them. All are in the kernel."""


class Slow:
    """A WebSocket's application that takes nothing until it may. It remembers what it got, and when its peer left."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.left: list[Any] = []
        self.got: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        on_departure(receive, self.left.append)
        await receive()
        await send({"type": "websocket.accept"})
        await self.go.wait()
        while (event := await receive())["type"] == "websocket.receive":
            self.got.append(int(event["text"]))
        self.got.append(event["code"])


@pytest.mark.parametrize("how", ["FIN", "close frame", "reset"])
@pytest.mark.parametrize("tls", [False, True])
async def test_websocket_messages_of_a_peer_that_has_left_reach_a_slow_application(
    tls: bool, how: str, tmp_path: Path
) -> None:
    app, pair = Slow(), make(tmp_path) if tls else None
    async with serving(app, tls=pair, ping_interval=0.0, stall_timeout=0.05) as server:
        peer = connected(server)
        if pair is not None:
            wrap = ssl.create_default_context(cafile=pair.certificate).wrap_socket
            peer = await asyncio.to_thread(wrap, peer, server_hostname="localhost")
        await asyncio.to_thread(peer.sendall, HANDSHAKE)
        assert (await asyncio.to_thread(peer.recv, 1000)).startswith(b"HTTP/1.1 101")
        frames = b"".join(client_frame(0x81, b"%0100d" % n) for n in range(MANY))
        end = client_frame(0x88, (1001).to_bytes(2)) if how == "close frame" else b""
        await asyncio.to_thread(peer.sendall, frames + end)
        if how == "reset":
            (connection,) = server.service.connections
            await until(lambda: connection._exchange._paused)  # type: ignore[attr-defined]
            reset(peer)
        else:
            peer.close()
        await until(lambda: not server.service.connections and app.left)
        assert [each["code"] for each in app.left] == [1006]
        assert server.active(), "its application still runs"
        app.go.set()
        await until(lambda: not server.active())
    *got, code = app.got
    assert (got, len(app.left)) == ([*range(len(got))], 1)
    if how == "reset" or (tls and "uvloop" in type(asyncio.get_running_loop()).__module__):
        assert len(got) > 100  # a reset discards what is not sent; uvloop's TLS what it has read
    else:
        assert (len(got), code) == (MANY, 1001 if how == "close frame" else 1006)


async def test_a_websocket_that_takes_nothing_after_its_peer_has_left_is_cancelled() -> None:
    app = Slow()
    async with serving(app, ping_interval=0.0, stall_timeout=0.05, disconnect_grace=0.1) as server:
        peer = connected(server)
        peer.sendall(HANDSHAKE + b"".join(client_frame(0x81, b"%d" % n) for n in range(MANY)))
        peer.close()
        await until(lambda: app.left and not server.active())
    assert app.got == []


async def test_a_websocket_peer_that_sends_fin_and_reads_nothing_is_cut_off() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.01):  # no send waits for the peer when it has left
                await send({"type": "websocket.send", "bytes": bytes(16 * 1024 * 1024)})
        while (await receive())["type"] != "websocket.disconnect":
            pass

    async with serving(app, stall_timeout=0.1, ping_interval=0.0) as server:
        peer = connected(server)
        peer.sendall(HANDSHAKE)
        assert await asyncio.to_thread(peer.recv, 12) == b"HTTP/1.1 101"
        peer.shutdown(socket.SHUT_WR)
        await until(lambda: not server.service.connections)
        peer.close()
