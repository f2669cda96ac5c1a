"""One reader of one channel of the layer."""

import asyncio
import logging
from typing import Any

from gateway.counts import channel_counts
from gateway.layers import get_channel_layer
from protocols.asgi import Application
from protocols.errors import LocalProtocolError
from protocols.tasks import is_thrown_away

logger = logging.getLogger(__name__)

AGAIN = (0.05, 2.0)
"""Seconds between two attempts to read from a layer that fails: at first, and at most."""


class Listener:
    """Gives the messages of one channel to one instance of ``application`` after the other."""

    def __init__(self, application: Application, channel: str) -> None:
        self.channel = channel
        self._application = application
        self._task: asyncio.Task[Any] | None = None
        self._first: list[Any] = []
        """The message that a new instance is made for."""
        self._is_at_work = False
        """Whether the application has a message, and has not asked for the next one."""
        self._is_stopping = False

    async def run(self) -> None:
        """Handle messages until this is cancelled."""
        self._task = task = asyncio.current_task()
        self._counts = channel_counts.get()
        while True:
            self._first = [await self._next()]
            try:
                await self._application({"type": "channel", "channel": self.channel}, self.receive, _send)
            except BaseException as error:  # a handler's exit() must not end the worker
                ends = isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling()
                if ends or (isinstance(error, GeneratorExit) and is_thrown_away(task)):
                    raise
                self._failed(error)

    def stop(self) -> None:
        """End as soon as no message is being handled."""
        self._is_stopping = True
        if self._task is not None and not self._is_at_work:
            self._task.cancel()

    async def receive(self) -> Any:
        """Return the next message of the channel."""
        return self._first.pop() if self._first else await self._next()

    async def _next(self) -> Any:
        self._handled()
        if self._is_stopping and self._task is not None:
            self._task.cancel()
            await asyncio.get_running_loop().create_future()  # also in another task of the application
        message = await self._read()
        self._is_at_work = True
        return message

    async def _read(self) -> Any:
        """Return the next message, also if the layer fails in between."""
        pause, most = AGAIN
        while True:
            try:
                return await get_channel_layer().receive(self.channel)
            except Exception as error:
                if pause == AGAIN[0]:
                    said = "channel %s: the layer cannot be read, and is tried again: %s %s"
                    logger.warning(said, self.channel, type(error).__name__, error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, most)

    def _handled(self) -> None:
        if self._is_at_work:
            self._is_at_work = False
            self._counts.handled[self.channel] += 1

    def _failed(self, error: BaseException) -> None:
        self._is_at_work = False
        self._counts.failed[self.channel] += 1
        logger.error("channel %s", self.channel, exc_info=error)


async def _send(event: Any) -> None:
    raise LocalProtocolError("a message to a channel has no peer who could get an answer; send to a group")
