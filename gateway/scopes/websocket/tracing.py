"""How WebSockets are traced: a span for the handshake, and one for each message."""

from typing import Any, ClassVar

from gateway.scopes.http.tracing import STATUS, TracedPath
from gateway.tracing import names
from gateway.tracing.traced import Attributes

_ANSWERS = ("websocket.accept", "websocket.close", "websocket.http.response.start")


class TracedWebSocket(TracedPath):
    """A connection may last for days, and backends show a span when it has ended: the handshake's ends with its answer.
    Messages have a link to it."""

    messages: ClassVar = frozenset({"websocket.receive"})

    def span_name(self, operation: str, route: str, scope: Any) -> str:
        return f"GET {route}" if operation == names.RECEIVE else f"{operation} {route}"

    def attributes(self, operation: str, route: str, scope: Any, event: Any) -> Attributes:
        if event is None:
            return self._of_path(route, scope)
        return {names.BODY_SIZE: len(event.get("text") or event.get("bytes") or "")}

    def verdict(self, event: Any) -> str:
        if event["type"] == "websocket.accept":
            return "101"
        if event["type"] == "websocket.close":
            return "403"
        return str(event["status"]) if event["type"] == "websocket.http.response.start" else ""

    def outcome(self, verdict: str) -> tuple[Attributes, bool]:
        return ({STATUS: int(verdict)} if verdict else {}), verdict >= "500"

    def is_over(self, event: Any) -> bool:
        return event["type"] in _ANSWERS
