"""Each layer keeps the contract: ours, and those of Channels as far as they can."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer as ChannelsInMemoryLayer
from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer
from layer_contract import LayerContract, OwnLayerContract, SharedLayerContract, member, next_of, opened, socket_folder
from servers.redis import RedisServer, redis_process
from waiting import until

from gateway.layers import InMemoryChannelLayer
from gateway.layers.address import Redis, parse_layer
from gateway.layers.bus import Topic
from gateway.layers.ipc import ipc_layer
from gateway.layers.redis.core import core_layer
from gateway.layers.redis.pubsub import pubsub_layer


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_process() as server:
        yield server


class TestMemory(OwnLayerContract):
    @contextlib.asynccontextmanager
    async def layers(self, count: int) -> AsyncIterator[list[Any]]:
        yield [InMemoryChannelLayer()] * count


class TestIpc(SharedLayerContract):
    @contextlib.asynccontextmanager
    async def layers(self, count: int) -> AsyncIterator[list[Any]]:
        with socket_folder() as folder:
            async with opened([ipc_layer(folder / "layer.sock") for _ in range(count)]) as layers:
                yield layers


def address_of(redis: RedisServer, options: str = "") -> Redis:
    found = parse_layer(f"{redis.layer}?prefix=t{secrets.token_hex(4)}{options}")
    assert isinstance(found, Redis)
    return found


class WithRedis:
    """Tests of a layer on Redis."""

    @pytest.fixture(autouse=True)
    def server(self, redis: RedisServer) -> None:
        self.redis = redis


class TestRedisPubSub(WithRedis, SharedLayerContract):
    @contextlib.asynccontextmanager
    async def layers(self, count: int) -> AsyncIterator[list[Any]]:
        address = address_of(self.redis)
        async with opened([pubsub_layer(address) for _ in range(count)]) as layers:
            yield layers


class TestRedisCore(WithRedis, SharedLayerContract):
    @contextlib.asynccontextmanager
    async def layers(self, count: int) -> AsyncIterator[list[Any]]:
        address = address_of(self.redis, "&layer=core")
        async with opened([core_layer(address) for _ in range(count)]) as layers:
            yield layers

    def _takes_every_name(self, layer: Any) -> bool:
        return False


class TestChannelsInMemory(LayerContract):
    @contextlib.asynccontextmanager
    async def layers(self, count: int) -> AsyncIterator[list[Any]]:
        yield [ChannelsInMemoryLayer()] * count


class OfChannelsRedis(WithRedis, LayerContract):
    kind: Any
    end: str
    """Its method that ends what it has begun."""

    @contextlib.asynccontextmanager
    async def layers(self, count: int) -> AsyncIterator[list[Any]]:
        prefix = f"t{secrets.token_hex(4)}"
        layers = [self.kind(hosts=[self.redis.url], prefix=prefix) for _ in range(count)]
        try:
            yield layers
        finally:
            for layer in layers:
                await getattr(layer, self.end)()


class TestChannelsRedisCore(OfChannelsRedis):
    kind, end = RedisChannelLayer, "close_pools"


class TestChannelsRedisPubSub(OfChannelsRedis):
    kind, end = RedisPubSubChannelLayer, "flush"


async def test_our_pub_sub_layer_and_that_of_channels_redis_share_their_groups(redis: RedisServer) -> None:
    address = address_of(redis)
    theirs = RedisPubSubChannelLayer(hosts=[redis.url], prefix=address.prefix)
    async with opened([pubsub_layer(address)]) as (ours,):
        here, there = await ours.new_channel(), await theirs.new_channel()
        await ours.group_add("g", here)
        await theirs.group_add("g", there)
        await theirs.group_send("g", {"type": "x", "from": "them"})
        assert await ours.receive(here) == {"type": "x", "from": "them"}
        await ours.group_send("g", {"type": "x", "from": "us"})
        found = [await theirs.receive(there) for _ in range(2)]
        assert [each["from"] for each in found] == ["them", "us"]
        await theirs.flush()


async def test_our_core_layer_and_that_of_channels_redis_share_their_groups(redis: RedisServer) -> None:
    address = address_of(redis, "&layer=core")
    theirs = RedisChannelLayer(hosts=[redis.url], prefix=address.prefix)
    async with opened([core_layer(address)]) as (ours,):
        here, there = await ours.new_channel(), await theirs.new_channel()
        await ours.group_add("g", here)
        await theirs.group_add("g", there)
        await theirs.group_send("g", {"type": "x", "from": "them"})
        assert await ours.receive(here) == {"type": "x", "from": "them"}
        await ours.group_send("g", {"type": "x", "from": "us"})
        await ours.send(there, {"type": "x", "from": "us to you"})
        found = [await theirs.receive(there) for _ in range(3)]
        assert [each["from"] for each in found] == ["them", "us", "us to you"]
        await theirs.send(here, {"type": "x", "from": "them to you"})
        found = [await ours.receive(here) for _ in range(2)]
        assert [each["from"] for each in found] == ["us", "them to you"]
        await theirs.close_pools()


INFINITY = b"\xcb\x7f\xf0" + bytes(6)
GARBAGE = (
    *(b"", b"\xc1", b"\x01", b"\x81\xab__gateway__\x01", b"\x81\xab__gateway__\x93\x01\x01\x01"),
    b"\x81\xab__gateway__\x93\xc4\x01x" + INFINITY + b"\xa0",
)


@pytest.mark.parametrize("contract", [TestIpc, TestRedisPubSub])
async def test_garbage_is_counted_and_harms_nobody(
    contract: type[SharedLayerContract], redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    made = contract()
    made.__dict__["redis"] = redis
    async with made.layers(2) as (one, two):
        channel = await member(two, "g")
        for garbage in GARBAGE:
            await one.bus.publish(Topic.of_group("g"), garbage)
        await one.group_send("g", {"type": "x", "n": 1})
        assert (await next_of(two, channel))["n"] == 1
        assert two.dropped_by_reason()["garbage"] == len(GARBAGE)
        assert "group g: what has arrived is no message of a channel layer" in caplog.text


async def test_garbage_in_a_list_of_redis_is_counted_and_the_process_hears_its_groups(
    redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    address = address_of(redis, "&layer=core")
    async with opened([core_layer(address), core_layer(address)]) as (one, two):
        channel = await member(two, "g")
        for number, garbage in enumerate(("no message", "\x01" * 12, "\x01" * 12 + "\x01")):
            key = f"{address.prefix}specific.{two.process}!"
            await asyncio.to_thread(redis.command, "ZADD", key, str(number), garbage)
        await until(lambda: two.dropped_by_reason()["garbage"] == 3)
        await one.group_send("g", {"type": "x"})
        assert await next_of(two, channel) == {"type": "x"}
        (record,) = [each for each in caplog.records if each.levelno >= logging.WARNING]
        assert f"specific.{two.process}!: what has arrived is no message" in record.getMessage()


async def test_a_channel_has_the_name_of_a_group(redis: RedisServer) -> None:
    address = address_of(redis, "&layer=core")
    async with opened([core_layer(address), core_layer(address)]) as (one, two):
        channel = await member(two, "news")
        receiving = asyncio.ensure_future(next_of(two, "news"))
        await until(lambda: "news" in two._channels)
        await one.send("news", {"type": "x", "n": 1})
        assert (await receiving)["n"] == 1
        await two.forget("news")
        await two.bus._renew_all()
        await one.group_send("news", {"type": "x", "n": 2})
        assert (await next_of(two, channel))["n"] == 2


async def test_a_group_s_name_that_redis_core_cannot_have_leaves_nothing_behind(redis: RedisServer) -> None:
    async with opened([core_layer(address_of(redis, "&layer=core"))]) as (layer,):
        channel = await member(layer, "g")
        with pytest.raises(TypeError, match="has fewer than 100 ASCII letters"):
            await layer.group_add("r\u00e4ume", channel)
        assert layer.groups == 1
        await layer.bus._renew_all()
        await layer.group_send("g", {"type": "x"})
        assert await next_of(layer, channel) == {"type": "x"}
