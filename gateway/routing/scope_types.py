"""The router by scope type, which is the root of the tree."""

from collections.abc import Mapping
from typing import Any

from gateway.routing.patterns import NO_CAPTURES, Captures, Exactly, Pattern
from gateway.routing.router import Route, Router, check_answers, check_policies
from gateway.routing.targets import as_application, name_of
from gateway.scope_kinds import scope_kinds


class ProtocolTypeRouter(Router):
    """One application per scope type. Its lifespan is that of every application below it that has one."""

    patterns = (Exactly,)

    def __init__(self, application_mapping: Mapping[str, Any]) -> None:
        """Raises ValueError for what is not a scope type, and for an application that does not answer its own."""
        self._by_type = {kind: _branch(kind, target) for kind, target in _mapping(application_mapping).items()}
        super().__init__(self._by_type.values())

    def check(self, kind: str) -> None:
        """All branches have been looked at; a type without one is refused in its own way."""

    def key(self, pattern: Pattern, scope: Any) -> str:
        kind: str = scope["type"]
        return kind

    def find(self, scope: Any) -> tuple[Route, Captures] | None:
        route = self._by_type.get(scope["type"])
        return None if route is None else (route, NO_CAPTURES)


def _mapping(given: Any) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise ValueError(f"ProtocolTypeRouter takes a dict, scope type -> application, not {given!r}")
    return given


def _branch(kind: str, target: Any) -> Route:
    if kind not in scope_kinds() and kind != "lifespan":
        raise ValueError(f"{kind!r} is not a scope type; there are {', '.join(scope_kinds())}")
    if isinstance(target, Route) and isinstance(target.pattern, Exactly):
        route = target
    else:
        route = Route(Exactly(kind), as_application(target), name_of(target))
    check_answers(route.app, kind)
    check_policies((route,), kind)
    return route
