"""Clients that attack a server in ways that could leave something behind: connections, runs, or half answers."""

import asyncio
import contextlib
import logging
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from contract import LIMIT, connect
from http_peer import GET, ask, read_answer, serving
from servers.certificates import make
from servers.programs import program
from waiting import until

from protocols.http.server import HTTPServer, HTTPSettings

PIECE = b"x" * 65536


def post(path: str, *fields: str, body: bytes = b"") -> bytes:
    lines = "\r\n".join([f"POST {path} HTTP/1.1", "Host: a", *fields, "", ""])
    return lines.encode() + body


class Site:
    """An application that is slow, or answers with much, or does not read, as the path says."""

    def __init__(self, answer: bytes = b"hello") -> None:
        self.answer = answer
        self.go_on = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError  # ASGI's way to say that an application does not take a scope
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await receive()
            return
        path = scope["path"]
        if path != "/unread":
            while (event := await receive())["type"] == "http.request" and event["more_body"]:
                pass
            if event["type"] == "http.disconnect":
                return
        if path == "/slow":
            await self.go_on.wait()
        await send({"type": "http.response.start", "status": 200})
        if path == "/large":
            for _ in range(200):
                await send({"type": "http.response.body", "body": PIECE, "more_body": True})
        await send({"type": "http.response.body", "body": self.answer})


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def peer_of(server: HTTPServer) -> socket.socket:
    host, _, port = server.address.rpartition(":")
    return socket.create_connection((host, int(port)), LIMIT)


def reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


async def nothing_is_left(server: HTTPServer) -> None:
    await until(lambda: not server.service.connections and not server.service.running)
    assert (await ask(server, GET))[0].status == 200


