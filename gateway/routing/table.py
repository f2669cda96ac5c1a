"""The routes of a tree that have a policy, so that a stored message reaches its application without being routed."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from itertools import islice

from gateway.counts import MOST_ROUTES
from gateway.delivery.guard import Guard
from gateway.delivery.route_table import KeptRoute, RouteTable
from gateway.routing.patterns import Exactly
from gateway.routing.router import Route, Router
from protocols.asgi import Application


def route_table(app: Application) -> RouteTable:
    """Make the table of ``app``; it is empty if that is not a router of ours. A label that two routes have finds
    neither."""
    if not isinstance(app, Router):
        return RouteTable()
    lines: list[str] = []
    guards = [(key, guard) for *key, guard in _guards(app, "", lines)]
    seen = Counter(map(tuple, (key for key, _ in guards)))
    found = {
        (kind, label): KeptRoute(guard.app, guard.policy) for (kind, label), guard in guards if seen[kind, label] == 1
    }
    return RouteTable(hashlib.sha256("\n".join(lines).encode(errors="surrogatepass")).hexdigest()[:16], found)


def _guards(router: Router, kind: str, lines: list[str]) -> Iterator[tuple[str, str, Guard]]:
    """(scope type, label, guard) of each route with a policy; ``lines`` gets all that decides which route is found."""
    own = router.scope_types[0] if len(router.scope_types) == 1 else kind
    lines.append(f"{type(router).__module__}.{type(router).__qualname__} {len(router.routes)}")
    for route in router.routes:
        lines.append(f"{type(route.pattern).__name__} {route.label}")
        of = _kind_of(route) or own
        if isinstance(route.app, Router):
            yield from _guards(route.app, of, lines)
        elif isinstance(route.app, Guard):
            yield of, route.app.label, route.app


def labels_of(app: Application, kind: str) -> tuple[str, ...]:
    """The labels of the routes for the scope type ``kind``, in order; only as many as are counted one by one."""
    return tuple(islice(_labels(app, kind), MOST_ROUTES)) if isinstance(app, Router) else ()


def _labels(router: Router, kind: str) -> Iterator[str]:
    for route in router.routes:
        if (_kind_of(route) or kind) != kind:
            continue
        if isinstance(route.app, Router):
            yield from _labels(route.app, kind)
        else:
            yield route.label


def _kind_of(route: Route) -> str:
    return route.pattern.text if isinstance(route.pattern, Exactly) else ""
