"""Notes; see :class:`gateway.store.interfaces.NoteStore`."""

from collections.abc import Sequence

from gateway.store.sqlite.session import StoreSession
from gateway.store.sqlite.sql import notes


class SQLiteNotes(StoreSession):
    async def note(self, key: str, value: bytes, *, ttl: float) -> None:
        await self._run(notes.put, (key, value, self.now() + ttl))

    async def noted(self, keys: Sequence[str]) -> bytes | None:
        return await self._read(notes.get, (keys, self.now()))
