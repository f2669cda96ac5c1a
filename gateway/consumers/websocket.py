"""Consumers of the websocket scope: one instance for each connection."""

import inspect
import json
import logging
from typing import Any, ClassVar, TypeVar

from gateway.consumers import arguments, send_queue
from gateway.consumers.base import CLEAN_UP, Asked, Consumer
from gateway.consumers.cookies import Cookies
from gateway.consumers.forms import AsyncForm, Awaited, SyncForm
from gateway.consumers.header_fields import Headers, header_fields
from gateway.consumers.hooks import Call, takes
from gateway.consumers.json_text import parsed
from gateway.consumers.send_queue import SendQueue, SlowReceiver
from protocols.asgi import (
    Receive,
    Send,
    WebSocketConnectEvent,
    WebSocketDisconnectEvent,
    WebSocketReceiveEvent,
    WebSocketScope,
    describe,
)
from protocols.errors import Disconnected, LocalProtocolError
from protocols.events import Event

logger = logging.getLogger(__name__)

R = TypeVar("R")

UNSUPPORTED_DATA, INVALID_DATA = 1003, 1007
"""RFC 6455, section 7.4.1."""
_BYTES = Call(("text", "bytes"), by_name=True)


class WebsocketMethods(Cookies, Consumer[R]):
    """The methods of both forms. Write ``connect``, ``receive`` and ``disconnect``."""

    scope: WebSocketScope

    send_queue: ClassVar[int] = 0
    """Messages that may wait for a slow peer. 0: ``send`` itself waits until the peer has read."""
    slow_receiver: ClassVar[SlowReceiver] = "drop_oldest"
    """What happens when one more would wait: the oldest is dropped, or the connection is closed with 1013."""

    asks = {"websocket.connect": Asked("connect", "self.accept() or self.close()")}
    states = {
        "waiting": "the connection is not accepted; call self.accept() first",
        "open": "the connection is accepted already",
        "over": "the connection is closed already",
    }
    instead = {**asks, "websocket.receive": Asked("receive", "self.send(text)")}
    _hooks = {"connect": Call(), "receive": Call(("text",), by_name=True), "disconnect": Call(("code",))}
    _text_only: ClassVar[bool] = False
    _queue: SendQueue | None = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        send_queue.check(cls, cls.send_queue, cls.slow_receiver)
        cls._text_only = inspect.isfunction(cls.receive) and not takes(cls.receive, _BYTES)

    async def run(self, scope: WebSocketScope, receive: Receive, send: Send) -> None:
        try:
            await super().run(scope, receive, send)
        finally:
            if self._queue is not None:
                await self._queue.flush(0 if self.is_disconnected else CLEAN_UP)

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

    def accept(self, subprotocol: str | None = None, headers: Headers = ()) -> R:
        """Accept the connection. ``headers`` of the handshake's response are a dict or pairs, of text or bytes."""
        if subprotocol is not None:
            arguments.name("accept", "subprotocol", subprotocol, 'text, one of self.scope["subprotocols"], or None')
        fields = header_fields("accept", headers)
        event = {"type": "websocket.accept", "subprotocol": subprotocol, "headers": fields}
        return self.perform(self._accept(event))

    async def _accept(self, event: Event) -> None:
        if self._set_cookies:
            event = {**event, "headers": [*event["headers"], *self._set_cookies]}
        await self._emit(event, "accept")
        self._headers_sent = True
        if self.send_queue:
            self._queue = SendQueue(self.scope, self._emit, self.send_queue, self.slow_receiver)

    def send(self, text: str | None = None, bytes: bytes | None = None) -> R:
        """Send one message: either ``text`` or ``bytes``."""
        if type(text) is not str or bytes is not None:
            text, bytes = _either(text, bytes)
        return self.perform(self._send({"type": "websocket.send", "text": text, "bytes": bytes}, "send"))

    async def _send(self, event: Event, helper: str) -> None:
        """Send ``event`` after the messages that wait. Raises, as without a queue, when the connection is over."""
        queue = self._queue
        if queue is None or self.is_disconnected:
            await self._emit(event, helper)
        elif queue.closed:
            raise LocalProtocolError(f"{helper}: {self.states['over']}")
        elif event["type"] == "websocket.close":
            await queue.close(event)
        else:
            if event["text"] is not None:
                event["text"].encode()  # an error of it belongs to the line that sends it
            await self._put(queue, event)

    async def _put(self, queue: SendQueue, event: Event) -> None:
        try:
            await queue.put(event)
        except Disconnected:
            self._left = True
            raise

    def send_json(self, content: Any) -> R:
        """Send ``content`` as JSON text. Raises TypeError or ValueError if it cannot be written as JSON."""
        return self.send(self.encode_json(content))

    @classmethod
    def encode_json(cls, content: Any) -> str:
        """Return ``content`` as JSON text. Your class may write it in another way."""
        return json.dumps(content, allow_nan=False)

    def close(self, code: int = 1000, reason: str = "") -> R:
        """Close the connection. Before ``accept`` the peer gets HTTP 403."""
        arguments.integer("close", "code", code, "1000 or an integer from 3000 to 4999: close(code, reason)")
        arguments.text("close", "reason", reason)
        return self.perform(self._send({"type": "websocket.close", "code": code, "reason": reason}, "close"))


def _either(text: Any, data: Any) -> tuple[str | None, bytes | None]:
    """Return the text or the bytes of a message. Bytes in the place of the text are a message of bytes."""
    if text is not None and data is not None:
        raise TypeError("send: text and bytes are given; write one of them")
    if isinstance(text, str) or arguments.is_lazy(text):
        return str(text), None
    given = data if text is None else text
    if isinstance(given, bytes | bytearray | memoryview):
        return None, bytes(given)
    if data is None:
        raise arguments.wrong("send", "text", given, "text or bytes; for JSON call send_json(content)")
    raise arguments.wrong("send", "bytes", given, "bytes, or send(text)")


class JsonWebsocketMethods(WebsocketMethods[R]):
    """Messages are JSON: write ``receive_json``. A peer that sends something else is disconnected, with a line in the
    log."""

    instead = {**WebsocketMethods.asks, "websocket.receive": Asked("receive_json", "self.send_json(content)")}
    _hooks = {"connect": Call(), "receive_json": Call(("content",)), "disconnect": Call(("code",))}
    _required = ("receive_json", "websocket_receive")

    def websocket_receive(self, event: WebSocketReceiveEvent) -> Any:
        text = event.get("text")
        if text is None:
            return self.close(UNSUPPORTED_DATA, "text only")
        try:
            content = self.decode_json(text)
        except (ValueError, RecursionError):
            logger.warning("%s: closed, not JSON (%d characters)", describe(self.scope), len(text))
            return self.close(INVALID_DATA, "not JSON")
        return self.receive_json(content)

    @classmethod
    def decode_json(cls, text: str) -> Any:
        """Return what ``text``, a message of the peer, says. Your class may read it in another way; ValueError means
        that the message is not what it should be."""
        return parsed(text)

    def receive_json(self, content: Any) -> Any:
        """Handle one message, by its content."""


class WebsocketConsumer(WebsocketMethods[None], SyncForm):
    """Plain methods, called on a thread."""


class AsyncWebsocketConsumer(WebsocketMethods[Awaited], AsyncForm):
    """``async def`` methods; the helpers are awaited."""


class JsonWebsocketConsumer(JsonWebsocketMethods[None], SyncForm):
    """Plain methods, called on a thread."""


class AsyncJsonWebsocketConsumer(JsonWebsocketMethods[Awaited], AsyncForm):
    """``async def`` methods; the helpers are awaited."""
