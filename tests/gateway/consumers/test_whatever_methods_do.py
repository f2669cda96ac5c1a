"""Whatever methods do, and whenever peers leave: each instance has one disconnect, leaves its groups, and goes."""

import asyncio
import contextlib
import gc
import logging
import random
import time
import weakref
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from own_services import installed
from waiting import until

from gateway import AsyncWebsocketConsumer, InMemoryChannelLayer, WebsocketConsumer, layer_event
from gateway.compat import channels
from gateway.layers import channel_layer
from gateway.threads import Pool, thread_pool
from protocols.http.server import HTTPServer, HTTPSettings

METHODS = ("connect", "receive", "disconnect", "event")
ACTIONS = ("nothing", "nothing", "raise", "exit", "wait", "close", "flood", "join", "cancelled")
PEERS = 120
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
TEXT, CLOSE = 0x81, 0x88


def frame(kind: int, content: bytes) -> bytes:
    """A short frame with a mask of zeros."""
    return bytes([kind, 0x80 | len(content), 0, 0, 0, 0]) + content


class Acting:
    """What one instance does in each of its methods."""

    groups = ("all",)
    disconnect_wait = 0.01
    random = random.Random()
    calls: Counter[int]
    alive: "weakref.WeakSet[Any]"

    def __init__(self) -> None:
        self.actions = {method: self.random.choice(ACTIONS) for method in METHODS}
        self.accepts = self.random.random() < 0.9
        self.alive.add(self)
        self.number = len(self.calls)
        self.calls[self.number] = 0

    def fails(self, action: str) -> None:
        if action == "raise":
            raise ValueError("as planned")
        if action == "exit":
            raise SystemExit(1)

    async def act(self: Any, method: str) -> None:
        self.fails(action := self.actions[method])
        if action == "wait":
            await asyncio.sleep(0.03)
        elif action == "close":
            await self.close()
        elif action == "join":
            await self.group_add("more")
            await self.channel_layer.group_add("of the layer", self.channel_name)
        elif action == "cancelled":
            (waited := asyncio.get_running_loop().create_future()).cancel()
            await waited
        elif action == "flood":
            for _ in range(30):
                await self.send("x" * 20_000)

    def act_on_thread(self: Any, method: str) -> None:
        self.fails(action := self.actions[method])
        if action == "wait":
            time.sleep(0.03)
        elif action == "join":
            self.group_add("more")
        elif action == "close":
            self.close()
        elif action == "flood":
            for _ in range(30):
                self.send("x" * 20_000)


class Async(Acting, AsyncWebsocketConsumer):
    async def connect(self, message: Any) -> None:
        await self.act("connect")
        if self.accepts:
            await self.accept()

    async def receive(self, text: str | None, bytes: bytes | None = None) -> None:
        await self.act("receive")

    async def disconnect(self, code: int) -> None:
        self.calls[self.number] += 1
        await self.act("disconnect")

    @layer_event("event")
    async def on_event(self, event: Any) -> None:
        await self.act("event")


class Queued(Async):
    send_queue = 5
    slow_receiver = "close"


class Sync(Acting, WebsocketConsumer):
    def connect(self, message: Any) -> None:
        self.act_on_thread("connect")
        if self.accepts:
            self.accept()

    def receive(self, text: str | None, bytes: bytes | None = None) -> None:
        self.act_on_thread("receive")

    def disconnect(self, code: int) -> None:
        self.calls[self.number] += 1
        self.act_on_thread("disconnect")

    @layer_event("event")
    def on_event(self, event: Any) -> None:
        self.act_on_thread("event")


class OfChannels(Acting, channels.AsyncWebsocketConsumer):
    async def connect(self) -> None:
        await self.act("connect")
        if self.accepts:
            await self.accept()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.act("receive")

    async def disconnect(self, code: int) -> None:
        self.calls[self.number] += 1
        await self.act("disconnect")

    async def event(self, event: Any) -> None:
        await self.act("event")


async def visit(address: str, chance: random.Random) -> None:
    """Connect, say something, and leave: by a close, by a reset, or at once."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    with contextlib.suppress(OSError, RuntimeError, TimeoutError):
        writer.write(HANDSHAKE)
        await asyncio.sleep(chance.choice((0, 0, 0.01, 0.05)))
        for _ in range(chance.randrange(4)):
            writer.write(frame(TEXT, b"hello"))
        if chance.random() < 0.4:
            writer.write(frame(CLOSE, b"\x0f\xa0"))
            async with asyncio.timeout(0.1):
                while await reader.read(65536):
                    pass
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Records of errors would hold what the handlers had."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("stops", [False, True], ids=["until all have left", "until the server stops"])
@pytest.mark.parametrize("consumer", [Async, Queued, Sync, OfChannels])
async def test_each_instance_has_one_disconnect_and_leaves_nothing_behind(consumer: Any, stops: bool) -> None:
    chance = random.Random(f"{consumer.__name__} {stops}")
    Acting.random, Acting.calls, Acting.alive = chance, Counter(), weakref.WeakSet()
    layer = InMemoryChannelLayer()
    with installed({channel_layer: layer, thread_pool: Pool(8)}):
        settings = HTTPSettings(bind="127.0.0.1:0")
        async with asyncio.timeout(30), HTTPServer(consumer.as_asgi(), settings, state={}) as server:
            visits = [asyncio.ensure_future(visit(server.address, chance)) for _ in range(PEERS)]
            while not all(each.done() for each in visits) and not (stops and len(Acting.calls) > PEERS / 2):
                await layer.group_send("all", {"type": "event"})
                await asyncio.sleep(0.005)
            if stops:
                await server.stop(0.05)
            await asyncio.gather(*visits)
            await until(lambda: not sum(server.active().values()), 5)
        await until(lambda: set(Acting.calls.values()) <= {1}, 5)
        await until(lambda: (layer.groups, layer.channels) == (0, 0), 5)
    await until(lambda: gc.collect() >= 0 and not Acting.alive, 5)
