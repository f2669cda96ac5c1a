"""Sends what handlers wanted sent, after it was committed with their "done": at least once, under a stable id."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from gateway.delivery import bell
from gateway.delivery.insist import insist
from gateway.delivery.policy import LONGEST_BACKOFF, Policy
from gateway.store import codec
from gateway.store.engine import Outgoing, Store, StoreUnavailable
from protocols.errors import PermanentFailure
from protocols.tasks import Tasks

logger = logging.getLogger(__name__)

PARALLEL = 16
LOOK_AGAIN = 1.0

Outlet = Callable[[str, Mapping[str, Any]], Awaitable[None]]
"""Sends one ``email.send``, ``sms.send`` or ``mqtt.send`` for the server of that name; raises where it could not.

The event has an ``id``, the same each time it is tried."""


class Outbox:
    """``outlets``: by protocol. What has none waits for a start that has one."""

    def __init__(self, store: Store, outlets: Mapping[str, Outlet]) -> None:
        self._store = store
        self._outlets = outlets
        self._tasks = Tasks("outbox")
        self._sending: set[str] = set()
        self.backoff = Policy(backoff=5.0)
        self._more = bell.outgoing.listen()

    def active(self) -> dict[str, int]:
        return {"outgoing": len(self._sending)} if self._sending else {}

    def start(self) -> None:
        self._tasks.spawn(self._run(), name="send")

    async def stop(self) -> None:
        """What has not left is sent after the next start."""
        bell.outgoing.forget(self._more)
        await self._tasks.cancel()

    async def _run(self) -> None:
        while True:
            self._more.clear()
            taken: list[Outgoing] = []
            with contextlib.suppress(StoreUnavailable):  # the worker says so
                taken = await self._store.take_outgoing(PARALLEL, now=time.time())
            self._sending = {item.id for item in taken}
            await asyncio.gather(*(self._send(item) for item in taken))
            if not taken:
                await self._rest()

    async def _rest(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_AGAIN):
                await self._more.wait()

    async def _send(self, item: Outgoing) -> None:
        try:
            await self._deliver(item)
        except Exception as error:  # whatever the other side, or its library, came up with
            wait = self._wait(error, item.attempts)
            logger.warning("%s not sent (attempt %d), next in %g s: %s", item.id, item.attempts, wait, error)
            await insist(partial(self._store.postpone, item.id, due=time.time() + wait, error=str(error)))
        else:
            await insist(partial(self._store.sent, item.id))

    def _wait(self, error: Exception, attempt: int) -> float:
        """What is refused for good is kept too, and rarely tried: somebody may repair a login or a number's rights."""
        return LONGEST_BACKOFF if isinstance(error, PermanentFailure) else self.backoff.wait(attempt)

    async def _deliver(self, item: Outgoing) -> None:
        scope, events = codec.decode(item.content)
        if item.kind not in self._outlets:
            raise LookupError(f"nothing here sends {item.kind}")
        await self._outlets[item.kind](scope["listener"], {**events[0], "id": item.id})
