"""Consumers of the websocket scope: one instance for each connection."""

import inspect
from typing import Any, ClassVar, TypeVar

from gateway.consumers.base import AsyncForm, Awaited, Consumer, SyncForm
from gateway.consumers.hooks import Call, takes
from protocols.asgi import WebSocketConnectEvent, WebSocketDisconnectEvent, WebSocketReceiveEvent, WebSocketScope

R = TypeVar("R")

UNSUPPORTED_DATA = 1003
"""RFC 6455, section 7.4.1."""
_BYTES = Call(("text", "bytes"), by_name=True)


class WebsocketMethods(Consumer[R]):
    """The methods of both forms. Write ``connect``, ``receive`` and ``disconnect``."""

    scope: WebSocketScope

    _hooks = {"connect": Call(), "receive": Call(("text",), by_name=True), "disconnect": Call(("code",))}
    _text_only: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._text_only = inspect.isfunction(cls.receive) and not takes(cls.receive, _BYTES)

    def websocket_connect(self, event: WebSocketConnectEvent) -> Any:
        return self.connect(event)

    def websocket_receive(self, event: WebSocketReceiveEvent) -> Any:
        if event.get("text") is not None:
            return self.receive(text=event["text"])
        if self._text_only:
            return self.close(UNSUPPORTED_DATA, "text only")
        return self.receive(text=None, bytes=event["bytes"])

    def websocket_disconnect(self, event: WebSocketDisconnectEvent) -> Any:
        return self.disconnect(event.get("code", 1005))

    def connect(self, message: WebSocketConnectEvent) -> Any:
        """Answer a peer that wants to connect: ``accept`` (the default), or ``close``, which sends HTTP 403."""
        return self.accept()

    def receive(self, text: str | None, bytes: bytes | None = None) -> Any:
        """Handle one message, which has either ``text`` or ``bytes``. If your method has no parameter ``bytes``, a peer
        that sends bytes is disconnected."""

    def disconnect(self, code: int) -> Any:
        """Clean up after the connection, which ended with this close code (RFC 6455, section 7.4)."""

    def accept(self, subprotocol: str | None = None) -> R:
        return self.perform(self._emit({"type": "websocket.accept", "subprotocol": subprotocol, "headers": []}))

    def send(self, text: str | None = None, bytes: bytes | None = None) -> R:
        """Send one message: either ``text`` or ``bytes``."""
        return self.perform(self._emit({"type": "websocket.send", "text": text, "bytes": bytes}))

    def close(self, code: int = 1000, reason: str = "") -> R:
        return self.perform(self._emit({"type": "websocket.close", "code": code, "reason": reason}))


class WebsocketConsumer(WebsocketMethods[None], SyncForm):
    """Plain methods, called on a thread."""


class AsyncWebsocketConsumer(WebsocketMethods[Awaited], AsyncForm):
    """``async def`` methods; the helpers are awaited."""
