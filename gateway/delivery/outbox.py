"""Sends the stored mails, texts and publications of handlers: at least once each, under a stable id.

They are committed together with the handler's "done", and leave after that.
"""

import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from gateway.delivery.accounts import Accounts
from gateway.delivery.current_event import current_event
from gateway.delivery.outgoing import part_of
from gateway.delivery.policy import LONGEST_BACKOFF, Policy
from gateway.delivery.poller import Poller
from gateway.delivery.retry_until_stored import retry_until_stored
from gateway.delivery.service import Deliveries
from gateway.spans import TRACE, spans
from gateway.store import OutboxStore, Outgoing, codec
from protocols.errors import AccountRefused, Away, LocalProtocolError, NotSent, NotYet, PermanentFailure
from protocols.unsent import about_unsent

logger = logging.getLogger(__name__)

Outlet = Callable[[str, Mapping[str, Any]], Awaitable[None]]
"""Sends one ``email.send``, ``sms.send`` or ``mqtt.send`` for the server of that name; raises if it cannot.

The event has an ``id``, the same each time it is tried."""


_NOT_TRACED: AbstractAsyncContextManager[None] = nullcontext()


class NoServer(NotSent):
    """This process has no server of that name. Another process with the same store may have one."""


ATTEMPT = "attempt"
"""The key under which an outlet finds the number of the attempt, from 1."""
LEAST_TRIED = 3600.0
"""Seconds that an item's pauses must add up to before it is given up for its age."""
MOST_TRIES = 64
"""Tries whose pauses are added up at most: more than ``LEAST_TRIED`` takes."""
ACCOUNT_PAUSE = 300.0
"""Seconds for which a lane rests when its account is refused; then one item is tried again. Trying more often could
keep an account locked that the server has locked for a while."""


