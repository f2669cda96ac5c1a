"""A message's part in a transaction: its handler's rows, its "done" and what it sends are committed together."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from gateway.atomic import AsyncHandlerConnection, RunAgain, current_part
from gateway.delivery.attempt import Attempt, Outcome
from gateway.delivery.transactions import End, Lock, NoTransaction, Running, Transactions
from protocols.asgi import Application, Receive, Send

CONFLICTS = 20
"""How often a handler is run, if other transactions are in the way."""
_PAUSE = 0.01
"""Seconds, at most, between two such runs; it grows with their number."""


class AtomicPart:
    """For one attempt at a message. ``lock`` locks it; ``end`` returns the last call in the transaction for an
    outcome."""

    def __init__(self, transactions: Transactions, lock: Lock, end: Callable[[Outcome], End]) -> None:
        self._transactions = transactions
        self.lock = lock
        self._end = end
        self._running: Running | None = None
        self.attempt: Attempt | None = None
        """The run of its handler."""
        self._commit: asyncio.Future[None] | None = None
        """The commit of a batch that it is in."""
        self.is_committed = False
        """Whether the store has everything that came of the attempt."""

    async def outcome(self, make: Callable[[], Attempt]) -> Outcome:
        """Run an attempt, again as long as other transactions are in the way, and commit if it succeeds."""
        for tried in range(1, CONFLICTS + 1):
            self.attempt, self._running = attempt, _ = make(), None
            try:
                return await self._ended(await attempt.outcome())
            except RunAgain:
                await asyncio.sleep(random.uniform(0, _PAUSE * tried))  # noqa: S311 - so that two do not meet again
            except (asyncio.CancelledError, GeneratorExit):
                self._abandon()
                raise
        return self._failed(NoTransaction(f"other transactions were in the way, {CONFLICTS} times"))

    def _abandon(self) -> None:
        if self._running is not None and not self._running.is_over:
            self._running.abandon()

    async def _ended(self, outcome: Outcome) -> Outcome:
        running = self._running
        if self._commit is not None:
            await asyncio.wait([self._commit])  # its time may be out meanwhile, and then the commit is what counts
        if self.is_committed and outcome.error is not None:
            return Outcome(None, [], [], None)
        if running is None or running.is_over:  # it was not begun, or was in a batch
            return outcome if outcome.error is None else self._failed_or_again(outcome, outcome.error)
        if outcome.error is not None:
            return self._failed_or_again(outcome, await running.undone(outcome.error))
        if outcome.deferred:
            await running.roll_back()
            return outcome
        try:
            await running.commit([self._end(outcome)])
        except RunAgain:
            raise
        except Exception as error:
            return self._failed(error)
        self.is_committed = True
        return outcome

    def _failed(self, error: BaseException) -> Outcome:
        return Outcome(None, [], [], error) if self.attempt is None else self.attempt.failing(error)

    def _failed_or_again(self, outcome: Outcome, error: BaseException) -> Outcome:
        if isinstance(error, RunAgain):
            raise error
        return outcome if error is outcome.error else self._failed(error)

    async def run(self, app: Application, scope: Any, receive: Receive, send: Send) -> None:
        """Run ``app`` in a transaction of its own. Raises LeaseLost, and NoTransaction."""
        self._running = running = await self._transactions.begin([self.lock])
        extension = {"connection": AsyncHandlerConnection(running)}
        scope = {**scope, "extensions": {**scope["extensions"], "atomic": extension}}
        async with running.entered():
            await app(scope, receive, send)

    def commits(self, commit: "asyncio.Future[None]") -> None:
        self._commit = commit

    async def begin_with(self, others: Sequence[Any]) -> "BatchRunning":
        parts: list[AtomicPart] = [self, *others]
        return BatchRunning(parts, await self._transactions.begin([part.lock for part in parts]))

    def batch_end(self) -> End:
        """Return its last call in the transaction of a batch. Raises TimeoutError if the attempt is already over."""
        attempt = self.attempt
        if attempt is None or attempt.is_over:
            raise TimeoutError("the time of a message was out before its batch was done")
        return self._end(Outcome(attempt.verdict, attempt.replies, attempt.outgoing, None))


class BatchRunning:
    """A :class:`gateway.atomic.BatchTransaction`."""

    def __init__(self, parts: Sequence[AtomicPart], running: Running) -> None:
        self._parts = parts
        self._running = running
        self._attempts = [attempt for part in parts if (attempt := part.attempt) is not None]
        self._sent = [len(attempt.outgoing) for attempt in self._attempts]

    @asynccontextmanager
    async def entered(self) -> AsyncIterator[None]:
        async with self._running.entered():
            yield

    async def commit(self, done: Sequence[bool]) -> None:
        commit = asyncio.get_running_loop().create_future()
        ends = [part.batch_end() if is_done else None for part, is_done in zip(self._parts, done, strict=True)]
        for part in self._parts:
            part.commits(commit)
        try:
            await self._running.commit(ends)
            for part, is_done in zip(self._parts, done, strict=True):
                part.is_committed = is_done
        finally:
            commit.set_result(None)

    async def roll_back(self, error: BaseException | None) -> None:
        self._forget_sent()
        if self._running.is_over:  # the commit has failed
            return
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            self._running.abandon()
            return
        if error is None:
            await self._running.roll_back()
        elif (said := await self._running.undone(error)) is not error:
            raise said from error

    def _forget_sent(self) -> None:
        """The messages come again, by themselves or one by one, and send it again."""
        for attempt, before in zip(self._attempts, self._sent, strict=True):
            del attempt.outgoing[before:]


class Atomic:
    """``app`` for an attempt that ``part`` belongs to. A consumer of batches begins a transaction for each batch."""

    def __init__(self, app: Application, part: AtomicPart) -> None:
        self._app = app
        self._part = part
        self.consumer_class = getattr(app, "consumer_class", None)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if getattr(self.consumer_class, "gathers", False):
            current_part.set(self._part)
            await self._app(scope, receive, send)
        else:
            await self._part.run(self._app, scope, receive, send)
