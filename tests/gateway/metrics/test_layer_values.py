"""What the metrics tell of a channel layer that reaches other processes."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from servers.measured import Measured
from servers.redis import RedisServer, redis_process
from waiting import until as eventually

from gateway.layers.address import Redis, parse_layer
from gateway.layers.bus import Topic
from gateway.layers.ipc import frames, ipc_layer
from gateway.layers.redis.core import core_layer
from gateway.layers.redis.pubsub import pubsub_layer
from protocols.event_id import new_id

FILE = """
layer: LAYER
servers:
  web: {protocol: http, bind: "127.0.0.1:PORT_web"}
routes: {http: handlers.app}
"""
HANDLERS = """
from gateway import get_channel_layer


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        layer = get_channel_layer()
        channel = await layer.new_channel()
        await layer.group_add("metrics", channel)
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
"""


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_process() as server:
        yield server


@contextlib.contextmanager
def measured(folder: Path, layer: str) -> Iterator[Measured]:
    site = Measured(folder, FILE.replace("LAYER", layer), HANDLERS)
    try:
        site.becomes(1, "gateway_layer_groups")
        yield site
    finally:
        site.close()


async def test_members_drops_and_gaps_of_a_layer_on_redis(redis: RedisServer, tmp_path: Path) -> None:
    options = "prefix=values&capacity=5&expiry=1"
    address = parse_layer(f"{redis.layer}?{options}")
    assert isinstance(address, Redis)
    with measured(tmp_path, f'"{redis.layer}?{options}"') as site:
        layer = pubsub_layer(address)
        await layer.open()
        for _ in range(8):
            await layer.group_send("metrics", {"type": "x"})
        site.becomes(3, "gateway_layer_messages_dropped_total", reason="capacity")
        for _ in range(2):
            layer._numbers.next(Topic.of_group("metrics"))
        await layer.group_send("metrics", {"type": "x"})
        site.becomes(2, "gateway_layer_messages_missed_total")
        await layer.bus.publish(Topic.of_group("metrics"), b"\xc1")
        site.becomes(1, "gateway_layer_messages_dropped_total", reason="garbage")

        async def is_too_old() -> bool:
            await layer.group_send("metrics", {"type": "x"})
            return site.number("gateway_layer_messages_dropped_total", reason="expiry") >= 5

        await eventually(is_too_old)
        await layer.close()


def test_a_layer_that_is_cut_off(tmp_path: Path) -> None:
    with redis_process() as redis, measured(tmp_path, redis.layer) as site:
        site.becomes(1, "gateway_layer_connected")
        redis.kill()
        site.becomes(0, "gateway_layer_connected")
        redis.start()
        site.becomes(1, "gateway_layer_connected")
        site.becomes(1, "gateway_layer_interruptions_total")


async def test_a_message_to_a_channel_that_no_process_reads(tmp_path: Path) -> None:
    layer = ipc_layer(tmp_path / "s")
    await layer.open()
    await layer.send("specific.gone!x", {"type": "x"})
    await eventually(lambda: layer.dropped_by_reason()["unread"] == 1)
    await layer.close()


async def test_a_full_queue_in_redis(redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    address = parse_layer(f"{redis.layer}?prefix=full{new_id()}&layer=core&capacity=2")
    assert isinstance(address, Redis)
    layer = core_layer(address)
    await layer.open()
    for _ in range(5):
        await layer.send("thumbnails", {"type": "x"})
    assert layer.dropped_by_reason()["full"] == 3
    assert "channel thumbnails: full in Redis" in caplog.text
    await layer.close()


async def test_a_process_that_does_not_read_its_socket(tmp_path: Path) -> None:
    layer: Any = ipc_layer(tmp_path / "s")
    await layer.open()
    with socket.socket(socket.AF_UNIX) as stuck:
        stuck.connect(str(tmp_path / "s"))
        stuck.sendall(frames.GREETING + frames.frame(frames.Kind.SUBSCRIBE, b"gg"))
        await eventually(lambda: len(layer.bus.relay.clients) == 2)
        for _ in range(80):
            await layer.group_send("g", {"type": "x", "large": bytes(100_000)})
        await eventually(lambda: layer.dropped_by_reason()["relay"] > 0)
    await layer.close()


WORKER = """
from gateway import get_channel_layer
from gateway.compat.channels import AsyncConsumer, AsyncHttpConsumer, ChannelNameRouter, ProtocolTypeRouter


class Work(AsyncConsumer):
    async def work_start(self, message):
        if message["fails"]:
            raise ValueError("a mistake")


class Page(AsyncHttpConsumer):
    async def handle(self, body):
        await get_channel_layer().send("work", {"type": "work.start", "fails": body == b"fail"})
        await self.send_response(200, b"")


app = ProtocolTypeRouter({"http": Page.as_asgi(), "channel": ChannelNameRouter({"work": Work.as_asgi()})})
"""


def test_messages_of_a_channel_that_are_handled_and_that_fail(tmp_path: Path) -> None:
    site = Measured(tmp_path, FILE.replace("LAYER", "memory"), WORKER)
    with contextlib.closing(site):
        for body in (b"", b"fail", b""):
            httpx.post(site.url("web"), content=body)
        site.becomes(2, "gateway_channel_messages_total", channel="work", result="handled")
        site.becomes(1, "gateway_channel_messages_total", channel="work", result="failed")
