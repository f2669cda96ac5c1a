"""Roles of one process; see :class:`gateway.store.interfaces.LeaseStore`."""

from gateway.store.calls import Hold
from gateway.store.parts.session import StoreSession
from gateway.store.values import LEASE


class Leases(StoreSession):
    async def acquire(self, name: str) -> bool:
        call = Hold(LEASE + name, self._owner, self._is_alive)
        sql = self.operations.spaces
        if await self._read(sql.is_taken, call):  # a process that waits asks often, and must not always write
            return False
        return await self._run(sql.acquire, call, syncs=bool)

    async def release_lease(self, name: str) -> None:
        await self._run(self.operations.spaces.release, (LEASE + name, self._owner))

    async def bury(self, owner: str) -> None:
        """Do nothing: a file lock ends with its process."""

    async def wait_lost(self) -> None:
        before = self._losses
        while self._losses == before:
            await self._lost.wait()
