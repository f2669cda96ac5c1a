"""Lists the routes of a tree of routers, in the order in which they are tried."""

from collections.abc import Iterator
from typing import Any

from gateway.routing.router import Route, Router


def routes_of(app: Any) -> list[tuple[str, Route]]:
    """Return (scope type, route) for every leaf of the tree, in order; nothing for an app that is not a router."""
    if not isinstance(app, Router):
        return []
    return [(str(route.pattern), leaf) for route in app.routes for leaf in _leaves(route)]


def _leaves(route: Route) -> Iterator[Route]:
    if not isinstance(route.app, Router):
        yield route
        return
    for below in route.app.routes:
        yield from _leaves(below)
