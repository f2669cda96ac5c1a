"""The worker and the outbox over one store, as the daemon starts and stops them."""

import asyncio
from collections.abc import Mapping
from typing import Any

from gateway.delivery.outbox import Outbox, Outlet
from gateway.delivery.service import Deliveries
from gateway.delivery.worker import Worker
from gateway.store import StoreUnavailable
from protocols.asgi import Application

PROBE = 1.0
"""Seconds that a commit may take before the store counts as unavailable: supervisors wait no longer."""


class Dispatcher:
    """Delivers what a gateway's store holds: received messages to ``app``, and what handlers send to its outlets."""

    def __init__(self, deliveries: Deliveries, app: Application, state: dict[str, Any]) -> None:
        self.deliveries = deliveries
        self._app = app
        self._state = state
        self._parts: list[tuple[Worker, Outbox]] = []
        self._uses = False

    async def open(self) -> str:
        """Open the store, before anything can arrive. What was found there, in a line. Raises StoreUnavailable."""
        self._uses = True
        found = await self.deliveries.use.begin()
        self.deliveries.store.listen(self.deliveries.inbox.waiting.hear, self.deliveries.outgoing.hear)
        return found

    def start(self, outlets: Mapping[str, Outlet]) -> None:
        """Begin to deliver what is stored, once the application has started."""
        worker, outbox = Worker(self.deliveries, self._app, self._state), Outbox(self.deliveries, outlets)
        self._parts.append((worker, outbox))
        worker.start()
        outbox.start()

    def active(self) -> dict[str, int]:
        late = self.deliveries.attempts.active()
        return {
            noun: number
            for worker, outbox in self._parts
            for noun, number in (worker.active() | outbox.active() | late).items()
        }

    def retire(self) -> None:
        """Take nothing more from the store, because a successor does. Before :meth:`stop`."""
        for worker, outbox in self._parts:
            worker.retire()
            outbox.retire()

    def resume(self) -> None:
        """Take from the store again, because the successor has not come up."""
        for worker, outbox in self._parts:
            worker.resume()
            outbox.resume()

    async def stop(self, grace: float) -> None:
        """Let attempts that run finish, and keep the rest. Call it after the servers have stopped."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + grace
        for worker, outbox in self._parts:
            await worker.stop(max(0.0, ends - loop.time()))
            await outbox.stop(max(0.0, ends - loop.time()))
        await self.deliveries.attempts.stop(max(0.0, ends - loop.time()))
        await self.deliveries.owed.cancel()

    async def close(self) -> str:
        """What is kept for the next start, in a few words."""
        if not self._uses:
            return ""
        self._uses = False
        try:
            counts = await self.deliveries.store.counts()
        except StoreUnavailable as error:
            return f"the number of kept messages is not known, because the store is unavailable: {error}"
        finally:
            await self.deliveries.use.end()
        kept = counts.waiting + counts.running + counts.outgoing
        return f"{kept} kept for retry" if kept else ""

    async def release_namespaces(self) -> None:
        """Leave the servers' own state to the successor, which has a store of its own."""
        if not self.deliveries.use.is_shared:
            await self.deliveries.store.release_namespaces()

    async def trouble(self) -> str:
        """Why nothing can be stored now, or nothing."""
        try:
            async with asyncio.timeout(PROBE):
                await self.deliveries.store.probe()
        except StoreUnavailable as error:
            return str(error)
        except TimeoutError:
            return f"no commit within {PROBE:g} s"
        return ""

    async def summary(self) -> str:
        """``3 waiting, 1 dead``, for the banner."""
        try:
            counts = await self.deliveries.store.counts()
        except StoreUnavailable as error:  # since it was opened
            return f"unavailable: {error}"
        waiting = counts.waiting + counts.running
        unsent = f", {counts.outgoing} to send" if counts.outgoing else ""
        return f"{waiting} waiting, {counts.dead + counts.dead_outgoing} dead{unsent}"
