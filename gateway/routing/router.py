"""What all routers share: an ordered list of routes, of which the first that matches answers."""

import logging
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, cast

from gateway.consumers import Consumer
from gateway.delivery.current_event import current_event
from gateway.delivery.current_route import current_route
from gateway.delivery.guard import Guard, guarded
from gateway.delivery.kind import check_policy
from gateway.delivery.policy import Policy
from gateway.routing.bounded import TookTooLong
from gateway.routing.index import Index, unreachable
from gateway.routing.lifespan import run_lifespans
from gateway.routing.patterns import Captures, Default, Pattern
from gateway.routing.targets import as_application, name_of
from gateway.routing.unrouted import refuse
from protocols.asgi import Application, Receive, Scope, Send, describe

logger = logging.getLogger(__name__)

PLAIN = Policy()
"""No policy: what a route has when it says nothing."""

FEW = 12
"""Routes that are asked one after the other; of more, those that may match are looked up."""


@dataclass(frozen=True, eq=False)  # each is itself: hashing its pattern for every message would cost too much
class Route:
    """One line of a router: a pattern and the application behind it."""

    pattern: Pattern
    app: Application
    target: str
    """The application's name, for people."""

    @cached_property  # asked for by every message
    def label(self) -> str:
        return f"{self.pattern} -> {self.target}"

    @cached_property
    def below(self) -> "Router | None":
        """The router that it leads to, if nothing is to be done on the way there."""
        is_plain = isinstance(self.app, Router) and type(self.app).__call__ is Router.__call__
        return cast("Router", self.app) if is_plain and type(self).run is Route.run else None

    def run(self, scope: Any, receive: Receive, send: Send) -> Awaitable[None]:
        """Run the application under this route's name, or a router, which finds another name for it. Await it at once;
        a coroutine of its own would take 1 % of a short request."""
        if not isinstance(self.app, Router):
            current_route.set(self.label)
        if event := (scope.get("extensions") or {}).get("event"):
            current_event.set(event["id"])
        return self.app(scope, receive, send)


def route(pattern: Pattern, target: Any, policy: Policy = PLAIN) -> Route:
    """A route by a pattern of your own."""
    name = name_of(target)
    return Route(pattern, guarded(as_application(target), policy, f"{pattern} -> {name}"), name)


def pattern_text(written: str) -> str:
    """Return ``written``. Raises ValueError if it is a number, None or whatever else Python lets through."""
    if not isinstance(written, str):
        raise ValueError(f"{written!r} is not text; write it in quotes")
    return written


def default(target: Any, policy: Policy = PLAIN) -> Route:
    """Whatever no earlier route took."""
    return route(Default(), target, policy)


