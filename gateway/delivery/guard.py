"""Stands before the application of a route that has a policy, and keeps it."""

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from functools import partial
from typing import Any

from gateway.delivery.attempt import Outcome
from gateway.delivery.current_event import current_event, event_id
from gateway.delivery.delivery_context import CutOff, current_delivery
from gateway.delivery.disposition import Disposition, disposition_of, in_words
from gateway.delivery.kind import DeliveryKind, delivery_kind
from gateway.delivery.limit import Limit
from gateway.delivery.outgoing import outgoing_of
from gateway.delivery.policy import Policy
from gateway.delivery.retry_until_stored import retry_until_stored
from gateway.delivery.running_attempts import Answer, RunningAttempt
from gateway.delivery.service import deliveries
from gateway.store import Claim, ClaimState, Message, Outgoing, StoreUnavailable, codec
from protocols.asgi import Application, Receive, Send, describe
from protocols.errors import LocalProtocolError

logger = logging.getLogger(__name__)

FIRST_LOOK, LAST_LOOK = 0.1, 1.0
"""Seconds between two looks at a claim that another process is at: at first, and in the end."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message whose sender waits, and what the store knows of it."""

    kind: DeliveryKind
    scope: Any
    events: list[Any]
    claim: Claim


class Guard:
    """An ASGI application: ``app`` under ``policy``. ``label`` is the route's, for the store and the operator."""

    def __init__(self, app: Application, policy: Policy, label: str) -> None:
        self.app = app
        self.policy = policy
        self.label = label
        self.target_name = label.rpartition("-> ")[2]
        for name in ("consumer_class", "routable"):  # it is still known for what it is
            if hasattr(app, name):
                setattr(self, name, getattr(app, name))

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        kind = delivery_kind(scope["type"])
        if kind is None:  # a lifespan
            await self.app(scope, receive, send)
        elif (context := current_delivery.get()) is not None:
            context.policy = self.policy
            self._check(context.attempt)
            if self.policy.timeout is None:  # nothing else ends an attempt for which nobody waits
                await self.app(scope, receive, send)
                return
            limit = Limit(lambda error: warn_late(scope, error, self.policy, context.attempt))
            await limit.run(self.app, self.policy.timeout, scope, receive, send)
        elif (live := kind.live(self.app, self.label, self.policy)) is not None:
            await live(scope, receive, send)
        else:
            await self._answer(kind, scope, await kind.read(receive), send)

    def _check(self, attempt: int) -> None:
        """Attempts are counted before they begin, so that a message that kills the process is counted out too."""
        if self.policy.attempts is not None and attempt > self.policy.attempts:
            raise CutOff(self.policy.attempts)

    async def _answer(self, kind: DeliveryKind, scope: Any, events: list[Any], send: Send) -> None:
        """A message whose sender waits for the verdict."""
        try:
            answer = await self._delivered(kind, scope, events)
        except StoreUnavailable as error:
            logger.error("%s: deferred, the store is unavailable: %s", describe(scope), error)
            answer = [kind.defer()]
        except asyncio.CancelledError:
            with contextlib.suppress(Exception):  # so that its server knows that this is accounted for
                await send(kind.defer())
            raise
        for event in answer:
            await send(event)

    async def _delivered(self, kind: DeliveryKind, scope: Any, events: list[Any]) -> Answer:
        """The events that answer the sender, once that is durable. Raises StoreUnavailable."""
        own, identity = event_id(scope), kind.identity(scope, events)
        key = identity.key or f"{scope['type']}:{own}"
        here, look = deliveries.get(), FIRST_LOOK
        while True:
            if running := here.attempts.get(key):
                logger.info("%s: delivered again while it is handled", describe(scope))
                return await running.answer()
            claim = await here.store.claim(
                key, id=own, now=here.store.now(), ttl=identity.window, failed_as=identity.failed_as
            )
            current_event.set(claim.id)
            if claim.state is ClaimState.OURS and self.policy.inbox:
                return await self._stored(kind, scope, events, claim)
            if claim.state is ClaimState.OURS:
                return await here.attempts.begin(
                    claim.key, partial(self._begun, Arrival(kind, scope, events, claim))
                ).answer()
            if claim.state is ClaimState.DONE:
                logger.info("%s: delivered again, answered as the first time", describe(scope))
                return await self._repeated(kind, scope, events, claim)
            await asyncio.sleep(look)  # another process is at it
            look = min(2 * look, LAST_LOOK)

    async def _stored(self, kind: DeliveryKind, scope: Any, events: list[Any], claim: Claim) -> Answer:
        here = deliveries.get()
        try:
            await here.store.put(self._message(kind, scope, events, claim), claim=claim.key)
        except BaseException as error:
            self._give_back(claim, error, counted=False)
            raise
        here.stored.notify()
        return [kind.accept()]

    async def _begun(self, arrival: Arrival, running: RunningAttempt) -> Answer:
        try:
            return await self._attempted(arrival, running)
        except Exception as error:
            self._give_back(arrival.claim, error, counted=True)
            raise

    def _give_back(self, claim: Claim, error: BaseException, *, counted: bool) -> None:
        """Else nobody could have it while this process lives."""
        here = deliveries.get()
        release = partial(here.store.release, claim.key, error=type(error).__name__, counted=counted)
        here.owed.spawn(retry_until_stored(release), name=f"release {claim.id}")

    async def _repeated(self, kind: DeliveryKind, scope: Any, events: list[Any], claim: Claim) -> Answer:
        """The answer of the first time. An older version may have kept one that cannot be given: a dead letter."""
        taken: Answer = [kind.accept()]
        try:
            return list(kind.checked_again(codec.decode(claim.result)[1])) if claim.result else taken
        except LocalProtocolError as error:
            logger.error(
                "%s: now among the dead letters, its handler's answer is not valid: %s", describe(scope), error
            )
            message = self._message(kind, scope, events, claim)
            await deliveries.get().store.dead_letter(
                message, error=f"its handler's answer is not valid: {error}", claim=claim.key
            )
            return taken

    async def _attempted(self, arrival: Arrival, running: RunningAttempt) -> Answer:
        scope, claim = arrival.scope, arrival.claim
        extension = {"id": claim.id, "attempt": claim.attempts, "first_received": claim.received}
        told = {**scope, "extensions": {**scope["extensions"], "delivery": extension}}

        def late(error: TimeoutError) -> Answer:
            warn_late(scope, error, self.policy, claim.attempts)
            return [arrival.kind.defer()]

        running.told_late = late
        outcome = await self._outcome(arrival, told, running.limit)
        disposition = disposition_of(self.policy, outcome, claim.attempts)
        if disposition.state != "done":
            report(scope, outcome, self.policy, disposition, claim.attempts, stored=False)
        elif running.limit.expired is not None:
            logger.info("%s: done after its time; its repetition gets that answer", describe(scope))
        return await self._settled(arrival, told, outcome, disposition, running)

    async def _outcome(self, arrival: Arrival, told: Any, limit: Limit) -> Outcome:
        limited = partial(limit.run, self.app, self.policy.timeout)
        try:
            self._check(arrival.claim.attempts)
            return await arrival.kind.attempt(limited, told, arrival.events).outcome()
        except CutOff as error:
            return Outcome(None, [], [], error)

    async def _settled(
        self, arrival: Arrival, told: Any, outcome: Outcome, disposition: Disposition, running: RunningAttempt
    ) -> Answer:
        """The answer to the sender, once the store has it. While the store cannot take it, the sender does not wait,
        and the outcome is not given up."""
        here, kind, claim = deliveries.get(), arrival.kind, arrival.claim
        store = here.store
        outgoing: list[Outgoing] = []
        match disposition.state:
            case "done":
                answer = [*outcome.replies, outcome.verdict or kind.accept()]
                outgoing = outgoing_of(claim.id, told, outcome.outgoing, store.now())
                keep = partial(store.settle, claim.key, result=codec.encode({}, answer), outgoing=outgoing)
            case "again":
                answer = [{**(outcome.verdict or kind.defer()), "retry_after": disposition.wait}]
                keep = partial(store.release, claim.key, error=outcome.failure, counted=outcome.counted)
            case "dead":
                answer = [kind.accept()]
                message = self._message(kind, arrival.scope, arrival.events, claim)
                keep = partial(store.dead_letter, message, error=outcome.failure, claim=claim.key)
            case _:
                answer = [kind.reject()]
                keep = partial(store.settle, claim.key, result=codec.encode({}, answer))
        await retry_until_stored(keep, told=running.say)
        if outgoing:
            here.outgoing.notify()
        return answer

    def _message(self, kind: DeliveryKind, scope: Any, events: list[Any], claim: Claim) -> Message:
        return Message(
            id=claim.id,
            type=kind.name,
            route=self.label,
            key=kind.order_key(scope, events) if self.policy.order == "key" else claim.id,
            received=claim.received,
            content=codec.encode(deliveries.get().routes.noted(scope), events),
            attempts=0 if self.policy.inbox else claim.attempts,
            subject=kind.subject(scope, events),
        )


def guarded(app: Application, policy: Policy, label: str) -> Application:
    """``app`` under ``policy``; the very ``app`` where that asks for nothing."""
    return app if policy.plain else Guard(app, policy, label)


def report(
    scope: Any, outcome: Outcome, policy: Policy, disposition: Disposition, attempt: int, *, stored: bool
) -> None:
    """One log record for an attempt that did not succeed: with the traceback where it crashed."""
    words = in_words(policy, disposition, attempt, stored=stored)
    if outcome.error is None:
        logger.info("%s: deferred (%s)", describe(scope), words)
    else:
        extra = {"scope": scope, "note": words, "kept": stored or disposition.state == "dead"}
        logger.error("%s", describe(scope), exc_info=outcome.error, extra=extra)


def warn_late(scope: Any, error: TimeoutError, policy: Policy, attempt: int) -> None:
    """Of a handler on a thread, which goes on; what comes of it is reported when that is known."""
    of = f" of {policy.attempts}" if policy.attempts else ""
    said = "%s: %s (attempt %d%s); its thread goes on, and the result is kept"
    logger.warning(said, describe(scope), error, attempt, of, extra={"scope": scope})
