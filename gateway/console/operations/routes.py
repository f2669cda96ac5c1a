"""The operation ``routes``."""

from itertools import islice
from typing import Annotated, TypedDict

from gateway.console import joined
from gateway.console.here import Here
from gateway.console.operation import operation
from gateway.console.rates import Key, Point, Rates
from gateway.delivery.guard import Guard
from gateway.routing import Route
from gateway.routing.listing import routes_of
from gateway.routing.table import labels_of
from protocols.checkpoint import checkpoint
from protocols.units import Between


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
    rate: float | None
    """How often it was used in the last minute, per second: requests, mails, texts, messages that a `topic` routes,
    attempts at messages of an inbox; of other connections, those that ended. Null if there are more than 200 routes for
    the type: only 200 are counted."""
    error_share: float | None
    """The share that failed, from 0 to 1: the handler crashed or answered 5xx. Null without traffic."""
    p50: float | None
    """Half of them took fewer seconds. Null without traffic, and for connections and their messages."""
    p99: float | None
    """99 of 100 took fewer seconds."""
    history: list[Point]
    """The last ten minutes, the oldest first. Empty if it was not used in that time."""


class UnroutedFacts(Rates):
    """Scopes of one type that no route took, or all of an application without routes. The rates are those of the last
    minute."""

    type: str
    """The scope type."""
    history: list[Point]
    """The last ten minutes, the oldest first. Empty if there were none in that time."""


class RouteList(TypedDict):
    """All routes."""

    application: str
    """The application of a file without routes; empty if it has routes."""
    routes: list[RouteFacts]
    """In the order in which they are tried, for each scope type."""
    unrouted: list[UnroutedFacts]
    """What no route took, by scope type; of a file without routes, everything."""


Most = Annotated[int, Between(1, 100_000), "How many routes to list at most; `unrouted` is whole."]
WithHistory = Annotated[bool, "Whether to give the history of each route, too."]


@operation("routes", "GET", "/api/routes", joined=joined.routes)
async def routes(here: Here, *, history: WithHistory = True, limit: Most = 100_000) -> RouteList:
    """List the routes, in the order in which they are tried, with how often each is used, how often it fails, and how
    long it takes."""
    gateway, lately = here.gateway, here.rates.lately()
    counted = {kind: frozenset(labels_of(gateway.app, kind)) for kind in _kinds(here)}

    def past(key: Key) -> list[Point]:
        return here.rates.history(key) if history else []

    def facts(kind: str, route: Route) -> RouteFacts:
        key = kind, route.label
        return _facts(kind, route, lately(key) if route.label in counted[kind] else None, past(key))

    found: list[RouteFacts] = []
    for kind, route in islice(routes_of(gateway.app), limit):
        found.append(facts(kind, route))
        await checkpoint()  # there may be 50,000
    return {
        "application": gateway.settings.application or "",
        "routes": found,
        "unrouted": [{"type": kind, **lately((kind, "")), "history": past((kind, ""))} for kind in counted],
    }


def _kinds(here: Here) -> list[str]:
    """Return the scope types that come here: those of the servers, and those of the routes."""
    of_servers = (kind for server in here.gateway.servers for kind in server.scope_types)
    return list(dict.fromkeys((*of_servers, *(kind for kind, _ in routes_of(here.gateway.app)))))


def _facts(kind: str, route: Route, rates: Rates | None, history: list[Point]) -> RouteFacts:
    policy = route.app.policy if isinstance(route.app, Guard) else None
    return {
        "type": kind,
        "pattern": str(route.pattern),
        "target": route.target,
        "inbox": policy.inbox if policy is not None else False,
        "attempts": policy.attempts if policy is not None else None,
        "rate": rates["rate"] if rates is not None else None,
        "error_share": rates["error_share"] if rates is not None else None,
        "p50": rates["p50"] if rates is not None else None,
        "p99": rates["p99"] if rates is not None else None,
        "history": history,
    }
