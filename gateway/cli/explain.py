"""``email:ann@example.org``, ``mqtt:sensors/1/temperature``: what arrives, as ``gateway explain`` is asked about it."""

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from gateway.routing import Route, Router
from gateway.routing.patterns import Topic
from gateway.routing.scope_types import SCOPE_TYPES
from protocols.asgi import Application
from protocols.mqtt.wire.topics import valid_name
from protocols.sms.senders import as_sent, country

_EXAMPLES = "email:ann@example.org, sms:+447700900123, mqtt:a/topic, http:/path or websocket:/path"


@dataclass(frozen=True)
class Explanation:
    """Which route takes a subject. ``pattern`` and ``target`` are None where none does."""

    subject: str
    why: str
    pattern: str | None = None
    target: str | None = None
    captures: dict[str, str] | None = None
    """What a topic's pattern captures of it."""


def scope_of(subject: str) -> dict[str, Any]:
    """As much of a scope as routers look at. Raises ValueError with one sentence."""
    kind, colon, rest = subject.partition(":")
    if kind not in SCOPE_TYPES or not colon or not rest:
        raise ValueError(f"{subject!r} is not understood; write {_EXAMPLES}")
    match kind:
        case "http" | "websocket":
            path = _path(subject, rest)
            return {"type": kind, "method": "GET", "path": path, "root_path": "", "headers": [], "query_string": b""}
        case "mqtt":
            if not valid_name(rest):
                raise ValueError(f"{rest!r} is no topic: + and # are for subscribers; write mqtt:a/topic")
            return {"type": kind, "topic": rest, "client_id": ""}
        case "email":
            if not all(rest.rpartition("@")) or re.search(r"[\s<>]", rest):
                raise ValueError(f"{rest!r} is no mail address; write email:ann@example.org")
            return {"type": kind, "rcpt_to": [rest], "mail_from": "", "headers": []}
        case _:
            return {"type": kind, "sender": as_sent(rest), "country": country(as_sent(rest))}


def _path(subject: str, rest: str) -> str:
    """As a server hands it on: without the query, and decoded."""
    if rest.startswith("//"):
        raise ValueError(f"{subject!r} is a URL; write the path alone, such as http:/path")
    return "/" + unquote(rest.partition("?")[0].partition("#")[0]).lstrip("/")


def explain(app: Application, subject: str) -> Explanation:
    """Ask the routers. Raises ValueError for a subject that is not understood."""
    scope = scope_of(subject)
    if not isinstance(app, Router):
        return Explanation(subject, "application: is no router; it decides itself", None, "application")
    route = app.explain(scope)
    if route is None:
        return Explanation(subject, "no route takes it")
    found = route.pattern.match(scope["topic"]) if isinstance(route.pattern, Topic) else None
    captures = found.kwargs if found else None
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
