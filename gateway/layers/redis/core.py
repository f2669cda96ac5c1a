"""``layer=core``: messages wait in Redis until a process takes them. Names and messages are those of
``RedisChannelLayer`` of channels_redis, so that its groups and ours are the same.

A process is one member of each of its groups. One connection takes what has come for it, many messages at once, so that
a reader that is cancelled loses nothing, and a slow one holds back no other. The process joins its groups again at
times, and whenever it was cut off: Redis may have started again without them, and a membership ends after
``group_expiry``. The clock is that of Redis.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Mapping
from functools import partial
from typing import Any

import msgpack

from gateway.layers.address import Redis
from gateway.layers.bus import PATIENCE, Arrived, LayerUnavailable, Topic
from gateway.layers.redis import scripts
from gateway.layers.redis.bus import RedisBus
from gateway.layers.redis.members import Command, Members, check_group
from gateway.layers.redis.taker import CHANNELS, RANDOM, Taker
from gateway.layers.shared import KEY, SharedChannelLayer
from gateway.layers.told import Told, since

logger = logging.getLogger(__name__)

RENEW = 30.0
"""Seconds after which a process joins its groups again; less, if a membership ends sooner."""
PROCESS_CAPACITY = 10_000
"""Messages that wait in Redis for one process, with all its channels."""


def core_layer(address: Redis) -> SharedChannelLayer:
    bus = CoreBus(address)
    layer = SharedChannelLayer(bus, capacity=address.capacity, expiry=address.expiry)
    layer.process = bus.process
    return layer


class CoreBus(RedisBus):
    """A :class:`gateway.layers.bus.Bus`."""

    def __init__(self, address: Redis) -> None:
        self.process = secrets.token_hex(16)
        self._members = Members(address, self.process)
        self._taker = Taker(address, self.process, self._members)
        super().__init__(address, self._taker)
        self._renewing: asyncio.Task[None] | None = None
        self._told = Told()
        self._full = 0

    async def open(self, arrived: Arrived) -> None:
        self._renewing = asyncio.create_task(self._renew(), name="channel layer: renew")
        await super().open(arrived)

    async def close(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
        if self.state.is_connected:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await asyncio.gather(*map(self._ask_now, self._members.leaving()))
        await super().close()

    async def subscribe(self, topic: Topic) -> None:
        """Raises TypeError for a group that cannot have this name in Redis."""
        if topic.is_group:
            await self._join(topic.name)
        elif not topic.name.endswith("!") and self._taker.read(topic.name):  # what comes for the process is read
            await self._ask_now(self._taker.wakes())

    async def _join(self, group: str) -> None:
        if (join := self._members.join(group)) is None:
            return
        if self.state.is_connected:
            await self._ask_now(join)
        else:
            self._members.join_later(group)

    async def unsubscribe(self, topic: Topic) -> None:
        if not topic.is_group:
            self._taker.leave(topic.name)
        elif (leave := self._members.leave(topic.name)) is not None and not await self._ask_now(leave):
            self._members.leave_later(leave)

    async def publish(self, topic: Topic, content: bytes) -> bool:
        script, key, end, more = self._to_group(topic) if topic.is_group else self._to_channel(topic, content)
        message = b"".join((secrets.token_bytes(RANDOM), with_open_key(content), end))
        bounds = (self.address.expiry, self.address.capacity, PROCESS_CAPACITY, *more)
        found = await self.ask("EVAL", script, 1, key, message, *bounds, size=len(message) + len(script))
        if full := int(found):
            self._tell_full(topic, full)
        return True

    def _to_group(self, topic: Topic) -> "_Call":
        """Raises TypeError."""
        check_group(topic.name)
        more = (self.address.group_expiry, self.address.prefix)
        return scripts.SEND_TO_GROUP, self._members.key(topic.name), b"", more

    def _to_channel(self, topic: Topic, content: bytes) -> "_Call":
        channel = channel_in(content) or topic.name
        return scripts.SEND, self.address.prefix + list_of(channel), msgpack.packb(channel), ()

    def drops(self) -> Mapping[str, int]:
        return {"full": self._full, "garbage": self._taker.garbage}

    def _tell_full(self, topic: Topic, count: int) -> None:
        self._full += count
        where = f"{'group' if topic.is_group else 'channel'} {topic.name}"
        if times := self._told.due(where):
            said = "%s: full in Redis; a message to it is dropped%s"
            logger.warning(said, where, since(times), extra={"lost": True})

    async def _ask_now(self, command: Command) -> bool:
        """Send ``command`` if Redis is there, and return whether it was. When it is there again, the process joins."""
        if self.state.is_connected:
            with contextlib.suppress(LayerUnavailable):
                await self._publisher.ask(*command)
                return True
        return False

    def _connected(self) -> None:
        """Send what was joined and left while the receiver joined the groups, before any later command."""
        super()._connected()
        for each in self._members.missing():
            with contextlib.suppress(LayerUnavailable):  # too many: they are sent when the process joins again
                self._publisher.put(*each).add_done_callback(partial(self._note_answered, each))

    def _note_answered(self, command: Command, answer: "asyncio.Future[Any]") -> None:
        if not answer.cancelled() and answer.exception() is None:
            self._members.note_answered(command)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(min(RENEW, self.address.group_expiry / 3))
            await self._renew_all()

    async def _renew_all(self) -> None:
        for each in self._members.joining() if self.state.is_connected else ():
            if await self._ask_now(each):
                self._members.note_answered(each)


_Call = tuple[str, str, bytes, tuple[Any, ...]]
"""A script, its key, the end of the message, and what the script needs beside it."""


def list_of(channel: str) -> str:
    """Return the list in which a message to ``channel`` waits: that of its process, if it has one."""
    front, mark, _ = channel.partition("!")
    return front + mark


def channel_in(content: bytes) -> str:
    """Return the channel that is noted in a packed message; empty if there is none."""
    return str(msgpack.unpackb(content, strict_map_key=False)[KEY][2])


_OPEN_KEY = msgpack.packb(CHANNELS)


def with_open_key(content: bytes) -> bytes:
    """Return a packed dict with ``__asgi_channel__`` as its last key. The caller appends the value."""
    size = {0xDE: 2, 0xDF: 4}.get(content[0], 0)
    count = int.from_bytes(content[1 : 1 + size], "big") if size else content[0] & 0x0F
    header: bytes = msgpack.Packer().pack_map_header(count + 1)
    return b"".join((header, content[1 + size :], _OPEN_KEY))
