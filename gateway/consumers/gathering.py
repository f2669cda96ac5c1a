"""Messages of many connections, gathered into batches: one batch at a time, in the order of arrival.

A :class:`Gathering` lives with an application (a route), a :class:`Part` with one of its connections. What waits is
bounded: a connection that finds the next batch full waits before it reads on.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import copy_context
from types import TracebackType
from typing import Generic, NamedTuple, TypeVar

from gateway.threads import current_calls
from protocols.errors import Disconnected
from protocols.tasks import Tasks
from protocols.wakeup import Wakeup

logger = logging.getLogger(__name__)

M = TypeVar("M")


class Entry(NamedTuple, Generic[M]):
    """One message, and the connection that it came by."""

    message: M
    part: "Part[M]"


class Gathering(Generic[M]):
    """``handle`` gets at most ``most`` messages at once; the first of them waits ``delay`` seconds for others at most.

    When ``handle`` raises, its messages are tried one by one: each fails, or succeeds, for itself.
    """

    def __init__(self, handle: Callable[[Sequence[M]], Awaitable[None]], most: int, delay: float) -> None:
        self._handle = handle
        self._most = most
        self._delay = delay
        self._waiting: deque[Entry[M]] = deque()
        self._due = 0.0
        self._enough = Wakeup()
        self._turns: deque[asyncio.Future[None]] = deque()
        """Connections that wait for room, in order. As many are let in as there is room for: a Wakeup would wake a
        thousand of them for a hundred places."""
        self._parts = 0
        self._running = False
        self._is_ending = False
        """Whether a batch is being cancelled from here."""
        self._tasks = Tasks("batches")

    def join(self) -> None:
        self._parts += 1

    async def leave(self, part: "Part[M]") -> None:
        """What ``part`` still has here is nobody's any more. With the last part, a batch under way is cancelled."""
        self._parts -= 1
        if not part.pending:
            return
        self._waiting = deque(entry for entry in self._waiting if entry.part is not part)
        self._give_turns()
        if not self._parts:
            self._is_ending = True
            try:
                await self._tasks.cancel()
            finally:
                self._is_ending = False
            if self._waiting and not self._running:  # of one that has come meanwhile
                self._start()

    async def add(self, entry: Entry[M]) -> None:
        """Into the next batch, as soon as there is room."""
        while len(self._waiting) >= self._most:
            await self._turn()
        if not self._waiting:
            self._due = asyncio.get_running_loop().time() + self._delay
        self._waiting.append(entry)
        entry.part.pending += 1
        if entry.part.at_once or len(self._waiting) >= self._most:
            self._hurry()
        if not self._running:
            self._start()

    async def _turn(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._turns.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            self._give_turns()  # this one's may be another's now
            raise

    def _give_turns(self) -> None:
        room = self._most - len(self._waiting)
        while room > 0 and self._turns:
            turn = self._turns.popleft()
            if not turn.done():
                turn.set_result(None)
                room -= 1

    def _start(self) -> None:
        self._running = True
        self._tasks.spawn(self._run(), name="gather")

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._gathered()
                batch = self._take()
                self._give_turns()
                await self._settle(batch)
        finally:
            self._running = False

    def _hurry(self) -> None:
        self._due = 0.0
        self._enough.wake()

    async def _gathered(self) -> None:
        """Wait until there are enough messages, or the first has waited long enough."""
        loop = asyncio.get_running_loop()
        if self._due <= loop.time():
            return
        timer = loop.call_at(self._due, self._hurry)
        try:
            await self._enough.wait()
        finally:
            timer.cancel()

    def _take(self) -> list[Entry[M]]:
        batch: list[Entry[M]] = []
        while self._waiting and len(batch) < self._most:
            if batch and (batch[0].part.alone or self._waiting[0].part.alone):
                break
            batch.append(self._waiting.popleft())
        return batch

    async def _settle(self, batch: list[Entry[M]]) -> None:
        if not batch:  # the connections that brought them have ended
            return
        error = await self._outcome(batch)
        if error is None:
            for entry in batch:
                await entry.part.done(entry.message)
        elif len(batch) == 1:
            batch[0].part.fail(error)
        else:
            logger.warning("a batch of %d failed (%s): now one by one", len(batch), type(error).__name__)
            for entry in batch:
                if not entry.part.failed:  # else this one comes again after the one that failed
                    await self._settle([entry])

    async def _outcome(self, batch: list[Entry[M]]) -> BaseException | None:
        """What ``handle`` raised. It runs in the context (route, event id) of its first message's connection."""
        spawn = batch[0].part.context.run
        task = spawn(self._tasks.spawn, self._try(batch), name=f"{len(batch)} messages")
        outcome: BaseException | None = await task
        return outcome

    async def _try(self, batch: Sequence[Entry[M]]) -> BaseException | None:
        messages = [entry.message for entry in batch]
        current_calls.set(tuple({calls for entry in batch for calls in entry.part.context.get(current_calls, ())}))
        try:
            await self._handle(messages)
        except asyncio.CancelledError as error:
            if self._is_ending:
                raise
            said = "the handler of a batch was cancelled, by its own code or by a task that it waited for"
            return RuntimeError(said).with_traceback(error.__traceback__)
        except BaseException as error:  # each of its connections crashes with it, and is logged there
            return error
        return None


class Part(Generic[M]):
    """One connection's part in a gathering; a context manager around its run. Leaving it raises what its messages
    failed with. ``acknowledge`` is called with each message that was handled. ``at_once``: its messages wait for no
    others. ``alone``: they are nobody's neighbours in a batch."""

    __slots__ = (
        *("_acknowledge", "_cancelling", "_failure", "_gathering", "_idle", "_left", "_task"),
        *("alone", "at_once", "context", "pending"),
    )

    def __init__(
        self,
        gathering: Gathering[M],
        acknowledge: Callable[[M], Awaitable[None]],
        *,
        at_once: bool = False,
        alone: bool = False,
    ) -> None:
        self.at_once = at_once
        self.alone = alone
        self.context = copy_context()
        self.pending = 0
        """Messages that are not handled yet."""
        self._gathering = gathering
        self._acknowledge = acknowledge
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        self._failure: BaseException | None = None
        self._idle = Wakeup()
        self._left = False

    async def __aenter__(self) -> "Part[M]":
        self._gathering.join()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left = True
        await self._gathering.leave(self)
        if self._failure is not None and self._task.uncancel() <= self._cancelling:
            raise self._failure from None

    async def add(self, message: M) -> None:
        """Add a message to the next batch; wait while that is full."""
        await self._gathering.add(Entry(message, self))

    async def idle(self) -> None:
        """Wait until every message is handled."""
        while self.pending:
            await self._idle.wait()

    @property
    def failed(self) -> bool:
        return self._left or self._failure is not None

    async def done(self, message: M) -> None:
        """``message`` is handled."""
        if self.failed:
            return
        try:
            await self._acknowledge(message)
        except Disconnected:
            pass  # it brings its message again
        except Exception as error:
            self.fail(error)
        self.pending -= 1
        if not self.pending:
            self._idle.wake()

    def fail(self, error: BaseException) -> None:
        """End its run with ``error``. The run is cancelled, and raises ``error`` instead of the cancellation, as
        ``asyncio.timeout`` does."""
        if not self.failed:
            self._failure = error
            self._task.cancel()
