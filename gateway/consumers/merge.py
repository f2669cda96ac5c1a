"""Two sources of events as one."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from protocols.app_run import unread

_CANCEL = 2.0
"""Seconds for a read that is cancelled to end."""

Source = Callable[[], Awaitable[Any]]


@asynccontextmanager
async def merge(*sources: Source) -> AsyncIterator[Source]:
    """A source that gives what any of ``sources`` gives, in turn, each source in its own order.

    A source is read when the next event is asked for, and not before: what its reader has not asked for stays where it
    is. Leaving the context cancels the reads that are under way, and gives back what one of them has read to a source
    that can take it. What a read raises comes in its turn, and that source is not read again.
    """
    turns = deque(sources)  # the source that gave the last event is at the end
    reads: dict[Source, asyncio.Future[Any]] = {}

    async def receive() -> Any:
        for source in turns:
            if source not in reads:
                reads[source] = asyncio.ensure_future(source())
        await asyncio.wait(reads.values(), return_when=asyncio.FIRST_COMPLETED)
        source = next(source for source in turns if reads[source].done())
        turns.remove(source)
        read = reads.pop(source)
        if not read.cancelled() and read.exception() is None:
            turns.append(source)
        return read.result()

    try:
        yield receive
    finally:
        for read in reads.values():
            read.cancel()
        if reads:
            await asyncio.wait(reads.values(), timeout=_CANCEL)
        for source, read in reads.items():
            if read.done() and not read.cancelled() and read.exception() is None:
                unread(source, read.result())
