"""Has the journal's changes made durable, as many together as have come up since the last time."""

import asyncio
import logging

from protocols.mqtt.broker.journal import Journal, Persistence
from protocols.wakeup import Wakeup

logger = logging.getLogger(__name__)

PAUSE = 1.0
"""Seconds between two tries."""


class JournalWriter:
    """``name`` is the server's, for the log."""

    def __init__(self, persistence: Persistence, name: str) -> None:
        self._changed = Wakeup()
        self.journal = Journal(self._changed.wake)
        self._persistence = persistence
        self._name = name
        self._troubled = False

    async def run(self) -> None:
        """Write until it is cancelled."""
        while True:
            while self.journal.position <= self.journal.committed:
                await self._changed.wait()
            await self.flush()

    async def kept(self) -> None:
        """Wait until everything up to now is durable."""
        kept = asyncio.get_running_loop().create_future()
        self.journal.when(self.journal.position, lambda: None if kept.done() else kept.set_result(None))
        await kept

    async def close(self) -> None:
        """Try once more to keep what is not kept yet."""
        _, changes = self.journal.take()
        if changes:
            try:
                await self._persistence.commit(changes)
            except OSError as error:
                self._tell(f"its last state could not be kept: {error}")
        self.journal.end()

    async def flush(self) -> None:
        """Make everything up to now durable. If that fails, try again; nothing is acknowledged before it has
        succeeded."""
        while self.journal.position > self.journal.committed:
            position, changes = self.journal.take()
            try:
                await self._persistence.commit(changes)
            except asyncio.CancelledError:  # close() tries once more
                self.journal.put_back(changes)
                raise
            except OSError as error:
                self.journal.put_back(changes)
                self._tell(f"its state cannot be kept: {error}")
                await asyncio.sleep(PAUSE)
            else:
                self._troubled = False
                self.journal.kept(position)

    def _tell(self, trouble: str) -> None:
        if not self._troubled:
            logger.error("%s: %s; nothing that depends on it is acknowledged", self._name, trouble)
        self._troubled = True
