"""One channel: the messages that wait for its reader."""

import time
from typing import Any

from protocols.queue import Queue

Message = dict[str, Any]


class Mailbox(Queue[tuple[float, Message]]):
    """Messages with the time at which each came, in seconds of the monotonic clock."""

    __slots__ = ("used",)

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.used = time.monotonic()
        """When a reader last got a message, or when the channel was made."""

    def put_back(self, message: Message) -> None:
        """Let ``message``, which a reader has taken and could not keep, be the next one."""
        self.appendleft((time.monotonic(), message))
        if self._more is not None:
            self._more.wake()

    def drop_older(self, oldest: float) -> int:
        """Drop messages that came before ``oldest``. Return how many there were."""
        count = 0
        while self and self[0][0] < oldest:
            self.next()
            count += 1
        return count

    def is_unused_since(self, moment: float) -> bool:
        """Whether no reader waits, and none has got anything since ``moment``."""
        return self.used < moment and not self.awaited
