"""By topic, for the mqtt scope: one connection, many applications."""

import asyncio
import logging
from typing import Any

from gateway.routing.patterns import Pattern
from gateway.routing.router import Route, Router
from gateway.routing.unrouted import refuse
from protocols.asgi import Receive, Scope, Send

logger = logging.getLogger(__name__)

WINDOW = 64
"""Messages that wait for one branch before the connection's reading is held back."""


class TopicRouter(Router):
    """Each message goes to the first route whose filter its topic matches.

    A route's application runs as if the connection were its own: it is started by the first message for it, hears
    ``mqtt.connect`` first (its ``mqtt.accept`` changes nothing: the connection is open; its ``mqtt.reject`` closes it)
    and ``mqtt.disconnect`` last. Messages of one route stay in order; routes do not wait for each other until one is
    ``WINDOW`` messages behind. A message without a route is acknowledged: it was for the subscribers alone.
    """

    def key(self, pattern: Pattern, scope: Any) -> str:
        topic: str = scope["topic"]
        return topic

    def routable(self, scope: Scope) -> bool:
        return True

    def explain(self, scope: Any) -> Route | None:
        return super().explain(scope) if "topic" in scope else None

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "mqtt":
            await (super().__call__ if scope["type"] == "lifespan" else refuse)(scope, receive, send)
            return
        connect = await receive()
        await send({"type": "mqtt.accept"})
        try:
            async with asyncio.TaskGroup() as group:
                await self._dispatch(scope, connect, receive, send, group)
        except BaseExceptionGroup as crashes:
            raise crashes.exceptions[0] from None  # one branch crashed, and the connection with it

    async def _dispatch(
        self, scope: Any, connect: dict[str, Any], receive: Receive, send: Send, group: asyncio.TaskGroup
    ) -> None:
        branches: dict[Route, _Branch] = {}
        while True:
            event = await receive()
            if event["type"] == "mqtt.disconnect":
                for branch in branches.values():
                    await branch.inbox.put(event)
                return
            found = self.find(event)
            if found is None:
                await _acknowledge_unrouted(event, send)
                continue
            route = found[0]
            if route not in branches:
                branches[route] = _Branch(route, scope, connect, send, group)
            await branches[route].put(event)


async def _acknowledge_unrouted(event: dict[str, Any], send: Send) -> None:
    logger.debug("no route for the topic %s", event["topic"])
    if event["id"] is not None:
        await send({"type": "mqtt.ack", "id": event["id"]})


class _Branch:
    """One route's application within one connection."""

    def __init__(self, route: Route, scope: Any, connect: dict[str, Any], send: Send, group: asyncio.TaskGroup) -> None:
        self.inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue(WINDOW)
        self.inbox.put_nowait(connect)
        self._send = send
        self._task = group.create_task(route.run(scope, self.inbox.get, self.send))

    async def put(self, event: dict[str, Any]) -> None:
        """Queue ``event``, waiting for room. An application that has returned gets no more: then it closes."""
        if self._task.done():
            await self._send({"type": "mqtt.disconnect"})
            return
        await self.inbox.put(event)

    async def send(self, event: dict[str, Any]) -> None:
        if event["type"] == "mqtt.accept":
            return
        if event["type"] == "mqtt.reject":
            event = {"type": "mqtt.disconnect", "reason_code": event.get("reason_code", 0x87)}
        await self._send(event)
