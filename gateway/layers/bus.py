"""What carries messages between the processes of a shared layer."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from protocols.wakeup import Wakeup

logger = logging.getLogger(__name__)

PATIENCE = 2.0
"""Seconds for which a call waits for a connection or an answer. Being cut off for longer is a line in the log."""


class LayerUnavailable(ConnectionError):
    """The channel layer cannot reach other processes now: a message was not sent. One sentence says why."""


class Topic(NamedTuple):
    """Where a message goes."""

    is_group: bool
    """Whether all processes that have subscribed get it; else one does."""
    name: str

    @classmethod
    def of_group(cls, name: str) -> "Topic":
        return cls(is_group=True, name=name)

    @classmethod
    def of_channel(cls, name: str) -> "Topic":
        return cls(is_group=False, name=name)


class Delivery(NamedTuple):
    """A message that has come from another process."""

    topic: Topic
    content: bytes


Arrived = Callable[[Delivery], None]


class LinkState:
    """Whether a bus is connected."""

    def __init__(self) -> None:
        self.trouble = ""
        """Why it is cut off, in one sentence; empty while it is connected."""
        self.interruptions = 0
        """How often it has lost its connection."""
        self.is_connected = False
        self._changed = Wakeup()
        self._since = time.monotonic()
        self._was_connected = False
        self._is_told = False

    async def wait(self) -> bool:
        """Wait until it is connected, at most ``PATIENCE``. Return whether it is."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while not self.is_connected:
                    await self._changed.wait()
        return self.is_connected

    def ended(self) -> None:
        """Note that it is not connected any more, and is not to be."""
        self.is_connected = False

    def connected(self) -> None:
        lasted = time.monotonic() - self._since
        if self._was_connected and self.trouble:
            said = "channel layer: connected again after %.1f s; what other processes have sent meanwhile is lost here"
            logger.log(logging.WARNING if self._is_told else logging.INFO, said, lasted)
        self.trouble, self._was_connected, self._is_told = "", True, False
        self.is_connected = True
        self._changed.wake()

    def lost(self, why: str) -> None:
        """Note that a connection has ended."""
        self.is_connected = False
        self.interruptions += 1
        self._since = time.monotonic()
        self.trouble = why
        logger.info("channel layer: %s", why)

    def failed(self, why: str) -> None:
        """Note that connecting has failed."""
        self.trouble = why
        if not self._is_told and time.monotonic() - self._since > PATIENCE / 2:
            self._is_told = True
            said = "channel layer: groups do not reach other processes: %s; the gateway goes on trying"
            logger.warning(said, why)


class Bus(Protocol):
    """Carries what is published to all other processes that have subscribed. All methods are called on the event loop
    on which it was opened."""

    state: LinkState

    async def open(self, arrived: Arrived) -> None:
        """Connect, and stay connected. ``arrived`` is called for each message. Return when it is connected or, if that
        fails, after a moment: it goes on trying."""

    async def close(self) -> None:
        """Send what is on its way, and disconnect."""

    async def subscribe(self, topic: Topic) -> None:
        """Get what is published to ``topic`` from now on. If it is cut off, it subscribes when it is connected
        again."""

    async def unsubscribe(self, topic: Topic) -> None: ...

    async def publish(self, topic: Topic, content: bytes) -> bool:
        """Send ``content``. Return False if it is known that no process has subscribed. Raises LayerUnavailable."""

    def drops(self) -> Mapping[str, int]:
        """Count the messages that it has dropped, by reason."""
