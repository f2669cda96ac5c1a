"""Consumers of the http scope: one instance for each request."""

import json
from typing import Any, TypeVar

from gateway.consumers import arguments
from gateway.consumers.base import Asked, Consumer
from gateway.consumers.forms import AsyncForm, Awaited, SyncForm
from gateway.consumers.header_fields import Headers, header_fields
from gateway.consumers.hooks import Call
from protocols.asgi import HTTPDisconnectEvent, HTTPRequestEvent, HTTPScope, Receive, Send

R = TypeVar("R")
_BEGUN = "the response has begun; call self.write()"
_JSON = (b"content-type", b"application/json")


class HttpMethods(Consumer[R]):
    """The methods of both forms. Write ``handle``."""

    scope: HTTPScope

    states = {
        "waiting": "the response has not begun; call self.start() first",
        "started": _BEGUN,
        "streaming": _BEGUN,
        "over": "the response is complete, and a request gets one",
    }
    instead = {"http.request": Asked("handle", "self.respond(body)")}
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
            method = self.method("http.request", "handle")
            raise RuntimeError(f"{method} has returned without self.respond(), self.respond_json() or self.start()")

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
        """Send the whole response. Text is UTF-8. ``headers`` are a dict or pairs, of text or bytes."""
        data = arguments.content("respond", "body", body, "; for JSON call respond_json(content)")
        return self.perform(
            self._respond("respond", data, _status("respond", status), header_fields("respond", headers))
        )

    def respond_json(self, content: Any, status: int = 200, headers: Headers = ()) -> R:
        """Send ``content`` as JSON. Raises TypeError or ValueError if it cannot be written as JSON."""
        fields = header_fields("respond_json", headers)
        if not any(name.lower() == b"content-type" for name, _ in fields):
            fields.append(_JSON)
        data = json.dumps(content, allow_nan=False).encode()
        return self.perform(self._respond("respond_json", data, _status("respond_json", status), fields))

    async def _respond(self, helper: str, body: bytes, status: int, fields: list[tuple[bytes, bytes]]) -> None:
        await self._start(helper, status, [*fields, (b"content-length", str(len(body)).encode())])
        await self._emit({"type": "http.response.body", "body": body, "more_body": False}, helper)

    def start(self, status: int = 200, headers: Headers = ()) -> R:
        """Begin a streamed response; ``write`` follows."""
        return self.perform(self._start("start", _status("start", status), header_fields("start", headers)))

    async def _start(self, helper: str, status: int, fields: list[tuple[bytes, bytes]]) -> None:
        event = {"type": "http.response.start", "status": status, "headers": fields, "trailers": False}
        await self._emit(event, helper)
        self._started = True

    def write(self, chunk: bytes | str, more: bool = True) -> R:
        """Send one part of a streamed response; text is UTF-8. ``more=False`` ends the response."""
        data = arguments.content("write", "chunk", chunk)
        return self.perform(self._emit({"type": "http.response.body", "body": data, "more_body": more}, "write"))


def _status(helper: str, given: Any) -> int:
    """Return the status. ``respond(404, "not found")`` fails at its body, which comes first."""
    return arguments.integer(helper, "status", given, "an integer from 200 to 599, after the body")


class HttpConsumer(HttpMethods[None], SyncForm):
    """Plain methods, called on a thread."""


class AsyncHttpConsumer(HttpMethods[Awaited], AsyncForm):
    """``async def`` methods; the helpers are awaited."""
