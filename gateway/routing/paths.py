"""By path, for the http and websocket scopes."""

from typing import Any

from gateway.routing.patterns import Captures, Pattern
from gateway.routing.router import Router


class URLRouter(Router):
    """The first route whose pattern is found in the path, without its root path and its leading slash."""

    def key(self, pattern: Pattern, scope: Any) -> str:
        path: str = scope["path"]
        return path.removeprefix(scope.get("root_path", "")).removeprefix("/")

    def child(self, scope: Any, captures: Captures) -> Any:
        return {**scope, "url_route": {"args": captures.args, "kwargs": captures.kwargs}}
