"""Scope types of other distributions, found by their entry points."""

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pydantic import TypeAdapter

from gateway.delivery.kind import DeliveryKind
from gateway.scopes.kind import ScopeKind

GROUP = "asgi_gateway.scopes"
"""An entry point's name is its scope type, and its value a ScopeKind: ``syslog = "gateway_syslog:KIND"``."""


@dataclass
class Plugins:
    kinds: list[ScopeKind] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """A sentence for each that cannot be used. The others work without it."""


def load_plugins(ours: Sequence[ScopeKind]) -> Plugins:
    """Those that are installed, in the order of their names. One that fails is left out."""
    found = Plugins()
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        try:
            with contextlib.redirect_stdout(sys.stderr):  # standard output is for what a command answers
                found.kinds.append(_load(point, [*ours, *found.kinds]))
        except (Exception, SystemExit) as error:  # whatever the module does
            found.failures.append(f"the scope type {point.name!r}{_of(point)} cannot be used: {_words(error)}")
    return found


def _load(point: EntryPoint, known: Sequence[ScopeKind]) -> ScopeKind:
    kind = point.load()
    if not isinstance(kind, ScopeKind):
        raise TypeError(f"{point.value} is {kind!r}, not an instance of ScopeKind")
    _check(kind, point.name, known)
    return kind


def _check(kind: ScopeKind, name: str, known: Sequence[ScopeKind]) -> None:
    """Raises where it would spoil what works without it: settings that cannot be read, names that are taken."""
    if kind.name != name or not name.isidentifier():
        raise ValueError(f"its name is {kind.name!r}; it must be that of its entry point, and a Python identifier")
    if kind.name in {other.name for other in known}:
        raise ValueError(f"there is a scope type {kind.name!r} already")
    if taken := set(kind.protocols) & {protocol for other in known for protocol in other.protocols}:
        raise ValueError(f"there is a protocol {', '.join(sorted(taken))} already")
    if not is_dataclass(kind.route) or "app" not in {each.name for each in fields(kind.route)}:
        raise TypeError(f"{kind.route!r} is not the settings of a route: a dataclass with app is")
    for settings in (kind.route, *(server.settings for server in kind.servers)):
        TypeAdapter(settings).json_schema()
    for needed in ("words", "keys", "router", "refusal", "example"):
        getattr(kind, needed)
    if kind.delivery is not None:
        _check_delivery(kind.delivery, name)


def _check_delivery(delivery: Any, name: str) -> None:
    if not isinstance(delivery, DeliveryKind):
        raise TypeError(f"its delivery is {delivery!r}, not an instance of DeliveryKind")
    for needed in ("name", "checks", "content"):
        getattr(delivery, needed)
    if delivery.name != name:
        raise ValueError(f"the name of its delivery is {delivery.name!r}, not {name!r}")


def _of(point: EntryPoint) -> str:
    return f" of {point.dist.name} {point.dist.version}" if point.dist is not None else ""


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")
