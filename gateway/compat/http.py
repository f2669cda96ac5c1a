"""Consumers of requests, written as for Channels."""

from typing import Any

from gateway.compat.consumer import AsyncConsumer
from gateway.consumers.base import StopConsumer
from gateway.consumers.header_fields import Headers, header_fields
from protocols.asgi import HTTPDisconnectEvent, HTTPRequestEvent


class AsyncHttpConsumer(AsyncConsumer):
    """Write ``handle(body)``, and respond before it returns."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.body: list[bytes] = []

    async def http_request(self, message: HTTPRequestEvent) -> None:
        self.body.append(message.get("body", b""))
        if message.get("more_body"):
            return
        try:
            await self.handle(b"".join(self.body))
        finally:
            await self.disconnect()
        raise StopConsumer

    async def http_disconnect(self, message: HTTPDisconnectEvent) -> None:
        await self.disconnect()

    async def handle(self, body: bytes) -> None:
        """Handle one request with its whole body."""
        # Not abstract, as in Channels: some subclasses write http_request instead, and have no handle.
        raise NotImplementedError("Subclasses of AsyncHttpConsumer must provide a handle() method.")

    async def disconnect(self) -> None:
        """Clean up after the response, or after a peer that left before it."""

    async def send_headers(self, *, status: int = 200, headers: Headers | None = None) -> None:
        """Begin the response."""
        fields = header_fields("send_headers", headers or ())
        await self._emit({"type": "http.response.start", "status": status, "headers": fields})

    async def send_body(self, body: bytes, *, more_body: bool = False) -> None:
        """Send one part of the response, the last one unless ``more_body``."""
        await self._emit({"type": "http.response.body", "body": body, "more_body": more_body}, "send_body")

    async def send_response(self, status: int, body: bytes, **kwargs: Any) -> None:
        """Send the whole response."""
        await self.send_headers(status=status, **kwargs)
        await self.send_body(body)
