"""The messages that wait for a WebSocket's peer, if its consumer does not wait for it."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Literal, get_args

from protocols.asgi import Scope, describe
from protocols.errors import Disconnected, LocalProtocolError
from protocols.events import Event
from protocols.tasks import Tasks

logger = logging.getLogger(__name__)

SlowReceiver = Literal["drop_oldest", "close"]
"""What happens when one more message would wait than may: the oldest is dropped, or the connection is closed."""
CLOSE_CODE, CLOSE_REASON = 1013, "too slow"
"""The close of a peer that reads too slowly: 1013 is "try again later" in the IANA registry of close codes."""

_writers = Tasks("send queue")


def check(consumer: type, limit: Any, policy: Any) -> None:
    """Raise TypeError for a bound or a policy that there is not."""
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
        raise TypeError(f"{consumer.__name__}.send_queue is {limit!r}; write a number of messages, or 0 for none")
    if policy not in get_args(SlowReceiver):
        choices = " or ".join(map(repr, get_args(SlowReceiver)))
        raise TypeError(f"{consumer.__name__}.slow_receiver is {policy!r}; write {choices}")


class SendQueue:
    """At most ``limit`` messages that wait to be sent on one connection. A task sends them in order, as fast as the
    peer reads, and ends when the queue is empty."""

    __slots__ = ("_limit", "_policy", "_scope", "_send", "_waiting", "_writer", "closed", "dropped")

    def __init__(
        self, scope: Scope, send: Callable[[Event], Awaitable[None]], limit: int, policy: SlowReceiver
    ) -> None:
        self._scope = scope
        self._send = send
        self._limit = limit
        self._policy = policy
        self._waiting: deque[Event] = deque()
        self._writer: asyncio.Task[None] | None = None
        self.closed = False
        """Whether the close of the connection waits here, or has been sent."""
        self.dropped = 0
        """Messages that were dropped because the peer is slow."""

    async def put(self, event: Event) -> None:
        """Send ``event`` after those that wait. Raises Disconnected if the connection is closed because of it."""
        if len(self._waiting) >= self._limit:
            self._make_room()
        self._append(event)
        await asyncio.sleep(0)  # a peer that reads has it now; only one that does not lets the queue grow

    async def close(self, event: Event) -> None:
        """Send ``event``, the close of the connection, after those that wait."""
        self.closed = True
        self._append(event)
        await asyncio.sleep(0)

    def _append(self, event: Event) -> None:
        self._waiting.append(event)
        if self._writer is None or self._writer.done():
            self._writer = _writers.spawn(self._write(), name=describe(self._scope))

    def _make_room(self) -> None:
        if self._policy == "close":
            self._close_slow()
        if not self.dropped:
            said = "%s: its peer reads too slowly; of %d messages that wait for it, the oldest are dropped"
            logger.warning(said, describe(self._scope), self._limit, extra={"scope": self._scope, "lost": True})
        self.dropped += 1
        self._waiting.popleft()

    def _close_slow(self) -> None:
        """Close the connection without the messages that wait. Raises Disconnected."""
        said = "%s: closed, because its peer reads too slowly; %d messages that waited for it are dropped"
        logger.warning(said, describe(self._scope), self._limit, extra={"scope": self._scope, "lost": True})
        self.dropped += len(self._waiting)
        self.stop()
        self.closed = True
        self._append({"type": "websocket.close", "code": CLOSE_CODE, "reason": CLOSE_REASON})
        raise Disconnected("the connection is closed, because its peer reads too slowly")

    async def _write(self) -> None:
        with contextlib.suppress(OSError):  # the peer is gone: the consumer receives its disconnect
            while self._waiting:
                event = self._waiting.popleft()
                try:
                    await self._send(event)
                except LocalProtocolError as error:
                    if not self.closed:
                        logger.error("%s: %s", describe(self._scope), error, extra={"scope": self._scope})

    async def flush(self, timeout: float) -> None:
        """Wait for at most ``timeout`` seconds until what waits is sent, and drop the rest."""
        if self._writer is not None:
            await asyncio.wait({self._writer}, timeout=timeout)
        self.stop()

    def stop(self) -> None:
        """Drop what waits. What is being sent is not waited for."""
        self._waiting.clear()
        if self._writer is not None:
            self._writer.cancel()
            self._writer = None
