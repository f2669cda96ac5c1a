"""State of servers; see :class:`gateway.store.interfaces.KeyValueStore`."""

from collections.abc import Mapping

from gateway.store.calls import Hold, NamespaceInUse, Save
from gateway.store.parts.session import StoreSession
from gateway.store.values import StoreUnavailable


class KeyValue(StoreSession):
    async def load(self, namespace: str) -> dict[str, bytes]:
        owner = self._owner
        try:
            found = await self._run(self.operations.key_value.load, Hold(namespace, owner, self._is_alive))
        except NamespaceInUse as error:
            raise StoreUnavailable(str(error)) from error
        self._held[namespace] = owner
        return found

    async def save(self, namespace: str, changes: Mapping[str, bytes | None]) -> None:
        owner, held = self._owner, self._held.get(namespace, "")
        try:
            await self._run(self.operations.key_value.save, Save(namespace, owner, changes, held))
        except NamespaceInUse as error:
            raise StoreUnavailable(str(error)) from error
        if held:
            self._held[namespace] = owner

    async def release_namespaces(self) -> None:
        await self._run(self.operations.spaces.release_namespaces, self._owner)
        self._held.clear()
