"""A server's own state in the gateway's store."""

from collections.abc import Mapping

from gateway.store import Store, StoreUnavailable
from protocols.mqtt.broker.journal import Changes


class KeptState:
    """A :class:`protocols.mqtt.broker.journal.Persistence` over ``store``, which is open before the server starts."""

    def __init__(self, store: Store, space: str) -> None:
        self._store = store
        self._space = space

    async def load(self) -> Mapping[str, bytes]:
        try:
            return await self._store.load(self._space)
        except StoreUnavailable as error:
            raise OSError(str(error)) from error

    async def commit(self, changes: Changes) -> None:
        try:
            await self._store.save(self._space, changes)
        except StoreUnavailable as error:
            raise OSError(str(error)) from error
