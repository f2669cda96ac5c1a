"""One process's side: a connection to the relay, which is made again, and a relay if no other process has one."""

import asyncio
import contextlib
import logging
import random
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from gateway.layers.bus import PATIENCE, Arrived, Delivery, LayerUnavailable, LinkState, Topic
from gateway.layers.ipc import place
from gateway.layers.ipc.frames import (
    GREETING,
    BadFrame,
    FrameReader,
    Kind,
    OtherVersion,
    frame,
    packed_topic,
    unpacked_topic,
)
from gateway.layers.ipc.relay import Relay
from gateway.layers.told import Told, since
from protocols.net.unix_path import address
from protocols.wakeup import Wakeup

logger = logging.getLogger(__name__)

BEAT = 0.5
"""Seconds between two pings."""
GRACE = 0.2
"""Seconds for an answer that has come while this process's own event loop stood still."""
AGAIN = 0.02
"""Seconds between two attempts to connect."""
AGAIN_OTHER = 2.0
"""Seconds between two attempts where the relay speaks another version."""
COURTESY = 1.0
"""Seconds for another process to become the relay."""
HIGH = 1024 * 1024
"""Bytes that wait for the relay before senders wait, too."""


class IpcBus:
    """A :class:`gateway.layers.bus.Bus`. With ``relays``, this process becomes the relay if no other process is."""

    def __init__(self, path: Path, *, relays: bool = True) -> None:
        self._path = path
        self._relays = relays
        self.relay: Relay | None = None
        self.state = LinkState()
        self._topics: dict[bytes, None] = {}
        self._confirming: set[bytes] = set()
        """Topics that the relay may not know yet."""
        self._link: _Link | None = None
        self._running: asyncio.Task[None] | None = None
        self._becoming: asyncio.Future[bool] | None = None
        """Whether this process becomes the relay, while that is tried."""
        self._arrived: Arrived = _nothing
        self._blocked_since = 0.0
        self.unread = 0
        """Messages to channels that no process reads."""
        self._told = Told()
        self._before = Counter[str](relay=0, garbage=0)
        """What relays of this process have dropped that have ended."""

    async def open(self, arrived: Arrived) -> None:
        self._arrived = arrived
        self._running = asyncio.create_task(self._run(), name="channel layer: ipc")
        await self.state.wait()

    async def close(self) -> None:
        if self._link is not None:
            with contextlib.suppress(LayerUnavailable):
                await self._link.answered()
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
            self._running = None
        if self._becoming is not None:  # its thread goes on
            await asyncio.gather(self._becoming, return_exceptions=True)
        if self.relay is not None:
            await asyncio.to_thread(self._end_relay)

    async def subscribe(self, topic: Topic) -> None:
        is_new = (name := packed_topic(topic)) not in self._topics
        if not is_new and name not in self._confirming:
            return
        self._topics[name] = None
        if (link := self._link) is not None:
            if is_new:
                self._confirming.add(name)
                link.write(frame(Kind.SUBSCRIBE, name))
            with contextlib.suppress(LayerUnavailable):  # it subscribes again when it is connected
                await link.answered()
            self._confirming.discard(name)

    async def unsubscribe(self, topic: Topic) -> None:
        if self._topics.pop(name := packed_topic(topic), self) is None and self._link is not None:
            self._link.write(frame(Kind.UNSUBSCRIBE, name))

    async def publish(self, topic: Topic, content: bytes) -> bool:
        name = packed_topic(topic)
        if self._link is None:
            await self.state.wait()
        if (link := self._link) is None:
            raise LayerUnavailable(f"the channel layer is cut off: {self.state.trouble}")
        link.write(frame(Kind.PUBLISH, name, content))
        if not await link.room():
            raise LayerUnavailable("the channel layer was cut off: its relay has ended, or does not answer")
        return True

    def drops(self) -> Mapping[str, int]:
        found = self._before.copy()
        found["unread"] = self.unread
        if self.relay is not None:
            found.update(self.relay.drops())
        return found

    async def _run(self) -> None:
        while True:
            before = place.identity(self._path)
            pause = random.uniform(AGAIN / 2, AGAIN)  # noqa: S311 -- several processes are not to begin at once
            try:
                await self._session()
            except OtherVersion as error:
                self.state.failed(f"the relay at {self._path}: {error}; restart the older one of the two programs")
                pause = AGAIN_OTHER
            except (OSError, BadFrame, TimeoutError) as error:
                self.state.failed(_reason(self._path, error, relays=self._relays))
                await self._perhaps_relay(before)
            await asyncio.sleep(pause)

    async def _session(self) -> None:
        """Be connected, until that ends. Raises OSError, BadFrame or TimeoutError if it could not connect."""
        link = _Link(self)
        async with asyncio.timeout(PATIENCE):
            await asyncio.get_running_loop().create_unix_connection(lambda: link, address(self._path))
            try:
                await link.greeted
                known = [*self._topics]
                link.write(b"".join(frame(Kind.SUBSCRIBE, topic) for topic in known))
                await link.answered()
            except BaseException:
                link.abort()
                raise
        self._link, self._blocked_since = link, 0.0
        for topic in self._topics.keys() ^ known:  # others have joined and left meanwhile
            link.write(frame(Kind.SUBSCRIBE if topic in self._topics else Kind.UNSUBSCRIBE, topic))
        self.state.connected()
        try:
            await link.watch()
        finally:
            link.abort()
            self.has_ended(link)
        self.state.lost(f"the relay at {self._path} has ended, or does not answer")

    def has_ended(self, link: "_Link") -> None:
        """Write no more to ``link``."""
        if self._link is link:
            self._link = None
            self.state.ended()

    async def _perhaps_relay(self, before: int) -> None:
        """Become the relay, unless another process has. ``before``: what was at the path when the last one failed."""
        if not self._relays:
            return
        try:
            self._becoming = asyncio.ensure_future(asyncio.to_thread(self._become_relay, before))
            if await asyncio.shield(self._becoming):
                logger.info("channel layer: this process relays at %s", self._path)
        except OSError as error:
            self.state.failed(
                f"there is no relay at {self._path}, and this process cannot be it: {error.strerror or error}"
            )
            await asyncio.sleep(BEAT)

    def _become_relay(self, before: int) -> bool:
        with place.election(self._path) as is_free:
            now = time.monotonic()
            self._blocked_since = self._blocked_since or now
            if not is_free and now - self._blocked_since < COURTESY:
                return False
            if place.identity(self._path) != before:  # another one has, meanwhile
                return False
            if is_free:
                place.remove_unfinished(self._path)
            self._end_relay()
            self.relay = Relay(self._path)
            self.relay.start()
            return True

    def _end_relay(self) -> None:
        if self.relay is not None:
            self.relay.stop()
            self._before.update(self.relay.drops())
            self.relay = None

    def arrived(self, topic: bytes, content: bytes) -> None:
        self._arrived(Delivery(unpacked_topic(topic), content))

    def is_unread(self, topic: bytes) -> None:
        self.unread += 1
        name = topic[1:].decode(errors="replace")
        if times := self._told.due("unread"):
            said = "channel %s: no process reads it; a message to it is dropped%s"
            logger.warning(said, name, since(times), extra={"lost": True})


