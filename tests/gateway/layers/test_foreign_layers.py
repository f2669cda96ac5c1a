"""Channels' own layers under our consumers: nothing is asked of a layer that Channels does not promise."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer as ChannelsInMemoryLayer
from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer
from conversation import Conversation, scope
from own_services import installed
from servers.redis import redis_server

from gateway import AsyncWebsocketConsumer, WebsocketConsumer, layer_event
from gateway.consumers import base
from gateway.layers import InMemoryChannelLayer, channel_layer

LIMIT = 10.0


@pytest.fixture(scope="module")
def redis() -> Iterator[str]:
    with redis_server() as url:
        yield url


@contextlib.asynccontextmanager
async def layer_of(kind: str, redis: str) -> AsyncIterator[Any]:
    prefix = f"t{secrets.token_hex(4)}"
    layers: dict[str, Callable[[], Any]] = {
        "ours": InMemoryChannelLayer,
        "channels": ChannelsInMemoryLayer,
        "redis": lambda: RedisChannelLayer(hosts=[redis], prefix=prefix),
        "redis pubsub": lambda: RedisPubSubChannelLayer(hosts=[redis], prefix=prefix),
    }
    layer = layers[kind]()
    try:
        with installed({channel_layer: layer}):
            yield layer
    finally:
        if kind.startswith("redis"):
            await layer.flush()
            if kind == "redis":
                await layer.close_pools()


class Member(WebsocketConsumer):
    def connect(self, message: Any) -> None:
        self.group_add("room")
        self.accept()

    def receive(self, text: str) -> None:  # type: ignore[override]
        self.group_send("room", {"type": "room.said", "text": text})

    @layer_event("room.said")
    def on_said(self, message: Any) -> None:
        self.send(message["text"])


class AsyncMember(AsyncWebsocketConsumer):
    async def connect(self, message: Any) -> None:
        await self.group_add("room")
        await self.accept()

    async def receive(self, text: str) -> None:  # type: ignore[override]
        await self.group_send("room", {"type": "room.said", "text": text})

    async def disconnect(self, code: int) -> None:
        await self.group_send("room", {"type": "room.said", "text": f"left with {code}"})

    @layer_event("room.said")
    async def on_said(self, message: Any) -> None:
        await self.send(message["text"])


async def texts(peer: Conversation, count: int) -> list[Any]:
    return [(await peer.hear())["text"] for _ in range(count)]


@pytest.mark.parametrize("kind", ["ours", "channels", "redis", "redis pubsub"])
async def test_groups(kind: str, redis: str, caplog: pytest.LogCaptureFixture) -> None:
    async with (
        layer_of(kind, redis),
        Conversation(AsyncMember.as_asgi(), scope("websocket")) as ann,
        Conversation(Member.as_asgi(), scope("websocket")) as bob,
    ):
        for peer in (ann, bob):
            peer.say({"type": "websocket.connect"})
            assert (await peer.hear())["type"] == "websocket.accept"
        for number in range(20):
            ann.say({"type": "websocket.receive", "text": str(number)})
        expected = [str(number) for number in range(20)]
        assert await texts(ann, 20) == await texts(bob, 20) == expected
        ann.say({"type": "websocket.disconnect", "code": 4007})
        await ann.end()
        assert await texts(bob, 1) == ["left with 4007"]
        bob.say({"type": "websocket.receive", "text": "alone"})
        assert await texts(bob, 1) == ["alone"]
        bob.say({"type": "websocket.disconnect", "code": 1000})
        await bob.end()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


class Failing(InMemoryChannelLayer):
    """A layer whose server goes away."""

    def __init__(self, call: str, how: str) -> None:
        super().__init__()
        self.call = call
        self.how = how
        self.gone = False

    async def _perhaps(self, call: str) -> None:
        if self.gone and call == self.call:
            if self.how == "hangs":
                await asyncio.sleep(1000)
            raise ConnectionError("the layer's server is away")

    async def group_discard(self, group: str, channel: str) -> None:
        await self._perhaps("group_discard")
        await super().group_discard(group, channel)

    async def receive(self, channel: str) -> dict[str, Any]:
        message = await super().receive(channel)
        await self._perhaps("receive")
        return message


class Telling(AsyncMember):
    codes: list[int] = []

    async def disconnect(self, code: int) -> None:
        self.codes.append(code)


@pytest.mark.parametrize("how", ["raises", "hangs"])
async def test_a_layer_that_fails_at_the_end_is_one_line_and_nothing_else(
    how: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(base, "CLEAN_UP", 0.05)
    Telling.codes.clear()
    layer = Failing("group_discard", how)
    with installed({channel_layer: layer}):
        async with Conversation(Telling.as_asgi(), scope("websocket")) as peer:
            peer.say({"type": "websocket.connect"})
            await peer.hear()
            layer.gone = True
            peer.say({"type": "websocket.disconnect", "code": 4001})
            await peer.end()
    assert Telling.codes == [4001]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "the channel layer failed while leaving its groups" in record.getMessage()


async def test_a_layer_that_fails_while_it_is_read_ends_the_run_after_what_the_peer_had_said() -> None:
    Telling.codes.clear()
    layer = Failing("receive", "raises")
    with installed({channel_layer: layer}), pytest.raises(ConnectionError):
        async with Conversation(Telling.as_asgi(), scope("websocket")) as peer:
            peer.say({"type": "websocket.connect"})
            await peer.hear()
            layer.gone = True
            await layer.group_send("room", {"type": "room.said", "text": "x"})
            await peer.end()
    assert Telling.codes == [1011]
