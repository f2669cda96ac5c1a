"""An MQTT connection whose messages are stored, then acknowledged, and handled from the store.

MQTT has no word for "not now" (3.1.1 has none for "never" either), so a route with a policy cannot let a device wait
for its handler.
"""

import asyncio
import contextlib
import logging
import time

from gateway.delivery.kind import DeliveryKind
from gateway.delivery.policy import Policy
from gateway.delivery.service import deliveries
from gateway.store import InboxStore, Message, StoreUnavailable, codec
from protocols.asgi import Application, MQTTReceiveEvent, MQTTScope, Receive, ReceiveEvent, Send, describe
from protocols.errors import Disconnected
from protocols.event_id import new_id
from protocols.events import Event
from protocols.mqtt.wire.reasons import SERVER_BUSY
from protocols.queue import Queue

logger = logging.getLogger(__name__)

WINDOW = 256
"""Messages of one connection that wait for a commit, or other events that wait for the application, before the reading
from the device is held back."""


class InboxConnection:
    """A connection to ``app``, which gets every event except the messages: it decides who may connect."""

    def __init__(self, kind: DeliveryKind, app: Application, label: str, policy: Policy) -> None:
        self._kind = kind
        self._app = app
        self._label = label
        self._policy = policy

    async def serve(self, scope: MQTTScope, receive: Receive, send: Send) -> None:
        """Until the device leaves, or the application ends. If the store cannot keep a message, the device is
        disconnected without an acknowledgement, and sends the message again on its next connection."""
        try:
            async with asyncio.TaskGroup() as group:
                self._begin(scope, receive, send, group)
        except BaseExceptionGroup as failures:
            error = failures.exceptions[0]
            if not isinstance(error, StoreUnavailable):
                raise error from None  # as if the application ran alone
            logger.error("%s: not acknowledged, the store is unavailable: %s", describe(scope), error)
            with contextlib.suppress(Disconnected):  # 0x88, unavailable, is no code of DISCONNECT (3.14.2.1)
                await send({"type": "mqtt.disconnect", "reason_code": SERVER_BUSY})

    def _begin(self, scope: MQTTScope, receive: Receive, send: Send, group: asyncio.TaskGroup) -> None:
        events: Queue[ReceiveEvent] = Queue(WINDOW)
        messages: Queue[MQTTReceiveEvent] = Queue(WINDOW)
        reading = group.create_task(_read(receive, events, messages))
        accepted: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        group.create_task(self._hear(scope, events, send, reading, accepted))
        group.create_task(self._store(scope, messages, send, accepted))

    async def _hear(
        self,
        scope: MQTTScope,
        events: Queue[ReceiveEvent],
        send: Send,
        reading: "asyncio.Task[None]",
        accepted: "asyncio.Future[bool]",
    ) -> None:
        """Let the application hear all that is no message."""

        async def answer(event: Event) -> None:
            await send(event)
            if event["type"] == "mqtt.accept":
                accepted.set_result(True)

        await self._app(scope, events.get, answer)
        if not accepted.done():
            accepted.set_result(False)
        reading.cancel()  # where it is not over: nobody is left who would answer

    async def _store(
        self, scope: MQTTScope, messages: Queue[MQTTReceiveEvent], send: Send, accepted: "asyncio.Future[bool]"
    ) -> None:
        """Store what an accepted device sends. Behind a router, messages may come before the application has answered:
        that takes a sync one a thread."""
        if not await accepted:
            return
        here = deliveries.get()
        make: _Messages | None = None  # a device that only listens has none
        while batch := await messages.take():
            make = make or _Messages(self._kind, self._label, self._policy, here.routes.noted(_without_secrets(scope)))
            new = [event for event in batch if "event" not in event or not await _is_known(here.messages, event)]
            await here.inbox.put_all([make(event) for event in new])
            for event in batch:
                if event["id"] is not None:
                    with contextlib.suppress(Disconnected):  # a client notes each for its next connection
                        await send({"type": "mqtt.ack", "id": event["id"]})


async def _read(receive: Receive, events: Queue[ReceiveEvent], messages: Queue[MQTTReceiveEvent]) -> None:
    """Sort what arrives: messages that arrive during a commit go together into the next."""
    try:
        while (event := await receive())["type"] != "mqtt.disconnect":
            queue = messages if event["type"] == "mqtt.receive" else events
            queue.put(event)
            if queue.full:
                await queue.room()
    finally:
        messages.close()
    events.put(event)


async def _is_known(store: InboxStore, event: MQTTReceiveEvent) -> bool:
    """Whether the message was put there before the gateway died, and its device could not be told (QoS 2)."""
    return event["dup"] and await store.is_known(event["event"])


class _Messages:
    """Makes the store's messages of one connection, whose scope is encoded once."""

    def __init__(self, kind: DeliveryKind, label: str, policy: Policy, scope: MQTTScope) -> None:
        self._kind = kind
        self._label = label
        self._is_ordered = policy.order == "key"
        self._scope = scope
        self._encoder = codec.Messages(scope)

    def __call__(self, event: MQTTReceiveEvent) -> Message:
        content = self._encoder.encode([event])
        # Not in the store: the watch of this connection learns here under which id the event is stored.
        event_id = event["event"] = event.get("event") or new_id()
        return Message(
            id=event_id,
            type=self._kind.name,
            route=self._label,
            key=self._kind.order_key(self._scope, [event]) if self._is_ordered else event_id,
            received=time.time(),
            content=content,
            subject=self._kind.subject(self._scope, [event]),
        )


def _without_secrets(scope: MQTTScope) -> MQTTScope:
    """The data by which a device authenticates is not stored, as a password is not."""
    properties = {key: value for key, value in scope["properties"].items() if key != "authentication_data"}
    return {**scope, "properties": properties}
