"""The place of one worker."""

import asyncio
from collections.abc import Iterator

from gateway.workers.worker import Worker


class Slot:
    """Has a worker that serves, one that is to take its place, and those that finish what they have accepted."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.serving: Worker | None = None
        self.coming: Worker | None = None
        self.leaving: list[Worker] = []
        self.changes = asyncio.Lock()
        """Held by what puts another worker there."""

    def __iter__(self) -> Iterator[Worker]:
        """Yield all of them."""
        yield from (each for each in (self.serving, self.coming) if each is not None)
        yield from self.leaving

    def promote(self, worker: Worker) -> Worker | None:
        """Let ``worker`` be the one that serves. Return the one before."""
        before, self.serving, self.coming = self.serving, worker, None
        if before is not None:
            self.leaving.append(before)
        return before

    def forget(self, worker: Worker) -> None:
        """``worker`` has ended."""
        if self.serving is worker:
            self.serving = None
        if self.coming is worker:
            self.coming = None
        if worker in self.leaving:
            self.leaving.remove(worker)
