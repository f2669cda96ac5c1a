"""What happens between two turns of the event loop, counted."""

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator

LONGEST = 0.1
"""Seconds of CPU that a peer, or a handler, may keep others waiting."""


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
    """The turns from here to the end of the block."""
    turns = Turns()
    gc.disable()  # else a turn may be the one that looks through what thousands of other tests have left here
    running = asyncio.ensure_future(turns.run())
    await asyncio.sleep(0)  # it has begun before what it watches does
    try:
        yield turns
        await asyncio.sleep(0)
    finally:
        gc.enable()
        running.cancel()
        await asyncio.wait({running})
