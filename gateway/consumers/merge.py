"""Two sources of events as one."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

_CANCEL = 2.0
"""Seconds for a read that is cancelled to end."""

Source = Callable[[], Awaitable[Any]]


@asynccontextmanager
async def merge(*sources: Source) -> AsyncIterator[Source]:
    """A source that gives what any of ``sources`` gives, in the order of arrival, each source in its own order.

    One read of each source is under way at any time; leaving the context cancels them. What a read raises comes in its
    turn, and that source is not read again.
    """
    reads: dict[asyncio.Future[Any], Source] = {}
    ready: deque[asyncio.Future[Any]] = deque()  # no Queue: a task that filled it would read ahead of the consumer

    async def receive() -> Any:
        if not ready:
            done, _ = await asyncio.wait(reads, return_when=asyncio.FIRST_COMPLETED)
            for read in done:
                source = reads.pop(read)
                ready.append(read)
                if not read.cancelled() and read.exception() is None:
                    reads[asyncio.ensure_future(source())] = source
        return ready.popleft().result()

    for source in sources:
        reads[asyncio.ensure_future(source())] = source
    try:
        yield receive
    finally:
        for read in reads:
            read.cancel()
        if reads:
            await asyncio.wait(reads, timeout=_CANCEL)
        for read in (*reads, *ready):
            if read.done() and not read.cancelled():
                read.exception()  # or asyncio says that nobody has asked
