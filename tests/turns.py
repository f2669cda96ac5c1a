"""What happens between two turns of the event loop, counted."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator


class Turns:
    """``most``: calls of :meth:`count` within one turn. ``longest``: CPU seconds of this thread."""

    def __init__(self) -> None:
        self.most = 0
        self.longest = 0.0
        self._count = 0

    def count(self, number: int = 1) -> None:
        self._count += number
        self.most = max(self.most, self._count)

    async def run(self) -> None:
        while True:
            began = time.thread_time()
            await asyncio.sleep(0)
            self.longest = max(self.longest, time.thread_time() - began)
            self._count = 0


@contextlib.asynccontextmanager
async def counted() -> AsyncIterator[Turns]:
    turns = Turns()
    running = asyncio.ensure_future(turns.run())
    try:
        yield turns
    finally:
        running.cancel()
        await asyncio.wait({running})
