"""The states in which rows are, as numbers. Stores of released versions have these."""

from enum import IntEnum


class StoredState(IntEnum):
    """The column ``state`` of messages and outgoing items."""

    WAITING = 0
    RUNNING = 1
    BEHIND = 2
    """A message that waits for an older one of its key, which makes it ``WAITING`` when it ends."""
    DEAD = 3
    GONE = 4
    """A message that is handled or dropped, of which the history is left."""


class StoredClaim(IntEnum):
    """The column ``state`` of claims."""

    BUSY = 0
    FREE = 1
    """Its last attempt failed, and it may be claimed again."""
    DONE = 2


WAITING, RUNNING, BEHIND, DEAD, GONE = StoredState
BUSY, FREE, DONE = StoredClaim
