"""The next change as one HTTP answer, for those who cannot keep a WebSocket open: ``curl localhost:8000/longpoll/``."""

import asyncio
import json
from typing import Any
from urllib.parse import parse_qs

import live

from gateway import AsyncHttpConsumer, get_channel_layer

LONGEST = 25.0
"""Seconds. Proxies cut what is silent for 30."""


def patience(query: bytes) -> float:
    """Seconds to wait, from ``?timeout=``, at most :data:`LONGEST`. Raises ValueError."""
    given = parse_qs(query.decode("latin-1")).get("timeout", [str(LONGEST)])[-1]
    seconds = float(given)
    if not seconds >= 0:  # NaN is not
        raise ValueError("timeout must not be negative")
    return min(seconds, LONGEST)


async def next_update(seconds: float) -> dict[str, Any] | None:
    """The next message to the group; None if there is none for so long."""
    layer = get_channel_layer()
    channel = await layer.new_channel()
    await layer.group_add(live.GROUP, channel)
    try:
        async with asyncio.timeout(seconds):
            return await layer.receive(channel)
    except TimeoutError:
        return None
    finally:
        await layer.close(channel)


class LongpollConsumer(AsyncHttpConsumer):
    """``/longpoll/?timeout=25``: ``{"kind": "reading", "data": {...}}``, or nulls when nothing happened in time."""

    async def handle(self, body: bytes) -> None:
        try:
            seconds = patience(self.scope["query_string"])
        except ValueError:
            await self.answer({"error": "timeout must be a number of seconds"}, 400)
            return
        event = await next_update(seconds) or {"kind": None, "data": None}
        await self.answer({"kind": event["kind"], "data": event["data"]})

    async def answer(self, value: dict[str, Any], status: int = 200) -> None:
        headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
        await self.respond(json.dumps(value).encode(), status, headers)
