"""Runs messages from the store through the application, in parallel across keys."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, NamedTuple, Protocol

from gateway.delivery.atomic_part import AtomicPart
from gateway.delivery.attempt import Attempt, Outcome
from gateway.delivery.current_event import current_event
from gateway.delivery.current_route import current_route
from gateway.delivery.cut_off import CutOff
from gateway.delivery.delivery_context import DeliveryContext, current_delivery
from gateway.delivery.disposition import disposition_of
from gateway.delivery.inbox import NO_PLACES
from gateway.delivery.kind import DeliveryKind, delivery_kind
from gateway.delivery.outgoing import outgoing_of
from gateway.delivery.policy import Policy
from gateway.delivery.poller import Poller
from gateway.delivery.reports import report
from gateway.delivery.retry_until_stored import retry_until_stored
from gateway.delivery.service import Deliveries
from gateway.delivery.transactions import End
from gateway.delivery.under_policy import under_policy
from gateway.spans import Told, spans
from gateway.store import (
    InboxStore,
    LeaseLost,
    Mark,
    Message,
    Outgoing,
    StoreUnavailable,
    TransactionStore,
    UpkeepStore,
    codec,
)
from gateway.store.interfaces import NoteStore
from protocols.asgi import Application
from protocols.queue import Queue

logger = logging.getLogger(__name__)

HOUSEKEEPING = 10.0
"""Seconds between two times of giving back what dead processes had, and forgetting what is long over. Some 20 ms of the
store's time, where it holds as many stories as it keeps."""
TRIAL = 1.0
"""Seconds in which nothing is begun beside a message that a dead process had, unless it ends before."""


class _End(NamedTuple):
    """What becomes of a message after an attempt."""

    word: str
    """One of :data:`~gateway.delivery.delivery_counters.ENDS`."""
    said: str
    """The same for people, in a few words."""


def _untold(verdict: str, error: BaseException | None) -> None:
    """Nobody traces the attempt."""


_LEFT = _End("retried", "left to another process")
_DONE, _REJECTED, _DEAD = (_End(word, word) for word in ("done", "rejected", "dead"))
_NOT_TRACED: AbstractContextManager[Told] = nullcontext(_untold)


class WorkerStore(InboxStore, NoteStore, UpkeepStore, Protocol):
    """What the worker needs of the store."""


