"""The operation ``routes``."""

from typing import TypedDict

from gateway.console.here import Here
from gateway.console.operation import operation
from gateway.delivery.guard import Guard
from gateway.routing import Route
from gateway.routing.listing import routes_of


class RouteFacts(TypedDict):
    """One route."""

    type: str
    """The scope type."""
    pattern: str
    """What it takes."""
    target: str
    """The application that answers."""
    inbox: bool
    """Whether its messages are stored first, and acknowledged then."""
    attempts: int | None
    """How many times a message is tried; null: once each time that its sender repeats it."""


class RouteList(TypedDict):
    """All routes."""

    application: str
    """The application of a file without routes; empty if it has routes."""
    routes: list[RouteFacts]
    """In the order in which they are tried, for each scope type."""


@operation("routes", "GET", "/api/routes")
async def routes(here: Here) -> RouteList:
    """List the routes, in the order in which they are tried."""
    gateway = here.gateway
    found = [_facts(kind, route) for kind, route in routes_of(gateway.app)]
    return {"application": gateway.settings.application or "", "routes": found}


def _facts(kind: str, route: Route) -> RouteFacts:
    policy = route.app.policy if isinstance(route.app, Guard) else None
    return {
        "type": kind,
        "pattern": str(route.pattern),
        "target": route.target,
        "inbox": policy.inbox if policy is not None else False,
        "attempts": policy.attempts if policy is not None else None,
    }
