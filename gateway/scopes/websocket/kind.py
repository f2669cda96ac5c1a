"""The websocket scope as one object. Its servers are those of http."""

from typing import ClassVar

from gateway.scopes.http.kind import PathKind
from gateway.scopes.websocket.arrivals import WebSocketWatch


class WebSocketKind(PathKind):
    name: ClassVar = "websocket"
    watch: ClassVar = WebSocketWatch
    words: ClassVar = "WebSocket connections, by path."
    refusal: ClassVar = ({"type": "websocket.close", "code": 4404},)
    example: ClassVar = "websocket:/path"
    send: ClassVar = "gateway.scopes.websocket.send:websocket"
