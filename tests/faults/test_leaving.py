"""Clients leave endless streams, each at a moment and in a way of its own: others are answered, and SIGTERM ends it."""

import asyncio
import contextlib
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from crashing import BOTH_KINDS

pytestmark = pytest.mark.fault

ROOT = Path(__file__).parents[2]
PATIENCE = 10.0
CLIENTS = 40
SERVE = """
import asyncio, contextlib, logging, signal, sys

from protocols.http.server import HTTPServer, HTTPSettings

logging.basicConfig(format="%(levelname)s %(name)s %(message)s")
START = {"type": "http.response.start", "status": 200, "headers": []}


async def pieces(send, size):
    await send(START)
    while True:
        await send({"type": "http.response.body", "body": b"x" * size, "more_body": True})


async def swallowing(send, size):
    await send(START)
    for _ in range(1_000_000):
        with contextlib.suppress(OSError):
            await send({"type": "http.response.body", "body": b"x" * size, "more_body": True})


async def listening(receive, stream):
    streaming = asyncio.ensure_future(stream)
    while (await receive())["type"] != "http.disconnect":
        pass
    streaming.cancel()


async def app(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            await send({"type": "websocket.send", "bytes": b"x" * 1000})
    kind, _, size = scope["path"][1:].partition("/")
    match kind:
        case "hello":
            await send(START)
            await send({"type": "http.response.body", "body": b"hello"})
        case "plain":
            await pieces(send, int(size))
        case "swallowing":
            await swallowing(send, int(size))
        case "listening":
            await listening(receive, pieces(send, int(size)))
        case "beside":
            await asyncio.ensure_future(pieces(send, int(size)))


async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    settings = HTTPSettings(bind="127.0.0.1:0", disconnect_grace=0.5, stall_timeout=0.5)
    server = HTTPServer(app, settings, state={})
    await server.start()
    print(server.address, flush=True)
    await stop.wait()
    await server.stop(1.0)


if sys.argv[1] == "uvloop":
    import uvloop
    uvloop.run(main())
else:
    asyncio.run(main())
"""
HANDSHAKE = (
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@contextlib.contextmanager
def serving(loop: str, log: Path) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE, loop], cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    assert process.stdout is not None
    try:
        yield process, int(process.stdout.readline().rpartition(":")[2])
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def leave(port: int, chance: random.Random) -> None:
    """Begin a stream, read some of it, and go."""
    kind = chance.choice(["plain", "swallowing", "listening", "beside", "websocket"])
    path = f"/{kind}/{chance.choice([0, 1, 1000, 65536, 1_000_000])}"
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=chance.choice([1024, 2**20]))
    request = HANDSHAKE if kind == "websocket" else f"GET {path} HTTP/1.{chance.choice('01')}\r\nHost: a\r\n\r\n"
    writer.write(request.encode())
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(0.3):
            for _ in range(chance.choice([0, 1, 10, 200])):
                await reader.read(chance.choice([1, 1000, 65536]))
    await asyncio.sleep(chance.choice([0, 0, 0.01, 0.1]))
    if chance.random() < 0.3 and writer.can_write_eof():
        with contextlib.suppress(OSError):
            writer.write_eof()
            await asyncio.sleep(0.02)
    if chance.random() < 0.5:
        writer.transport.abort()
    else:
        connection = writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0" + b"\0\0\0\0")
        writer.close()


async def hello(port: int) -> None:
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).count(b"hello") == 1
        writer.close()


async def leaving(port: int, chance: random.Random) -> None:
    for _ in range(CLIENTS // 10):
        await asyncio.gather(*(leave(port, chance) for _ in range(10)), hello(port))
        await hello(port)


@pytest.mark.parametrize("seed", BOTH_KINDS)
def test_others_are_answered_and_sigterm_ends_it(seed: int, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with serving(("asyncio", "uvloop")[seed % 2], log) as (process, port):
        asyncio.run(leaving(port, random.Random(seed)))
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    said = log.read_text().splitlines()
    assert [line for line in said if line.startswith(("ERROR", "Traceback"))] == []
