"""Workers: the applications that handle messages to a channel of the layer."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from gateway.layers import get_channel_layer
from gateway.routing import as_application
from protocols.errors import LocalProtocolError

logger = logging.getLogger(__name__)


class Worker:
    """Gives each message to one of ``channels`` to ``application``, whose scope has the type ``channel``.

    An application reads the messages of its channel one after the other. If it ends or crashes, the next message goes
    to a new instance, and the crash is one record in the log.
    """

    def __init__(self, application: Any, channels: Iterable[str]) -> None:
        self._application = as_application(application)
        self._channels = tuple(channels)

    async def run(self) -> None:
        """Handle messages until this is cancelled."""
        async with asyncio.TaskGroup() as group:
            for channel in self._channels:
                group.create_task(self._listen(channel), name=f"worker: {channel}")

    async def _listen(self, channel: str) -> None:
        layer = get_channel_layer()
        while True:
            first = [await layer.receive(channel)]

            async def receive(first: list[Any] = first) -> Any:
                return first.pop() if first else await layer.receive(channel)

            try:
                await self._application({"type": "channel", "channel": channel}, receive, _send)
            except (Exception, SystemExit, KeyboardInterrupt) as error:
                logger.error("channel %s", channel, exc_info=error)


async def _send(event: Any) -> None:
    raise LocalProtocolError("a message to a channel has no peer who could get an answer; send to a group")
