"""Lets code outside of handlers reach the store: in the gateway's process, or in another."""

import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from gateway.atomic import CurrentTransaction, current_transaction
from gateway.delivery.service import Deliveries
from gateway.store import Message, OpenTransaction, Store, TransactionStore

T = TypeVar("T")

Make = Callable[[float], Sequence[Message]]
"""Makes messages; gets the store's time."""


class StoreReach(Protocol):
    """A gateway's store. Its coroutines run where :meth:`gateway.event_sender.Sender.wait_for` runs a coroutine, and
    raise StoreUnavailable."""

    def put_within(self, make: Make) -> bool:
        """Store what ``make`` returns in the transaction that the calling thread has open on the store's database, and
        tell the gateway after the commit. Return False if there is no such transaction."""

    async def put_all(self, make: Make) -> None:
        """Store what ``make`` returns, and tell the gateway that runs it."""

    async def ask(self, question: Callable[[Store], Awaitable[T]]) -> T:
        """Return the answer of the store to ``question``."""


def put_within(make: Make, found: OpenTransaction | None, then: Callable[[], object]) -> bool:
    """Do what :meth:`StoreReach.put_within` says. ``found``: a transaction of the calling thread's. ``then`` is called
    from any thread."""
    if (running := _of_handler()) is not None:
        running.store.put_all(make(running.store.now()))
        running.after_commit(lambda: _called(then))
        return True
    if found is None:
        return False

    def put(store: TransactionStore) -> None:
        store.put_all(make(store.now()))

    found.run(put, then)
    return True


def _of_handler() -> CurrentTransaction | None:
    """The transaction of the handler that runs on this thread, on a route with ``atomic: true``."""
    running = current_transaction.get()
    if running is None or running.is_over or running.thread != threading.get_ident():
        return None
    return running


async def _called(then: Callable[[], object]) -> None:
    then()


class OwnStore:
    """A :class:`StoreReach` in the gateway's own process."""

    def __init__(self, here: Deliveries) -> None:
        self._here = here

    def put_within(self, make: Make) -> bool:
        return put_within(make, self._here.open_transaction(), self._here.inbox.notify)

    async def put_all(self, make: Make) -> None:
        await self._here.inbox.put_all(make(self._here.store.now()))

    async def ask(self, question: Callable[[Store], Awaitable[T]]) -> T:
        return await question(self._here.store)
