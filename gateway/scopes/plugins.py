"""Loads the scope types of other distributions, by their entry points."""

import contextlib
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, is_dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NamedTuple

from gateway.delivery.kind import DeliveryKind
from gateway.routing.router import Router
from gateway.scopes.kind import ScopeKind
from protocols.errors import describe_error
from protocols.lazy_names import imported

GROUP = "asgi_gateway.scopes"
"""An entry point's name is its scope type, and its value a ScopeKind: ``syslog = "gateway_syslog:KIND"``."""


class Failure(NamedTuple):
    """A scope type that is installed and cannot be used. The others work without it."""

    name: str
    package: str
    """``gateway-syslog 0.1.0``; empty if that is not known."""
    reason: str

    def __str__(self) -> str:
        of = f" of {self.package}" if self.package else ""
        return f"the scope type {self.name!r}{of} cannot be used: {self.reason}"


@dataclass
class Plugins:
    kinds: list[ScopeKind] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


def load_plugins(names: Iterable[str], protocols: Iterable[str]) -> Plugins:
    """Load those that are installed, in the order of their names. One that fails is left out, also if its name or one
    of its protocols is one of ours, ``names`` and ``protocols``."""
    found, taken = Plugins(), _Taken({*names}, {*protocols})
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        try:
            with contextlib.redirect_stdout(sys.stderr):  # standard output is for what a command answers
                found.kinds.append(kind := _load(point, taken))
            taken.names.add(kind.name)
            taken.protocols.update(kind.protocols)
        except (Exception, SystemExit) as error:  # whatever the module does
            found.failures.append(Failure(point.name, _package(point), describe_error(error)))
        except KeyboardInterrupt as error:
            raise KeyboardInterrupt(f"while the scope type {point.name!r} was loaded from {point.value}") from error
    return found


class _Taken(NamedTuple):
    """Names that a scope type cannot have, because another one has them."""

    names: set[str]
    protocols: set[str]


def _load(point: EntryPoint, taken: _Taken) -> ScopeKind:
    kind = point.load()
    if not isinstance(kind, ScopeKind):
        raise TypeError(f"{point.value} is {kind!r}, not an instance of ScopeKind")
    _check(kind, point.name, taken)
    return kind


def _check(kind: ScopeKind, name: str, taken: _Taken) -> None:
    """Raises where the gateway would fail later, and other scope types with it: a name that is taken, settings that
    cannot be read, a part that is missing."""
    if kind.name != name or not name.isidentifier():
        raise ValueError(f"its name is {kind.name!r}; it must be that of its entry point, and a Python identifier")
    if kind.name in taken.names:
        raise ValueError(f"there is a scope type {kind.name!r} already")
    if twice := taken.protocols & {*kind.protocols}:
        raise ValueError(f"there is a protocol {', '.join(sorted(twice))} already")
    if not is_dataclass(kind.route) or "app" not in {each.name for each in fields(kind.route)}:
        raise TypeError(f"{kind.route!r} has not the form of route settings: a dataclass with app")
    for settings in (kind.route, *(server.settings for server in kind.servers)):
        imported("pydantic:TypeAdapter")(settings).json_schema()
    for needed in ("words", "keys", "example"):
        getattr(kind, needed)
    router: Any = kind.router
    if not (isinstance(router, type) and issubclass(router, Router)):
        raise TypeError(f"its router is {router!r}, not a subclass of Router")
    if not kind.refusal or not all(event["type"].startswith(f"{name}.") for event in kind.refusal):
        raise ValueError(f"its refusal is {kind.refusal!r}, not a list of {name} events")
    if kind.delivery is not None:
        _check_delivery(kind.delivery, name)


def _check_delivery(delivery: Any, name: str) -> None:
    if not isinstance(delivery, DeliveryKind):
        raise TypeError(f"its delivery is {delivery!r}, not an instance of DeliveryKind")
    for needed in ("name", "checks", "content"):
        getattr(delivery, needed)
    if delivery.name != name:
        raise ValueError(f"the name of its delivery is {delivery.name!r}, not {name!r}")


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else ""
