"""The router of the http and websocket scopes: by path."""

from typing import Any

from gateway.routing.patterns import Captures, Default, Pattern, Regex
from gateway.routing.router import Route, Router, pattern_text, route
from protocols.asgi import HTTPScope, WebSocketScope

_OUTERMOST: dict[str, Any] = {"args": (), "kwargs": {}}


def url(pattern: str, target: Any) -> Route:
    """A path without its leading slash, by ``re.search``, as Django does; groups go to ``scope["url_route"]``."""
    return route(Regex(pattern_text(pattern)), target)


class URLRouter(Router):
    """The first route whose pattern is found in the path, without its root path and its leading slash.

    One below a route of another looks at what that route left of the path, as with Django's ``include``; what both
    captured is together in ``scope["url_route"]``.
    """

    scope_types = ("http", "websocket")
    patterns = (Regex, Default)

    def key(self, pattern: Pattern, scope: HTTPScope | WebSocketScope) -> str:
        rest: str | None = scope.get("url_route", _OUTERMOST).get("rest")
        if rest is not None:
            return rest
        path: str = scope["path"]
        return path.removeprefix(scope.get("root_path", "")).removeprefix("/")

    def child(self, scope: HTTPScope | WebSocketScope, captures: Captures) -> Any:
        outer = scope.get("url_route", _OUTERMOST)
        args, kwargs = (*outer["args"], *captures.args), {**outer["kwargs"], **captures.kwargs}
        return {**scope, "url_route": {"args": args, "kwargs": kwargs, "rest": captures.rest}}
