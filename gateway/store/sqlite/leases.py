"""Roles of one process; see :class:`gateway.store.interfaces.LeaseStore`."""

import asyncio
from functools import partial

from gateway.store.sqlite.file.owner import is_alive
from gateway.store.sqlite.session import StoreSession
from gateway.store.sqlite.sql import spaces
from gateway.store.values import LEASE


class SQLiteLeases(StoreSession):
    async def acquire(self, name: str) -> bool:
        call = spaces.Hold(LEASE + name, self._owner, partial(is_alive, self.path))
        if await self._read(spaces.is_taken, call):  # who waits for a lease asks often, and must not write each time
            return False
        return await self._run(spaces.acquire, call, syncs=bool)

    async def release_lease(self, name: str) -> None:
        await self._run(spaces.release, (LEASE + name, self._owner))

    async def wait_lost(self) -> None:
        """Wait for ever: the kernel holds the lock of a process that is stopped, and gives it up when it ends."""
        await asyncio.Event().wait()
