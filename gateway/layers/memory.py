"""The channel layer of one process."""

import asyncio
import logging
import secrets
from collections import defaultdict
from typing import Any

from gateway.layers import origins
from protocols.checkpoint import checkpoint
from protocols.queue import Queue

logger = logging.getLogger(__name__)


class InMemoryChannelLayer:
    """Groups and channels in this process's memory.

    A channel holds at most ``capacity`` messages; what comes on top is dropped and counted, and the first drop of a
    channel is logged: the layer never blocks a sender on one slow reader, and never grows.
    """

    def __init__(self, *, capacity: int = 100) -> None:
        self.capacity = capacity
        self.dropped = 0
        self._channels: dict[str, Queue[dict[str, Any]]] = {}
        self._groups: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self._slow: set[str] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def channels(self) -> int:
        """Channels that have a reader, or messages for one."""
        return len(self._channels)

    @property
    def unread(self) -> int:
        """Messages that no reader has taken yet."""
        return sum(map(len, self._channels.values()))

    async def new_channel(self, prefix: str = "specific") -> str:
        """A channel's name that nobody else has."""
        await checkpoint()
        return f"{prefix}!{secrets.token_urlsafe(9)}"

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        """Queue ``message`` (a dict with ``type``) for the reader of ``channel``. May be called from any loop."""
        origins.note(message)
        await self._send(channel, message)

    async def _send(self, channel: str, message: dict[str, Any]) -> None:
        await checkpoint()
        home = self._loop
        if home is None or home is asyncio.get_running_loop() or home.is_closed():
            self._put(channel, dict(message))
        else:  # async_to_sync on a handler's thread brings a loop of its own, and queues are not thread-safe
            home.call_soon_threadsafe(self._put, channel, dict(message))

    def _put(self, channel: str, message: dict[str, Any]) -> None:
        queue = self._channel(channel)
        if not queue.full:
            queue.put(message)
            return
        self.dropped += 1
        if channel not in self._slow:
            self._slow.add(channel)
            said = "channel %s: %d messages unread, the limit; newer ones are dropped"
            logger.warning(said, channel, self.capacity, extra={"lost": True})

    async def receive(self, channel: str) -> dict[str, Any]:
        """The next message of ``channel``; waits for one. All readers are on one loop, the gateway's."""
        self._loop = asyncio.get_running_loop()
        return await self._channel(channel).get()

    async def group_add(self, group: str, channel: str) -> None:
        await checkpoint()
        self._groups[group][channel] = None

    async def group_discard(self, group: str, channel: str) -> None:
        """Remove ``channel`` from ``group``; no error where it was not in it."""
        await checkpoint()
        members = self._groups.get(group, {})
        members.pop(channel, None)
        if not members:
            self._groups.pop(group, None)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        """Queue ``message`` for every channel of ``group``."""
        origins.note(message)
        await checkpoint()
        for channel in list(self._groups.get(group, ())):
            await self._send(channel, message)

    async def forget(self, channel: str) -> None:
        """Forget ``channel`` and what it holds. Its reader calls this when it ends, after it left its groups."""
        await checkpoint()
        self._channels.pop(channel, None)
        self._slow.discard(channel)

    def _channel(self, name: str) -> Queue[dict[str, Any]]:
        return self._channels.setdefault(name, Queue(self.capacity))
