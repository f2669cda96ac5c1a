"""A route for WebSockets that looks at where a page is from, before its application runs."""

import logging
from collections.abc import Awaitable, Collection
from dataclasses import dataclass, field
from typing import Any

from gateway.delivery.current_route import current_route
from gateway.routing.router import Route
from gateway.scopes.http.origins import Origins
from protocols.asgi import Receive, Send, describe

logger = logging.getLogger(__name__)

_BODY = b"Forbidden: this page may not connect.\n"
_START = {
    "type": "websocket.http.response.start",
    "status": 403,
    "headers": [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(_BODY)).encode())],
}


@dataclass(frozen=True, eq=False)
class CheckedRoute(Route):
    """Runs its application for pages of this server and of ``origins``. It is an ordinary route for requests."""

    origins: Origins = field(default_factory=Origins)

    def run(self, scope: Any, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer 403 if the page may not connect."""
        if scope["type"] == "websocket" and (origin := self.origins.refuses(scope)):
            current_route.set(self.label)
            return self._refuse(origin, scope, receive, send)
        return Route.run(self, scope, receive, send)  # super() would take five times as long

    async def _refuse(self, origin: str, scope: Any, receive: Receive, send: Send) -> None:
        said = "%s: refused with 403, a page of %.200r is neither of this server (its Host) nor in origins"
        logger.info(said, describe(scope), origin)
        await receive()
        await _deny(scope, send)


async def _deny(scope: Any, send: Send) -> None:
    if "websocket.http.response" in (scope.get("extensions") or {}):
        await send(_START)
        await send({"type": "websocket.http.response.body", "body": _BODY})
    else:
        await send({"type": "websocket.close"})


def checked(route: Route, origins: Collection[str] | None = None) -> CheckedRoute:
    """Return ``route`` with a check of ``origins``, as the setting of that name has them."""
    return CheckedRoute(route.pattern, route.app, route.target, Origins(origins))