class Outbox(Poller[Outgoing]):
    """``outlets`` are by protocol. An item without an outlet waits until the gateway starts with one.

    A lane may take as many places as it leaves free, so a lane that is alone takes half of them. The next lane then has
    room, however long the other side of this one is silent.
    """

    noun: ClassVar = "outgoing"
    size: ClassVar = 32

    def __init__(self, here: Deliveries, outlets: Mapping[str, Outlet]) -> None:
        super().__init__(here.store, here.outgoing)
        self.store: OutboxStore = here.store
        self.backoff = Policy(backoff=5.0)
        self.keep = here.keep
        self._here = here
        self._counters = here.counters
        self._outlets = outlets
        self._resting: dict[str, float] = {}
        """Lanes that rest because their other side asked for a pause: lane -> end of the pause, by the store's
        clock."""
        self._accounts = Accounts()
        self._awake = False
        self._watched: dict[str, Callable[[], bool]] = {}
        """Lanes whose account is refused, and what says whether somebody may have repaired it."""
        self._away: dict[str, Callable[[], bool]] = {}
        """Lanes whose other side cannot be reached from here, and what says whether it can again. What is due there is
        left to processes that may reach it."""

    async def due(self, now: float) -> list[Outgoing]:
        if not self._awake or self._repaired():  # after a start, accounts that were refused may work, too
            await self.store.wake_lanes()
            self._awake = True
        own = Counter(item.lane for item in self.running.values())
        full = {lane for lane, number in own.items() if number >= self.room}
        most = max((number for lane, number in own.items() if lane not in full), default=0)
        limit = (self.room - most + 1) // 2  # if they are all of one lane, they just fill it
        self._away = {lane: is_back for lane, is_back in self._away.items() if not is_back()}
        busy = full | self._at_rest() | self._here.absent
        return await self.store.take_outgoing(limit, now=now, busy=busy, late=self._away.keys())

    def _repaired(self) -> bool:
        repaired = [lane for lane, is_repaired in self._watched.items() if is_repaired()]
        for lane in repaired:
            del self._watched[lane]
        return bool(repaired)

    def _at_rest(self) -> set[str]:
        now = self.store.now()
        self._resting = {lane: until for lane, until in self._resting.items() if until > now}
        return set(self._resting)

    async def handle(self, item: Outgoing) -> None:
        current_event.set(item.message)
        began, failure = time.monotonic(), None
        try:
            await self._send(item)
        except Exception as error:  # anything that the other side, or its library, can cause
            failure = error
            verdict = await self._not_sent(item, error)
        else:
            await retry_until_stored(partial(self.store.finish_outgoing, item.id))
            self._counters.add(item.kind, "sent")
            self._left(item.lane)
            verdict = "sent"
        if self._here.observer is not None:
            self._here.observer.left(item, verdict, failure, began)

    async def _not_sent(self, item: Outgoing, error: Exception) -> str:
        """Bury the item if its message is refused or too old, hold it if the account is refused, or try it again.
        Return what becomes of it, in a few words."""
        if isinstance(error, NoServer):
            return await self._leave_to_another(item, error)
        if isinstance(error, NotYet):
            await self._later(item, error, self.store.now() + error.wait, counted=False)
            return f"waits {error.wait:.0f} s" if error.wait else "goes another way"
        if isinstance(error, Away):
            self._away[item.lane] = error.is_back
        if isinstance(error, PermanentFailure | LocalProtocolError):
            return await self._bury(item, error, str(error))
        if isinstance(error, AccountRefused) and self._accounts.refused(item.lane):
            return await self._hold(item, error)
        if self._is_over(item, error):
            keep = self.keep.of(item.kind)
            return await self._bury(item, error, f"given up after {keep:g} s (outgoing.keep): {error}")
        return await self._postpone(item, error)

    def _is_over(self, item: Outgoing, error: Exception) -> bool:
        """Whether the item is too old, by the clock and by its tries: a gateway that was off for a week, or whose clock
        jumped, has not tried it for a week. An error that may be the account's must occur twice in a row."""
        keep = self.keep.of(item.kind)
        tried = sum(map(self.backoff.wait, range(1, min(item.attempts, MOST_TRIES))))
        sure = not isinstance(error, AccountRefused) or item.error == str(error)
        return self.store.now() - item.since >= keep and tried >= min(keep, LEAST_TRIED) and sure

    async def _bury(self, item: Outgoing, error: Exception, said: str) -> str:
        left, refused = self._parts(item, error)
        self._tell_dead(left or item, said)
        answered, bury = isinstance(error, PermanentFailure), self.store.dead_letter_outgoing
        await retry_until_stored(partial(bury, item.id, error=said, left=left, refused=refused, answered=answered))
        if answered:
            self._left(item.lane)
        return "dead"

    async def _hold(self, item: Outgoing, error: AccountRefused) -> str:
        if error.repaired is not None:
            self._watched[item.lane] = error.repaired
        pause = max(ACCOUNT_PAUSE, min(error.retry_after or 0.0, LONGEST_BACKOFF))
        if self._accounts.tell(item.lane):
            said = "%s rests: nothing leaves by it until you repair this (one item tries again every %g s): %s"
            logger.warning(said, item.lane, pause, error)
        await self._later(item, error, self.store.now() + pause, rests=True)
        self._counters.add(item.kind, "refused")
        return "resting"

    async def _leave_to_another(self, item: Outgoing, error: NoServer) -> str:
        """Let the lane rest in this process only: a process that has the server goes on sending."""
        self._resting[item.lane] = self.store.now() + ACCOUNT_PAUSE
        if self._accounts.tell(item.lane):
            said = "%s: %s: it is kept for another gateway with this store that has it, or for this one's next start"
            logger.warning(said, item.id, error)
        await self._later(item, error, self.store.now())
        return "kept for another gateway"

    async def _later(
        self, item: Outgoing, error: Exception, due: float, *, rests: bool = False, counted: bool = True
    ) -> None:
        left, refused = self._parts(item, error)
        later = partial(self.store.retry_outgoing, item.id, due=due, error=str(error), rests=rests, counted=counted)
        await retry_until_stored(partial(later, left=left, refused=refused))

    def _left(self, lane: str) -> None:
        self._watched.pop(lane, None)
        self._away.pop(lane, None)
        if self._accounts.left(lane):
            logger.info("%s: its items leave again", lane)

    async def _postpone(self, item: Outgoing, error: Exception) -> str:
        wait = self._wait_after(error, item)
        level = logging.INFO if isinstance(error, AccountRefused) else logging.WARNING  # an account is warned of once
        logger.log(level, "%s not sent (attempt %d), next in %g s: %s", item.id, item.attempts, wait, error)
        await self._later(item, error, self.store.now() + wait)
        self._counters.add(item.kind, "retried")
        return f"next in {wait:g} s"

    async def _send(self, item: Outgoing) -> None:
        scope, events = codec.decode(item.content)
        if item.kind not in self._outlets:
            raise NoServer(f"nothing here sends {item.kind}")
        event = {**events[0], "id": item.id, ATTEMPT: item.attempts}
        async with _NOT_TRACED if spans.by is None else spans.by.leaves(item, event):
            event.pop(TRACE, None)
            await self._outlets[item.kind](scope["listener"], event)

    def _wait_after(self, error: Exception, item: Outgoing) -> float:
        """Seconds until the next try. A pause that the other side asks for applies to the whole lane."""
        if isinstance(error, NotSent) and error.retry_after is not None:
            wait = min(max(error.retry_after, self.backoff.wait(1)), LONGEST_BACKOFF)
            self._resting[item.lane] = self.store.now() + wait
            return wait
        return self.backoff.wait(item.attempts)

    def _parts(self, item: Outgoing, error: Exception) -> tuple[Outgoing | None, Outgoing | None]:
        """The part of the item that is still to be sent, and the part that is refused permanently. Both are None if the
        error concerns the whole item. The refused part is logged."""
        left, refused = (error.left, error.refused) if isinstance(error, NotSent) else (None, None)
        if left is None and isinstance(error, NotSent) and not item.recipient:
            left = {}  # an item of 0.1.0 has no recipient: this adds it
        rest = None if left is None else part_of(item, left)
        if refused is None:
            return rest, None
        dead = replace(part_of(item, refused.left or {}), error=str(refused))
        self._tell_dead(dead, dead.error)
        return rest, dead

    def _tell_dead(self, item: Outgoing, said: str) -> None:
        with about_unsent(item.recipient):
            logger.error("%s: %s to %s not sent, now dead: %s", item.id, item.kind, item.recipient, said)
        self._counters.add(item.kind, "dead")
