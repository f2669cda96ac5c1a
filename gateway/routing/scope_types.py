"""By scope type: the root of the tree."""

from collections.abc import Mapping
from typing import Any

from gateway.routing.patterns import NO_CAPTURES, Captures, Exactly, Pattern
from gateway.routing.router import Route, Router, as_application, name_of


class ProtocolTypeRouter(Router):
    """One application per scope type. Its lifespan is that of every application below it that has one."""

    def __init__(self, application_mapping: Mapping[str, Any]) -> None:
        self._by_type = {
            kind: Route(Exactly(kind), as_application(target), name_of(target))
            for kind, target in application_mapping.items()
        }
        super().__init__(self._by_type.values())

    def key(self, pattern: Pattern, scope: Any) -> str:
        kind: str = scope["type"]
        return kind

    def find(self, scope: Any) -> tuple[Route, Captures] | None:
        route = self._by_type.get(scope["type"])
        return None if route is None else (route, NO_CAPTURES)
