"""What a running gateway does for the store itself; see :class:`gateway.store.interfaces.UpkeepStore`."""

import time

from gateway.store.figures import Holdings
from gateway.store.parts.session import StoreSession

COUNTING = 0.01
"""The largest part of its time that a store spends on counting what it holds."""


class Upkeep(StoreSession):
    def __init__(self) -> None:
        super().__init__()
        self._holdings = Holdings()
        self._count_again = 0.0

    async def holdings(self) -> Holdings:
        if time.monotonic() >= self._count_again:
            self._holdings, took = await self._read(self.operations.upkeep.holdings, None)
            self._count_again = time.monotonic() + took / COUNTING
        return self._holdings

    async def probe(self) -> None:
        await self._run(self.operations.upkeep.probe, None)

    async def recover(self) -> int:
        return await self._run(self.operations.upkeep.recover, self._is_alive)

    async def purge(self, *, now: float) -> int:
        total = 0
        while count := await self._run(self.operations.upkeep.purge, now):
            total += count
        return total
