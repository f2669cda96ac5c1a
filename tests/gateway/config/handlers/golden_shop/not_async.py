"""A consumer with a method that lacks its ``async``."""

from typing import Any

from gateway import AsyncHttpConsumer


class Page(AsyncHttpConsumer):
    async def disconnect(self) -> None: ...

    def handle(self, body: bytes) -> Any:
        return self.respond(body)
