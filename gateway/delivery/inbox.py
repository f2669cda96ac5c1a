"""An MQTT connection whose messages go to the store: stored first, acknowledged then, handled from there.

MQTT has no word for "not now" (3.1.1 has none for "never" either), so a route with a policy cannot let a device wait
for its handler: every policy on an mqtt route means the inbox.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from typing import Any

from gateway.delivery import bell
from gateway.delivery.identity import order_key
from gateway.delivery.policy import Policy
from gateway.store import codec, get_store
from gateway.store.engine import Message, StoreUnavailable
from protocols.asgi import Application, Receive, Send, describe
from protocols.errors import Disconnected
from protocols.event import new_id

logger = logging.getLogger(__name__)

SERVER_UNAVAILABLE = 0x88
WINDOW = 256
"""Messages of one connection that wait for one commit; then its reading is held back."""


class InboxConnection:
    """``app`` itself hears the connection begin and end: it decides who may connect."""

    def __init__(self, app: Application, label: str, policy: Policy) -> None:
        self._app = app
        self._label = label
        self._policy = policy

    async def serve(self, scope: Any, receive: Receive, send: Send) -> None:
        """Until the device leaves. Where the store cannot keep what it says, it is disconnected without an
        acknowledgement, and says it again on its next connection."""
        try:
            async with asyncio.TaskGroup() as group:
                await self._read(scope, receive, send, group)
        except* StoreUnavailable as unavailable:
            error = unavailable.exceptions[0]
            logger.error("%s: not acknowledged, the store is unavailable: %s", describe(scope), error)
            with contextlib.suppress(Disconnected):
                await send({"type": "mqtt.disconnect", "reason_code": SERVER_UNAVAILABLE})

    async def _read(self, scope: Any, receive: Receive, send: Send, group: asyncio.TaskGroup) -> None:
        room = asyncio.Semaphore(WINDOW)
        events: asyncio.Queue[Any] = asyncio.Queue()
        group.create_task(self._hear(scope, events, send))
        events.put_nowait(await receive())
        while (event := await receive())["type"] == "mqtt.receive":
            await room.acquire()
            group.create_task(self._store(scope, event, send, room))
        events.put_nowait(event)

    async def _hear(self, scope: Any, events: "asyncio.Queue[Any]", send: Send) -> None:
        await self._app(scope, events.get, send)

    async def _store(self, scope: Any, event: Mapping[str, Any], send: Send, room: asyncio.Semaphore) -> None:
        try:
            await get_store().put(self._message(scope, event))
            bell.stored.ring()
        finally:
            room.release()
        if event["id"] is not None:
            with contextlib.suppress(Disconnected):  # it is kept all the same; the device sends it once more
                await send({"type": "mqtt.ack", "id": event["id"]})

    def _message(self, scope: Any, event: Mapping[str, Any]) -> Message:
        event_id = new_id()
        return Message(
            id=event_id,
            type="mqtt",
            route=self._label,
            key=order_key(scope, [event]) if self._policy.order == "key" else event_id,
            received=time.time(),
            content=codec.encode(scope, [event]),
            subject=f"{describe(scope)} {event['topic']}",
        )
