"""Repeats what has to be said to the store until it is kept."""

import asyncio
from collections.abc import Awaitable, Callable

from gateway.store.engine import StoreUnavailable
from protocols.tasks import Tasks

PAUSE = 1.0
"""Seconds between two tries."""

owed = Tasks("store")
"""What is still to be said on nobody's time: the daemon cancels it at its end, and the next start gives it back."""


async def insist(call: Callable[[], Awaitable[None]]) -> None:
    """Until it succeeds. A message that is taken, or claimed, is nobody else's until this process says or ends."""
    while True:
        try:
            return await call()
        except StoreUnavailable:  # the store's own log has said so
            await asyncio.sleep(PAUSE)
