"""Attempts of this process whose senders wait. Each is a task of its own, so that a repetition can wait for the same
answer.

A connection that ends, or a server whose time is out, ends its own waiting. What was begun is brought to an end here,
and its result is kept for the sender's repetition.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

from gateway.delivery.time_limit import WIND_UP, Limit
from protocols.tasks import Tasks, is_thrown_away

logger = logging.getLogger(__name__)

Answer = list[Mapping[str, Any]]
"""The events that answer the sender."""


class Attempt(Protocol):
    """An attempt at a message."""

    def __call__(self, running: "RunningAttempt", ended_by: BaseException | None = None) -> Coroutine[Any, Any, Answer]:
        """Make the attempt, and return what answers its sender. ``ended_by``: what has ended the call before this one
        in the middle."""


class RunningAttempt(Limit):
    """One attempt at a message, within its time."""

    def __init__(self) -> None:
        super().__init__()
        self.told_late: Callable[[TimeoutError], Answer] | None = None
        """Logs that its time is out though it goes on, and gives what its sender is told."""
        self._waiting: list[asyncio.Future[Answer]] = []
        """One for each sender that waits: the answer is for all of them, and each may leave."""

    async def answer(self) -> Answer:
        """Wait for the answer. When nobody waits any longer, the attempt's time is out."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        try:
            return await answer
        except asyncio.CancelledError:
            if len(self._waiting) == 1:
                self.expire(TimeoutError("the handler was not done when its sender could wait no longer"))
            raise
        finally:
            self._waiting.remove(answer)

    def say(self, answer: Answer | Exception) -> None:
        """Tell all that wait now."""
        for each in self._waiting:
            if each.done():
                continue
            if isinstance(answer, Exception):
                each.set_exception(answer)
            else:
                each.set_result(answer)

    def close(self) -> None:
        """Cancel all that wait for the answer, because there will be none."""
        for each in self._waiting:
            each.cancel()

    def late(self, error: TimeoutError) -> None:
        if self.told_late is not None:
            self.say(self.told_late(error))


class RunningAttempts:
    """The attempts that run, by the key of their claim."""

    def __init__(self) -> None:
        self._attempts: dict[str, RunningAttempt] = {}
        self._tasks = Tasks("deliveries")
        self.is_over = False
        """Whether those that still run are cancelled from here."""

    def __len__(self) -> int:
        return len(self._attempts)

    def get(self, key: str) -> RunningAttempt | None:
        return self._attempts.get(key)

    def begin(self, key: str, attempt: Attempt) -> RunningAttempt:
        """Start an attempt as a task of its own, in a copy of this context."""
        one = self._attempts[key] = RunningAttempt()
        task = self._tasks.spawn(self._carry_out(key, one, attempt), name=key)
        task.add_done_callback(lambda _: self._end(key, one))
        return one

    async def _carry_out(self, key: str, one: RunningAttempt, attempt: Attempt) -> None:
        answer: Answer | Exception
        task = asyncio.current_task()
        try:
            try:
                answer = await attempt(one)
            except GeneratorExit as error:  # of a task or a thread that the handler has waited for
                if is_thrown_away(task):
                    raise
                answer = await attempt(one, error)
        except Exception as error:  # of our own: each who waits raises it, and is logged by its server
            answer = error
        self._forget(key, one)  # first: a repetition that comes now asks the store
        one.say(answer)

    def _end(self, key: str, one: RunningAttempt) -> None:
        self._forget(key, one)
        one.close()

    def _forget(self, key: str, one: RunningAttempt) -> None:
        """Unless another attempt has the key: the store may give a claim away before this one hears that it is free."""
        if self._attempts.get(key) is one:
            del self._attempts[key]

    def active(self) -> dict[str, int]:
        """Count the handlers for which nobody waits any more. Their servers count the others."""
        late = sum(each.expired is not None for each in self._attempts.values())
        return {"late handlers": late} if late else {}

    async def stop(self, grace: float) -> None:
        """Let them end. What does not keeps its claim, which the next start gives back, the attempt counted."""
        await self._tasks.drain(max(grace, WIND_UP if self._attempts else 0.0))
        self.is_over = True
        await self._tasks.cancel()
