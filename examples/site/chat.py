"""One chat room: everybody gets what anybody says, and at first what has been said."""

from typing import Any

import hosts
from helpdesk.models import Line

from gateway import AsyncConsumer, layer_event

ROOM = "chat"
LONGEST = 1000
HISTORY = 50
"""Lines that somebody sees who comes in."""


class AsyncChatConsumer(AsyncConsumer):
    """``/chat/``, on raw events: one method per event type."""

    newest = 0
    """The newest line that this browser has got."""

    async def websocket_connect(self, message: dict[str, Any]) -> None:
        if not hosts.welcome(self.scope):
            await self.send({"type": "websocket.close"})
            return
        await self.send({"type": "websocket.accept"})
        await self.group_add(ROOM)  # before the lines are read: what is said meanwhile comes after them, once
        lines = [line async for line in Line.objects.all()[:HISTORY]]
        for line in reversed(lines):
            await self.send({"type": "websocket.send", "text": line.text})
        self.newest = lines[0].pk if lines else 0

    async def websocket_receive(self, message: dict[str, Any]) -> None:
        text = message.get("text")
        if text:
            line = await Line.objects.acreate(text=text[:LONGEST])
            await self.group_send(ROOM, {"type": "chat.said", "id": line.pk, "text": line.text})

    @layer_event("chat.said")
    async def on_said(self, event: dict[str, Any]) -> None:
        if event["id"] > self.newest:
            await self.send({"type": "websocket.send", "text": event["text"]})
