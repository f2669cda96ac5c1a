"""By topic, for the mqtt scope: one connection, many applications."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from gateway.delivery.running import current_running
from gateway.routing.patterns import Captures, Pattern
from gateway.routing.router import Route, Router, check_policies, current_route
from gateway.routing.unrouted import refuse
from protocols.asgi import Receive, Scope, Send

logger = logging.getLogger(__name__)

WINDOW = 64
"""Messages that wait for one branch before the connection's reading is held back."""
BAD_AUTHENTICATION_METHOD = 0x8C
REMEMBERED = 16_384
"""Topics whose route is remembered; then they are looked up anew."""
LONGEST_REMEMBERED = 128
"""Characters: what a device publishes to must not fill our memory."""


class TopicRouter(Router):
    """Each message goes to the first route whose filter its topic matches.

    A route's application runs as if the connection were its own: it is started by the first message for it, hears
    ``mqtt.connect`` first (its ``mqtt.accept`` changes nothing: the connection is open; its ``mqtt.reject`` closes it)
    and ``mqtt.disconnect`` last. Messages of one route stay in order; routes do not wait for each other until one is
    ``WINDOW`` messages behind. A message without a route is acknowledged: it was for the subscribers alone.
    What the route's pattern captured is in the event's ``captures``, name -> level.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        super().__init__(routes)
        check_policies(self.routes, "mqtt")
        self._found: dict[str, tuple[Route, Captures] | None] = {}

    def key(self, pattern: Pattern, scope: Any) -> str:
        topic: str = scope["topic"]
        return topic

    def find(self, scope: Any) -> tuple[Route, Captures] | None:
        """As every router's, and remembered: devices publish to the same topics again and again."""
        topic: str = scope["topic"]
        if topic in self._found:
            return self._found[topic]
        found = super().find(scope)
        if len(topic) <= LONGEST_REMEMBERED:
            if len(self._found) >= REMEMBERED:
                self._found.clear()
            self._found[topic] = found
        return found

    def routable(self, scope: Scope) -> bool:
        return True

    def explain(self, scope: Any) -> Route | None:
        return super().explain(scope) if "topic" in scope else None

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "mqtt":
            await (super().__call__ if scope["type"] == "lifespan" else refuse)(scope, receive, send)
            return
        connect = await receive()
        if "authentication_method" in (scope.get("properties") or {}):  # no route is asked about it (MQTT-4.12.0-1)
            await send({"type": "mqtt.reject", "reason_code": BAD_AUTHENTICATION_METHOD})
            return
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
        while (event := await receive())["type"] != "mqtt.disconnect":
            found = self.find(event)
            if found is None:
                await _acknowledge_unrouted(event, send)
                continue
            route, captures = found
            event["captures"] = captures.kwargs.copy()
            branch = branches.get(route) or branches.setdefault(route, make(route))
            if branch.full:
                await branch.room()
            if branch.ended:  # an application that has returned gets no more: it closes
                await send({"type": "mqtt.disconnect"})
            else:
                branch.put(event)
        for branch in branches.values():
            branch.put(event)


async def _acknowledge_unrouted(event: dict[str, Any], send: Send) -> None:
    if current_running.get() is not None:  # from the store: it was for a route, which is there no more
        raise LookupError(f"no route for the topic {event['topic']!r}")
    logger.debug("no route for the topic %s", event["topic"])
    if event["id"] is not None:
        await send({"type": "mqtt.ack", "id": event["id"]})


class _Branch:
    """One route's application within one connection."""

    __slots__ = ("_events", "_room", "_send", "_task", "_waiter")

    def __init__(self, route: Route, scope: Any, connect: dict[str, Any], send: Send, group: asyncio.TaskGroup) -> None:
        self._events = deque([connect])
        self._waiter: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._send = send
        self._task = group.create_task(route.run(scope, self.receive, self.send))
        self._task.add_done_callback(lambda _: _wake(self._room))

    @property
    def full(self) -> bool:
        return len(self._events) >= WINDOW

    @property
    def ended(self) -> bool:
        return self._task.done()

    async def room(self) -> None:
        """Until half of what waits is taken, or nothing will be."""
        if not self.ended:
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    def put(self, event: dict[str, Any]) -> None:
        self._events.append(event)
        _wake(self._waiter)

    def crashed_with(self, error: BaseException) -> bool:
        return self._task.done() and not self._task.cancelled() and self._task.exception() is error

    # What the application calls.

    async def receive(self) -> dict[str, Any]:
        events = self._events
        while not events:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._room is not None and len(events) * 2 <= WINDOW:
            _wake(self._room)
        return events.popleft()

    async def send(self, event: dict[str, Any]) -> None:
        if event["type"] == "mqtt.accept":
            return
        if event["type"] == "mqtt.reject":
            event = {"type": "mqtt.disconnect", "reason_code": event.get("reason_code", 0x87)}
        await self._send(event)


def _wake(waiter: "asyncio.Future[None] | None") -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
