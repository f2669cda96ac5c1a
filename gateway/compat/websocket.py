"""Consumers of WebSockets, written as for Channels."""

import json
from typing import Any, TypeVar

from gateway.compat.consumer import AcceptConnection, ChannelsMethods, DenyConnection
from gateway.consumers.base import Asked
from gateway.consumers.forms import AsyncForm, Awaited, SyncForm
from gateway.consumers.header_fields import Headers, header_fields
from protocols.asgi import WebSocketConnectEvent, WebSocketDisconnectEvent, WebSocketReceiveEvent
from protocols.events import Event

R = TypeVar("R")


class WebsocketMethods(ChannelsMethods[R]):
    """The methods of both forms. Write ``connect()``, ``receive(text_data, bytes_data)`` and ``disconnect(code)``."""

    asks = {"websocket.connect": Asked("connect", "self.accept() or self.close()")}

    async def dispatch(self, event: Event) -> None:
        """Call the method for ``event``; what it raises may be the answer."""
        try:
            await super().dispatch(event)
        except AcceptConnection:
            await self._emit({"type": "websocket.accept"})
        except DenyConnection:
            await self._emit({"type": "websocket.close"})

    def websocket_connect(self, message: WebSocketConnectEvent) -> Any:
        return self.connect()

    def websocket_receive(self, message: WebSocketReceiveEvent) -> Any:
        if message.get("text") is not None:
            return self.receive(text_data=message["text"])
        return self.receive(bytes_data=message["bytes"])

    def websocket_disconnect(self, message: WebSocketDisconnectEvent) -> Any:
        return self.disconnect(message.get("code", 1005))

    def connect(self) -> Any:
        """Answer a peer that wants to connect: ``accept`` (the default), or ``close``."""
        return self.accept()

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> Any:
        """Handle one message."""

    def disconnect(self, code: int) -> Any:
        """Clean up after the connection."""

    def accept(self, subprotocol: str | None = None, headers: Headers | None = None) -> R:
        """Accept the connection."""
        fields = header_fields("accept", headers or ())
        return self.perform(self._emit({"type": "websocket.accept", "subprotocol": subprotocol, "headers": fields}))

    def send(self, text_data: str | None = None, bytes_data: bytes | None = None, close: bool | int = False) -> R:
        """Send one message, and close the connection if ``close`` is True or a code."""
        return self.perform(self._send(text_data, bytes_data, close))

    async def _send(self, text_data: str | None, bytes_data: bytes | None, close: bool | int) -> None:
        if text_data is not None:
            await self._emit({"type": "websocket.send", "text": text_data}, "send")
        elif bytes_data is not None:
            await self._emit({"type": "websocket.send", "bytes": bytes_data}, "send")
        else:
            raise ValueError("You must pass one of bytes_data or text_data")
        if close:
            await self._close(close, None)

    def close(self, code: int | bool | None = None, reason: str | None = None) -> R:
        """Close the connection. Before ``accept`` the peer gets HTTP 403."""
        return self.perform(self._close(code, reason))

    async def _close(self, code: int | bool | None, reason: str | None) -> None:
        event: dict[str, Any] = {"type": "websocket.close"}
        if code is not None and code is not True:
            event["code"] = code
        if reason:
            event["reason"] = reason
        await self._emit(event, "close")


class JsonMethods(WebsocketMethods[R]):
    """Messages are JSON: write ``receive_json(content)``."""

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any) -> Any:
        if not text_data:
            raise ValueError("No text section for incoming WebSocket frame!")
        return self.receive_json(self.decode_json(text_data), **kwargs)

    def receive_json(self, content: Any, **kwargs: Any) -> Any:
        """Handle one message, by its content."""

    def send_json(self, content: Any, close: bool | int = False) -> R:
        """Send ``content`` as JSON."""
        return self.send(text_data=self.encode_json(content), close=close)

    @classmethod
    def decode_json(cls, text_data: str) -> Any:
        return json.loads(text_data)

    @classmethod
    def encode_json(cls, content: Any) -> Any:
        return json.dumps(content)


class WebsocketConsumer(WebsocketMethods[None], SyncForm):
    """Plain methods, called on a thread."""


class AsyncWebsocketConsumer(WebsocketMethods[Awaited], AsyncForm):
    """``async def`` methods; the helpers are awaited."""


class JsonWebsocketConsumer(JsonMethods[None], SyncForm):
    """Plain methods, called on a thread."""


class AsyncJsonWebsocketConsumer(JsonMethods[Awaited], AsyncForm):
    """``async def`` methods, also ``decode_json`` and ``encode_json``; the helpers are awaited."""

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any) -> None:
        if not text_data:
            raise ValueError("No text section for incoming WebSocket frame!")
        await self.receive_json(await self.decode_json(text_data), **kwargs)

    async def send_json(self, content: Any, close: bool | int = False) -> None:
        """Send ``content`` as JSON."""
        await self.send(text_data=await self.encode_json(content), close=close)

    @classmethod
    async def decode_json(cls, text_data: str) -> Any:
        return json.loads(text_data)

    @classmethod
    async def encode_json(cls, content: Any) -> str:
        return json.dumps(content)

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        """Handle one message, by its content."""
