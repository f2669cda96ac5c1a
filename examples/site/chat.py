"""One chat room: everybody gets what anybody says."""

from typing import Any

import hosts

from gateway import AsyncConsumer, layer_event

ROOM = "chat"
LONGEST = 1000


class AsyncChatConsumer(AsyncConsumer):
    """``/chat/``, on raw events: one method per event type."""

    async def websocket_connect(self, message: dict[str, Any]) -> None:
        if not hosts.welcome(self.scope):
            await self.send({"type": "websocket.close"})
            return
        await self.send({"type": "websocket.accept"})
        await self.group_add(ROOM)

    async def websocket_receive(self, message: dict[str, Any]) -> None:
        text = message.get("text")
        if text:
            await self.group_send(ROOM, {"type": "chat.said", "text": text[:LONGEST]})

    @layer_event("chat.said")
    async def on_said(self, event: dict[str, Any]) -> None:
        await self.send({"type": "websocket.send", "text": event["text"]})
