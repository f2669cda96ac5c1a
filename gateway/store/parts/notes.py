"""Notes; see :class:`gateway.store.interfaces.NoteStore`."""

from collections.abc import Sequence

from gateway.store.calls import Swap
from gateway.store.parts.session import StoreSession


class Notes(StoreSession):
    async def note(self, key: str, value: bytes, *, ttl: float) -> None:
        await self._run(self.operations.notes.put, (key, value, self.now() + ttl))

    async def swap_note(self, key: str, before: bytes | None, value: bytes | None, *, ttl: float) -> bool:
        now = self.now()
        return await self._run(self.operations.notes.swap, Swap(key, before, value, now + ttl, now))

    async def noted(self, keys: Sequence[str]) -> bytes | None:
        return await self._read(self.operations.notes.get, (keys, self.now()))