class Router:
    """An ordered list of routes over one scope type. Subclasses say what they look at."""

    scope_types: ClassVar[tuple[str, ...]] = ()
    """What it can route; empty for whatever comes."""
    patterns: ClassVar[tuple[type[Pattern], ...]] = (Pattern,)
    """What its routes may look for."""
    besides: tuple[Application, ...] = ()
    """Applications without a route. They have a lifespan all the same."""

    def __init__(self, routes: Iterable[Route]) -> None:
        """Raises ValueError if one is not a route, or not one for this router."""
        self.routes: Sequence[Route] = tuple(map(self._own, self._listed(routes)))
        patterns = [route.pattern for route in self.routes]
        self._passes = any(map(self._may_pass, self.routes))
        self._index = Index(patterns) if len(patterns) > FEW else None
        for later, earlier in unreachable(patterns):
            hidden, hiding = self.routes[later], self.routes[earlier]
            if self._may_pass(hiding):
                continue
            logger.warning("route %s can never match: %s takes it all", hidden.label, hiding.label)

    def _listed(self, routes: Any) -> Iterable[Any]:
        if not isinstance(routes, Iterable):
            raise ValueError(f"{type(self).__name__} takes a list of routes")
        return routes

    def _own(self, route: Route) -> Route:
        if not isinstance(route, Route):
            raise ValueError(f"{type(self).__name__} takes routes, which url() and others make, not {route!r}")
        if not isinstance(route.pattern, self.patterns):
            raise ValueError(
                f"{type(self).__name__} has no route by {type(route.pattern).__name__.lower()}: {route.label}"
            )
        if len(self.scope_types) == 1:
            check_answers(route.app, *self.scope_types)
            check_policies((route,), *self.scope_types)
        return route

    def check(self, kind: str) -> None:
        """Raises ValueError if scopes of the type ``kind`` cannot be answered here, or by what is below."""
        if self.scope_types and kind not in self.scope_types:
            raise ValueError(f"{type(self).__name__} does not route {kind}")
        for route in self.routes:
            check_answers(route.app, kind)
        check_policies(self.routes, kind)

    def key(self, pattern: Pattern, scope: Any) -> str:
        """What ``pattern`` looks at; the same for all patterns of its type."""
        raise LookupError(f"{type(self).__name__} has no key for {scope['type']}")

    def find(self, scope: Any) -> tuple[Route, Captures] | None:
        """The first route that matches ``scope``, and what its pattern captured. None if a search takes too long:
        the routes after that one are for what it does not match, which nobody knows."""
        found = self._first(self.routes if self._index is None else self._candidates(self._index, scope), scope)
        return self._beyond(found, scope) if self._passes else found

    def _beyond(self, found: tuple[Route, Captures] | None, scope: Any) -> tuple[Route, Captures] | None:
        """The first of ``found`` and the later routes that match which leads somewhere."""
        while found is not None and self._leads_nowhere(*found, scope):
            later = self.routes.index(found[0]) + 1
            found = self._first(self.routes[later:], scope)
        return found

    def _may_pass(self, route: Route) -> bool:
        """Whether ``route`` may have no answer for what it matches, so that later routes are tried."""
        return False

    def _leads_nowhere(self, route: Route, captures: Captures, scope: Any) -> bool:
        """Whether ``route``, which matches ``scope``, has no answer for it."""
        return False

    def _first(self, routes: Iterable[Route], scope: Any) -> tuple[Route, Captures] | None:
        kind: type[Pattern] | None = None
        key = ""
        for route in routes:
            pattern = route.pattern
            if type(pattern) is not kind:  # of a key, as of a path, a part must be made
                kind, key = type(pattern), self.key(pattern, scope)
            try:
                captures = pattern.match(key)
            except TookTooLong as stopped:
                logger.warning("%s: no route; %s was not done after %s", describe(scope), route.label, stopped)
                return None
            if captures is not None:
                return route, captures
        return None

    def _candidates(self, index: Index, scope: Any) -> Iterable[Route]:
        """The routes that may match, in order."""
        routes = self.routes
        return (routes[number] for number in index.candidates(lambda pattern: self.key(pattern, scope)))

    def explain(self, scope: Any) -> Route | None:
        """The route that would answer ``scope``, looked up through the routers below; None where none would."""
        found = self.find(scope)
        if found is None:
            return None
        route, captures = found
        return route.app.explain(self.child(scope, captures)) if isinstance(route.app, Router) else route

    def routable(self, scope: Scope) -> bool:
        found = self.find(scope)
        if found is None:
            return False
        route, captures = found
        return takes(route.app, self.child(scope, captures))

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await run_lifespans(leaves(self), scope, receive, send)
            return None
        router = self
        while True:  # a coroutine for each router below would take 2 % of a short request
            found = router.find(scope)
            if found is None:
                current_route.set("")  # one task may run one message after the other
                await refuse(scope, receive, send)
                return None
            route, captures = found
            scope = router.child(scope, captures)
            if route.below is None:
                return await route.run(scope, receive, send)  # ASGI has no result; Channels' tests look at it
            router = route.below

    def child(self, scope: Any, captures: Captures) -> Any:
        """The scope that the route's application sees."""
        return scope


def takes(app: Any, scope: Scope) -> bool:
    """Return whether ``app`` may take ``scope``, as far as it says so beforehand."""
    routable = getattr(app, "routable", None)  # asked at each RCPT TO: isinstance of a protocol takes longer
    if routable is not None:
        return bool(routable(scope))
    return "path" not in scope or _has_path(app, scope)


def _has_path(app: Any, scope: Scope) -> bool:
    """Return whether an application of Starlette or FastAPI has a route for the path; True for any other."""
    routes = [each for each in getattr(app, "routes", None) or () if hasattr(each, "matches")]
    return not routes or any(each.matches(scope)[0].name == "FULL" for each in routes)


def check_answers(app: Application, kind: str) -> None:
    """Raises ValueError if ``app`` surely has no answer for scopes of the type ``kind``."""
    if isinstance(app, Router):
        app.check(kind)
    consumer = getattr(app, "consumer_class", None)  # Channels' consumers have it, too
    if isinstance(consumer, type) and issubclass(consumer, Consumer) and not consumer.answers(kind):
        raise ValueError(f"{name_of(app)} has no method for {kind} events")


def check_policies(routes: Iterable[Route], kind: str) -> None:
    """Raises ValueError if messages of the scope type ``kind`` cannot be delivered as a route wants it."""
    for route in routes:
        if isinstance(route.app, Guard):
            check_policy(kind, route.app.policy)


def leaves(router: Router) -> Iterator[Application]:
    """The applications at the end of every branch, and those without a route, each once, in order."""
    seen: set[int] = set()
    for branch in (*(route.app for route in router.routes), *router.besides):
        for app in leaves(branch) if isinstance(branch, Router) else (branch,):
            called = id(getattr(app, "wrapped_app", app))  # a route's own settings wrap its application
            if called not in seen:
                seen.add(called)
                yield app