class Worker(Poller[Message]):
    """Takes what is due, and gives it to the application of the route that took it.

    A message that was stored before the routes changed goes through ``app``, and is settled by the policy of the route
    that takes it now.
    """

    noun: ClassVar = "stored messages"
    size: ClassVar = 64

    def __init__(self, here: Deliveries, app: Application, state: dict[str, Any]) -> None:
        super().__init__(here.store, here.inbox.waiting)
        self._here = here
        self.store: WorkerStore = here.store
        self._inbox = here.inbox
        self._ends = here.ends
        self._outgoing = here.outgoing
        self._routes = here.routes
        self._app = app
        self._state = state
        self._handled: Queue[Message] = Queue(self.size)
        """Messages whose handlers are done, for the next commit."""
        self._finishing: set[str] = set()
        """The ids of all messages whose handlers are done, and of which the store does not know yet."""
        self._trial_ends = 0.0
        """When the trial of what a dead process had ends (monotonic)."""
        self._most = {
            route: kept.policy.concurrency
            for route, kept in here.routes.routes.items()
            if kept.policy.concurrency is not None
        }
        """How many messages of a route run at once, by scope type and label."""
        self._reserved = 0
        """Places for messages that are begun as they are stored."""
        self._has_left_some = True
        """Whether there may be messages in the store that are due, for which there was no room."""
        self._context = copy_context()

    def start(self) -> None:
        super().start()
        self._context = copy_context()
        self._inbox.start()
        self._inbox.places = self
        self._tasks.spawn(self._keep_house(), name="housekeeping")
        self._tasks.spawn(self._finish_all(), name="finish")

    def retire(self) -> None:
        if self._inbox.places is self:
            self._inbox.places = NO_PLACES
        super().retire()

    def resume(self) -> None:
        self._inbox.places = self
        super().resume()

    @property
    def room(self) -> int:
        return super().room - self._reserved

    def reserve(self, messages: Sequence[Message]) -> int:
        """Reserve places, but none while there may be older messages in the store: those go first. Messages of a route
        that runs a limited number at once are taken from the store, where they are counted."""
        goes_later = self._has_left_some or self.is_notified or self._trial() > 0
        if goes_later or (self._most and any((each.type, each.route) in self._most for each in messages)):
            return 0
        reserved = min(len(messages), self.room)
        self._reserved += reserved
        return reserved

    def fill(self, reserved: int, begun: Sequence[Message]) -> None:
        self._reserved -= reserved
        for message in () if self.is_over else begun:  # what is not begun is left to the next start
            self._context.run(self.begin, message)
        if len(begun) < reserved and (self.is_stopping or self._has_left_some):  # they wait for these places
            self.look()

    async def due(self, now: float) -> list[Message]:
        room = 0 if self._trial() > 0 else self.room
        self._has_left_some = True
        if room == 0:
            return []
        busy = {message.key for message in self.running.values()}
        left = self._left()
        full = [route for route, number in left.items() if number <= 0]
        room = min([room, *(number for number in left.values() if number > 0)])  # they may all be of one route
        taken = await self.store.take(room, now=now, busy=busy, full=full)
        self._has_left_some = len(taken) == room or bool(full)
        if any(message.alone for message in taken):
            self._trial_ends = time.monotonic() + TRIAL
        return taken

    def _left(self) -> dict[tuple[str, str], int]:
        """How many more messages may run of each route that runs a limited number at once."""
        if not self._most:
            return {}
        running = Counter((message.type, message.route) for message in self.running.values())
        return {route: most - running[route] for route, most in self._most.items()}

    def _trial(self) -> float:
        """Seconds for which nothing is begun beside a message that a dead process had. If that message kills this
        process too, it alone loses an attempt."""
        on_trial = any(message.alone for message in self.running.values())
        return max(0.0, self._trial_ends - time.monotonic()) if on_trial else 0.0

    async def next_due(self) -> float | None:
        if (trial := self._trial()) > 0:
            return self.store.now() + trial
        if any(left <= 0 for left in self._left().values()):  # what is due may be theirs: an end tells of room
            return None
        return await self.store.next_due()

    async def handle(self, message: Message) -> None:
        current_event.set(message.id)
        try:
            scope, events = codec.decode(message.content)
        except ValueError as error:
            await self._bury(message, f"it cannot be read: {error}")
            return
        if (kind := delivery_kind(message.type)) is None:
            await self._bury(message, f"no scope type {message.type!r} is installed here; install it, and retry this")
            return
        try:
            await self._deliver(kind, message, scope, events)
        except Exception as error:  # of the scope type, which may be another distribution's
            await self._bury(message, Outcome(None, [], [], error).failure)

    async def _deliver(self, kind: DeliveryKind, message: Message, scope: Any, events: list[Any]) -> None:
        app, context, began = self._app, DeliveryContext(message.attempts), time.monotonic()
        route = self._routes.find(scope, message.route)
        if route is None or route.policy.atomic:
            context.part = self._part(kind, message, scope)
        if route is not None:
            current_route.set(message.route)
            context.policy = route.policy
            app = under_policy(route.app, route.policy, message.attempts, context.part)
        else:
            scope = kind.unrouted(scope)
        extensions = {**scope["extensions"], "delivery": self._delivery(message)}
        scope = {**scope, "state": self._state.copy(), "extensions": extensions}
        current_delivery.set(context)
        with _NOT_TRACED if spans.by is None else spans.by.stored(message, scope, events) as tell:
            make, attempt, part = partial(kind.attempt, app, scope, events), None, context.part
            try:
                if part is None:
                    attempt = make()
                    outcome = await attempt.outcome()
                else:
                    outcome = await part.outcome(make)
            except asyncio.CancelledError as error:
                outcome = self._cancelled(error, attempt if part is None else part.attempt)
            seconds = time.monotonic() - began
            end = await self._settle(kind, message, scope, outcome, context)
            self._ends.of(message.type, current_route.get()).add(end.word, seconds)
            tell(end.said, outcome.error)
        for call in outcome.after if end is not _LEFT else ():
            await call()
        if self._here.observer is not None:
            self._here.observer.delivered(message, scope, events, end.said, outcome.error, began)

    async def broken(self, message: Message, error: BaseException) -> None:
        """The attempt has failed. It was in the middle, so that its outcome is made here."""
        scope, events = codec.decode(message.content)
        kind, context = delivery_kind(message.type), DeliveryContext(message.attempts)
        if (route := self._routes.find(scope, message.route)) is not None:
            context.policy = route.policy
        if kind is not None:
            scope = {**scope, "extensions": {**scope["extensions"], "delivery": self._delivery(message)}}
            outcome = kind.attempt(self._app, scope, events).failing(error)
            end = await self._settle(kind, message, scope, outcome, context)
            self._ends.of(message.type, message.route).add(end.word, 0.0)

    @staticmethod
    def _delivery(message: Message) -> dict[str, Any]:
        return {"id": message.id, "attempt": message.attempts, "first_received": message.received}

    def _cancelled(self, error: asyncio.CancelledError, attempt: Attempt | None) -> Outcome:
        """Return the outcome of an attempt that has cancelled the task it runs in. Raises ``error`` if it was cancelled
        from here."""
        task = asyncio.current_task()
        if self.is_over or task is None or attempt is None:
            raise error
        while task.uncancel():
            pass
        return attempt.failing(error)

    async def _settle(
        self, kind: DeliveryKind, message: Message, scope: Any, outcome: Outcome, context: DeliveryContext
    ) -> _End:
        if isinstance(outcome.error, LeaseLost):
            logger.warning("%s: not handled here, another process has it", message.subject)
            return _LEFT
        if not context.is_committed:
            for note in outcome.notes:  # first: once the message is gone, they are all there is
                await retry_until_stored(partial(self.store.note, note.key, note.value, ttl=note.ttl))
        if context.policy is None and (outcome.error is not None or outcome.rejected):
            await self._end(message, outcome.failure if outcome.error else "no route takes it any more")
            return _DEAD
        policy = context.policy or Policy()
        disposition = disposition_of(policy, outcome, message.attempts)
        if isinstance(outcome.error, CutOff):  # it was taken once more, to no attempt
            message = replace(message, attempts=message.attempts - 1)
        if disposition.state != "done":
            report(scope, outcome, policy, disposition, message.attempts, stored=True)
        match disposition.state:
            case "done":
                await self._finish(kind, message, scope, outcome, context)
                return _REJECTED if outcome.rejected else _DONE
            case "again":
                due = self.store.now() + disposition.wait
                await retry_until_stored(
                    partial(self.store.retry, message.id, due=due, error=outcome.failure, counted=outcome.counted)
                )
                return _End("retried", f"next in {disposition.wait:g} s")
            case _:  # its sender was told that it was taken, so a refused message is kept for the operator
                await self._keep_dead(message, outcome.failure)
                return _DEAD

    def _part(self, kind: DeliveryKind, message: Message, scope: Any) -> AtomicPart:
        """Return its part in a transaction, which begins where the handler does."""

        def end(outcome: Outcome) -> End:
            outgoing = self._sent(kind, message, scope, outcome)

            def say(store: TransactionStore, mark: Mark) -> None:
                for note in outcome.notes:
                    store.note(note.key, note.value, note.ttl)
                store.finish(mark, outgoing)

            return say

        return AtomicPart(self._here.use.transactions, lambda store: store.begin(message), end)

    def _sent(self, kind: DeliveryKind, message: Message, scope: Any, outcome: Outcome) -> list[Outgoing]:
        """Make the items for what its handler sends."""
        sent = [*outcome.outgoing, *(kind.addressed(reply, scope) for reply in outcome.replies)]
        return outgoing_of(message.id, scope, sent, self.store.now())

    async def _finish(
        self, kind: DeliveryKind, message: Message, scope: Any, outcome: Outcome, context: DeliveryContext
    ) -> None:
        if outcome.rejected:
            logger.warning("%s: rejected by its handler, after it had been acknowledged", message.subject)
        if context.is_committed:
            self._outgoing.notify()
            return
        outgoing = self._sent(kind, message, scope, outcome)
        if not outgoing and not outcome.after:
            self._finishing.add(message.id)
            self._handled.put(message)
            return
        await retry_until_stored(partial(self.store.finish, message.id, outgoing=outgoing))
        if outgoing:
            self._outgoing.notify()

    async def _finish_all(self) -> None:
        """Tell the store of handled messages: those that end during a commit go together into the next."""
        while handled := await self._handled.take():
            await retry_until_stored(partial(self.store.finish_all, [message.id for message in handled]))
            for message in handled:
                self._finishing.discard(message.id)
                del self.running[message.id]
            if self._has_left_some or self.is_stopping or any(message.is_ordered for message in handled):
                self.look()

    def ended(self, item: Message) -> None:
        """Free the place of a message that has ended. One that is handled keeps its place, and its key, until the store
        knows."""
        if item.id not in self._finishing:
            super().ended(item)

    async def _bury(self, message: Message, error: str) -> None:
        """End a message that no handler gets."""
        await self._end(message, error)
        self._ends.of(message.type, message.route).add("dead", 0.0)

    async def _end(self, message: Message, error: str) -> None:
        logger.error("%s: now among the dead letters: %s", message.subject, error.rpartition("\n")[2])
        await self._keep_dead(message, error)

    async def _keep_dead(self, message: Message, error: str) -> None:
        await retry_until_stored(partial(self.store.dead_letter, message, error=error))

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(HOUSEKEEPING)
            try:
                if recovered := await self.store.recover():
                    logger.warning("taken over from a process that died: %d", recovered)
                    self._notifier.notify()
                await self.store.purge(now=self.store.now())
            except StoreUnavailable as error:
                logger.error("the store cannot be tidied up: %s", error)
