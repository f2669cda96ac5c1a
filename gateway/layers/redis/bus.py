"""The bus over Redis pub/sub. Its names and messages are those of ``RedisPubSubChannelLayer`` of channels_redis, so
that its groups and ours are the same.

It has two connections: one publishes, in pipelines; the other one is subscribed. What was published while the second
one was away is lost, as always with pub/sub: numbers on the messages show it.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

from redis.exceptions import ResponseError

from gateway.layers.address import Redis
from gateway.layers.bus import PATIENCE, Arrived, Delivery, LayerUnavailable, LinkState, Topic
from gateway.layers.redis.connections import TROUBLES, RedisLink, reason
from gateway.layers.shared import SharedChannelLayer
from protocols.queue import Queue
from protocols.tasks import cancel_all

BEAT = 1.0
"""Seconds between two pings on each connection."""
IDLE = 10.0
"""Seconds without a word after which the subscribed connection is made again. It is more than PATIENCE: this process's
own event loop may have stood still."""
AGAIN = (0.05, 2.0)
"""Seconds between two attempts to connect: at first, and at most."""
BATCH = 256
"""Messages in one pipeline."""
MOST_WAITING = 10_000
"""Messages that wait for the next pipeline. What is sent on top is refused."""


def pubsub_layer(address: Redis) -> SharedChannelLayer:
    return SharedChannelLayer(RedisBus(address), capacity=address.capacity, expiry=address.expiry)


class RedisBus:
    """A :class:`gateway.layers.bus.Bus`."""

    def __init__(self, address: Redis) -> None:
        self._address = address
        self.state = LinkState()
        self._publisher = _Publisher(address)
        self._subscriber = _Subscriber(address)
        self._running: asyncio.Task[None] | None = None

    async def open(self, arrived: Arrived) -> None:
        self._subscriber.arrived = arrived
        self._running = asyncio.create_task(self._run(), name="channel layer: Redis")
        await self.state.wait()

    async def close(self) -> None:
        await self._publisher.flush()
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
            self._running = None

    async def subscribe(self, topic: Topic) -> None:
        await self._subscriber.subscribe(self._name(topic), topic)

    async def unsubscribe(self, topic: Topic) -> None:
        await self._subscriber.unsubscribe(self._name(topic))

    async def publish(self, topic: Topic, content: bytes) -> bool:
        if not self.state.is_connected and not await self.state.wait():
            raise LayerUnavailable(f"the channel layer is cut off: {self.state.trouble or f'{self._address} is away'}")
        receivers = await self._publisher.publish(self._name(topic), content)
        return topic.is_group or receivers > 0

    def drops(self) -> Mapping[str, int]:
        return {}

    def _name(self, topic: Topic) -> bytes:
        """Return the name in Redis: of channels_redis for groups and for channels without a process's name."""
        name = topic.name.encode(errors="surrogatepass")
        prefix = self._address.prefix.encode()
        if topic.is_group:
            return prefix + b"__group__" + name
        return prefix + b"__process__" + name if topic.name.endswith("!") else name

    async def _run(self) -> None:
        pause = AGAIN[0]
        while True:
            was_connected = False
            try:
                async with self._publisher.opened(), self._subscriber.opened():
                    was_connected, pause = True, AGAIN[0]
                    self.state.connected()
                    await self._until_one_fails()
            except TROUBLES as error:
                (self.state.lost if was_connected else self.state.failed)(reason(self._address, error))
            finally:
                self.state.ended()
            await asyncio.sleep(pause)
            pause = min(2 * pause, AGAIN[1])

    async def _until_one_fails(self) -> None:
        tasks = [asyncio.ensure_future(each.run()) for each in (self._publisher, self._subscriber)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancel_all(tasks)
        for task in done:
            task.result()


_Publication = tuple[bytes, bytes, asyncio.Future[int]]
"""Name, content, and how many have got it."""


class _Publisher:
    """Publishes what waits, as one pipeline after the other."""

    def __init__(self, address: Redis) -> None:
        self._address = address
        self._link = RedisLink(address, PATIENCE)
        self._waiting: Queue[_Publication] = Queue(MOST_WAITING)
        self._flying: list[_Publication] = []

    @contextlib.asynccontextmanager
    async def opened(self) -> Any:
        await self._link.open()
        try:
            yield
        finally:
            await self._link.close()
            self._refuse()

    async def publish(self, name: bytes, content: bytes) -> int:
        """Return how many have got it. Raises LayerUnavailable."""
        if self._waiting.full:
            raise LayerUnavailable(f"the channel layer is too slow: {MOST_WAITING} messages wait for {self._address}")
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.put((name, content, answer))
        return await answer

    async def flush(self) -> None:
        """Wait until everything that waits has left or was refused."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                answers = [answer for _, _, answer in (*self._flying, *self._waiting)]
                await asyncio.gather(*answers, return_exceptions=True)

    async def run(self) -> None:
        """Raises one of TROUBLES when the connection ends."""
        while True:
            if not await self._has_more():
                await self._link.write(("PING",))
                await self._link.read()
            while self._waiting:
                self._flying = [self._waiting.next() for _ in range(min(BATCH, len(self._waiting)))]
                await self._fly()

    async def _has_more(self) -> bool:
        """Wait for messages, at most a beat. Return whether there are any."""
        if not self._waiting:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT):
                    await self._waiting.more()
        return bool(self._waiting)

    async def _fly(self) -> None:
        await self._link.write(*(("PUBLISH", name, content) for name, content, _ in self._flying))
        for _, _, answer in self._flying:
            found = await self._link.read()
            if answer.done():  # its sender was cancelled
                continue
            if isinstance(found, ResponseError):
                answer.set_exception(LayerUnavailable(f"{self._address} refuses a message: {found}"))
            else:
                answer.set_result(int(found))
        self._flying = []

    def _refuse(self) -> None:
        """Tell all who wait that the connection has ended. What is on its way may have arrived."""
        refused, self._flying = [*self._flying, *self._waiting], []
        self._waiting.clear()
        for _, _, answer in refused:
            if not answer.done():
                answer.set_exception(LayerUnavailable(f"the channel layer was cut off: {self._address} is away"))


class _Subscriber:
    """Is subscribed, and takes what arrives."""

    def __init__(self, address: Redis) -> None:
        self._link = RedisLink(address, IDLE)
        self._topics: dict[bytes, Topic] = {}
        self._confirming: dict[bytes, asyncio.Future[None]] = {}
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
                waiting.cancel()
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
            await self._link.write(("SUBSCRIBE", *new))
        if gone := [name for name in differ if name not in self._topics]:
            await self._link.write(("UNSUBSCRIBE", *gone))

    async def subscribe(self, name: bytes, topic: Topic) -> None:
        if name in self._topics:
            if (waiting := self._confirming.get(name)) is not None:
                await asyncio.wait({waiting}, timeout=PATIENCE)
            return
        self._topics[name] = topic
        if self._is_open:
            self._confirming[name] = confirmed = asyncio.get_running_loop().create_future()
            with contextlib.suppress(*TROUBLES):  # it subscribes again when it is connected
                await self._link.write(("SUBSCRIBE", name))
            await asyncio.wait({confirmed}, timeout=PATIENCE)

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
        """A subscribed connection that nobody speaks on would look like one that is cut."""
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
        elif kind == b"subscribe" and (waiting := self._confirming.pop(name, None)) is not None and not waiting.done():
            waiting.set_result(None)
        return bool(kind == b"subscribe")
