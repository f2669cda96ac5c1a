"""The states of rows, as numbers. They never change, because stores of released versions have them."""

from enum import IntEnum


class StoredState(IntEnum):
    """The column ``state`` of messages and outgoing items."""

    WAITING = 0
    RUNNING = 1
    BEHIND = 2
    """A message that waits for an older one of its key. It becomes ``WAITING`` when the older one ends."""
    DEAD = 3
    GONE = 4
    """A message that is handled or dropped. Its history is still kept."""


class StoredClaim(IntEnum):
    """The column ``state`` of claims."""

    BUSY = 0
    FREE = 1
    """Its last attempt failed, and it may be claimed again."""
    DONE = 2


WAITING, RUNNING, BEHIND, DEAD, GONE = StoredState
BUSY, FREE, DONE = StoredClaim
