"""One attempt at a claimed message: it runs the handler, and stores what becomes of the message."""

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from gateway.delivery.atomic_part import Atomic, AtomicPart
from gateway.delivery.attempt import Outcome
from gateway.delivery.cut_off import cut_off
from gateway.delivery.disposition import Disposition, disposition_of
from gateway.delivery.incoming import Incoming
from gateway.delivery.outgoing import outgoing_of
from gateway.delivery.reports import report, warn_late
from gateway.delivery.retry_until_stored import retry_until_stored
from gateway.delivery.running_attempts import Answer, RunningAttempt
from gateway.delivery.service import Deliveries
from gateway.delivery.transactions import End
from gateway.store import Claim, LeaseLost, Outgoing, codec
from protocols.asgi import Application, describe
from protocols.events import Event

logger = logging.getLogger(__name__)


class ClaimedAttempt:
    """Call it once: the result is the events that answer the sender, once the store has the outcome."""

    def __init__(self, here: Deliveries, incoming: Incoming, claim: Claim) -> None:
        self._here = here
        self._incoming = incoming
        self._claim = claim
        self._part = self._in_transaction() if incoming.policy.atomic else None
        extension = {"id": claim.id, "attempt": claim.attempts, "first_received": claim.received}
        self._scope: Any = {**incoming.scope, "extensions": {**incoming.scope["extensions"], "delivery": extension}}

    async def __call__(self, running: RunningAttempt, ended_by: BaseException | None = None) -> Answer:
        running.told_late = self._late
        try:
            outcome = await self._outcome(running) if ended_by is None else Outcome(None, [], [], ended_by)
            return await self._end(outcome, running)
        except Exception as error:
            self._give_back(error)
            raise
        except asyncio.CancelledError as error:
            if not self._here.attempts.is_over:  # its handler has cancelled the task it runs in
                self._give_back(error)
            raise

    def _late(self, error: TimeoutError) -> Answer:
        warn_late(self._scope, error, self._incoming.policy, self._claim.attempts)
        return [self._incoming.kind.defer()]

    def _give_back(self, error: BaseException) -> None:
        """Release the claim. Otherwise no repetition could have it while this process lives."""
        release = partial(self._here.claims.release, self._claim.key, error=type(error).__name__)
        self._here.owed.spawn(retry_until_stored(release), name=f"release {self._claim.id}")

    async def _end(self, outcome: Outcome, running: RunningAttempt) -> Answer:
        policy, attempts = self._incoming.policy, self._claim.attempts
        if isinstance(outcome.error, LeaseLost):
            logger.warning("%s: not handled here, another process has it", describe(self._scope))
            return [self._incoming.kind.defer()]
        disposition = disposition_of(policy, outcome, attempts)
        if disposition.state != "done":
            report(self._scope, outcome, policy, disposition, attempts, stored=False)
            if outcome.error is not None and self._here.observer is not None:
                self._here.observer.failed(outcome.error)
        elif running.expired is not None:
            logger.info("%s: done after its time; its repetition gets that answer", describe(self._scope))
        return await self._settle(outcome, disposition, running)

    async def _outcome(self, running: RunningAttempt) -> Outcome:
        incoming = self._incoming
        if (error := cut_off(incoming.policy, self._claim.attempts)) is not None:
            return Outcome(None, [], [], error)
        limited: Application = partial(running.run, incoming.app, incoming.policy.timeout)
        if (part := self._part) is None:
            return await incoming.kind.attempt(limited, self._scope, incoming.events).outcome()
        app = Atomic(limited, part)
        return await part.outcome(lambda: incoming.kind.attempt(app, self._scope, incoming.events))

    def _in_transaction(self) -> AtomicPart:
        claim = self._claim

        def end(outcome: Outcome) -> End:
            result, outgoing = codec.encode({}, self._answer(outcome)), self._sent(outcome)
            return lambda store, mark: store.settle(mark, result=result, outgoing=outgoing)

        return AtomicPart(self._here.use.transactions, lambda store: store.begin_claim(claim), end)

    async def _settle(self, outcome: Outcome, disposition: Disposition, running: RunningAttempt) -> Answer:
        """While the store cannot take the outcome, the sender does not wait, and the outcome is not given up."""
        kind, claim, claims = self._incoming.kind, self._claim, self._here.claims
        match disposition.state:
            case "done":
                await self._done(outcome, answer := self._answer(outcome), running)
                return answer
            case "again":
                answer = [{**(outcome.verdict or kind.defer()), "retry_after": disposition.wait}]
                keep = partial(claims.release, claim.key, error=outcome.failure, counted=outcome.counted)
            case "dead":
                answer = [kind.dead()]
                message = self._incoming.message(claim)
                keep = partial(self._here.messages.dead_letter, message, error=outcome.failure, claim=claim)
            case _:
                answer = [kind.reject()]
                keep = partial(claims.settle, claim, result=codec.encode({}, answer))
        await retry_until_stored(keep, told=running.say)
        return answer

    def _answer(self, outcome: Outcome) -> Answer:
        return [*outcome.replies, outcome.verdict or self._incoming.kind.accept()]

    def _sent(self, outcome: Outcome) -> list[Outgoing]:
        """Make the items for what its handler sends."""
        return outgoing_of(self._claim.id, self._scope, outcome.outgoing, self._here.claims.now())

    async def _done(self, outcome: Outcome, answer: Sequence[Event], running: RunningAttempt) -> None:
        here, claim = self._here, self._claim
        if self._part is not None and self._part.is_committed:
            here.outgoing.notify()
            return
        outgoing = self._sent(outcome)
        settle = partial(here.claims.settle, claim, result=codec.encode({}, answer), outgoing=outgoing)
        await retry_until_stored(settle, told=running.say)
        if outgoing:
            here.outgoing.notify()
