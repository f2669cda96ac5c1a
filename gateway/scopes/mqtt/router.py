"""The router of the mqtt scope: by topic. One connection, many applications."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from time import monotonic
from typing import Any

from gateway.consumers.failure import failed_with
from gateway.consumers.mqtt import MqttConnection, of_disconnect, wants_authentication
from gateway.counts import current_counts
from gateway.delivery.current_route import current_route
from gateway.routing.patterns import Captures, Default, Pattern
from gateway.routing.router import Route, Router
from gateway.routing.unrouted import refuse
from gateway.scopes.mqtt.patterns import Topic
from gateway.spans import spans
from protocols.app_run import Departure, on_departure
from protocols.asgi import (
    MQTTConnectEvent,
    MQTTDisconnectEvent,
    MQTTReceiveEvent,
    MQTTScope,
    Receive,
    Scope,
    Send,
)
from protocols.checkpoint import checkpoint
from protocols.errors import Disconnected, LocalProtocolError, is_disconnect
from protocols.events import step, type_of
from protocols.mqtt.events import CHECKS, CLIENT, SERVER
from protocols.mqtt.wire.reasons import BAD_AUTHENTICATION_METHOD, UNSPECIFIED
from protocols.queue import Queue

logger = logging.getLogger(__name__)

WINDOW = 64
"""Messages that wait for one branch before the connection's reading is held back."""
UNTIMED = 15
"""Messages of a burst that are not timed after one that is, as the bits of a mask: two looks at the clock are one tenth
of such a message."""
_ANSWERS = ("mqtt.accept", "mqtt.reject")
REMEMBERED = 16_384
"""Topics whose route is remembered; then they are looked up anew."""
LONGEST_REMEMBERED = 128
"""Characters: what a device publishes to must not fill our memory."""


_Received = MQTTConnectEvent | MQTTReceiveEvent | MQTTDisconnectEvent
"""What the application of a route receives."""


class TopicRouter(Router):
    """Each message goes to the first route whose filter its topic matches.

    A route's application runs as if the connection were its own: it is started by the first message for it, hears
    ``mqtt.connect`` first and ``mqtt.disconnect`` last. It answers ``mqtt.connect`` as on a connection of its own: its
    ``mqtt.accept`` changes nothing, because the connection is open; its ``mqtt.reject`` closes it. No route is asked
    about subscriptions or an authentication method: they are about the connection, and it is nobody's alone. Messages
    of one route stay in order; routes do not wait for each other until one is ``WINDOW`` messages behind. A message
    without a route is acknowledged: it was for the subscribers alone. What the route's pattern captured is in the
    event's ``captures``, name -> level.
    """

    scope_types = ("mqtt",)
    patterns = (Topic, Default)

    def __init__(self, routes: Iterable[Route]) -> None:
        super().__init__(routes)
        _check_questions(self.routes)
        self._found: dict[str, tuple[Route, Captures] | None] = {}

    def key(self, pattern: Pattern, scope: MQTTReceiveEvent) -> str:
        return scope["topic"]

    def find(self, scope: MQTTReceiveEvent) -> tuple[Route, Captures] | None:
        """Find the route, as every router does, and remember it: devices publish to the same topics again and again."""
        topic = scope["topic"]
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

    def explain(self, scope: Mapping[str, Any]) -> Route | None:
        return super().explain(scope) if "topic" in scope else None

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await super().__call__(scope, receive, send)
        elif scope["type"] != "mqtt":
            await refuse(scope, receive, send)
        elif "delivery" in scope["extensions"]:
            await self._deliver(scope, receive, send)
        else:
            await self._serve(scope, receive, send)

    async def _serve(self, scope: MQTTScope, receive: Receive, send: Send) -> None:
        connect: MQTTConnectEvent = await receive()
        if wants_authentication(scope):  # no route is asked about it (MQTT-4.12.0-1)
            await send({"type": "mqtt.reject", "reason_code": BAD_AUTHENTICATION_METHOD})
            return
        await send({"type": "mqtt.accept"})
        branches: dict[Route, _Branch] = {}
        try:
            async with asyncio.TaskGroup() as group:

                def branch(route: Route) -> _Branch:
                    return _Branch(route, scope, connect, receive, send, group)

                await self._dispatch(branches, branch, receive, send)
        except BaseExceptionGroup as crashes:
            error = crashes.exceptions[0]  # one branch crashed, and the connection with it
            for route, broken in branches.items():
                if broken.crashed_with(error):
                    current_route.set(route.label)
            raise error from None

    async def _deliver(self, scope: MQTTScope, receive: Receive, send: Send) -> None:
        """Route a message from the store that other routes than today's have routed. The application gets all events
        that this one got. Raises LookupError if no route takes it."""
        connect: MQTTConnectEvent = await receive()
        event: MQTTReceiveEvent = await receive()
        found = self.find(event)
        if found is None:
            raise LookupError(f"no route for the topic {event['topic']!r}")
        route, captures = found
        event["captures"] = captures.kwargs.copy()
        told = deque[_Received]([connect, event])

        async def replayed() -> Any:
            return told.popleft() if told else await receive()

        await route.run(scope, replayed, send)

    async def _dispatch(
        self, branches: "dict[Route, _Branch]", make: "Callable[[Route], _Branch]", receive: Receive, send: Send
    ) -> None:
        while (event := await receive())["type"] != "mqtt.disconnect":
            if event["type"] != "mqtt.receive":
                continue
            found = self.find(event)
            if found is None:
                await _acknowledge_unrouted(event, send)
                continue
            route, captures = found
            event["captures"] = captures.kwargs.copy()
            branch = branches.get(route) or branches.setdefault(route, make(route))
            if branch.events.full:
                await branch.events.room()  # closed where nothing more is taken
            if branch.ended:  # an application that has returned gets no more: it closes
                with suppress(Disconnected):
                    await send({"type": "mqtt.disconnect"})
            else:
                branch.events.put(event)
        for branch in branches.values():
            branch.events.put(event)


