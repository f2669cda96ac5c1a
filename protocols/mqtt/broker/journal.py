"""What of the broker's state has to outlive the process: changes by key, in order, and who waits until they are kept.

Pure: the server takes the changes, has them made durable, and says so. Where a server keeps nothing, there is no
journal, and nothing here costs anything.
"""

import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

logger = logging.getLogger(__name__)

Changes = Mapping[str, bytes | None]
"""By key; None removes."""


class Persistence(Protocol):
    """Where a server's state is kept."""

    async def load(self) -> Mapping[str, bytes]:
        """Everything that is kept, by key."""

    async def commit(self, changes: Changes) -> None:
        """All of ``changes`` or none; durable when it returns. Raises OSError where it cannot be made so."""


class Journal:
    """``wake`` is called when there is the first change to take."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self.position = 0
        """Of the last change."""
        self.committed = 0
        """Of the last change that is kept."""
        self._wake = wake
        self._changes: dict[str, bytes | None] = {}
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()
        self._number = 0

    def number(self) -> int:
        """A new one, larger than all before it."""
        self._number += 1
        return self._number

    def start_after(self, number: int) -> None:
        self._number = max(self._number, number)

    def put(self, key: str, value: bytes | None) -> None:
        """A later change of a key takes the place of an earlier one that was not taken yet."""
        if not self._changes:
            self._wake()
        self._changes[key] = value
        self.position += 1

    def take(self) -> tuple[int, Changes]:
        """What changed since it was taken last, and up to which position."""
        changes, self._changes = self._changes, {}
        return self.position, changes

    def put_back(self, changes: Changes) -> None:
        """They could not be kept."""
        self._changes = {**changes, **self._changes}

    def kept(self, position: int) -> None:
        """All up to ``position`` is durable: callbacks that wait for that are called."""
        self.committed = position
        waiting = self._waiting
        while waiting and waiting[0][0] <= position:
            try:
                waiting.popleft()[1]()
            except Exception:  # the fault is this callback's; the others are still called
                logger.exception("the journal")

    def when(self, position: int, call: Callable[[], None]) -> None:
        """``call()`` once all up to ``position``, which is not beyond today's, is kept; at once where it is."""
        if position <= self.committed:
            call()
        else:
            self._waiting.append((position, call))
