"""A channel layer of several processes: groups of this one, and a bus to the others."""

import asyncio
import contextlib
import logging
import secrets
from collections import Counter
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

import msgpack

from gateway.layers import origins
from gateway.layers.bus import Bus, Delivery, Topic
from gateway.layers.gaps import Gaps, Numbers
from gateway.layers.memory import InMemoryChannelLayer
from gateway.layers.opened import OpenedLayer
from gateway.layers.packed import check_size, pack, unpacked_copy
from protocols.checkpoint import checkpoint
from protocols.tasks import Tasks

logger = logging.getLogger(__name__)
T = TypeVar("T")

KEY = "__gateway__"
"""The key of a message on its way that has what only the layer needs: token, number, channel."""


class SharedChannelLayer(InMemoryChannelLayer, OpenedLayer):
    """Groups reach the members in all processes that have the same bus.

    A process subscribes to a group when its first channel joins, and gets each message once, whatever number of its
    channels is in the group. What it gets waits in bounded channels, as in memory. A message that was sent and has not
    arrived is seen by its number: it is counted, and a line names the group. Methods may be called from any event
    loop; all work is done on the one on which the layer was opened.
    """

    def __init__(self, bus: Bus, *, capacity: int = 100, expiry: float = 60.0) -> None:
        super().__init__(capacity=capacity, expiry=expiry)
        self.bus = bus
        self.drops.update(garbage=0)
        self.gaps = Gaps()
        self.process = secrets.token_hex(8)
        """This process's part in the names of its channels."""
        self._numbers = Numbers()
        self._home: asyncio.AbstractEventLoop | None = None
        self._opening: asyncio.Task[None] | None = None
        self._read: set[str] = set()
        """Channels without a process's name that have been read here."""
        self._tasks = Tasks("channel layer")

    @property
    def trouble(self) -> str:
        return self.bus.state.trouble if self._home is not None else ""

    def dropped_by_reason(self) -> Counter[str]:
        found = super().dropped_by_reason()
        found.update(self.bus.drops())
        return found

    async def open(self) -> None:
        """Connect, unless it is connected. The first call does this, too."""
        loop = asyncio.get_running_loop()
        if self._home is not loop or self._opening is None:
            self._home = self._loop = loop
            self._opening = loop.create_task(self._open())
        await asyncio.shield(self._opening)

    async def _open(self) -> None:
        await self.bus.open(self._arrived)
        await self.bus.subscribe(Topic.of_channel(f"{self.process}!"))

    async def close(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        await self._tasks.cancel()
        await self.bus.close()
        self._home = self._opening = None

    async def new_channel(self, prefix: str = "specific") -> str:
        await checkpoint()
        return f"{prefix}.{self.process}!{secrets.token_urlsafe(9)}"

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        """Queue ``message`` for the reader of ``channel``, in whatever process that is. Raises LayerUnavailable,
        TypeError if the message cannot be packed, ValueError if it is too large."""
        origins.note(message)
        await self._at_home(self._send_to(channel, dict(message)))

    async def _send_to(self, channel: str, message: dict[str, Any]) -> None:
        process = _process_of(channel)
        if process == self.process or channel in self._read:
            self._put(channel, unpacked_copy(message))
            await checkpoint()
            return
        topic = Topic.of_channel(f"{process}!" if process else channel)
        if not await self.bus.publish(topic, self._packed(topic, message, channel)):
            self.drops["unread"] += 1
            self._tell(f"channel {channel}", "no process reads it; a message to it is dropped", "unread")

    async def receive(self, channel: str) -> dict[str, Any]:
        """The next message of ``channel``; waits for one."""
        home = self._home
        if home is not None and home is not asyncio.get_running_loop() and not home.is_closed():
            return await self._receive_elsewhere(home, channel)
        return await self._receive(channel)

    async def _receive_elsewhere(self, home: asyncio.AbstractEventLoop, channel: str) -> dict[str, Any]:
        """Receive on another loop than the layer's. A reader that is cancelled loses nothing, whenever that is."""
        found: Future[dict[str, Any]] = Future()

        async def fetch() -> None:
            try:
                message = await self._opened(self._receive(channel))
            except BaseException as error:
                if found.set_running_or_notify_cancel():
                    found.set_exception(error)
                raise
            if found.set_running_or_notify_cancel():
                found.set_result(message)
            else:
                self._put_back(channel, message)

        def return_it(done: "Future[dict[str, Any]]") -> None:
            if not done.cancelled() and done.exception() is None:
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    home.call_soon_threadsafe(self._put_back, channel, done.result())

        fetching = asyncio.run_coroutine_threadsafe(fetch(), home)
        try:
            return await asyncio.wrap_future(found)
        except asyncio.CancelledError:
            if not found.cancel():
                found.add_done_callback(return_it)
            fetching.cancel()
            raise

    def _put_back(self, channel: str, message: dict[str, Any]) -> None:
        if (mailbox := self._channels.get(channel)) is not None:
            mailbox.put_back(message)

    async def _receive(self, channel: str) -> dict[str, Any]:
        if _process_of(channel) != self.process and channel not in self._read:
            await self.open()
            await self.bus.subscribe(Topic.of_channel(channel))
            self._read.add(channel)
        return await super().receive(channel)

    async def group_add(self, group: str, channel: str) -> None:
        """Let ``channel`` get what is sent to ``group`` from now on. It must be one of this process: ValueError."""
        if _process_of(channel) not in (self.process, ""):
            raise ValueError(f"channel {channel} is of another process; only that one can add it to the group {group}")
        await self._at_home(self._group_add(group, channel))

    async def _group_add(self, group: str, channel: str) -> None:
        self._join(group, channel)
        try:
            await self.bus.subscribe(Topic.of_group(group))
        except (TypeError, ValueError):  # there can be no group of this name
            super()._discard(group, channel)
            raise

    async def group_discard(self, group: str, channel: str) -> None:
        """Remove ``channel`` from ``group``; no error where it was not in it."""
        await self._at_home(self._group_discard(group, channel))

    async def _group_discard(self, group: str, channel: str) -> None:
        if channel in self._groups.get(group, ()):
            super()._discard(group, channel)
            await self._leave(group)

    def _discard(self, group: str, channel: str) -> None:
        super()._discard(group, channel)
        self._tasks.spawn(self._leave(group), name=f"leave {group}")

    async def _leave(self, group: str) -> None:
        if group not in self._groups:
            self.gaps.left(topic := Topic.of_group(group))
            await self.bus.unsubscribe(topic)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        """Queue ``message`` for every channel of ``group``, in all processes. Raises LayerUnavailable, TypeError if the
        message cannot be packed, ValueError if it is too large."""
        origins.note(message)
        await self._at_home(self._group_send(group, dict(message)))

    async def _group_send(self, group: str, message: dict[str, Any]) -> None:
        await self.bus.publish(topic := Topic.of_group(group), self._packed(topic, message, ""))
        await checkpoint()
        if members := self._groups.get(group):
            self._put_all(list(members), unpacked_copy(message))

    async def forget(self, channel: str) -> None:
        await super().forget(channel)
        if channel in self._read:
            self._read.discard(channel)
            await self._at_home(self.bus.unsubscribe(Topic.of_channel(channel)))

    async def _at_home(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` on the layer's loop, after it was opened there."""
        home = self._home
        if home is None or home.is_closed():
            self._home = self._opening = None
            home = asyncio.get_running_loop()
        if home is asyncio.get_running_loop():
            return await self._opened(work)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._opened(work), home))

    async def _opened(self, work: Coroutine[Any, Any, T]) -> T:
        if self._opening is None or not self._opening.done():
            try:
                await self.open()
            except BaseException:
                work.close()
                raise
        return await work

    def checked(self, message: dict[str, Any]) -> dict[str, Any]:
        return unpacked_copy(message)

    def _packed(self, topic: Topic, message: dict[str, Any], channel: str) -> bytes:
        try:
            packed = pack({**message, KEY: [*self._numbers.next(topic), channel]})
            check_size(packed, topic.name)
        except (TypeError, ValueError):
            self._numbers.take_back(topic)
            raise
        return packed

    def _arrived(self, delivery: Delivery) -> None:
        """Take a message of another process. A sender that is no gateway, such as channels_redis, gives no number."""
        topic, content = delivery
        try:
            message = msgpack.unpackb(content, strict_map_key=False)
            token, number, channel = message.pop(KEY, None) or (b"", 0, "")
            if token and self._numbers.is_own(token):  # members here have it already
                return
            if token and (missing := self.gaps.arrived(topic, token, int(number))):
                self._tell(_described(topic), f"messages of a sender have not arrived: {missing}")
            channels = list(self._groups.get(topic.name, ())) if topic.is_group else [str(channel) or topic.name]
        except (ValueError, TypeError, AttributeError, OverflowError, msgpack.UnpackException):
            self.drops["garbage"] += 1
            self._tell(_described(topic), "what has arrived is no message of a channel layer; it is dropped")
            return
        self._put_all(channels, message)

    def _put_all(self, channels: list[str], message: dict[str, Any]) -> None:
        for channel in channels:
            self._put(channel, dict(message))


def _process_of(channel: str) -> str:
    """Return the process's part of a channel's name; empty if the name has no such part."""
    front, mark, _ = channel.partition("!")
    return front.rpartition(".")[2] if mark else ""


def _described(topic: Topic) -> str:
    return f"group {topic.name}" if topic.is_group else f"channel {topic.name}"
