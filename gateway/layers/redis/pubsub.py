"""The bus over Redis pub/sub. Its names and messages are those of ``RedisPubSubChannelLayer`` of channels_redis, so
that its groups and ours are the same.

One connection publishes, in pipelines; the other one is subscribed. What was published while the second one was away is
lost, as always with pub/sub: numbers on the messages show it.
"""

import asyncio
import contextlib
from collections import deque
from typing import Any

from redis.exceptions import ResponseError

from gateway.layers.address import Redis
from gateway.layers.bus import PATIENCE, Arrived, Delivery, Topic
from gateway.layers.redis.bus import RedisBus
from gateway.layers.redis.connections import TROUBLES, RedisLink
from gateway.layers.redis.publisher import BATCH, BEAT
from gateway.layers.shared import SharedChannelLayer
from protocols.tasks import cancel_all

IDLE = 10.0
"""Seconds without a word after which the subscribed connection is made again. It is more than PATIENCE: this process's
own event loop may have stood still."""


def pubsub_layer(address: Redis) -> SharedChannelLayer:
    return SharedChannelLayer(PubSubBus(address), capacity=address.capacity, expiry=address.expiry)


class PubSubBus(RedisBus):
    """A :class:`gateway.layers.bus.Bus`."""

    def __init__(self, address: Redis) -> None:
        self._subscriber = Subscriber(address)
        super().__init__(address, self._subscriber)

    async def subscribe(self, topic: Topic) -> None:
        await self._subscriber.subscribe(self._name(topic), topic)

    async def unsubscribe(self, topic: Topic) -> None:
        await self._subscriber.unsubscribe(self._name(topic))

    async def publish(self, topic: Topic, content: bytes) -> bool:
        receivers = await self.ask("PUBLISH", self._name(topic), content, size=len(content))
        return topic.is_group or int(receivers) > 0

    def _name(self, topic: Topic) -> bytes:
        """Return the name in Redis: of channels_redis for groups and for channels without a process's name."""
        name = topic.name.encode(errors="surrogatepass")
        prefix = self.address.prefix.encode()
        if topic.is_group:
            return prefix + b"__group__" + name
        return prefix + b"__process__" + name if topic.name.endswith("!") else name


class Subscriber:
    """Is subscribed, and takes what arrives."""

    def __init__(self, address: Redis) -> None:
        self._link = RedisLink(address, IDLE)
        self._topics: dict[bytes, Topic] = {}
        self._confirming: dict[bytes, deque[asyncio.Future[None]]] = {}
        """What waits for Redis to confirm a name. It confirms each SUBSCRIBE, in their order."""
        self._is_open = False
        self.arrived: Arrived = lambda delivery: None

    @contextlib.asynccontextmanager
    async def opened(self) -> Any:
        await self._link.open()
        try:
            await self._subscribe_again()
            yield
        finally:
            self._is_open = False
            await self._link.close()
            for waiting in self._confirming.values():
                for each in waiting:
                    each.cancel()
            self._confirming.clear()

    async def _subscribe_again(self) -> None:
        """Subscribe to all topics. Raises one of TROUBLES."""
        known = [*self._topics]
        for begin in range(0, len(known), BATCH):
            batch = known[begin : begin + BATCH]
            await self._link.write(("SUBSCRIBE", *batch))
            left = len(batch)
            while left:  # messages may come between
                left -= self._take(await self._link.read())
        self._is_open = True
        differ = self._topics.keys() ^ known  # others have joined and left meanwhile
        if new := [name for name in differ if name in self._topics]:
            for name in new:
                self._expect(name)
            await self._link.write(("SUBSCRIBE", *new))
        if gone := [name for name in differ if name not in self._topics]:
            await self._link.write(("UNSUBSCRIBE", *gone))

    async def subscribe(self, name: bytes, topic: Topic) -> None:
        if name in self._topics:
            if waiting := self._confirming.get(name):
                await asyncio.wait({waiting[-1]}, timeout=PATIENCE)
            return
        self._topics[name] = topic
        if self._is_open:
            confirmed = self._expect(name)
            with contextlib.suppress(*TROUBLES):  # it subscribes again when it is connected
                await self._link.write(("SUBSCRIBE", name))
            await asyncio.wait({confirmed}, timeout=PATIENCE)

    def _expect(self, name: bytes) -> asyncio.Future[None]:
        """Return what is done when Redis has confirmed the SUBSCRIBE of ``name`` that is written next."""
        confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._confirming.setdefault(name, deque()).append(confirmed)
        return confirmed

    def _confirm(self, name: bytes) -> None:
        if waiting := self._confirming.get(name):
            if not (first := waiting.popleft()).done():
                first.set_result(None)
            if not waiting:
                del self._confirming[name]

    async def unsubscribe(self, name: bytes) -> None:
        if self._topics.pop(name, None) is not None and self._is_open:
            with contextlib.suppress(*TROUBLES):
                await self._link.write(("UNSUBSCRIBE", name))

    async def run(self) -> None:
        """Raises one of TROUBLES when the connection ends."""
        beating = asyncio.ensure_future(self._beat())
        try:
            while True:
                self._take(await self._link.read())
        finally:
            await cancel_all([beating])

    async def _beat(self) -> None:
        """Without this, an idle subscribed connection would look like one that is cut."""
        while True:
            await asyncio.sleep(BEAT)
            with contextlib.suppress(*TROUBLES):  # the reader finds it out, too
                await self._link.write(("PING",))

    def _take(self, found: Any) -> bool:
        """Take what has come. Return whether it confirms a subscription."""
        if isinstance(found, ResponseError):
            raise found
        if not isinstance(found, list) or len(found) < 2:
            return False
        kind, name = found[0], found[1]
        if kind == b"message" and (topic := self._topics.get(name)) is not None:
            self.arrived(Delivery(topic, found[2]))
        elif kind == b"subscribe":
            self._confirm(name)
        return bool(kind == b"subscribe")