async def _acknowledge_unrouted(event: MQTTReceiveEvent, send: Send) -> None:
    logger.debug("no route for the topic %s", event["topic"])
    current_counts.get().messages.of("mqtt", "").taken += 1
    if event["id"] is not None:
        with suppress(Disconnected):  # of the other routes' messages none is lost because of it
            await send({"type": "mqtt.ack", "id": event["id"]})


class _Branch:
    """One route's application within one connection."""

    __slots__ = (
        "_counts",
        "_had_one",
        "_left",
        "_receive",
        "_send",
        "_state",
        "_table",
        "_task",
        "_timed",
        "_topic",
        "events",
    )

    def __init__(
        self,
        route: Route,
        scope: MQTTScope,
        connect: MQTTConnectEvent,
        receive: Receive,
        send: Send,
        group: asyncio.TaskGroup,
    ) -> None:
        self.events: Queue[_Received] = Queue(WINDOW)
        self.events.put(connect)
        self._topic = ""
        self._had_one = False
        """Whether a message has been timed."""
        self._timed: dict[int, float] = {}  # packet ids: when the application took the message
        self._counts = current_counts.get().messages.of("mqtt", route.label)
        self._table = SERVER if scope["role"] == "server" else CLIENT
        self._state = next(iter(self._table))
        self._receive = receive
        """The ``receive`` of the connection."""
        self._send = send
        self._left = False
        self._task = group.create_task(self._run(route, scope))
        self._task.add_done_callback(lambda _: self.events.close())

    async def _run(self, route: Route, scope: MQTTScope) -> None:
        """Run one application. If it ends because the device has left, the others go on: they may have messages to
        handle."""
        try:
            await route.run(scope, self.receive, self.send)
        except Exception as error:
            if not (self._left and is_disconnect(error)):
                raise

    @property
    def ended(self) -> bool:
        return self._task.done()

    def crashed_with(self, error: BaseException) -> bool:
        crashed = self._task.done() and not self._task.cancelled() and self._task.exception() is error
        if crashed and self._topic:
            failed_with(error, self._topic)
        return crashed

    # What the application calls.

    async def receive(self) -> _Received:
        events = self.events
        waited = not events
        while not events:
            await events.more()
        event = events.next()
        if event["type"] == "mqtt.receive":
            self._topic = event["topic"]
            counts = self._counts
            counts.taken += 1
            if event["id"] is not None and (waited or not self._had_one or not counts.taken & UNTIMED):
                self._had_one = True  # the first has come together with the beginning
                self._timed[event["id"]] = monotonic()
        else:
            self._topic = ""
        if spans.by is not None:
            spans.by.takes(event)
        return event

    def on_departure(self, tell: Departure) -> None:
        """Call ``tell`` with the disconnect as soon as the device has left."""
        on_departure(self._receive, tell)

    async def send(self, event: dict[str, Any]) -> None:
        kind = type_of(event)
        if self._state == "open" and kind not in _ANSWERS:
            await self._pass(event)
            if kind == "mqtt.ack":
                if event.get("reason_code", 0) < UNSPECIFIED:
                    self._counts.accepted += 1
                else:
                    self._counts.rejected += 1
                if self._timed and (taken := self._timed.pop(event["id"], 0.0)):
                    self._counts.durations.observe(monotonic() - taken)
            return
        await checkpoint()
        state, checked = step(self._table, CHECKS, self._state, event)
        if kind == "mqtt.accept" and checked["subscribe"]:
            raise LocalProtocolError("mqtt.accept: nobody is asked about subscriptions below a TopicRouter")
        self._state = state
        if kind != "mqtt.accept":
            await self._pass(_as_disconnect(checked) if kind == "mqtt.reject" else event)

    async def _pass(self, event: dict[str, Any]) -> None:
        try:
            await self._send(event)
        except Disconnected:
            self._left = True
            raise


def _as_disconnect(reject: dict[str, Any]) -> dict[str, Any]:
    return {**reject, "type": "mqtt.disconnect", "reason_code": of_disconnect(reject["reason_code"])}


def _check_questions(routes: Iterable[Route]) -> None:
    """Raises ValueError for a consumer with a method that is never called behind a topic."""
    for route in routes:
        consumer = getattr(route.app, "consumer_class", None)
        if not isinstance(consumer, type) or not issubclass(consumer, MqttConnection):
            continue
        for method in consumer.writes("subscribe", "unsubscribe", "authenticate"):
            raise ValueError(f"{route.target} has {method}(), which nobody calls behind a topic; give it all of mqtt")
