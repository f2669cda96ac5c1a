"""Background tasks with an owner: none is lost, and none fails without a log record."""

import asyncio
import logging
from collections.abc import Coroutine
from contextvars import Context
from typing import Any

logger = logging.getLogger(__name__)


LAST_WORDS = 0.5
"""Seconds for a task that has just been told that it is over, before it is cancelled."""


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
