"""What takes the messages that have come for a process, with ``layer=core``."""

import asyncio
import contextlib
import logging
import random
from typing import Any

import msgpack
from redis.exceptions import ResponseError

from gateway.layers.address import Redis
from gateway.layers.bus import Arrived, Delivery
from gateway.layers.redis.connections import RedisLink
from gateway.layers.redis.members import Command, Members
from gateway.layers.redis.publisher import BATCH
from gateway.layers.told import Told, since
from protocols.errors import describe_error

logger = logging.getLogger(__name__)

IDLE = 4.0
"""Seconds for an answer. It is more than a command waits for a message."""
WAIT = 1
"""Seconds for which one command waits for a message."""
BREATH = 0.01
"""Seconds after something that cannot be read, so that a flood of it leaves time for others."""
RANDOM = 12
"""Random bytes before each message in Redis: the members of a sorted set differ."""
CHANNELS = "__asgi_channel__"
"""The key of a message in Redis that names its channels."""
WAKE = b"wake"
"""What a process puts into its own list, so that its connection looks at what it reads."""


class Taker:
    """Takes from the list of a process, and from those of channels without a process's name that are read there."""

    def __init__(self, address: Redis, process: str, members: Members) -> None:
        self._prefix = address.prefix
        self._members = members
        self._link = RedisLink(address, IDLE)
        self.own_list = self._list(f"specific.{process}!")
        self._lists = [self.own_list]
        self.garbage = 0
        """Messages that could not be read."""
        self._told = Told()
        self.arrived: Arrived = lambda delivery: None

    def read(self, channel: str) -> bool:
        """Take what comes for ``channel``, too. Return False if it is taken already."""
        if (found := self._list(channel)) in self._lists:
            return False
        self._lists.append(found)
        return True

    def leave(self, channel: str) -> None:
        with contextlib.suppress(ValueError):
            self._lists.remove(self._list(channel))

    def wakes(self) -> Command:
        """Return the command after which it looks at what it reads."""
        return ("ZADD", self.own_list, "0", WAKE)

    def _list(self, channel: str) -> bytes:
        return (self._prefix + channel).encode(errors="surrogatepass")

    def _channel(self, key: bytes) -> str:
        return key.decode(errors="replace").removeprefix(self._prefix)

    @contextlib.asynccontextmanager
    async def opened(self) -> Any:
        await self._link.open()
        try:
            await self._join()
            yield
        finally:
            await self._link.close()

    async def _join(self) -> None:
        """Raises one of TROUBLES, also if Redis refuses this process."""
        commands: list[Command] = [("PING",), *self._members.joining()]
        for begin in range(0, len(commands), BATCH):
            batch = commands[begin : begin + BATCH]
            await self._link.write(*batch)
            for each in batch:
                _checked(await self._link.read())
                self._members.note_answered(each)

    async def run(self) -> None:
        """Raises one of TROUBLES when the connection ends."""
        while True:
            lists = random.sample(self._lists, len(self._lists))  # the first one that has a message counts
            await self._link.write(("BZPOPMIN", *lists, WAIT), ("ZPOPMIN", self.own_list, BATCH))
            first, more = _checked(await self._link.read()), _checked(await self._link.read())
            if first is not None:
                await self._take(first[0], first[1])
            for content in more[::2]:
                await self._take(self.own_list, content)

    async def _take(self, key: bytes, content: bytes) -> None:
        if content == WAKE:
            return
        try:
            for delivery in self._deliveries(key, content):
                self.arrived(delivery)
        except Exception as error:  # whatever msgpack says of bytes that are no message
            self._drop_garbage(self._channel(key), error)
            await asyncio.sleep(BREATH)

    def _deliveries(self, key: bytes, content: bytes) -> list[Delivery]:
        message = msgpack.unpackb(content[RANDOM:], strict_map_key=False)
        named = message.pop(CHANNELS, None) or self._channel(key)
        packed = msgpack.packb(message)
        topics = map(self._members.topic_of, named if isinstance(named, list) else [named])
        return [Delivery(topic, packed) for topic in topics if topic is not None]

    def _drop_garbage(self, channel: str, error: Exception) -> None:
        """Go on: no other process takes what comes for this one."""
        self.garbage += 1
        if times := self._told.due(channel):
            said = "channel %s: what has arrived is no message of a channel layer (%s); it is dropped%s"
            logger.warning(said, channel, describe_error(error), since(times), extra={"lost": True})


def _checked(answer: Any) -> Any:
    """Raises ResponseError."""
    if isinstance(answer, ResponseError):
        raise answer
    return answer
