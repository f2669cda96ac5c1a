"""Makes the parts of the settings that the installed scope types define."""

from dataclasses import field, make_dataclass
from typing import Annotated, Any, Union

from gateway.scopes.installed import KINDS
from gateway.scopes.kind import ScopeKind
from gateway.scopes.routes import Target
from protocols.server import SETTINGS_CONFIG
from protocols.setting_forms import ByForm, ByKey, Described, NotEmpty
from protocols.units import Timeout


def _form(value: object) -> str:
    """Return which of the three forms of routes ``value`` has."""
    if isinstance(value, dict):
        return "route"
    return "routes" if isinstance(value, list) else "target"


def _any_of(kind: ScopeKind) -> Any:
    """Return the type of one scope type's routes: a target for everything, one route, or a list of routes."""
    route: Any = kind.route
    one_or_more = Target | route | (list[route] if kind.without_routes else Annotated[list[route], NotEmpty()])
    return Annotated[one_or_more, ByForm(_form, ("target", "route", "routes"))] | None


def any_server() -> Any:
    """Return the type of a server's settings, for all protocols."""
    settings = tuple(server.settings for kind in KINDS.values() for server in kind.servers)
    return Annotated[Union[*settings], ByKey("protocol")]


def routes() -> type:
    """What answers each scope type: a target, one route, or a list of routes of which the first that matches wins."""
    keys = [
        (kind.name, Annotated[_any_of(kind), Described(kind.words)], field(default=None)) for kind in KINDS.values()
    ]
    return _settings("RoutesSettings", routes.__doc__, keys)


def keep() -> type:
    """How long the gateway tries to send what handlers send, counted from the commit. After that time an item is dead
    at its next failure. If the other side refuses our account (a login, a balance), items are kept without a limit."""
    kinds = [kind.delivery for kind in KINDS.values() if kind.delivery is not None]
    keys = [
        (kind.name, Annotated[Timeout, Described(kind.keep_words)], field(default=kind.keep))
        for kind in kinds
        if kind.keep is not None
    ]
    return _settings("Keep", keep.__doc__, keys)


def _settings(name: str, doc: str | None, keys: list[tuple[str, Any, Any]]) -> type:
    namespace = {"__pydantic_config__": SETTINGS_CONFIG, "__doc__": doc}
    return make_dataclass(name, keys, frozen=True, namespace=namespace)
