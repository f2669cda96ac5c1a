"""The next change as one HTTP response, for clients that cannot keep a WebSocket open:
``curl localhost:8000/longpoll/``."""

import asyncio
import json
from typing import Any
from urllib.parse import parse_qs

import hosts
import live

from gateway import AsyncHttpConsumer, layer_event
from protocols.tasks import Tasks

LONGEST = 25.0
"""Seconds. Proxies close a connection that is silent for 30."""


def patience(query: bytes) -> float:
    """Return how many seconds to wait: ``?timeout=``, or :data:`LONGEST` at most. Raises ValueError."""
    given = parse_qs(query.decode("latin-1")).get("timeout", [str(LONGEST)])[-1]
    seconds = float(given)
    if not seconds >= 0:  # NaN is not
        raise ValueError("timeout must not be negative")
    return min(seconds, LONGEST)


class LongpollConsumer(AsyncHttpConsumer):
    """``/longpoll/?timeout=25``: ``{"kind": "reading", "data": {...}}``, or nulls when nothing happened in time.

    ``handle`` returns without a response: it comes later, with the first update. Meanwhile the consumer listens, so it
    learns at once that its client has left.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tasks = Tasks("longpoll")

    async def handle(self, body: bytes) -> None:
        if not hosts.welcome(self.scope):
            await self.answer({"error": "this host is not in ALLOWED_HOSTS"}, 400)
            return
        try:
            seconds = patience(self.scope["query_string"])
        except ValueError:
            await self.answer({"error": "timeout must be a number of seconds"}, 400)
            return
        await self.group_add(live.GROUP)
        self.tasks.spawn(self.give_up(seconds), name="timeout")

    async def give_up(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.channel_layer.send(self.channel_name, live.update(None, None))

    @layer_event("live.update")
    async def on_update(self, event: dict[str, Any]) -> None:
        await self.tasks.cancel()
        await self.answer({"kind": event["kind"], "data": event["rows"][0]})

    async def disconnect(self) -> None:
        await self.tasks.cancel()

    async def answer(self, value: dict[str, Any], status: int = 200) -> None:
        headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
        await self.respond(json.dumps(value).encode(), status, headers)
