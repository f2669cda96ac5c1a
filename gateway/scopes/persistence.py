"""Keeps a server's own state in the gateway's store."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.store import KeyValueStore, StoreUnavailable

if TYPE_CHECKING:
    from protocols.mqtt.broker.journal import Changes


@dataclass(frozen=True)
class Ledgers:
    """The places for ledgers, by the full name of a folder."""

    store: KeyValueStore

    def __call__(self, namespace: str) -> "StorePersistence":
        return StorePersistence(self.store, namespace)


class StorePersistence:
    """A :class:`protocols.mqtt.broker.journal.Persistence` over ``store``, which is open before the server starts."""

    def __init__(self, store: KeyValueStore, namespace: str) -> None:
        self._store = store
        self._namespace = namespace

    def __eq__(self, other: object) -> bool:
        """Whether both are the same place."""
        if not isinstance(other, StorePersistence):
            return NotImplemented
        return self._store is other._store and self._namespace == other._namespace

    __hash__ = None  # type: ignore[assignment]  # nothing keeps places in a set

    async def load(self) -> Mapping[str, bytes]:
        try:
            return await self._store.load(self._namespace)
        except StoreUnavailable as error:
            raise OSError(str(error)) from error

    async def commit(self, changes: "Changes") -> None:
        try:
            await self._store.save(self._namespace, changes)
        except StoreUnavailable as error:
            raise OSError(str(error)) from error
