"""The routers of the sms scope: by the other party, and by our own number."""

from collections.abc import Iterable, Iterator

from gateway.routing.patterns import NO_CAPTURES, Captures, Default, Pattern
from gateway.routing.router import Route, Router
from gateway.scopes.sms.patterns import Country, Keyword, Name, Phone, ShortCode, To, prefix_of
from protocols.asgi import SMSScope
from protocols.lazy_names import imported
from protocols.sms.senders import e164

_LEAST = 2
"""Characters of the shortest prefix: a plus and a digit."""


class _Prefixes:
    """The routes of one kind of pattern by prefix."""

    def __init__(self) -> None:
        self._routes: dict[str, list[Route]] = {}
        self._longest = 0

    def add(self, prefix: str, route: Route) -> None:
        self._routes.setdefault(prefix, []).append(route)
        self._longest = max(self._longest, len(prefix))

    def find(self, number: str) -> Iterator[Route]:
        """Yield the routes whose prefixes ``number`` begins with, the longest prefix first."""
        for length in range(min(len(number), self._longest), _LEAST - 1, -1):
            yield from self._routes.get(number[:length], ())


class _SMSRouter(Router):
    """The first route that matches; among prefixes the longest. If that is a router without a route for the text, the
    next one is tried."""

    scope_types = ("sms",)

    def __init__(self, routes: Iterable[Route]) -> None:
        """Raises ValueError if one is not a route, or not one for this router."""
        super().__init__(routes)
        self._prefixes: dict[type[Pattern], _Prefixes] = {}
        for route in self.routes:
            if prefix := prefix_of(route.pattern):
                self._prefixes.setdefault(type(route.pattern), _Prefixes()).add(prefix, route)

    def find(self, scope: SMSScope) -> tuple[Route, Captures] | None:
        return next((found for found in self._matching(scope) if not self._is_dead_end(found[0], scope)), None)

    def _may_pass(self, route: Route) -> bool:
        return isinstance(route.app, _SMSRouter)

    def _is_dead_end(self, route: Route, scope: SMSScope) -> bool:
        """Whether ``route`` leads to a router that has no route for ``scope``."""
        return isinstance(route.app, _SMSRouter) and route.app.find(scope) is None

    def _matching(self, scope: SMSScope) -> Iterator[tuple[Route, Captures]]:
        """Yield the routes that match: in order, except that the first prefix that matches stands for all of its kind,
        of which the longest is first."""
        seen: set[type[Pattern]] = set()
        for route in self.routes if self._index is None else self._candidates(self._index, scope):
            pattern = route.pattern
            kind = type(pattern)
            if kind in seen or (captures := pattern.match(key := self.key(pattern, scope))) is None:
                continue
            if prefix_of(pattern):
                seen.add(kind)
                yield from ((longest, NO_CAPTURES) for longest in self._prefixes[kind].find(key))
            else:
                yield route, captures


class SMSFromRouter(_SMSRouter):
    """By the sender: its number, region, short code or name; by keyword; or by the number of ours that it texted. In a
    receipt the sender is the other party, to whom the text went."""

    patterns = (Phone, Country, ShortCode, Name, Keyword, To, Default)

    def key(self, pattern: Pattern, scope: SMSScope) -> str:
        if isinstance(pattern, Keyword):
            return scope.get("keyword", "")
        if isinstance(pattern, Country):
            return scope["country"] or ""
        if isinstance(pattern, To):
            return _normal(scope["recipient"])
        return _normal(scope["sender"]) if isinstance(pattern, Phone) else scope["sender"]


class SMSToRouter(_SMSRouter):
    """By our own number, which was texted, or a short code of ours; or by keyword."""

    patterns = (Phone, Country, ShortCode, Keyword, Default)

    def key(self, pattern: Pattern, scope: SMSScope) -> str:
        if isinstance(pattern, Keyword):
            return scope.get("keyword", "")
        if isinstance(pattern, Country):
            region: str | None = imported("protocols.sms.country:country")(_normal(scope["recipient"]))
            return region or ""
        return _normal(scope["recipient"])


def _normal(address: str) -> str:
    """Return a number in E.164, and any other address as it is."""
    return e164(address) or address
