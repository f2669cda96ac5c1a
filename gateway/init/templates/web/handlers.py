"""A page and its chat. gateway.yaml says which class gets what."""

from pathlib import Path

from gateway import AsyncHttpConsumer, AsyncWebsocketConsumer, layer_event

PAGE = Path(__file__).with_name("page.html").read_text()


class Page(AsyncHttpConsumer):
    """Answers a request. Each request has an instance of its own."""

    async def handle(self, body: bytes) -> None:
        await self.respond(PAGE, headers={"content-type": "text/html; charset=utf-8"})


class Chat(AsyncWebsocketConsumer):
    """Passes what one page says to all pages. Each connection has an instance of its own."""

    async def connect(self, message: dict) -> None:
        await self.group_add("chat")
        await self.accept()

    async def receive(self, text: str) -> None:
        await self.group_send("chat", {"type": "chat.said", "text": text})

    @layer_event("chat.said")
    async def on_said(self, message: dict) -> None:
        await self.send(text=message["text"])
