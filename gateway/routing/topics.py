"""By topic, for the mqtt scope: one connection, many applications."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any

from gateway.delivery.running import current_running
from gateway.routing.patterns import Pattern
from gateway.routing.router import Route, Router, check_policies, current_route
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

    def __init__(self, routes: Iterable[Route]) -> None:
        super().__init__(routes)
        check_policies(self.routes, "mqtt")

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
        branches: dict[Route, _Branch] = {}
        try:
            async with asyncio.TaskGroup() as group:

                def branch(route: Route) -> _Branch:
                    return _Branch(route, scope, connect, send, group)

                await self._dispatch(branches, branch, receive, send)
        except BaseExceptionGroup as crashes:
            error = crashes.exceptions[0]  # one branch crashed, and the connection with it
            for route, broken in branches.items():
                if broken.crashed_with(error):
                    current_route.set(route.label)
            raise error from None

    async def _dispatch(
        self, branches: "dict[Route, _Branch]", make: "Callable[[Route], _Branch]", receive: Receive, send: Send
    ) -> None:
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
                branches[route] = make(route)
            await branches[route].put(event)


async def _acknowledge_unrouted(event: dict[str, Any], send: Send) -> None:
    if current_running.get() is not None:  # from the store: it was for a route, which is there no more
        raise LookupError(f"no route for the topic {event['topic']!r}")
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

    def crashed_with(self, error: BaseException) -> bool:
        return self._task.done() and not self._task.cancelled() and self._task.exception() is error

    async def send(self, event: dict[str, Any]) -> None:
        if event["type"] == "mqtt.accept":
            return
        if event["type"] == "mqtt.reject":
            event = {"type": "mqtt.disconnect", "reason_code": event.get("reason_code", 0x87)}
        await self._send(event)
