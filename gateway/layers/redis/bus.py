"""What both forms of the bus over Redis share: a connection that sends, and one that receives. They live and end
together, and are made again together."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, Protocol

from gateway.layers.address import Redis
from gateway.layers.bus import Arrived, LayerUnavailable, LinkState
from gateway.layers.redis.connections import TROUBLES, reason
from gateway.layers.redis.publisher import Publisher
from protocols.tasks import cancel_all

AGAIN = (0.05, 2.0)
"""Seconds between two attempts to connect: at first, and at most."""


class Receiver(Protocol):
    """Takes what arrives, on a connection of its own."""

    arrived: Arrived

    def opened(self) -> contextlib.AbstractAsyncContextManager[Any]:
        """Be connected, and have what it was asked to hear. Raises one of TROUBLES."""

    async def run(self) -> None:
        """Raises one of TROUBLES when the connection ends."""


class RedisBus:
    """A part of a :class:`gateway.layers.bus.Bus`: what does not depend on the form of its messages in Redis."""

    def __init__(self, address: Redis, receiver: Receiver) -> None:
        self.address = address
        self.state = LinkState()
        self._publisher = Publisher(address)
        self._receiver = receiver
        self._running: asyncio.Task[None] | None = None

    async def open(self, arrived: Arrived) -> None:
        self._receiver.arrived = arrived
        self._running = asyncio.create_task(self._run(), name="channel layer: Redis")
        await self.state.wait()

    async def close(self) -> None:
        await self._publisher.flush()
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
            self._running = None

    def drops(self) -> Mapping[str, int]:
        return {}

    async def ask(self, *command: Any, size: int = 0) -> Any:
        """Return the answer to ``command``, which has about ``size`` bytes. Raises LayerUnavailable."""
        if not self.state.is_connected and not await self.state.wait():
            raise LayerUnavailable(f"the channel layer is cut off: {self.state.trouble or f'{self.address} is away'}")
        return await self._publisher.ask(*command, size=size)

    async def _run(self) -> None:
        pause = AGAIN[0]
        while True:
            was_connected = False
            try:
                async with self._publisher.opened(), self._receiver.opened():
                    was_connected, pause = True, AGAIN[0]
                    self._connected()
                    await self._until_one_fails()
            except TROUBLES as error:
                (self.state.lost if was_connected else self.state.failed)(reason(self.address, error))
            finally:
                self.state.ended()
            await asyncio.sleep(pause)
            pause = min(2 * pause, AGAIN[1])

    def _connected(self) -> None:
        """Called each time both connections are there."""
        self.state.connected()

    async def _until_one_fails(self) -> None:
        tasks = [asyncio.ensure_future(each.run()) for each in (self._publisher, self._receiver)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancel_all(tasks)
        for task in done:
            task.result()
