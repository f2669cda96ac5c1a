"""Two sources of events as one."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

Source = Callable[[], Awaitable[Any]]


@asynccontextmanager
async def merge(*sources: Source) -> AsyncIterator[Source]:
    """A source that gives what any of ``sources`` gives, in the order of arrival, each source in its own order.

    One read of each source is under way at any time; leaving the context cancels them.
    """
    reads: dict[asyncio.Future[Any], Source] = {}
    ready: deque[Any] = deque()

    async def receive() -> Any:
        if not ready:
            done, _ = await asyncio.wait(reads, return_when=asyncio.FIRST_COMPLETED)
            for read in done:
                source = reads.pop(read)
                ready.append(read.result())
                reads[asyncio.ensure_future(source())] = source
        return ready.popleft()

    for source in sources:
        reads[asyncio.ensure_future(source())] = source
    try:
        yield receive
    finally:
        for read in reads:
            read.cancel()
        await asyncio.gather(*reads, return_exceptions=True)
