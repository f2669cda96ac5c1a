"""How code that is no handler's reaches the store: in the gateway's process, or in another."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from gateway.delivery.service import Deliveries
from gateway.store import Message, Store

T = TypeVar("T")


class StoreReach(Protocol):
    """A gateway's store. Its methods run where :meth:`gateway.sender.Sender.wait_for` runs a coroutine. They raise
    StoreUnavailable."""

    async def put_all(self, make: Callable[[float], Sequence[Message]]) -> None:
        """Store what ``make`` returns, which gets the store's time, and tell the gateway that runs it."""

    async def ask(self, question: Callable[[Store], Awaitable[T]]) -> T:
        """Return the answer of the store to ``question``."""


class OwnStore:
    """A :class:`StoreReach` in the gateway's own process."""

    def __init__(self, here: Deliveries) -> None:
        self._here = here

    async def put_all(self, make: Callable[[float], Sequence[Message]]) -> None:
        await self._here.inbox.put_all(make(self._here.store.now()))

    async def ask(self, question: Callable[[Store], Awaitable[T]]) -> T:
        return await question(self._here.store)
