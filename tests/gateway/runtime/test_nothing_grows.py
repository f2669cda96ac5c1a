"""Connections come and go, politely or not: what the daemon holds stays as it was."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from servers.ports import free_port
from servers.site import ROOT, until

HANDLERS = """
import asyncio, gc, json, os
import gateway

async def pages(scope, receive, send):
    if scope["path"] == "/crash":
        raise KeyError("order")
    held = b""
    if scope["path"] == "/held":
        gc.collect()
        descriptors = len(os.listdir("/proc/self/fd"))
        held = json.dumps([len(gc.get_objects()), len(asyncio.all_tasks()), descriptors]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": held})

class Sync(gateway.HttpConsumer):
    def handle(self, body):
        self.respond(b"done")

class Echo(gateway.AsyncWebsocketConsumer):
    async def receive(self, text=None, bytes=None):
        await self.send(text=text)

class Devices(gateway.MqttConsumer):
    def receive(self, topic, payload):
        pass

class Mail(gateway.AsyncEmailConsumer):
    async def receive(self, message):
        if message["subject"] == "crash":
            raise KeyError("order")
"""
ROUTES = """
log: {level: error}
routes:
  http: [{path: "^sync", app: growing_handlers.Sync}, {path: "", app: growing_handlers.pages}]
  websocket: growing_handlers.Echo
  mqtt: growing_handlers.Devices
  email: growing_handlers.Mail
"""
LIMIT = 20.0
WARM, MORE = 100, 400
"""Connections until everything that is made once has been made, and then."""

Visit = Callable[[dict[str, int], int], Awaitable[None]]


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    folder = tmp_path_factory.mktemp("growing")
    ports = {name: free_port() for name in ("http", "mqtt", "smtp")}
    servers = "".join(f"  {name}: {{protocol: {name}, bind: '127.0.0.1:{port}'}}\n" for name, port in ports.items())
    (folder / "growing_handlers.py").write_text(HANDLERS)
    (folder / "gateway.yaml").write_text(f"servers:\n{servers}{ROUTES}")
    with Path(folder / "said").open("w") as said:
        command = [sys.executable, "-m", "gateway", "run"]
        process = subprocess.Popen(command, cwd=folder, env={"PYTHONPATH": str(ROOT)}, stdout=said, stderr=said)
    until(lambda: "try:" in (folder / "said").read_text(), lambda: (folder / "said").read_text())
    yield ports
    process.terminate()
    assert process.wait(20) == 0


@asynccontextmanager
async def dialled(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def ask_for(path: str, ports: dict[str, int]) -> None:
    async with dialled(ports["http"]) as (reader, writer):
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")


async def http(ports: dict[str, int], number: int) -> None:
    await ask_for(("/", "/crash", "/sync")[number % 3], ports)


async def websocket(ports: dict[str, int], number: int) -> None:
    upgrade = (
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    async with dialled(ports["http"]) as (reader, writer):
        writer.write(upgrade)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"\x81\x82\0\0\0\0hi")
        assert await reader.readexactly(4) == b"\x81\x02hi"
        if number % 2:
            writer.write(b"\x88\x82\0\0\0\0\x03\xe8")
            await reader.read()


async def mqtt(ports: dict[str, int], number: int) -> None:
    name = b"%04d" % number
    async with dialled(ports["mqtt"]) as (reader, writer):
        writer.write(b"\x10\x10\0\x04MQTT\x04\x02\0\x3c\0\x04" + name)
        assert await reader.readexactly(4) == b"\x20\x02\0\0"
        writer.write(b"\x82\x09\0\1\0\4" + name + b"\1")
        assert await reader.readexactly(5) == b"\x90\x03\0\1\1"
        writer.write(b"\x32\x09\0\4" + name + b"\0\2x")
        await reader.readexactly(4 + 11)  # its acknowledgement, and the message, which it subscribed to
        if number % 2:
            writer.write(b"\xe0\0")


async def smtp(ports: dict[str, int], number: int) -> None:
    subject = "crash" if number % 3 == 0 else "hello"
    commands = [
        "HELO x",
        "MAIL FROM:<a@example.net>",
        "RCPT TO:<b@example.org>",
        "DATA",
        f"Subject: {subject}\r\n\r\n.",
    ]
    async with dialled(ports["smtp"]) as (reader, writer):
        await reader.readline()
        for command in commands:
            writer.write(f"{command}\r\n".encode())
            await reader.readline()
        if number % 2:
            writer.write(b"QUIT\r\n")
            await reader.read()


async def many(visit: Visit, ports: dict[str, int], number: int) -> None:
    left = iter(range(number))

    async def visitor() -> None:
        for each in left:
            async with asyncio.timeout(LIMIT):
                await visit(ports, each)

    await asyncio.gather(*(visitor() for _ in range(10)))


def held(ports: dict[str, int]) -> list[int]:
    """Objects, tasks and descriptors of the daemon."""
    answer: list[int] = httpx.get(f"http://127.0.0.1:{ports['http']}/held", timeout=LIMIT).json()
    return answer


@pytest.mark.parametrize("visit", [http, websocket, mqtt, smtp])
def test_what_is_held_after_many_connections_is_what_was_held_before(ports: dict[str, int], visit: Visit) -> None:
    asyncio.run(many(visit, ports, WARM))
    objects, *before = held(ports)
    asyncio.run(many(visit, ports, MORE))

    def as_before() -> bool:  # the daemon may not yet have heard of the last ones' end
        return all(now <= then for now, then in zip(held(ports)[1:], before, strict=True))

    until(as_before, lambda: f"tasks and descriptors {held(ports)[1:]}, before {before}")
    assert held(ports)[0] < objects + MORE  # not one object for each
