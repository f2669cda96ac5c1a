"""Sends what handlers wanted sent, after it was committed with their "done": at least once, under a stable id."""

import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, ClassVar

from gateway.delivery import bell
from gateway.delivery.crew import Crew
from gateway.delivery.event import current_event
from gateway.delivery.insist import insist
from gateway.delivery.policy import LONGEST_BACKOFF, Policy
from gateway.store import codec
from gateway.store.engine import Outgoing, Store
from protocols.errors import NotSent, PermanentFailure

logger = logging.getLogger(__name__)

Outlet = Callable[[str, Mapping[str, Any]], Awaitable[None]]
"""Sends one ``email.send``, ``sms.send`` or ``mqtt.send`` for the server of that name; raises where it could not.

The event has an ``id``, the same each time it is tried."""


class Outbox(Crew[Outgoing]):
    """``outlets``: by protocol. What has none waits for a start that has one.

    A lane may have as many places as it leaves free: half of them where it is alone, so that there is room for the next
    one, however long this one's other side is silent.
    """

    noun: ClassVar = "outgoing"
    size: ClassVar = 32

    def __init__(self, store: Store, outlets: Mapping[str, Outlet]) -> None:
        super().__init__(store, bell.outgoing)
        self.backoff = Policy(backoff=5.0)
        self._outlets = outlets
        self._resting: dict[str, float] = {}
        """Lanes whose other side wants nothing more for now, until when (monotonic)."""

    async def due(self, now: float) -> list[Outgoing]:
        own = Counter(item.lane for item in self.running.values())
        full = {lane for lane, number in own.items() if number >= self.room}
        most = max((number for lane, number in own.items() if lane not in full), default=0)
        limit = (self.room - most + 1) // 2  # were they all of one lane, it is just full then
        return await self.store.take_outgoing(limit, now=now, busy=full | self._at_rest())

    def _at_rest(self) -> set[str]:
        now = time.monotonic()
        self._resting = {lane: until for lane, until in self._resting.items() if until > now}
        return set(self._resting)

    async def handle(self, item: Outgoing) -> None:
        current_event.set(item.message)
        try:
            await self._send(item)
        except Exception as error:  # whatever the other side, or its library, came up with
            await self._stays(item, error)
        else:
            await insist(partial(self.store.sent, item.id))

    async def _stays(self, item: Outgoing, error: Exception) -> None:
        wait = self._wait_after(error, item)
        logger.warning("%s not sent (attempt %d), next in %g s: %s", item.id, item.attempts, wait, error)
        due, left = time.time() + wait, _left(item, error)
        await insist(partial(self.store.postpone, item.id, due=due, error=str(error), content=left))

    async def _send(self, item: Outgoing) -> None:
        scope, events = codec.decode(item.content)
        if item.kind not in self._outlets:
            raise LookupError(f"nothing here sends {item.kind}")
        await self._outlets[item.kind](scope["listener"], {**events[0], "id": item.id})

    def _wait_after(self, error: Exception, item: Outgoing) -> float:
        """What is refused for good is kept too, and rarely tried: somebody may repair a login or a number's rights.
        Where the other side says when, that holds for all that goes to it."""
        if isinstance(error, PermanentFailure):
            return LONGEST_BACKOFF
        if isinstance(error, NotSent) and error.retry_after is not None:
            wait = min(max(error.retry_after, self.backoff.wait(1)), LONGEST_BACKOFF)
            self._resting[item.lane] = time.monotonic() + wait
            return wait
        return self.backoff.wait(item.attempts)


def _left(item: Outgoing, error: Exception) -> bytes | None:
    """What is still to be sent of it, where a part of it has left."""
    if not isinstance(error, NotSent) or error.left is None:
        return None
    scope, events = codec.decode(item.content)
    return codec.encode(scope, [{**events[0], **error.left}])
