"""The channel layer of one process."""

import asyncio
import logging
import secrets
import time
from collections import Counter, defaultdict
from typing import Any

from gateway.layers import origins
from gateway.layers.mailbox import Mailbox
from gateway.layers.told import Told, since
from protocols.checkpoint import checkpoint

logger = logging.getLogger(__name__)

MOST_UNCLAIMED = 10_000
"""Channels with messages that no reader has asked for. To one more nothing is sent: most of their readers are gone."""
GROUP_EXPIRY = 86400.0
"""Seconds after which a channel that no reader has asked for leaves its groups."""
SWEEP = 1.0
"""Seconds between two searches for expired messages while the layer is full."""


class InMemoryChannelLayer:
    """Groups and channels in this process's memory.

    A channel holds at most ``capacity`` messages; what comes on top is dropped and counted, and the first drop of a
    channel is logged: the layer never blocks a sender on one slow reader, and never grows. A message that is not read
    within ``expiry`` seconds is dropped, counted and logged, too, and so is one to a channel that nobody has read while
    there are very many of them.
    """

    def __init__(self, *, capacity: int = 100, expiry: float = 60.0) -> None:
        self.capacity = capacity
        self.expiry = expiry
        self.drops = Counter[str](capacity=0, expiry=0, unread=0)
        self._channels: dict[str, Mailbox] = {}
        self._groups: defaultdict[str, dict[str, float]] = defaultdict(dict)
        self._joined: dict[str, set[str]] = {}
        """The groups of each channel that is in one."""
        self._slow: set[str] = set()
        self._unclaimed: set[str] = set()
        """Channels that have messages and have never been read."""
        self._told = Told()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._swept = time.monotonic()

    @property
    def dropped(self) -> int:
        return self.dropped_by_reason().total()

    def dropped_by_reason(self) -> Counter[str]:
        """Count the messages that were dropped, by reason."""
        return self.drops.copy()

    @property
    def channels(self) -> int:
        """Channels that have a reader, or messages for one."""
        return len(self._channels)

    @property
    def groups(self) -> int:
        """Groups that have a member in this process."""
        return len(self._groups)

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
        self._deliver(channel, message)

    def _deliver(self, channel: str, message: dict[str, Any]) -> None:
        home = self._loop
        if home is None or home is asyncio.get_running_loop() or home.is_closed():
            self._put(channel, dict(message))
        else:  # async_to_sync on a handler's thread brings a loop of its own, and queues are not thread-safe
            home.call_soon_threadsafe(self._put, channel, dict(message))

    def _put(self, channel: str, message: dict[str, Any]) -> None:
        now = time.monotonic()
        if now - self._swept > self.expiry:
            self._sweep(now)
        mailbox = self._channels.get(channel)
        if mailbox is None:
            if not self._has_room(now):
                self.drops["unread"] += 1
                self._tell(f"channel {channel}", "no reader has asked for it; a message to it is dropped", "unread")
                return
            mailbox = self._channel(channel)
            self._unclaimed.add(channel)
        elif mailbox.full:
            self._expired(channel, mailbox.drop_older(now - self.expiry))
        if len(mailbox) < self.capacity:
            mailbox.put((now, message))
            return
        self.drops["capacity"] += 1
        if channel not in self._slow:
            self._slow.add(channel)
            said = "channel %s: %d messages unread, the limit; newer ones are dropped"
            logger.warning(said, channel, self.capacity, extra={"lost": True})

    def _has_room(self, now: float) -> bool:
        """Whether one more channel may exist that has never been read."""
        if len(self._unclaimed) < MOST_UNCLAIMED:
            return True
        if now - self._swept > SWEEP:
            self._sweep(now)
        return len(self._unclaimed) < MOST_UNCLAIMED

    def _expired(self, channel: str, count: int) -> None:
        if count:
            self.drops["expiry"] += count
            said = f"messages that were unread for more than {self.expiry:g} s are dropped ({count})"
            self._tell(f"channel {channel}", said, "expired")

    def _tell(self, where: str, said: str, what: str = "") -> None:
        """Log that something was dropped, unless ``what``, or the same of ``where``, was told lately."""
        if times := self._told.due(what or where):
            logger.warning("%s: %s%s", where, said, since(times), extra={"lost": True})

    async def receive(self, channel: str) -> dict[str, Any]:
        """The next message of ``channel``; waits for one. All readers are on one loop, the gateway's."""
        self._loop = asyncio.get_running_loop()
        self._unclaimed.discard(channel)
        mailbox = self._channel(channel)
        while True:
            sent, message = await mailbox.get()
            mailbox.used = now = time.monotonic()
            if now - sent <= self.expiry:
                return message
            self._expired(channel, 1)

    async def group_add(self, group: str, channel: str) -> None:
        await checkpoint()
        self._join(group, channel)

    def _join(self, group: str, channel: str) -> None:
        self._groups[group][channel] = time.monotonic()
        self._joined.setdefault(channel, set()).add(group)

    async def group_discard(self, group: str, channel: str) -> None:
        """Remove ``channel`` from ``group``; no error where it was not in it."""
        await checkpoint()
        self._discard(group, channel)

    def _discard(self, group: str, channel: str) -> None:
        members = self._groups.get(group, {})
        members.pop(channel, None)
        if not members:
            self._groups.pop(group, None)
        if (joined := self._joined.get(channel)) is not None:
            joined.discard(group)
            if not joined:
                del self._joined[channel]

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        """Queue ``message`` for every channel of ``group``."""
        origins.note(message)
        await checkpoint()
        members = self._groups.get(group, {})
        for channel in list(members):
            await checkpoint()
            if channel in members:  # it may have left meanwhile, and what it gets now would lie there unread
                self._deliver(channel, message)

    async def forget(self, channel: str) -> None:
        """Forget ``channel``, what it holds, and that it is in groups. Its reader calls this when it ends."""
        await checkpoint()
        for group in tuple(self._joined.get(channel, ())):
            self._discard(group, channel)
        self._remove(channel)

    def _remove(self, channel: str) -> None:
        self._channels.pop(channel, None)
        self._slow.discard(channel)
        self._unclaimed.discard(channel)

    def _channel(self, name: str) -> Mailbox:
        mailbox = self._channels.get(name)
        if mailbox is None:
            mailbox = self._channels[name] = Mailbox(self.capacity)
        return mailbox

    def _sweep(self, now: float) -> None:
        """Drop what has expired. Readers that are no consumers of ours do not say when they end: Channels' do not."""
        self._swept = now
        expired = Counter[str]()
        for name, mailbox in list(self._channels.items()):
            if count := mailbox.drop_older(now - self.expiry):
                expired[name] = count
            lasts = GROUP_EXPIRY if mailbox else self.expiry
            if mailbox.is_unused_since(now - lasts):
                self._remove(name)
        if expired:
            first, more = next(iter(expired)), len(expired) - 1
            self._expired(f"{first} and {more} more" if more else first, expired.total())
        for group, members in list(self._groups.items()):
            for name, joined in list(members.items()):
                if name not in self._channels and now - joined > GROUP_EXPIRY:
                    self._discard(group, name)
