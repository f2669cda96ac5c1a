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
"""Key -> new value; None removes it."""


class Persistence(Protocol):
    """The place where a server's state is kept."""

    async def load(self) -> Mapping[str, bytes]:
        """Everything that is kept, by key."""

    async def commit(self, changes: Changes) -> None:
        """All of ``changes`` or none; durable when it returns. Raises OSError if it cannot be made so."""


class Journal:
    """``wake`` is called when there is the first change to take."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self.position = 0
        """The number of the last change."""
        self.committed = 0
        """The number of the last change that is kept."""
        self._wake = wake
        self._changes: dict[str, bytes | None] = {}
        self._waiting: deque[tuple[int, Callable[[], None], Callable[[], None]]] = deque()
        self._is_over = False
        self._number = 0

    def number(self) -> int:
        """Return a new number, larger than all before it."""
        self._number += 1
        return self._number

    def start_after(self, number: int) -> None:
        self._number = max(self._number, number)

    def put(self, key: str, value: bytes | None) -> None:
        """Add a change. It replaces an earlier change of the same key that was not taken yet."""
        if not self._changes:
            self._wake()
        self._changes[key] = value
        self.position += 1

    def take(self) -> tuple[int, Changes]:
        """Take the changes since the last call; return the position up to which they go, and the changes."""
        changes, self._changes = self._changes, {}
        return self.position, changes

    def put_back(self, changes: Changes) -> None:
        """Put back changes that could not be kept."""
        self._changes = {**changes, **self._changes}

    def kept(self, position: int) -> None:
        """Note that all up to ``position`` is durable, and call the callbacks that wait for that."""
        self.committed = position
        waiting = self._waiting
        while waiting and waiting[0][0] <= position:
            try:
                waiting.popleft()[1]()
            except Exception:  # the fault is this callback's; the others are still called
                logger.exception("the journal")

    def when(self, position: int, call: Callable[[], None], lost: Callable[[], None] = lambda: None) -> None:
        """Call ``call()`` once all up to ``position`` is kept, or at once if it is; ``lost()`` if it is not known to be
        kept when the journal ends. ``position`` is not beyond that of the last change."""
        if position <= self.committed:
            call()
        elif self._is_over:
            lost()
        else:
            self._waiting.append((position, call, lost))

    def end(self) -> None:
        """Nothing more is written here: another process may have the place where it is kept."""
        self._is_over = True
        while self._waiting:
            self._waiting.popleft()[2]()
