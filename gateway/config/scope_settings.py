"""Makes the parts of the settings that the installed scope types define.

A scope type is imported when what is made of its settings is asked for. Within :func:`looking_at` that is only for
those that a file names.
"""

from collections.abc import Iterator, Set
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, make_dataclass
from functools import cache
from types import NoneType
from typing import Annotated, Any

from gateway.scopes.installed import KEYS, KINDS
from gateway.scopes.kind import ScopeKind
from gateway.scopes.routes import Target
from protocols.lazy_names import imported
from protocols.server import SETTINGS_CONFIG
from protocols.setting_forms import ByForm, ByKey, Described, NotEmpty
from protocols.units import Timeout

_looked_at: ContextVar[Set[str]] = ContextVar("looked at", default=frozenset(KINDS))


@contextmanager
def looking_at(kinds: Set[str]) -> Iterator[None]:
    """Let what is made of settings have only these scope types. It takes nothing of the others."""
    token = _looked_at.set(kinds)
    try:
        yield
    finally:
        _looked_at.reset(token)


@dataclass(frozen=True)
class AnyServer:
    """A server's settings, for all protocols."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        kinds = [KINDS[name] for name in KINDS if name in _looked_at.get()]
        return ByKey("protocol").of((server.settings for kind in kinds for server in kind.servers), handler)


@dataclass(frozen=True)
class RoutesOf:
    """The routes of one scope type: a target for everything, one route, or a list of routes."""

    kind: str

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return handler.generate_schema(_any_of(KINDS[self.kind]) if self.kind in _looked_at.get() else NoneType)

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        return {**handler(core), "description": KINDS[self.kind].words}


@dataclass(frozen=True)
class SettingsOf:
    """Settings that are about one scope type, at ``home``: ``module:class``."""

    kind: str
    home: str

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return handler.generate_schema(imported(self.home) if self.kind in _looked_at.get() else NoneType)


def at_key(key: str, home: str) -> Any:
    """Return the type of what the file says at ``key``, which is about one scope type."""
    return Annotated[Any, SettingsOf(KEYS[key], home)]


@dataclass(frozen=True)
class KeepOfKinds:
    """How long what handlers send is kept: one time for everything, or one for each scope type."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        if not _looked_at.get() >= {*KINDS}:
            return handler.generate_schema(Timeout)
        return handler.generate_schema(Annotated[Timeout | keep(), ByForm(_keep_form, ("all", "kinds"))])


def _keep_form(value: object) -> str:
    return "kinds" if isinstance(value, dict) else "all"


def _form(value: object) -> str:
    """Return which of the three forms of routes ``value`` has."""
    if isinstance(value, dict):
        return "route"
    return "routes" if isinstance(value, list) else "target"


def _any_of(kind: ScopeKind) -> Any:
    """Return the type of one scope type's routes."""
    route: Any = kind.route
    one_or_more = Target | route | (list[route] if kind.without_routes else Annotated[list[route], NotEmpty()])
    return Annotated[one_or_more, ByForm(_form, ("target", "route", "routes"))] | None


def routes() -> type:
    """What answers each scope type: a target, one route, or a list of routes of which the first that matches wins."""
    keys = [(name, Annotated[Any, RoutesOf(name)], field(default=None)) for name in KINDS]
    return _settings("RoutesSettings", routes.__doc__, keys)


@cache
def keep() -> Any:
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
