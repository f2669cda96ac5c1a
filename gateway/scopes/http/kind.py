"""The http scope as one object."""

import re
import shlex
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote

from gateway.delivery.policy import Policy
from gateway.recording.replay_run import ReplayRun
from gateway.routing.router import Route
from gateway.routing.targets import Named, as_application, name_of
from gateway.scopes.http.arrivals import HTTPWatch
from gateway.scopes.http.delivery import HTTPDelivery
from gateway.scopes.http.rate_limited import rate_limited
from gateway.scopes.http.router import URLRouter, url
from gateway.scopes.http.routes import (
    FILES,
    RATE,
    RESPONSES,
    HTTPRoute,
    files_of,
    mistake_before_files,
    responding,
    responds_otherwise,
)
from gateway.scopes.http.webhooks.policy import WEBHOOKS, WebhookPolicy
from gateway.scopes.kind import Running, ScopeKind
from gateway.scopes.reachable import called_here, is_reachable
from gateway.scopes.server_kind import ServerKind
from protocols.asgi import Application
from protocols.events import Event
from protocols.http.events import CHECKS, HTTP
from protocols.http.settings import HTTPSettings

_NOT_FOUND = b"Not Found\n"
_NOT_FOUND_HEADERS = [
    (b"content-type", b"text/plain; charset=utf-8"),
    (b"content-length", str(len(_NOT_FOUND)).encode()),
]


_NAMED = re.compile(r"(?<!\(\?P)<(?:\w+:)?(?P<django>\w+)>|(?<!\$)\{(?P<braces>[A-Za-z_]\w*)(?::\w+)?\}")
"""A part of a path as Django's ``path()`` writes it, and as Starlette does."""


def _mistake(pattern: str) -> str:
    """Return what is wrong with a regular expression for paths that is valid and certainly not meant."""
    if pattern == "*":
        return "is not a regular expression; write '^', which takes every path"
    if pattern.startswith(("/", "^/")):
        return f"has a leading slash, and paths are matched without theirs; write '^{pattern.lstrip('^/')}'"
    if part := _NAMED.search(pattern):
        name = part["django"] or part["braces"]
        return f"is a regular expression, to which {part[0]} is plain text; write (?P<{name}>[^/]+) for it"
    return ""


class PathKind(ScopeKind):
    """What http and websocket share: both are routed by path."""

    router: ClassVar = URLRouter
    everything: ClassVar = 'path: "^"'
    options: ClassVar[Collection[str]] = (RATE,)

    def make_route(self, key: str, value: Any, target: Any, policy: Policy) -> Route:
        if mistake := _mistake(value):
            raise ValueError(f"{value!r} {mistake}")
        return url(value, target, policy)

    def route_of(self, key: str, line: Any, target: Any, policy: Policy) -> Route:
        return rate_limited(super().route_of(key, line, target, policy), line.max_request_rate or 0)

    def subject(self, text: str) -> dict[str, Any]:
        """The path, also of a whole URL, as a server passes it on: decoded, and without the query."""
        if text.startswith("//"):
            text = text[2:].partition("/")[2]
        path = "/" + unquote(text.partition("?")[0].partition("#")[0]).lstrip("/")
        return {"method": "GET", "path": path, "root_path": "", "headers": [], "query_string": b""}


_REST = {"type": "http.request", "body": b"", "more_body": False}
"""The end of a request that its application had not read."""


def _paths(routes: Sequence[Route]) -> Iterator[str]:
    """Paths that these routes may take, where that is easily seen."""
    yield "/"
    for route in routes:
        if getattr(route.app, "is_static", False):
            continue
        yield from (f"/{text}" for kind, text in route.pattern.conditions if kind in ("text", "beginning"))


def _front_pages(apps: Iterable[Any]) -> Iterator[str]:
    """Where applications of FastAPI describe themselves, and Django's have their admin; few of them answer ``/``."""
    found = (getattr(app, name, None) for app in apps for name in ("docs_url", "front_page"))
    yield from (path for path in found if isinstance(path, str))


class _Replay(ReplayRun):
    sends: ClassVar = HTTP
    checks: ClassVar = CHECKS


class HTTPKind(PathKind):
    name: ClassVar = "http"
    route: ClassVar[type] = HTTPRoute
    excludes: ClassVar = {"app": FILES, "files": ("app",)}
    policy: ClassVar = WebhookPolicy
    options: ClassVar = (RATE, *FILES, *RESPONSES, *WEBHOOKS)
    traced: ClassVar = "gateway.scopes.http.tracing:TracedHTTP"
    watch: ClassVar = HTTPWatch
    delivery: ClassVar = HTTPDelivery()
    results: ClassVar = ("2xx", "3xx", "4xx", "5xx", "client left")
    words: ClassVar = "HTTP requests, by path."
    servers: ClassVar = (
        ServerKind(
            HTTPSettings,
            "protocols.http.server:HTTPServer",
            carries=True,
            renamed=(("proxies", "trusted_proxies"),),
            extras=(("http2", "h2", "asgi-gateway[http2]"),),
        ),
    )
    refusal: ClassVar = (
        {"type": "http.response.start", "status": 404, "headers": _NOT_FOUND_HEADERS},
        {"type": "http.response.body", "body": _NOT_FOUND},
    )
    not_protocols: ClassVar = {
        "https": "http, with tls: {certificate: ..., key: ...}",
        "http2": "http, with http2: true",
        "h2": "http, with http2: true",
    }
    example: ClassVar = "http:/path"
    aliases: ClassVar = ("https",)
    bare: ClassVar = "/.*"
    send: ClassVar = "gateway.scopes.http.send:http"

    def application_of(self, line: Any, folder: Path) -> Named | None:
        return files_of(line, folder)

    def route_of(self, key: str, line: Any, target: Any, policy: Policy) -> Route:
        if line.files is not None and (mistake := mistake_before_files(line.path)):
            raise ValueError(f"{line.path!r} {mistake}")
        if responds_otherwise(line):
            target = Named(responding(as_application(target), line), name_of(target))
        return super().route_of(key, line, target, policy)

    def records(self, arrival: Any) -> bool:
        return bool(arrival.verdict != "client left")

    def replayed(self, app: Application, scope: Any, events: Sequence[Any]) -> ReplayRun:
        body = [each for each in events if each["type"] == "http.request"]
        if not body or body[-1].get("more_body"):
            body.append(_REST)
        return _Replay(app, scope, body, ends=_is_last)

    def suggestions(self, running: Sequence[Running], routes: Sequence[Route], command: str) -> Iterator[str]:
        first = next((each for each in running if each.settings.protocol in self.protocols), None)
        if first is None or not is_reachable(first.settings):
            return
        apps = [
            getattr(first.server.app, "app", first.server.app),
            *(route.app for route in routes),
        ]  # below what the server carries
        taken = (path for path in [*_paths(routes), *_front_pages(apps)] if self.is_taken(first, path))
        for path in islice(taken, 1):
            if first.settings.tls or first.server.address.startswith("unix:"):  # a browser knows no such address
                yield f"{command} send http {shlex.quote(path)}"
            else:
                yield f"http://{called_here(first.server.address)}{path}"


def _is_last(event: Event) -> bool:
    kind: str = event["type"]
    return kind == "http.response.pathsend" or (kind == "http.response.body" and not event.get("more_body"))
