"""The store, its worker and its outbox, as the daemon starts and stops them."""

import asyncio
from collections.abc import Mapping
from typing import Any

from gateway.delivery.keep import Keep
from gateway.delivery.outbox import Outbox, Outlet
from gateway.delivery.retry_until_stored import owed
from gateway.delivery.underway import register
from gateway.delivery.worker import Worker
from gateway.store import set_store
from gateway.store.engine import Store, StoreUnavailable
from protocols.asgi import Application

PROBE = 1.0
"""Seconds that a commit may take before the store counts as unavailable: supervisors wait no longer."""


class Deliveries:
    """One for a daemon of which some route has a policy."""

    def __init__(self, store: Store, app: Application, state: dict[str, Any], keep: Keep) -> None:
        self._store = store
        self._keep = keep
        self._app = app
        self._state = state
        self._parts: list[tuple[Worker, Outbox]] = []

    async def open(self) -> str:
        """Open the store, before anything can arrive. What was found there, in a line. Raises StoreUnavailable."""
        found = await self._store.open()
        set_store(self._store)
        return found

    def start(self, outlets: Mapping[str, Outlet]) -> None:
        """Begin to deliver what is stored, once the application has started."""
        worker, outbox = Worker(self._store, self._app, self._state), Outbox(self._store, outlets, self._keep)
        self._parts.append((worker, outbox))
        worker.start()
        outbox.start()

    def active(self) -> dict[str, int]:
        return {
            noun: number
            for worker, outbox in self._parts
            for noun, number in (worker.active() | outbox.active() | register.active()).items()
        }

    async def stop(self, grace: float) -> None:
        """After the servers: let what runs finish, and keep the rest."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + grace
        for worker, outbox in self._parts:
            await worker.stop(max(0.0, ends - loop.time()))
            await outbox.stop(max(0.0, ends - loop.time()))
        await register.stop(max(0.0, ends - loop.time()))
        await owed.cancel()

    async def close(self) -> str:
        """What is kept for the next start, in a few words."""
        try:
            counts = await self._store.counts()
        except StoreUnavailable as error:
            return f"the number of kept messages is not known, because the store is unavailable: {error}"
        finally:
            await self._store.close()
        kept = counts.waiting + counts.running + counts.outgoing
        return f"{kept} kept for retry" if kept else ""

    async def trouble(self) -> str:
        """Why nothing can be stored now, or nothing."""
        try:
            async with asyncio.timeout(PROBE):
                await self._store.probe()
        except StoreUnavailable as error:
            return str(error)
        except TimeoutError:
            return f"no commit within {PROBE:g} s"
        return ""

    async def summary(self) -> str:
        """``3 waiting, 1 dead``, for the start page."""
        try:
            counts = await self._store.counts()
        except StoreUnavailable as error:  # since it was opened
            return f"unavailable: {error}"
        waiting = counts.waiting + counts.running
        unsent = f", {counts.outgoing} to send" if counts.outgoing else ""
        return f"{waiting} waiting, {counts.dead + counts.dead_outgoing} dead{unsent}"
