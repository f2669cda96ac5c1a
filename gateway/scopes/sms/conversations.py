"""Conversations of texts, as notes in the store."""

from gateway.delivery.reach import StoreReach


class StoredConversations:
    """A :class:`gateway.consumers.conversation.Conversations`."""

    def __init__(self, reach: StoreReach) -> None:
        self._reach = reach

    async def load(self, key: str) -> bytes | None:
        return await self._reach.ask(lambda store: store.noted([key]))

    async def swap(self, key: str, before: bytes | None, value: bytes | None, ttl: float) -> bool:
        return await self._reach.ask(lambda store: store.swap_note(key, before, value, ttl=ttl))
