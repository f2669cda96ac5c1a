"""How requests are traced."""

from typing import Any, ClassVar

from gateway.spans import Carrier
from gateway.tracing import names
from gateway.tracing.traced import Attributes, Traced, from_pairs

LONGEST_PATH = 1024
"""Characters. Anybody can send a longer path, and a collector would refuse the whole batch for it."""
STATUS = "http.response.status_code"
_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
"""Others are _OTHER, as the conventions ask: a peer may write anything."""


class TracedPath(Traced):
    """What http and websocket share. Queries may have secrets. The names are OpenTelemetry's stable conventions."""

    is_request: ClassVar = True
    route_attribute: ClassVar = "http.route"

    def carrier(self, scope: Any, event: Any) -> Carrier:
        return from_pairs(scope["headers"]) if event is None else {}

    def _of_path(self, route: str, scope: Any) -> Attributes:
        return {
            "url.path": scope["path"][:LONGEST_PATH],
            "url.scheme": scope["scheme"],
            "network.protocol.version": scope["http_version"],
            "http.request.method": _method(scope),
        }


class TracedHTTP(TracedPath):
    """The span ends with the application, which may go on after its response."""

    def span_name(self, operation: str, route: str, scope: Any) -> str:
        return f"{_method(scope)} {route}".rstrip()

    def attributes(self, operation: str, route: str, scope: Any, event: Any) -> Attributes:
        return self._of_path(route, scope)

    def verdict(self, event: Any) -> str:
        return str(event["status"]) if event["type"] == "http.response.start" else ""

    def outcome(self, verdict: str) -> tuple[Attributes, bool]:
        failed = not verdict or verdict >= "500"
        found = {STATUS: int(verdict)} if verdict else {}
        return (found | {names.ERROR_TYPE: verdict} if failed and verdict else found), failed


def _method(scope: Any) -> str:
    method: str = scope.get("method", "GET")
    return method if method in _METHODS else "_OTHER"
