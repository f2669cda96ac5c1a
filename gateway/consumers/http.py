"""Consumers of the http scope: one instance for each request."""

from collections.abc import Iterable
from typing import Any, TypeVar

from gateway.consumers.base import AsyncForm, Awaited, Consumer, SyncForm
from gateway.consumers.hooks import Call
from protocols.asgi import HTTPDisconnectEvent, HTTPRequestEvent, HTTPScope, Receive, Send

R = TypeVar("R")
Headers = Iterable[tuple[bytes, bytes]]


class HttpMethods(Consumer[R]):
    """The methods of both forms. Write ``handle``."""

    scope: HTTPScope

    _hooks = {"handle": Call(("body",)), "disconnect": Call(())}
    _required = ("handle", "http_request")

    async def run(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        self._body = bytearray()
        self._started = False
        await super().run(scope, receive, send)

    async def dispatch(self, event: Any) -> None:
        if event["type"] != "http.request":
            await super().dispatch(event)
            return
        self._body += event.get("body", b"")
        if event.get("more_body"):
            return
        await super().dispatch(event)
        if not self._started and not self._layer_handlers:
            raise RuntimeError(f"{type(self).__name__}.handle returned without a response")

    def http_request(self, event: HTTPRequestEvent) -> Any:
        return self.handle(bytes(self._body))

    def http_disconnect(self, event: HTTPDisconnectEvent) -> Any:
        return self.disconnect()

    def handle(self, body: bytes) -> Any:
        """Handle one request with its whole body, whose size the server limits. Answer with ``respond``, now or later,
        from a ``@layer_event`` method."""

    def disconnect(self) -> Any:
        """Clean up after a peer that left before the response was complete."""

    def respond(self, body: bytes | str, status: int = 200, headers: Headers = ()) -> R:
        """Send the whole response. Text is UTF-8."""
        return self.perform(self._respond(body.encode() if isinstance(body, str) else body, status, headers))

    async def _respond(self, body: bytes, status: int, headers: Headers) -> None:
        length = (b"content-length", str(len(body)).encode())
        await self._start(status, [*headers, length])
        await self._emit({"type": "http.response.body", "body": body, "more_body": False})

    def start(self, status: int = 200, headers: Headers = ()) -> R:
        """Begin a streamed response; ``write`` follows."""
        return self.perform(self._start(status, headers))

    async def _start(self, status: int, headers: Headers) -> None:
        await self._emit({"type": "http.response.start", "status": status, "headers": list(headers), "trailers": False})
        self._started = True

    def write(self, chunk: bytes, more: bool = True) -> R:
        """Send one part of a streamed response. ``more=False`` ends the response."""
        return self.perform(self._emit({"type": "http.response.body", "body": chunk, "more_body": more}))


class HttpConsumer(HttpMethods[None], SyncForm):
    """Plain methods, called on a thread."""


class AsyncHttpConsumer(HttpMethods[Awaited], AsyncForm):
    """``async def`` methods; the helpers are awaited."""
