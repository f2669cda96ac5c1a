"""A route with a limit on how often one client may ask for it."""

import logging
import math
from dataclasses import dataclass, field
from typing import Any

from gateway.delivery.current_route import current_route
from gateway.delivery.delivery_context import current_delivery
from gateway.routing.router import Route
from protocols.asgi import HTTPScope, Receive, Send, WebSocketScope, describe
from protocols.net.addresses import AddressRate, is_near

logger = logging.getLogger(__name__)

_TEXT = b"Too Many Requests"
_DENIAL = "websocket.http.response"


@dataclass(frozen=True, eq=False)
class RateLimitedRoute(Route):
    """Answers 429 in place of the application where a client address asks too often."""

    route: Route = field(kw_only=True)
    """What runs the requests."""
    rate: AddressRate = field(kw_only=True)

    async def run(self, scope: HTTPScope | WebSocketScope, receive: Receive, send: Send) -> None:
        host = _counted(scope)
        if not host or self.rate.admit(host):
            await self.route.run(scope, receive, send)
            return
        current_route.set(self.label)
        logger.info("%s: more than max_request_rate requests a minute from %s; answered 429", describe(scope), host)
        await _refuse(scope, send, max(1, math.ceil(self.rate.pause(host))))


def _counted(scope: HTTPScope | WebSocketScope) -> str:
    """Return the address whose requests are counted; empty: the request is not. What comes from the store was counted
    when it arrived."""
    host, port = scope.get("client") or ("", None)
    try:
        return "" if port is None or current_delivery.get() is not None or is_near(host) else host
    except ValueError:  # no address, but a name that a test has made up
        return ""


def rate_limited(route: Route, max_request_rate: Any) -> Route:
    """Return ``route`` with the limit; 0 means no limit. Raises ValueError for anything but a number of requests."""
    if not isinstance(max_request_rate, int) or isinstance(max_request_rate, bool) or max_request_rate < 0:
        raise ValueError(f"max_request_rate is a number of requests a minute, not {max_request_rate!r}")
    if not max_request_rate:
        return route
    rate = AddressRate(max_request_rate)
    return RateLimitedRoute(route.pattern, route.app, route.target, route=route, rate=rate)


async def _refuse(scope: HTTPScope | WebSocketScope, send: Send, retry_after: int) -> None:
    start = "http.response.start"
    if scope["type"] == "websocket":
        if _DENIAL not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": 1008, "reason": _TEXT.decode()})
            return
        start = f"{_DENIAL}.start"
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(_TEXT)).encode()),
        (b"retry-after", str(retry_after).encode()),
    ]
    answer: Any = {"type": start, "status": 429, "headers": headers}
    await send(answer)
    body: Any = {"type": start.replace("start", "body"), "body": _TEXT}
    await send(body)
