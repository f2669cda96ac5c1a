"""Tests an application of the ``websocket`` scope: one connection."""

import json
from collections.abc import Sequence
from typing import Any, ClassVar

from gateway.consumers import arguments
from gateway.testing.communicator import TIMEOUT, ApplicationCommunicator
from gateway.testing.recorded import RecordedRun
from gateway.testing.request import Headers, request_scope
from gateway.testing.surroundings import Surroundings
from protocols.asgi import WebSocketDisconnectEvent
from protocols.events import Event
from protocols.http import events
from protocols.http.head import encode
from protocols.http.scope import websocket_scope


class _Connection(RecordedRun):
    sends: ClassVar = events.WEBSOCKET
    checks: ClassVar = events.CHECKS

    websocket_http_response_start = websocket_http_response_body = RecordedRun.record

    def websocket_accept(self, event: Event) -> None:
        encode(event.get("headers") or ())
        self.record(event)

    def websocket_send(self, event: Event) -> None:
        events.check_message(event)
        self.record(event)

    def websocket_close(self, event: Event) -> None:
        code, reason = events.close_frame(event) if self.state == "open" else (1006, "")
        self.record(event)
        self.over(_closed(code, reason))


class WebsocketCommunicator(ApplicationCommunicator):
    """One WebSocket. ``path`` may have a query; ``headers`` are pairs, or a dict."""

    run_class = _Connection

    def __init__(
        self,
        application: Any,
        path: str,
        headers: Headers = None,
        subprotocols: Sequence[str] | None = None,
        spec_version: str | None = None,
        *,
        root_path: str = "",
        surroundings: Surroundings | None = None,
    ) -> None:
        """``spec_version`` is there for tests of Channels: the version in the scope is our server's.
        ``root_path`` is the setting of the server."""
        own = [("sec-websocket-protocol", ", ".join(subprotocols))] if subprotocols else []
        handshake = request_scope("GET", path, headers, own, root_path)
        super().__init__(application, {**websocket_scope(handshake, {})}, surroundings=surroundings)
        self.response_headers: list[tuple[bytes, bytes]] | None = None
        """The headers with which the application has accepted."""

    async def connect(self, timeout: float = TIMEOUT) -> tuple[bool, Any]:
        """Connect. Returns ``(True, subprotocol)`` if the application accepts; ``(False, code)`` if it does not, with
        the code of its close, or the status of its response."""
        await self.send_input({"type": "websocket.connect"})
        answer = await self.receive_output(timeout)
        if answer["type"] == "websocket.accept":
            self.response_headers = list(answer.get("headers") or [])
            return True, answer.get("subprotocol")
        if answer["type"] == "websocket.close":
            return False, answer.get("code") or 1000
        return False, answer["status"]

    async def send_to(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Send one message to the application: text or bytes."""
        if (text_data is None) == (bytes_data is None):
            raise TypeError("send_to takes text_data or bytes_data, one of them")
        if text_data is not None:
            arguments.name("send_to", "text_data", text_data, "text; send_json_to sends other values as JSON")
            await self.send_input({"type": "websocket.receive", "text": text_data})
        else:
            if not isinstance(bytes_data, bytes):
                raise arguments.wrong("send_to", "bytes_data", bytes_data, "bytes")
            await self.send_input({"type": "websocket.receive", "bytes": bytes_data})

    async def send_json_to(self, data: Any) -> None:
        """Send ``data`` as JSON, in a message of text."""
        await self.send_to(text_data=json.dumps(data))

    async def receive_from(self, timeout: float = TIMEOUT) -> Any:
        """Return the next message of the application, text or bytes. Raises AssertionError if it closes instead."""
        event = await self.receive_output(timeout)
        kind = event["type"]
        assert kind == "websocket.send", f"Expected type 'websocket.send', but was '{kind}'"
        return event["text"] if event.get("text") is not None else event["bytes"]

    async def receive_json_from(self, timeout: float = TIMEOUT) -> Any:
        """Return the content of the next message of the application, which is JSON in text."""
        payload = await self.receive_from(timeout)
        assert isinstance(payload, str), f"JSON data is not a text frame, it is {type(payload)}"
        return json.loads(payload)

    async def receive_close(self, timeout: float = TIMEOUT) -> int:
        """Return the code with which the application closes. Messages that it sends before that stay."""
        event = await self._next("websocket.close", timeout=timeout)
        return int(event.get("code") or 1000)

    async def disconnect(self, code: int = 1000, timeout: float = TIMEOUT) -> None:
        """Close, and wait until the application has ended. Raises what it has crashed with."""
        await self._leave(_closed(code), timeout)

    def _farewell(self) -> Event | None:
        return _closed()


def _closed(code: int = 1000, reason: str = "") -> WebSocketDisconnectEvent:
    return {"type": "websocket.disconnect", "code": code, "reason": reason}
