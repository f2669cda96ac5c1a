"""The websocket scope as one object. Its servers are those of http."""

import shlex
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from gateway.consumers.hooks import writes
from gateway.delivery.policy import Policy
from gateway.recording.replay_run import ReplayRun
from gateway.routing.patterns import Exactly
from gateway.routing.router import Route
from gateway.scopes.http.checked_route import checked
from gateway.scopes.http.kind import PathKind
from gateway.scopes.http.rate_limited import rate_limited
from gateway.scopes.http.routes import RATE
from gateway.scopes.kind import Running
from gateway.scopes.reachable import is_reachable
from gateway.scopes.websocket.arrivals import WebSocketWatch
from gateway.scopes.websocket.routes import WebSocketRoute
from protocols.asgi import Application
from protocols.http.events import CHECKS, WEBSOCKET
from protocols.http.settings import HTTPSettings


class _Replay(ReplayRun):
    sends: ClassVar = WEBSOCKET
    checks: ClassVar = CHECKS


class WebSocketKind(PathKind):
    name: ClassVar = "websocket"
    route: ClassVar[type] = WebSocketRoute
    options: ClassVar = ("origins", RATE)
    enough: ClassVar = {"origins": "path"}
    traced: ClassVar = "gateway.scopes.websocket.tracing:TracedWebSocket"
    watch: ClassVar = WebSocketWatch
    is_connection = True
    results: ClassVar = ("accepted", "failed", "4xx", "5xx", "client left")
    words: ClassVar = "WebSocket connections, by path."
    refusal: ClassVar = ({"type": "websocket.close", "code": 4404},)
    not_protocols: ClassVar = dict.fromkeys(
        ("websocket", "ws", "wss"), "http, whose server takes WebSocket connections"
    )
    example: ClassVar = "websocket:/path"
    aliases: ClassVar = ("ws", "wss")
    send: ClassVar = "gateway.scopes.websocket.send:websocket"

    def route_of(self, key: str, line: Any, target: Any, policy: Policy) -> Route:
        made = checked(self.make_route(key, line.path or "^", target, policy), line.origins)
        return rate_limited(made, line.max_request_rate or 0)

    def branch_of(self, target: Any) -> Route:
        return checked(super().branch_of(target))

    def records(self, arrival: Any) -> bool:
        """A connection is kept whole, when it is over."""
        return bool(arrival.event == "websocket.disconnect" or arrival.verdict.startswith("rejected"))

    def replayed(self, app: Application, scope: Any, events: Sequence[Any]) -> ReplayRun:
        events = events or [{"type": "websocket.connect"}]
        left = {"type": "websocket.disconnect", "code": 1006, "reason": ""}
        return _Replay(app, scope, events, disconnect=left)

    def suggestions(self, running: Sequence[Running], routes: Sequence[Route], command: str) -> Iterator[str]:
        """A connection to the first route whose path is easily seen, and that hears what a client says, if there is one
        of those."""
        first = next((each for each in running if isinstance(each.settings, HTTPSettings)), None)
        if first is None or not is_reachable(first.settings):
            return
        seen = [
            (not _hears(route.app), path) for route in routes for path in _paths(route) if self.is_taken(first, path)
        ]
        for silent, path in sorted(seen, key=lambda each: each[0])[:1]:
            said = "" if silent else " 'Hello'"
            yield f"{command} send websocket {shlex.quote(path)}{said}"


def _paths(route: Route) -> Iterator[str]:
    """Paths that this route may take, where that is easily seen."""
    if isinstance(route.pattern, Exactly):  # the scope type: it takes all of them
        yield "/"
        return
    texts = [text for kind, text in route.pattern.conditions if kind in ("text", "beginning")]
    yield from (f"/{text}" for text in ["", *texts] if route.pattern.match(text) is not None)


def _hears(app: Any) -> bool:
    """Return whether it is a consumer that has a method of its own for what a client says, whatever that is."""
    consumer = getattr(app, "consumer_class", None)
    return consumer is not None and (writes(consumer, "receive") or writes(consumer, "websocket_receive"))
