"""Sends commands to Redis on one connection, in pipelines, each with its answer."""

import asyncio
import contextlib
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from gateway.layers.address import Redis
from gateway.layers.bus import PATIENCE, LayerUnavailable
from gateway.layers.redis.connections import RedisLink
from protocols.queue import Queue

BEAT = 1.0
"""Seconds between two pings on a connection."""
BATCH = 256
"""Commands in one pipeline."""
LARGEST_BATCH = 1024 * 1024
"""Bytes after which a pipeline takes no further command."""
MOST_WAITING = 10_000
"""Commands that wait for the next pipeline. What is sent on top is refused."""
MOST_BYTES = 64 * 1024 * 1024
"""Bytes that wait for the next pipeline. What is sent on top is refused."""


class _Waiting(NamedTuple):
    command: tuple[Any, ...]
    size: int
    answer: asyncio.Future[Any]


class Publisher:
    """Sends what waits, as one pipeline after the other."""

    def __init__(self, address: Redis) -> None:
        self._address = address
        self._link = RedisLink(address, PATIENCE)
        self._waiting: Queue[_Waiting] = Queue(MOST_WAITING)
        self._bytes = 0
        self._flying: list[_Waiting] = []

    @contextlib.asynccontextmanager
    async def opened(self) -> Any:
        await self._link.open()
        try:
            yield
        finally:
            await self._link.close()
            self._refuse()

    async def ask(self, *command: Any, size: int = 0) -> Any:
        """Return the answer to ``command``, which has about ``size`` bytes. Raises LayerUnavailable."""
        return await self.put(*command, size=size)

    def put(self, *command: Any, size: int = 0) -> "asyncio.Future[Any]":
        """As :meth:`ask`, without waiting for the answer."""
        if self._waiting.full or self._bytes + size > MOST_BYTES:
            count = len(self._waiting)
            raise LayerUnavailable(f"the channel layer is too slow: {count} messages wait for {self._address}")
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.put(_Waiting(command, size, answer))
        self._bytes += size
        return answer

    async def flush(self) -> None:
        """Wait until everything that waits has left or was refused."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                answers = [each.answer for each in (*self._flying, *self._waiting)]
                await asyncio.gather(*answers, return_exceptions=True)

    async def run(self) -> None:
        """Raises one of TROUBLES when the connection ends."""
        while True:
            if not await self._has_more():
                await self._link.write(("PING",))
                await self._link.read()
            while self._waiting:
                self._flying = self._batch()
                await self._fly()

    async def _has_more(self) -> bool:
        """Wait for commands, at most a beat. Return whether there are any."""
        if not self._waiting:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT):
                    await self._waiting.more()
        return bool(self._waiting)

    def _batch(self) -> list[_Waiting]:
        """Return what waits, from its beginning, as one pipeline has room for it."""
        batch: list[_Waiting] = []
        size = 0
        while self._waiting and len(batch) < BATCH and size < LARGEST_BATCH:
            batch.append(each := self._waiting.next())
            size += each.size
        self._bytes -= size
        return batch

    async def _fly(self) -> None:
        await self._link.write(*(each.command for each in self._flying))
        for _, _, answer in self._flying:
            found = await self._link.read()
            if answer.done():  # its sender was cancelled
                continue
            if isinstance(found, ResponseError):
                answer.set_exception(LayerUnavailable(f"{self._address} refuses a message: {found}"))
            else:
                answer.set_result(found)
        self._flying = []

    def _refuse(self) -> None:
        """Tell all who wait that the connection has ended. What is on its way may have arrived."""
        refused, self._flying = [*self._flying, *self._waiting], []
        self._waiting.clear()
        self._bytes = 0
        for _, _, answer in refused:
            if not answer.done():
                answer.set_exception(LayerUnavailable(f"the channel layer was cut off: {self._address} is away"))
