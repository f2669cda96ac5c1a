"""The http scope as one object."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import unquote

from gateway.delivery.policy import Policy
from gateway.recording.replay_run import ReplayRun
from gateway.routing.router import Route
from gateway.scopes.http.arrivals import HTTPWatch
from gateway.scopes.http.router import URLRouter, url
from gateway.scopes.kind import Running, ScopeKind
from gateway.scopes.routes import Target
from gateway.scopes.server_kind import ServerKind
from protocols.asgi import Application
from protocols.events import Event
from protocols.http.events import CHECKS, HTTP
from protocols.http.settings import HTTPSettings
from protocols.server import SETTINGS_CONFIG

_NOT_FOUND = b"Not Found\n"
_NOT_FOUND_HEADERS = [
    (b"content-type", b"text/plain; charset=utf-8"),
    (b"content-length", str(len(_NOT_FOUND)).encode()),
]


@dataclass(frozen=True)
class PathRoute:
    """A route of the http or websocket scope."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    app: Target
    """What answers: `module.attribute`, `module:attribute`, or `django`."""
    path: str | None = None
    """A regular expression, searched in the path without its leading slash, as Django does."""


class PathKind(ScopeKind):
    """What http and websocket share: both are routed by path."""

    route: ClassVar = PathRoute
    router: ClassVar = URLRouter
    everything: ClassVar = 'path: "^"'

    def make_route(self, key: str, value: Any, target: Any, policy: Policy) -> Route:
        if value.startswith("^/"):
            hint = f"paths are matched without their leading slash; write {'^' + value[2:]!r}"
            raise ValueError(f"{value!r} can never match: {hint}")
        return url(value, target)

    def subject(self, text: str) -> dict[str, Any]:
        """The path as a server passes it on: decoded, and without the query."""
        if text.startswith("//"):
            raise ValueError(f"'{self.name}:{text}' is a URL; write the path alone, such as {self.name}:/path")
        path = "/" + unquote(text.partition("?")[0].partition("#")[0]).lstrip("/")
        return {"method": "GET", "path": path, "root_path": "", "headers": [], "query_string": b""}


_REST = {"type": "http.request", "body": b"", "more_body": False}
"""The end of a request that its application had not read."""


class HTTPKind(PathKind):
    name: ClassVar = "http"
    watch: ClassVar = HTTPWatch
    words: ClassVar = "HTTP requests, by path."
    servers: ClassVar = (ServerKind(HTTPSettings, "protocols.http.server:HTTPServer", carries=True),)
    refusal: ClassVar = (
        {"type": "http.response.start", "status": 404, "headers": _NOT_FOUND_HEADERS},
        {"type": "http.response.body", "body": _NOT_FOUND},
    )
    example: ClassVar = "http:/path"
    send: ClassVar = "gateway.scopes.http.send:http"

    def records(self, arrival: Any) -> bool:
        return bool(arrival.verdict != "client left")

    def replayed(self, app: Application, scope: Any, events: Sequence[Any]) -> ReplayRun:
        body = [each for each in events if each["type"] == "http.request"]
        if not body or body[-1].get("more_body"):
            body.append(_REST)
        return ReplayRun(app, scope, body, table=HTTP, checks=CHECKS, ends=_is_last)

    def suggestions(self, running: Sequence[Running], routes: Sequence[Route], command: str) -> Iterator[str]:
        first = next((each for each in running if each.settings.protocol in self.protocols), None)
        if first is not None and not first.server.address.startswith(("unix:", "fd:")):
            yield f"http{'s' if first.settings.tls else ''}://{first.server.address}/"


def _is_last(event: Event) -> bool:
    kind: str = event["type"]
    return kind == "http.response.pathsend" or (kind == "http.response.body" and not event.get("more_body"))
