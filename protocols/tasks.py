"""Background tasks with an owner: none is lost, and none fails without a log record."""

import asyncio
import logging
from collections.abc import Collection, Coroutine
from contextvars import Context
from typing import Any

logger = logging.getLogger(__name__)


LAST_WORDS = 0.5
"""Seconds for a task that has just been told that it is over, before it is cancelled."""


AGAIN = 0.1
"""Seconds until a task that goes on is cancelled once more."""


async def cancel_all(tasks: Collection["asyncio.Task[Any]"]) -> None:
    """Cancel ``tasks``, and wait until they have ended. What they raise is passed over.

    Again and again: ``asyncio.wait_for`` of Python 3.11 swallows a cancellation that comes in the moment in which what
    it waits for is done. After a process has slept, all of its timers are due in one moment.
    """
    while left := [task for task in tasks if not task.done()]:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=AGAIN)
    await asyncio.gather(*tasks, return_exceptions=True)


def is_thrown_away(task: "asyncio.Task[Any] | None") -> bool:
    """Whether a GeneratorExit in ``task`` comes from its end together with its loop, and not from code that raises
    it."""
    return asyncio._get_running_loop() is None or asyncio.current_task() is not task


class Tasks:
    """Owns background tasks: keeps them alive, logs crashes, and drains or cancels them at the end.

    Unlike in ``asyncio.TaskGroup``, a crash does not cancel the others: a server outlives every connection.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._tasks: set[asyncio.Task[Any]] = set()
        self.context: Context | None = None
        """The context that each task begins with. None: that of who starts it."""

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, coroutine: Coroutine[Any, Any, Any], *, name: str) -> "asyncio.Task[Any]":
        """Start ``coroutine``; ``name`` says in log lines what it does."""
        context = None if self.context is None else self.context.copy()
        task = asyncio.get_running_loop().create_task(coroutine, name=f"{self._owner}: {name}", context=context)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def running(self) -> frozenset["asyncio.Task[Any]"]:
        """Return the tasks that run now."""
        return frozenset(self._tasks)

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s crashed", task.get_name(), exc_info=error)

    async def drain(self, timeout: float) -> int:
        """Wait until the tasks end, at most ``timeout`` seconds; return how many are still running."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=max(0.0, timeout))
        return len(self._tasks)

    async def cancel(self, timeout: float = 5.0) -> None:
        """Cancel the remaining tasks and wait at most ``timeout`` seconds; log the names of those that do not end."""
        for task in self._tasks:
            task.cancel()
        if await self.drain(timeout):
            logger.warning("still running after cancel: %s", ", ".join(task.get_name() for task in self._tasks))
