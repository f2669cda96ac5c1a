"""Workers: the applications that handle messages to channels of the layer."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from gateway.compat.listener import Listener
from gateway.routing import as_application
from protocols.tasks import cancel_all

logger = logging.getLogger(__name__)

STOP = 10.0
"""Seconds that a handler has to return when its worker stops."""


class Worker:
    """Gives each message to one of ``channels`` to ``application``, whose scope has the type ``channel``.

    ``concurrency`` instances of the application read each channel. An instance handles one message after the other. If
    it ends or crashes, the next message goes to a new one, and the crash is one record in the log.
    """

    def __init__(self, application: Any, channels: Iterable[str], *, concurrency: int = 1) -> None:
        """Raises ValueError for an application that is none, and for a ``concurrency`` that is not at least 1."""
        if concurrency < 1:
            raise ValueError(
                f"concurrency is {concurrency!r}; write how many messages of a channel may be handled at once"
            )
        app = as_application(application)
        self._listeners = [Listener(app, channel) for channel in channels for _ in range(concurrency)]
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Handle messages until this is cancelled, or :meth:`stop` is called."""
        self._tasks = [asyncio.create_task(each.run(), name=f"worker: {each.channel}") for each in self._listeners]
        try:
            if self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            await cancel_all(self._tasks)

    async def stop(self, timeout: float = STOP) -> None:
        """Take no more messages, and end. Handlers that are at work have ``timeout`` seconds before they are
        cancelled."""
        for listener in self._listeners:
            listener.stop()
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=timeout)
        for task in late:
            logger.warning("%s: its handler is cancelled, %g s after the worker's stop", task.get_name(), timeout)
        await cancel_all(late)
