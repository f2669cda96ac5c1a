"""State of servers; see :class:`gateway.store.interfaces.KeyValueStore`."""

from collections.abc import Mapping
from functools import partial

from gateway.store.sqlite.file.owner import is_alive
from gateway.store.sqlite.session import StoreSession
from gateway.store.sqlite.sql import key_value
from gateway.store.sqlite.sql.spaces import Hold, release_namespaces
from gateway.store.values import StoreUnavailable


class SQLiteKeyValue(StoreSession):
    async def load(self, namespace: str) -> dict[str, bytes]:
        call = Hold(namespace, self._owner, partial(is_alive, self.path))
        try:
            return await self._run(key_value.load, call)
        except key_value.NamespaceInUse as error:
            raise StoreUnavailable(str(error)) from error

    async def save(self, namespace: str, changes: Mapping[str, bytes | None]) -> None:
        await self._run(key_value.save, (namespace, changes))

    async def release_namespaces(self) -> None:
        await self._run(release_namespaces, self._owner)
