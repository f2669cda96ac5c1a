"""An MQTT connection whose messages go to the store: stored first, acknowledged then, handled from there.

MQTT has no word for "not now" (3.1.1 has none for "never" either), so a route with a policy cannot let a device wait
for its handler.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from typing import Any

from gateway.delivery.kind import DeliveryKind
from gateway.delivery.policy import Policy
from gateway.delivery.service import deliveries
from gateway.store import Message, StoreUnavailable, codec
from protocols.asgi import Application, Receive, Send, describe
from protocols.errors import Disconnected
from protocols.event_id import new_id
from protocols.mqtt.wire.reasons import SERVER_BUSY
from protocols.queue import Queue

logger = logging.getLogger(__name__)

WINDOW = 256
"""Messages of one connection that wait for one commit, or other events for the application; then its reading is held
back."""


class InboxConnection:
    """``app`` itself hears the connection begin and end, and what is no message: it decides who may connect."""

    def __init__(self, kind: DeliveryKind, app: Application, label: str, policy: Policy) -> None:
        self._kind = kind
        self._app = app
        self._label = label
        self._policy = policy

    async def serve(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve the connection until the device leaves, or the application ends. Where the store cannot keep what the
        device says, it is disconnected without an acknowledgement, and says it again on its next connection."""
        try:
            async with asyncio.TaskGroup() as group:
                self._begin(scope, receive, send, group)
        except BaseExceptionGroup as failures:
            error = failures.exceptions[0]
            if not isinstance(error, StoreUnavailable):
                raise error from None  # as if the application ran alone
            logger.error("%s: not acknowledged, the store is unavailable: %s", describe(scope), error)
            with contextlib.suppress(Disconnected):  # 0x88, unavailable, is no word of DISCONNECT (3.14.2.1)
                await send({"type": "mqtt.disconnect", "reason_code": SERVER_BUSY})

    def _begin(self, scope: Any, receive: Receive, send: Send, group: asyncio.TaskGroup) -> None:
        events: Queue[Any] = Queue(WINDOW)
        messages: Queue[Mapping[str, Any]] = Queue(WINDOW)
        reading = group.create_task(self._read(receive, events, messages))
        group.create_task(self._hear(scope, events, send, reading))
        group.create_task(self._store(deliveries.get().routes.noted(_as_kept(scope)), messages, send))

    async def _read(self, receive: Receive, events: Queue[Any], messages: Queue[Mapping[str, Any]]) -> None:
        """Messages that arrive while a commit is under way go together into the next; all else is the application's."""
        try:
            while (event := await receive())["type"] != "mqtt.disconnect":
                queue = messages if event["type"] == "mqtt.receive" else events
                queue.put(event)
                if queue.full:
                    await queue.room()
        finally:
            messages.close()
        events.put(event)

    async def _hear(self, scope: Any, events: Queue[Any], send: Send, reading: "asyncio.Task[None]") -> None:
        await self._app(scope, events.get, send)
        reading.cancel()  # where it is not over: nobody is left who would answer

    async def _store(self, scope: Any, messages: Queue[Mapping[str, Any]], send: Send) -> None:
        here = deliveries.get()
        encoder: codec.Messages | None = None  # a device that only listens has none
        while batch := await messages.take():
            new = [event for event in batch if not await self._is_known(event)]
            encoder = encoder or codec.Messages(scope)
            await here.inbox.put_all([self._message(scope, encoder, event) for event in new])
            with contextlib.suppress(Disconnected):  # they are kept all the same; the device sends them once more
                for event in batch:
                    if event["id"] is not None:
                        await send({"type": "mqtt.ack", "id": event["id"]})

    async def _is_known(self, event: Mapping[str, Any]) -> bool:
        """Whether it was put there before the gateway died, and its device could not be told (QoS 2)."""
        known = event.get("event", "")
        return bool(known and event["dup"] and await deliveries.get().messages.is_known(known))

    def _message(self, scope: Any, encoder: codec.Messages, event: Mapping[str, Any]) -> Message:
        event_id = event.get("event") or new_id()
        return Message(
            id=event_id,
            type=self._kind.name,
            route=self._label,
            key=self._kind.order_key(scope, [event]) if self._policy.order == "key" else event_id,
            received=time.time(),
            content=encoder.encode([event]),
            subject=self._kind.subject(scope, [event]),
        )


def _as_kept(scope: Any) -> Any:
    """What a client proved itself with is no more for the disk than a password is."""
    properties = {key: value for key, value in scope["properties"].items() if key != "authentication_data"}
    return {**scope, "properties": properties}
