"""Explains which route takes ``email:ann@example.org`` or ``mqtt:sensors/1/temperature``, for ``gateway explain``."""

from dataclasses import dataclass
from typing import Any

from gateway.routing import Route, Router
from gateway.scopes.installed import FAILURES, KINDS
from protocols.asgi import Application
from protocols.errors import describe_error


@dataclass(frozen=True)
class Explanation:
    """The route that takes a subject. ``pattern`` and ``target`` are None if none does."""

    subject: str
    why: str
    pattern: str | None = None
    target: str | None = None
    captures: dict[str, str] | None = None
    """The parts of what the pattern matches that handlers get by name."""


def scope_of(subject: str) -> dict[str, Any]:
    """Return as much of a scope as routers look at. Raises ValueError with one sentence."""
    name, colon, rest = subject.partition(":")
    if name not in KINDS or not colon or not rest:
        *others, last = [kind.example for kind in KINDS.values()]
        failed = "".join(f"; {failure}" for failure in FAILURES if failure.name == name)
        raise ValueError(f"{subject!r} is not understood; write {', '.join(others)} or {last}{failed}")
    try:
        return {"type": name, **KINDS[name].subject(rest)}
    except ValueError:  # its own sentence
        raise
    except Exception as error:  # a mistake in a package that brings a scope type
        raise ValueError(f"{subject!r}: the scope type {name} failed: {describe_error(error)}") from error


def explain(app: Application, subject: str) -> Explanation:
    """Ask the routers which route takes ``subject``. Raises ValueError if it is not understood."""
    scope = scope_of(subject)
    if not isinstance(app, Router):
        return Explanation(subject, "application: is not a router; it decides itself", None, "application")
    route = app.explain(scope)
    if route is None:
        return Explanation(subject, "no route takes it")
    captures = KINDS[scope["type"]].captures(route.pattern, scope)
    return Explanation(subject, _why(scope, route, captures), str(route.pattern), route.target, captures)


def _why(scope: dict[str, Any], route: Route, captures: dict[str, str] | None) -> str:
    kind = scope["type"]
    pattern = str(route.pattern)
    if pattern == kind:
        return f"routes.{kind} takes everything"
    if pattern == "default":
        return f"no earlier route of routes.{kind} takes it, and this is the default"
    captured = ", ".join(f"{name} = {value!r}" for name, value in (captures or {}).items())
    return f"the first route of routes.{kind} that matches is {pattern}" + (f", with {captured}" if captured else "")
