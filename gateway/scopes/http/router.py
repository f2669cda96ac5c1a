"""The router of the http and websocket scopes: by path."""

from collections.abc import Collection, Iterable
from typing import Any

from gateway.delivery.policy import Policy
from gateway.routing.patterns import Captures, Default, Pattern, Regex
from gateway.routing.router import PLAIN, Route, Router, pattern_text, route
from gateway.scopes.http.checked_route import checked
from gateway.scopes.http.django_routes import DjangoPath, from_django, is_django_route
from gateway.scopes.http.origins import parse_origins
from gateway.scopes.http.rate_limited import rate_limited
from protocols.asgi import HTTPScope, WebSocketScope


def url(
    pattern: str,
    target: Any,
    policy: Policy = PLAIN,
    *,
    origins: str | Collection[str] | None = None,
    max_request_rate: int = 0,
) -> Route:
    """A path without its leading slash, by ``re.search``, as Django does; groups go to ``scope["url_route"]``.

    ``origins`` are the pages that may open a WebSocket beside those of this server, or ``*``. Without it, every page
    may; a route of gateway.yaml is stricter. ``max_request_rate``: requests a minute from one client address (IPv6:
    /64); one more gets 429. 0: no limit. Raises ValueError.
    """
    made = route(Regex(pattern_text(pattern)), target, policy)
    return rate_limited(made if origins is None else checked(made, parse_origins(origins)), max_request_rate)


class URLRouter(Router):
    """The first route whose pattern is found in the path, without its root path and its leading slash.

    One below a route of another looks at what that route left of the path (``scope["path_remaining"]``), as with
    Django's ``include``; if it has no route for that, the later routes of the other are tried. What both captured is
    together in ``scope["url_route"]``. Routes of Django's ``path()``, ``re_path()`` and ``include()`` are routes, too.
    """

    scope_types = ("http", "websocket")
    patterns = (Regex, DjangoPath, Default)

    def __init__(self, routes: Iterable[Any]) -> None:
        """Raises ValueError if one is not a route, or not one for this router."""
        super().__init__(routes)

    def _own(self, route: Any) -> Route:
        return super()._own(from_django(route, URLRouter) if is_django_route(route) else route)

    def _may_pass(self, route: Route) -> bool:
        return isinstance(route.app, URLRouter)

    def _leads_nowhere(self, route: Route, captures: Captures, scope: HTTPScope | WebSocketScope) -> bool:
        return isinstance(route.app, URLRouter) and route.app.find(self.child(scope, captures)) is None

    def key(self, pattern: Pattern, scope: HTTPScope | WebSocketScope) -> str:
        rest = scope.get("path_remaining")
        if rest is not None:
            return rest
        path: str = scope["path"]
        return path.removeprefix(scope.get("root_path", "")).removeprefix("/")

    def child(self, scope: HTTPScope | WebSocketScope, captures: Captures) -> Any:
        args, kwargs = captures.args, captures.kwargs
        if (outer := scope.get("url_route")) is not None:
            args, kwargs = (*outer["args"], *args), {**outer["kwargs"], **kwargs}
        return {**scope, "path_remaining": captures.rest, "url_route": {"args": args, "kwargs": kwargs}}
