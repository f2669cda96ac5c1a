"""Explains which route takes ``email:ann@example.org`` or ``sensors/1/temperature``, for ``gateway explain``."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

from gateway.cli.building import built_to_answer
from gateway.cli.completion import subjects
from gateway.cli.options import AsJSON, File
from gateway.cli.terminal import print_json, print_text
from gateway.routing import Route, Router
from gateway.scopes.installed import FAILURES, KINDS
from gateway.scopes.kind import ScopeKind
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


def command(
    subject: Annotated[str, typer.Argument(help="What arrives, such as ann@example.org.", autocompletion=subjects)],
    config: File = None,
    as_json: AsJSON = False,
) -> None:
    """Say which route and which consumer would take something, and why. Exit code 1 if none would.

    Examples: gateway explain ann@support.example.org · +447700900123 · sensors/1/temperature · /longpoll/ ·
    ws:/chat/. In full: email:, sms:, mqtt:, http:, websocket:, task:.
    """
    try:
        gateway = built_to_answer(config)
        explanation = explain(gateway.app, subject, gateway.settings.servers)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if as_json:
        print_json(asdict(explanation))
    else:
        print_text(f"{explanation.subject} -> {explanation.target or 'nothing'}: {explanation.why}")
    if explanation.target is None:
        raise typer.Exit(1)


def read_subject(subject: str) -> tuple[ScopeKind, str]:
    """Return the scope type that ``subject`` is about, and the rest of it. Raises ValueError with one sentence."""
    name, _, rest = subject.partition(":")
    for kind in KINDS.values():
        if rest and name in (kind.name, *kind.aliases):
            return kind, rest
    for kind in KINDS.values():
        if kind.bare and re.fullmatch(kind.bare, subject):
            return kind, subject
    *others, last = [kind.example for kind in KINDS.values()]
    failed = "".join(f"; {failure}" for failure in FAILURES if failure.name == name)
    raise ValueError(f"{subject!r} is not understood; write {', '.join(others)} or {last}{failed}")


def scope_of(kind: ScopeKind, text: str, servers: Mapping[str, Any]) -> dict[str, Any]:
    """Return as much of a scope as routers look at. Raises ValueError with one sentence."""
    try:
        return kind.as_received({"type": kind.name, **kind.subject(text)}, servers)
    except ValueError:  # its own sentence
        raise
    except Exception as error:  # a mistake in a package that brings a scope type
        raise ValueError(f"'{kind.name}:{text}': the scope type {kind.name} failed: {describe_error(error)}") from error


def explain(app: Application, subject: str, servers: Mapping[str, Any]) -> Explanation:
    """Ask the routers which route takes ``subject``, as the ``servers`` with these settings receive it. Raises
    ValueError if it is not understood."""
    kind, text = read_subject(subject)
    scope = scope_of(kind, text, servers)
    subject = f"{kind.name}:{text}"
    if not isinstance(app, Router):
        return Explanation(subject, "application: is not a router; it decides itself", None, "application")
    route = app.explain(scope)
    if route is None:
        return Explanation(subject, "no route takes it")
    captures = kind.captures(route.pattern, scope)
    why = _why(kind, scope, route, captures)
    if not _is_taken(route, scope):
        why += "; it takes this only from users who have logged in"
    return Explanation(subject, why, str(route.pattern), route.target, captures)


def _is_taken(route: Route, scope: dict[str, Any]) -> bool:
    """Whether the route's application takes ``scope`` from everybody."""
    routable = getattr(route.app, "routable", None)
    return routable is None or bool(routable(scope))


def _why(kind: ScopeKind, scope: dict[str, Any], route: Route, captures: dict[str, str] | None) -> str:
    pattern = str(route.pattern)
    if pattern == kind.name:
        return f"routes.{kind.name} takes everything"
    if pattern == "default":
        return f"no earlier route of routes.{kind.name} takes it, and this is the default"
    captured = ", ".join(f"{name} = {value!r}" for name, value in (captures or {}).items())
    return kind.reason(route.pattern, scope) + (f", with {captured}" if captured else "")