PHASES = {
    "connected": b"",
    "in the request line": b"GET / HT",
    "in a field": b"GET / HTTP/1.1\r\nHost: a\r\nX: ",
    "behind a head": post("/", "Content-Length: 9"),
    "in a body": post("/", "Content-Length: 9", body=b"hello"),
    "in a chunk": post("/", "Transfer-Encoding: chunked", body=b"9\r\nhel"),
    "between chunks": post("/", "Transfer-Encoding: chunked", body=b"3\r\nhel\r\n"),
    "in a trailer": post("/", "Transfer-Encoding: chunked", body=b"0\r\nX: y"),
    "waiting for 100": post("/", "Content-Length: 9", "Expect: 100-continue"),
    "while it is served": post("/slow"),
    "with a body that nobody reads": post("/unread", "Content-Length: 1000000", body=PIECE),
    "in a large answer": post("/large"),
    "with requests behind": post("/slow") + GET * 50,
    "with a large answer and requests behind": post("/large") + GET * 50,
    "refused": post("/", "Content-Length: x"),
    "refused and going on": post("/", "Content-Length: 99999999999", body=PIECE),
    "answered": GET,
    "half a frame": GET[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x81\x85",
}


SLOW = sum(b"/slow" in data for data in PHASES.values())


@pytest.mark.parametrize("leave", [socket.socket.close, reset])
async def test_a_peer_that_leaves_in_any_phase_leaves_nothing_behind(
    leave: Any, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site()
    async with serving(site, disconnect_grace=0.2, stall_timeout=0.5, max_body=2_000_000) as server:
        for phase, data in PHASES.items():
            peers = [peer_of(server) for _ in range(3)]
            for peer in peers:
                peer.setblocking(False)
                await asyncio.get_running_loop().sock_sendall(peer, data)
            await asyncio.sleep(0.02)
            for peer in peers:
                leave(peer)
            site.go_on.set()
            try:
                await nothing_is_left(server)
            except TimeoutError:
                pytest.fail(f"{phase}: {server.service.connections}, {server.service.running}")
            site.go_on.clear()
    assert errors(caplog) == []


@pytest.mark.parametrize("last", [GET[:-2] + b"Connection: close\r\n\r\n", post("/", "Content-Length: x")])
async def test_a_peer_that_sends_for_ever_behind_its_last_request_gets_the_answer_and_is_cut_off(
    last: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("protocols.http.connection.LINGER", 0.2)
    async with serving(Site()) as server:
        reader, writer = await connect(server.address)
        writer.write(last)
        flood = asyncio.create_task(_flood(writer))
        assert (await read_answer(reader)).status in (200, 400)
        async with asyncio.timeout(LIMIT):
            await flood
        await nothing_is_left(server)


async def _flood(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while True:
            writer.write(PIECE)
            await writer.drain()


@pytest.mark.parametrize(
    "data", [GET[:-2] + b"Connection: close\r\n\r\n", b"nonsense\r\n\r\n", post("/unread", "Content-Length: 9")]
)
async def test_a_peer_that_never_closes_keeps_no_connection(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocols.http.connection.LINGER", 0.2)
    async with serving(Site(), keepalive_timeout=0.3, stall_timeout=0.3) as server:
        peers = [peer_of(server) for _ in range(20)]
        for peer in peers:
            peer.sendall(data)
        await until(lambda: not server.service.connections)
        for peer in peers:
            peer.close()


@pytest.mark.parametrize(
    ("sends", "statuses"),
    [
        ((post("/", "Content-Length: 5", "Expect: 100-continue"), b"hello"), (100, 200)),
        ((post("/", "Content-Length: 5", "Expect: 100-continue", body=b"hello"),), (200,)),
        ((post("/", "Content-Length: 5", "Expect: 100-continue", body=b"he"), b"llo"), (200,)),
        ((post("/", "Content-Length: 5", "Expect: 100-continue") + b"hello" + GET,), (200, 200)),
        ((GET + post("/", "Content-Length: 5", "Expect: 100-continue"), b"hello" + GET), (200, 100, 200, 200)),
        ((post("/unread", "Content-Length: 5", "Expect: 100-continue"), b"hello" + GET), (200,)),
        ((post("/unread", "Content-Length: 5", "Expect: 100-continue", body=b"hello") + GET,), (200, 200)),
        ((post("/", "Content-Length: 0", "Expect: 100-continue") + GET,), (200, 200)),
        ((post("/", "Transfer-Encoding: chunked", "Expect: 100-continue"), b"0\r\n\r\n" + GET), (100, 200, 200)),
    ],
)
async def test_100_continue_in_every_order(sends: tuple[bytes, ...], statuses: tuple[int, ...]) -> None:
    async with serving(Site()) as server:
        reader, writer = await connect(server.address)
        for piece in sends:
            writer.write(piece)
            await asyncio.sleep(0.05)
        writer.write_eof()
        async with asyncio.timeout(LIMIT):
            answers = await reader.read()
        writer.close()
    assert tuple(int(each[:3]) for each in answers.split(b"HTTP/1.1 ")[1:]) == statuses


async def test_a_thousand_connections_that_are_left_open_cost_little_and_go() -> None:
    site = Site()
    async with serving(site, keepalive_timeout=0.5, stall_timeout=0.5) as server:
        peers = []
        for number in range(1000):
            peers.append(peer_of(server))
            peers[-1].setblocking(False)
            peers[-1].send([b"", b"GET / HTTP/1.1\r\nX: ", post("/", "Content-Length: 9", body=b"h"), GET][number % 4])
            if number % 50 == 0:
                await asyncio.sleep(0)
        assert (await ask(server, GET))[0].status == 200
        await until(lambda: not server.service.running)
        for peer in peers:
            peer.close()
        await nothing_is_left(server)


# TLS.


@contextlib.asynccontextmanager
async def secure(folder: Path, *, timeout: float = 0.5) -> AsyncIterator[HTTPServer]:
    tls = replace(make(folder), handshake_timeout=timeout)
    async with serving(Site(), tls=tls, keepalive_timeout=timeout, stall_timeout=timeout) as server:
        yield server


async def nothing_is_left_of_tls(server: HTTPServer) -> None:
    await until(lambda: not server.listener.connections and not server.service.running)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    host, _, port = server.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
    writer.write(GET)
    assert (await read_answer(reader)).status == 200
    writer.close()


def client_hello() -> bytes:
    context = ssl.create_default_context()
    out = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost").do_handshake()
    return out.read()


@pytest.mark.parametrize("leave", [socket.socket.close, reset, None])
async def test_a_handshake_that_stalls_or_is_left_leaves_nothing_behind(
    leave: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """``None``: the peer says nothing more, and is cut off after handshake_timeout."""
    hello = client_hello()
    async with secure(tmp_path) as server:
        peers = [peer_of(server) for _ in range(12)]
        for number, peer in enumerate(peers):
            peer.sendall(
                [b"", hello[:3], hello[: len(hello) // 2], hello, GET, b"\x16\x03\x01\xff\xff" + GET][number % 6]
            )
        await asyncio.sleep(0.05)
        if leave is not None:
            for peer in peers:
                leave(peer)
        await nothing_is_left_of_tls(server)
        for peer in peers:
            peer.close()
    assert errors(caplog) == []


@pytest.mark.parametrize("phase", ["in a field", "in a body", "while it is served", "in a large answer", "answered"])
async def test_a_tls_peer_that_goes_without_a_word_leaves_nothing_behind(
    phase: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With and without close_notify, and with a reset. No timeout ends the connection before the peer does."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with secure(tmp_path, timeout=10.0) as server:
        service, site = server.service, server.service.app
        host, _, port = server.address.rpartition(":")
        for how in ("notify", "fin", "reset", "garbage"):
            _, writer = await asyncio.open_connection(host, int(port), ssl=context)
            writer.write(PHASES[phase])
            await until(lambda: service.connections)
            await asyncio.sleep(0.02)
            sock = writer.get_extra_info("socket")
            if how == "notify":
                writer.close()
            elif how == "garbage":
                with socket.socket(fileno=os.dup(sock.fileno())) as plain:
                    plain.send(GET)
                writer.transport.abort()
            else:
                if how == "reset":
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            site.go_on.set()  # type: ignore[attr-defined]
            await nothing_is_left_of_tls(server)
            site.go_on.clear()  # type: ignore[attr-defined]
    assert errors(caplog) == []


async def test_a_client_may_not_renegotiate(tmp_path: Path) -> None:
    """Each new handshake would cost us a signature, and the client next to nothing."""
    async with secure(tmp_path) as server:
        command = [program("openssl"), "s_client", "-connect", server.address, "-tls1_2", "-legacy_renegotiation"]
        process = await asyncio.create_subprocess_exec(*command, stdin=-1, stdout=-1, stderr=-2)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"R\n")  # renegotiate
        out = await asyncio.wait_for(process.stdout.read(), LIMIT)
        process.stdin.close()
        await process.wait()
        assert b"Cipher is ECDHE" in out
        assert b"RENEGOTIATING" in out
        assert b"no renegotiation" in out
        await nothing_is_left_of_tls(server)


# At the end of a server.


@pytest.mark.parametrize("ending", ["stop", "retire", "reconnect"])
async def test_a_server_that_ends_under_attack_ends_in_time_and_cuts_no_answer_in_two(
    ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site()
    server = HTTPServer(site, HTTPSettings(bind="127.0.0.1:0", stall_timeout=1.0), state={})
    async with asyncio.timeout(20):
        await server.start()
        streams = [await connect(server.address) for _ in range(4 * len(PHASES))]
        for (_, writer), data in zip(streams, list(PHASES.values()) * 4, strict=True):
            writer.write(data)
        await until(lambda: sum("/slow" in each.doing() for each in server.service.running) == 4 * SLOW)
        if ending == "retire":
            await server.retire()
        elif ending == "reconnect":
            for each in list(server.service.connections):
                each.reconnect(1.0)
        site.go_on.set()
        await server.stop(0.5)
        assert not server.service.running
        assert not server.service.connections
        for (reader, writer), data in zip(streams, list(PHASES.values()) * 4, strict=True):
            with contextlib.suppress(ConnectionError):
                assert _is_whole(await reader.read(), data), data[:40]
            writer.close()
    assert [line for line in errors(caplog) if "still running" in line] == []


async def test_a_server_that_becomes_another_under_attack_finishes_what_has_begun_and_serves_on() -> None:
    """A request whose head comes to its end after that is the other application's; the rest of a body is not."""
    old, new = Site(), Site(b"world")
    async with serving(old, disconnect_grace=0.2, stall_timeout=1.0) as server:
        left = [await connect(server.address) for _ in PHASES]
        for (_, writer), data in zip(left, PHASES.values(), strict=True):
            writer.write(data)
        rest = {"in a field": b"y\r\n\r\n", "in a body": b" you", "while it is served": b"", "connected": GET}
        kept = {phase: await connect(server.address) for phase in rest}
        for phase, (_, writer) in kept.items():
            writer.write(PHASES[phase])
        await until(lambda: sum("/slow" in each.doing() for each in server.service.running) == SLOW + 1)
        await server.become(HTTPServer(new, server.settings, state={}))
        old.go_on.set()
        bodies = {}
        for phase, (reader, writer) in kept.items():
            writer.write(rest[phase])
            bodies[phase] = (await read_answer(reader)).body
            writer.close()
        assert bodies == {
            "in a field": b"world",
            "in a body": b"hello",
            "while it is served": b"hello",
            "connected": b"world",
        }
        for _, writer in left:
            writer.close()
        await nothing_is_left(server)


def _is_whole(answers: bytes, data: bytes) -> bool:
    """Whether what came is nothing, or whole answers; but for a large one, which may be cut off, and shows it."""
    if b"/large" in data or b"websocket" in data:
        return True
    ends = b"hello", b"hello\r\n0\r\n\r\n", b"100 Continue\r\n\r\n"
    each_of = answers.split(b"HTTP/1.1 ")[1:]
    return all(answer.endswith(ends) or b"\r\nconnection: close\r\n" in answer for answer in each_of)
