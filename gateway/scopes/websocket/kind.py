"""The websocket scope as one object. Its servers are those of http."""

from collections.abc import Sequence
from typing import Any, ClassVar

from gateway.recording.replay_run import ReplayRun
from gateway.scopes.http.kind import PathKind
from gateway.scopes.websocket.arrivals import WebSocketWatch
from protocols.asgi import Application
from protocols.http.events import CHECKS, WEBSOCKET


class WebSocketKind(PathKind):
    name: ClassVar = "websocket"
    watch: ClassVar = WebSocketWatch
    words: ClassVar = "WebSocket connections, by path."
    refusal: ClassVar = ({"type": "websocket.close", "code": 4404},)
    not_protocols: ClassVar = dict.fromkeys(
        ("websocket", "ws", "wss"), "http, whose server takes WebSocket connections"
    )
    example: ClassVar = "websocket:/path"
    aliases: ClassVar = ("ws", "wss")
    send: ClassVar = "gateway.scopes.websocket.send:websocket"

    def records(self, arrival: Any) -> bool:
        """A connection is kept whole, when it is over."""
        return bool(arrival.event == "websocket.disconnect" or arrival.verdict.startswith("rejected"))

    def replayed(self, app: Application, scope: Any, events: Sequence[Any]) -> ReplayRun:
        events = events or [{"type": "websocket.connect"}]
        left = {"type": "websocket.disconnect", "code": 1006, "reason": ""}
        return ReplayRun(app, scope, events, table=WEBSOCKET, checks=CHECKS, disconnect=left)
