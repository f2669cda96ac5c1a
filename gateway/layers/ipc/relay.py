"""The relay: takes each message to the processes that have subscribed to its topic."""

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from gateway.layers.ipc import place
from gateway.layers.ipc.frames import GREETING, BadFrame, Frame, FrameReader, Kind, frame
from gateway.layers.told import Told, since
from protocols.wakeup import Wakeup

logger = logging.getLogger(__name__)

CONNECTIONS = 1000
"""Connections at a time."""
MOST_UNREAD = 2 * 1024 * 1024
"""Bytes that wait for one process. What comes on top is dropped and counted."""
MOST_UNANSWERED = 2 * MOST_UNREAD
"""Bytes that wait for a process when it is disconnected because it asks for more."""
LONGEST_PING = 64
QUIET = 10.0
"""Seconds between two lines of the log about the same process."""
WATCH = 0.2
"""Seconds between two looks whether this is still the relay."""
GREETING_TIME = 5.0
"""Seconds for a connection to greet."""
LAST_WORDS = 1.0
"""Seconds for processes to read what they have been sent when the relay ends."""


class Relay:
    """Runs on a thread of its own, with its own event loop: a handler that blocks that of the gateway stops nobody
    else. :meth:`start` raises OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.dropped = 0
        """Messages to processes that read too slowly."""
        self.refused = 0
        """Connections of programs that do not speak the protocol."""
        self._identity = 0
        self._told = Told()
        self._groups: defaultdict[bytes, dict[_Client, None]] = defaultdict(dict)
        self.clients: set[_Client] = set()
        self._has_left = Wakeup()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ends: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    @property
    def is_alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def drops(self) -> Mapping[str, int]:
        """Count what it has dropped and refused, by reason."""
        return {"relay": self.dropped, "garbage": self.refused}

    def start(self) -> None:
        """Listen, and relay until :meth:`stop`, or until another process has taken over."""
        listening = place.listening(self._path, backlog=128)
        self._identity = place.identity(self._path)
        self._loop = asyncio.new_event_loop()
        self._ends = asyncio.Event()
        self._thread = threading.Thread(target=self._run, args=(self._loop, listening), name="layer-relay", daemon=True)
        self._thread.start()

    def start_alone(self) -> bool:
        """Start unless another process relays already. Return whether this one does. Raises OSError."""
        with place.election(self._path) as is_free:
            if not is_free or place.answers(self._path):
                return False
            self.start()
            return True

    def stop(self) -> None:
        """Send what is on its way, and end. It blocks for a moment."""
        if self._loop is not None and self._ends is not None and self._thread is not None:
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(self._ends.set)
            self._thread.join()

    def _run(self, loop: asyncio.AbstractEventLoop, listening: socket.socket) -> None:
        try:
            loop.run_until_complete(self._serve(listening))
        except Exception:
            logger.exception("channel layer: the relay at %s crashed", self._path)
        finally:
            loop.close()

    async def _serve(self, listening: socket.socket) -> None:
        assert self._ends is not None
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(lambda: _Client(self), sock=listening)
        while not self._ends.is_set() and place.identity(self._path) == self._identity:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WATCH):
                    await self._ends.wait()
        if place.identity(self._path) == self._identity:
            self._path.unlink(missing_ok=True)
        server.close()
        for client in list(self.clients):
            client.transport.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS):
                while self.clients:
                    await self._has_left.wait()
        for client in list(self.clients):
            client.transport.abort()
        await asyncio.sleep(0)

    # What clients ask for.

    def subscribe(self, client: "_Client", topic: bytes) -> None:
        self._groups[topic][client] = None
        client.topics.add(topic)

    def unsubscribe(self, client: "_Client", topic: bytes) -> None:
        client.topics.discard(topic)
        if members := self._groups.get(topic):
            members.pop(client, None)
            if not members:
                del self._groups[topic]

    def publish(self, client: "_Client", found: Frame) -> None:
        receivers = self._groups.get(found.topic, ())
        if found.topic[:1] == b"g":
            for receiver in receivers:
                if receiver is not client:
                    receiver.take(found)
            return
        if not receivers:
            client.answer(frame(Kind.UNREAD, found.topic))
            return
        first = next(iter(receivers))
        members = self._groups[found.topic]
        del members[first]
        members[first] = None  # the next message is for the next one of several
        first.take(found)

    def refuse(self, why: str) -> None:
        """Count a connection that is ended because of what its program does, and tell of it."""
        self.refused += 1
        if times := self._told.due("refused"):
            said = "channel layer: a program at the socket of the relay was disconnected: %s%s"
            logger.warning(said, why, since(times))

    def left(self, client: "_Client") -> None:
        self.clients.discard(client)
        self._has_left.wake()
        for topic in list(client.topics):
            self.unsubscribe(client, topic)


class _Client(asyncio.Protocol):
    """One process that is connected."""

    transport: asyncio.Transport

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._reader = FrameReader()
        self.topics: set[bytes] = set()
        self._out: list[bytes] = []
        self._told = 0.0
        self._unread = 0
        """Messages dropped since the last line of the log."""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport = cast("asyncio.Transport", transport)  # uvloop's is none by its type
        if len(self._relay.clients) >= CONNECTIONS:
            self._refuse(f"{CONNECTIONS} processes are connected already")
            return
        self._relay.clients.add(self)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(GREETING_TIME, self._refuse, f"no greeting came within {GREETING_TIME:g} s")
        transport.write(GREETING)

    def connection_lost(self, error: Exception | None) -> None:
        self._silence()
        self._relay.left(self)

    def data_received(self, data: bytes) -> None:
        try:
            for found in self._reader.feed(data):
                self._take(found)
        except BadFrame as error:
            self._out.clear()
            self._refuse(str(error))
        if self._reader.is_greeted:
            self._silence()
        for client in list(self._relay.clients):
            client.flush()

    def _take(self, found: Frame) -> None:
        match found.kind:
            case Kind.PUBLISH:
                self._relay.publish(self, found)
            case Kind.SUBSCRIBE:
                self._relay.subscribe(self, found.topic)
            case Kind.UNSUBSCRIBE:
                self._relay.unsubscribe(self, found.topic)
            case Kind.PING:
                if len(found.content) > LONGEST_PING:
                    raise BadFrame(f"a ping has {len(found.content)} bytes")
                self.answer(frame(Kind.PONG, b"", found.content))
            case _:
                raise BadFrame(f"a frame is of the unknown kind {found.kind}")

    def _refuse(self, why: str) -> None:
        self._relay.refuse(why)
        self.transport.abort()

    def _silence(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def answer(self, data: bytes) -> None:
        """Send ``data``, which is small, with the rest of this turn. Raises BadFrame if too many answers are unread."""
        if self.transport.get_write_buffer_size() > MOST_UNANSWERED:
            raise BadFrame("it does not read its answers")
        self._out.append(data)

    def take(self, found: Frame) -> None:
        """Send a message, unless this process reads too slowly."""
        if self.transport.get_write_buffer_size() <= MOST_UNREAD:
            self._out.append(found.whole)
            return
        self._relay.dropped += 1
        self._unread += 1
        now = time.monotonic()
        if now - self._told >= QUIET:
            name = found.topic[1:].decode(errors="replace")
            kind = "group" if found.topic[:1] == b"g" else "channel"
            said = (
                "channel layer: a process reads too slowly: %d messages to it were dropped, the last one to the %s %s"
            )
            logger.warning(said, self._unread, kind, name, extra={"lost": True})
            self._told, self._unread = now, 0

    def flush(self) -> None:
        if self._out:
            out, self._out = b"".join(self._out), []
            if not self.transport.is_closing():
                self.transport.write(out)
