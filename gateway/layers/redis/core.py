"""``layer=core``: messages wait in Redis until a process takes them, as in ``RedisChannelLayer`` of channels_redis,
which does the work here.

A process is one member of each of its groups. One task takes what has come for it, so that a reader that is cancelled
loses nothing, and a slow one holds back no other. The process joins its groups again at times, and whenever it was cut
off: Redis may have started again without them, and a membership ends after ``group_expiry``.
"""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Mapping
from typing import Any

import msgpack
from channels.exceptions import ChannelFull
from channels_redis.core import RedisChannelLayer

from gateway.layers.address import Redis
from gateway.layers.bus import PATIENCE, Arrived, Delivery, LayerUnavailable, LinkState, Topic
from gateway.layers.redis.connections import TROUBLES, end, hosts_of, reason
from gateway.layers.shared import KEY, SharedChannelLayer
from gateway.layers.told import Told, since
from protocols.errors import describe_error
from protocols.tasks import Tasks

logger = logging.getLogger(__name__)

RENEW = 30.0
"""Seconds after which a process joins its groups again; less, if a membership ends sooner."""
IDLE = 4.0
"""Seconds for an answer. It is more than a command waits for a message."""
PROCESS_CAPACITY = 10_000
"""Messages that wait in Redis for one process, with all its channels."""
AGAIN = 0.2
"""Seconds between two attempts while Redis is away."""
BREATH = 0.01
"""Seconds after something that cannot be read, so that a flood of it leaves time for others."""


class _Core(RedisChannelLayer):  # type: ignore[misc] # it has no types
    brpop_timeout = 1
    """Seconds for which one command waits: an answer is missed soon after that."""

    def create_pool(self, index: int) -> Any:
        self.pool = super().create_pool(index)
        return self.pool


def core_layer(address: Redis) -> SharedChannelLayer:
    bus = CoreBus(address)
    layer = SharedChannelLayer(bus, capacity=address.capacity, expiry=address.expiry)
    layer.process = bus.process
    return layer


class CoreBus:
    """A :class:`gateway.layers.bus.Bus`."""

    def __init__(self, address: Redis) -> None:
        self._address = address
        kept = {"prefix": address.prefix, "capacity": address.capacity, "expiry": address.expiry}
        self._core: Any = _Core(
            hosts_of(address, IDLE)[:1],
            group_expiry=address.group_expiry,
            channel_capacity={"specific.*": PROCESS_CAPACITY},
            **kept,
        )
        self.process: str = self._core.client_prefix
        self.state = LinkState()
        self._members: dict[str, str] = {}
        """Group -> the channel of this process in it."""
        self._groups: dict[str, str] = {}
        self._made = 0
        self._full = 0
        self._garbage = 0
        self._told = Told()
        self._arrived: Arrived = lambda delivery: None
        self._takers: dict[str, asyncio.Task[None]] = {}
        self._tasks = Tasks("channel layer")
        self._sending = asyncio.Lock()
        """One message after the other: each needs several commands, on whatever connection is free."""

    async def open(self, arrived: Arrived) -> None:
        self._arrived = arrived
        self._sending = asyncio.Lock()
        self._tasks.spawn(self._renew(), name="renew")
        try:
            async with asyncio.timeout(PATIENCE):
                await self._join_again()
        except TROUBLES as error:
            self._cut_off(error)

    async def close(self) -> None:
        with contextlib.suppress(LayerUnavailable, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                for group, member in self._members.items():
                    await self._ask(self._core.group_discard(group, member))
        await self._tasks.cancel()
        self.state.ended()
        with contextlib.suppress(*TROUBLES):
            async with asyncio.timeout(PATIENCE):
                await self._core.close_pools()
                await end(self._core.pool)

    async def subscribe(self, topic: Topic) -> None:
        if not topic.is_group:
            self._read(f"specific.{topic.name}" if topic.name.endswith("!") else topic.name)
        elif topic.name not in self._members:
            self._core.require_valid_group_name(topic.name)  # raises TypeError, before anything is kept
            self._made += 1
            member = f"specific.{self.process}!{self._made}"
            self._members[topic.name], self._groups[member] = member, topic.name
            with contextlib.suppress(LayerUnavailable):  # it joins when it is connected again
                await self._ask(self._core.group_add(topic.name, member))

    async def unsubscribe(self, topic: Topic) -> None:
        if topic.is_group and (member := self._members.pop(topic.name, None)) is not None:
            del self._groups[member]
            with contextlib.suppress(LayerUnavailable):
                await self._ask(self._core.group_discard(topic.name, member))
        elif not topic.is_group and (taker := self._takers.pop(topic.name, None)) is not None:
            taker.cancel()

    async def publish(self, topic: Topic, content: bytes) -> bool:
        message = msgpack.unpackb(content, strict_map_key=False)
        async with self._sending:
            try:
                if topic.is_group:
                    await self._ask(self._core.group_send(topic.name, message))
                else:
                    await self._ask(self._core.send(message[KEY][2] or topic.name, message))
            except ChannelFull:
                self._full += 1
                logger.warning(
                    "channel %s: full in Redis; a message to it is dropped", topic.name, extra={"lost": True}
                )
        return True

    def drops(self) -> Mapping[str, int]:
        return {"full": self._full, "garbage": self._garbage}

    async def _ask(self, call: Coroutine[Any, Any, None]) -> None:
        """Raises LayerUnavailable."""
        try:
            async with asyncio.timeout(PATIENCE):
                await call
        except TROUBLES as error:
            raise LayerUnavailable(f"the channel layer is cut off: {reason(self._address, error)}") from error

    def _read(self, channel: str) -> None:
        if channel not in self._takers:
            self._takers[channel] = self._tasks.spawn(self._take(channel), name=channel)

    async def _take(self, channel: str) -> None:
        """Take what comes for ``channel``, for as long as the layer is open."""
        while True:
            try:
                if not self.state.is_connected:
                    await self._join_again()
                found, message = await self._core.receive_single(channel)
            except TROUBLES as error:
                self._cut_off(error)
                await asyncio.sleep(AGAIN)
            except Exception as error:  # whatever the library says of bytes that are no message
                self._drop_garbage(channel, error)
                await asyncio.sleep(BREATH)
            else:
                self._deal_out(found, message)

    def _deal_out(self, found: str | list[str], message: dict[str, Any]) -> None:
        """Hand ``message`` to the layer, for each channel in ``found``."""
        for each in found if isinstance(found, list) else [found]:
            group = self._groups.get(str(each))
            topic = Topic.of_group(group) if group is not None else Topic.of_channel(str(each))
            self._arrived(Delivery(topic, msgpack.packb(message)))

    def _drop_garbage(self, channel: str, error: Exception) -> None:
        """Go on: nobody else takes what comes for this process."""
        self._garbage += 1
        if times := self._told.due(channel):
            said = "channel %s: what has arrived is no message of a channel layer (%s); it is dropped%s"
            logger.warning(said, channel, describe_error(error), since(times), extra={"lost": True})

    def _cut_off(self, error: BaseException) -> None:
        (self.state.lost if self.state.is_connected else self.state.failed)(reason(self._address, error))

    async def _join_again(self) -> None:
        """Raises one of TROUBLES."""
        await self._core.connection(0).ping()
        for group, member in list(self._members.items()):
            await self._core.group_add(group, member)
        self.state.connected()

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(min(RENEW, self._address.group_expiry / 3))
            with contextlib.suppress(LayerUnavailable):
                await self._renew_all()

    async def _renew_all(self) -> None:
        for group, member in list(self._members.items()):
            await self._ask(self._core.group_add(group, member))
