"""Logs what a stop waits for."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping

logger = logging.getLogger(__name__)

INTERVAL = 1.0
"""Seconds between two lines."""


@contextlib.asynccontextmanager
async def logged_wait(
    what: Callable[[], str], seconds: float, *, after: float = 0.0, hint: str = ""
) -> AsyncIterator[None]:
    """Log each second what is waited for, how much of ``seconds`` is left, and ``hint``, while the block runs. The
    first ``after`` seconds are quiet."""
    task = asyncio.create_task(_tell(what, seconds, after, hint), name="progress")
    try:
        yield
    finally:
        task.cancel()


async def _tell(what: Callable[[], str], seconds: float, after: float, hint: str) -> None:
    loop = asyncio.get_running_loop()
    ends = loop.time() + seconds
    await asyncio.sleep(after)
    while (left := ends - loop.time()) > 0:
        if waited_for := what():
            logger.info("draining: %s (%.0f s left%s)", waited_for, left, hint)
        await asyncio.sleep(INTERVAL)


def listed(active: Mapping[str, int]) -> str:
    """``3 http, 1 websocket``."""
    return ", ".join(f"{number} {noun}" for noun, number in active.items())
