"""Peers that leave at a moment at which the loop does not notice it: it is writing, or does not read."""

import asyncio
import logging
import socket
from typing import Any

import pytest
from contract import LIMIT
from http_peer import GET, serving
from waiting import until

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
