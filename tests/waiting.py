"""Waiting for what nothing tells of: it happens on a thread, in another process, or on the other side of a socket."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

PATIENCE = 20.0
"""Seconds."""


async def until(look: Callable[[], Any], seconds: float = PATIENCE) -> None:
    """Wait until ``look``, a function or a coroutine function, returns something true; at most ``seconds``."""
    async with asyncio.timeout(seconds):
        while not await _result(look):  # noqa: ASYNC110 -- nothing sets an event
            await asyncio.sleep(0.005)


async def _result(look: Callable[[], Any]) -> Any:
    found = look()
    return await found if inspect.isawaitable(found) else found
