"""How long the event loop has to wait for its turn."""

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator

LONGEST = 0.1
"""Seconds of CPU that a peer, or a handler, may keep others waiting."""


@contextlib.asynccontextmanager
async def turning() -> AsyncIterator[list[float]]:
    """The longest time between two turns of the loop meanwhile, in seconds of the process's CPU."""
    longest = [0.0]
    gc.collect()
    gc.freeze()  # else a turn may be the one that looks through what thousands of other tests have left here

    async def watch() -> None:
        before = time.process_time()
        while True:
            await asyncio.sleep(0)
            now = time.process_time()
            longest[0] = max(longest[0], now - before)
            before = now

    watching = asyncio.ensure_future(watch())
    await asyncio.sleep(0)  # it has begun before what it watches does
    try:
        yield longest
        await asyncio.sleep(0)
    finally:
        watching.cancel()
        gc.unfreeze()
