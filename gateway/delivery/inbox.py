"""The durable inbox: messages are stored here, and begun in the same commit while the worker has room for them."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Protocol

from gateway.delivery.notifier import Notifier
from gateway.store import Claim, ClaimState, InboxStore, Message


class Places(Protocol):
    """The places of a worker, for messages that are begun as they are stored."""

    def reserve(self, messages: Sequence[Message]) -> int:
        """Keep places free for as many of ``messages`` as there is room for, until :meth:`fill`."""

    def fill(self, reserved: int, begun: Sequence[Message]) -> None:
        """Run ``begun``, at most as many as were ``reserved``; the rest of the places is free again."""


class _NoPlaces:
    """All messages wait, because no worker takes them here."""

    def reserve(self, messages: Sequence[Message]) -> int:
        return 0

    def fill(self, reserved: int, begun: Sequence[Message]) -> None:
        pass


NO_PLACES: Places = _NoPlaces()


class Inbox:
    """Stores messages for the worker of this process, or of another one that has the store."""

    def __init__(self, store: InboxStore) -> None:
        self._store = store
        self.waiting = Notifier()
        """Notifies when there is a message in the store that waits for the worker."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self.places = NO_PLACES
        """The places of this process's worker, while it takes messages."""

    def notify(self) -> None:
        """Tell the worker, from any thread, that there is a message in the store that waits for it."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the next start runs it
                self._loop.call_soon_threadsafe(self.waiting.notify)

    def start(self) -> None:
        """The worker runs on this loop."""
        self._loop = asyncio.get_running_loop()

    async def put_all(self, messages: Sequence[Message]) -> None:
        """Store ``messages``; they are durable when this returns. Raises StoreUnavailable."""
        places, begun = self.places, list[Message]()
        room = places.reserve(messages)
        try:
            begun = await self._store.put_all(messages, begin=room, now=self._store.now())
        finally:
            places.fill(room, begun)
        if len(begun) < len(messages):
            self.waiting.notify()

    async def put_once(self, message: Message, *, key: str, ttl: float, failed_as: str) -> Claim:
        """Store ``message``, unless it is the repetition of another; see :meth:`InboxStore.put_once`."""
        places, begun = self.places, None
        room = places.reserve([message])
        try:
            claim, begun = await self._store.put_once(
                message, key=key, now=self._store.now(), ttl=ttl, failed_as=failed_as, begin=room > 0
            )
        finally:
            places.fill(room, [] if begun is None else [begun])
        if begun is None and claim.state is ClaimState.OURS:
            self.waiting.notify()
        return claim
