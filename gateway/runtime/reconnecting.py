"""Ends connections that began with earlier generations, so that their peers connect to the one that serves."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

from gateway.config.diagnostics import count
from protocols.server import Outdated, Server

logger = logging.getLogger(__name__)

PARTS = 20
"""Parts of a second. The connections of one part are ended in one turn of the event loop."""

Told = Callable[[int, int], None]
"""Is given how many connections have been told to connect again, and how many there are."""


async def reconnect(servers: Iterable[Server], *, rate: int, grace: float, told: Told) -> None:
    """End the outdated connections of ``servers``, ``rate`` a second at most. Each has ``grace`` seconds to finish what
    has arrived. ``told`` is called at the start, after each part, and so at the end."""
    connections = [each for server in servers for each in server.outdated()]
    began, asked, total = time.monotonic(), 0, len(connections)
    told(asked, total)
    try:
        while asked < total:
            part = connections[asked : asked + max(1, rate // PARTS)]
            _end(part, grace)
            asked += len(part)
            told(asked, total)
            await asyncio.sleep(len(part) / rate if asked < total else 0)
    finally:
        done = count(total, "connection") if asked == total else f"{asked} of {count(total, 'connection')}"
        logger.info("%s of earlier generations told to connect again, in %.1f s", done, time.monotonic() - began)


def _end(connections: Iterable[Outdated], grace: float) -> None:
    for connection in connections:
        connection.reconnect(grace)