class _Link(asyncio.Protocol):
    """A connection to the relay."""

    def __init__(self, bus: IpcBus) -> None:
        loop = asyncio.get_running_loop()
        self._bus = bus
        self._reader = FrameReader()
        self._transport: asyncio.Transport | None = None
        self.greeted: asyncio.Future[None] = loop.create_future()
        self._lost: asyncio.Future[None] = loop.create_future()
        self._pings = 0
        self._answered = 0
        self._heard = Wakeup()
        self._is_full = False
        self._has_room = Wakeup()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast("asyncio.Transport", transport)  # uvloop's is none by its type
        transport.set_write_buffer_limits(HIGH)
        transport.write(GREETING)

    def connection_lost(self, error: Exception | None) -> None:
        self._bus.has_ended(self)
        self._fail(error or ConnectionResetError("the relay has closed the connection"))
        if not self._lost.done():
            self._lost.set_result(None)
        self.resume_writing()
        self._heard.wake()

    def _fail(self, error: Exception) -> None:
        if not self.greeted.done():
            self.greeted.set_exception(error)
            self.greeted.exception()  # nobody may wait for it any more

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        self._has_room.wake()

    def data_received(self, data: bytes) -> None:
        try:
            for found in self._reader.feed(data):
                if found.kind == Kind.PUBLISH:
                    self._bus.arrived(found.topic, found.content)
                elif found.kind == Kind.PONG:
                    self._answered = max(self._answered, int.from_bytes(found.content, "big"))
                    self._heard.wake()
                elif found.kind == Kind.UNREAD:
                    self._bus.is_unread(found.topic)
                else:
                    raise BadFrame(f"a frame is of the unknown kind {found.kind}")
        except BadFrame as error:
            self._fail(error)
            self.abort()
        if self._reader.is_greeted and not self.greeted.done():
            self.greeted.set_result(None)

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    async def room(self) -> bool:
        """Wait until the relay has read most of what was written. Return whether it has, and has not ended."""
        waits = self._is_full
        while self._is_full:
            await self._has_room.wait()
        return not (waits and self._lost.done())

    async def answered(self) -> None:
        """Wait until the relay has worked on all that was written. Raises LayerUnavailable."""
        self._pings += 1
        number = self._pings
        self.write(frame(Kind.PING, b"", number.to_bytes(8, "big")))
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while self._answered < number and not self._lost.done():
            left = deadline - asyncio.get_running_loop().time()
            if left < -GRACE:
                break
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(left, GRACE)):  # wait_for of 3.11 can swallow a cancel
                    await self._heard.wait()
        if self._answered < number:
            raise LayerUnavailable("the channel layer's relay does not answer")

    async def watch(self) -> None:
        """Return when the connection is lost, or the relay does not answer."""
        while not self._lost.done():
            await asyncio.wait({self._lost}, timeout=BEAT)
            try:
                await self.answered()
            except LayerUnavailable:
                return

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _nothing(delivery: Delivery) -> None:
    pass


def _reason(path: Path, error: Exception, *, relays: bool) -> str:
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return f"there is no relay at {path}{'' if relays else ', because no gateway with this layer runs'}"
    if isinstance(error, TimeoutError):
        return f"the relay at {path} does not answer"
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"the relay at {path} cannot be reached: {said}"
