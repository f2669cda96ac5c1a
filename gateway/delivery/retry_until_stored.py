"""Repeats a call to the store until it succeeds."""

import asyncio
from collections.abc import Awaitable, Callable

from gateway.store import StoreUnavailable

PAUSE = 1.0
"""Seconds between two tries."""


async def retry_until_stored(
    call: Callable[[], Awaitable[None]], told: Callable[[StoreUnavailable], None] | None = None
) -> None:
    """Call ``call`` again and again until it succeeds: no other process takes over what this one has taken or claimed
    while this one lives. ``told`` is called at the first failure."""
    while True:
        try:
            return await call()
        except StoreUnavailable as error:  # the store's own log has said so
            if told is not None:
                told(error)
            told = None
            await asyncio.sleep(PAUSE)
