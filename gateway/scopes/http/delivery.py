"""How requests are kept and handled from the store: webhooks."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from gateway.delivery.attempt import Attempt
from gateway.delivery.cut_off import Explained, Undeliverable
from gateway.delivery.kind import DeliveryKind
from gateway.delivery.policy import Policy
from gateway.scopes.http.webhooks.policy import WebhookPolicy
from gateway.scopes.http.webhooks.receiver import EXTENSION, Receiver
from protocols.asgi import Application, HTTPScope, Scope, describe
from protocols.events import Event
from protocols.http import events
from protocols.http.head import encode

LONGEST_WISH = 86400
"""Seconds of a Retry-After that are waited for."""
_DEFERS = (429, 503)
_MAY_SUCCEED = (408, 425, 429)
"""Statuses of 4xx with which another attempt may succeed (RFC 9110, 15.5.9; RFC 8470; RFC 6585)."""
_DISCONNECT: Any = {"type": "http.disconnect"}


class Unsuccessful(Explained):
    """The application has answered that it failed."""


class RequestAttempt(Attempt):
    """The application gets the request as any other. Its answer goes nowhere; the status says what came of it.

    2xx: it is handled. 429 or 503 with Retry-After: not now. 5xx, 408, 425, 429: it failed, as if it had raised. Any
    other: no attempt can succeed.
    """

    sends: ClassVar = events.HTTP
    checks: ClassVar = events.CHECKS
    is_whole: ClassVar = False

    def __init__(self, app: Application, scope: HTTPScope, events: Iterable[Any]) -> None:
        super().__init__(app, scope, events)
        self._status = 0
        self._is_complete = self._has_trailers = False

    def http_response_start(self, event: Event) -> None:
        headers: Any = event.get("headers", ())
        encode(headers)  # finds the mistakes that the server would find
        self._status = event["status"]
        self._has_trailers = bool(event.get("trailers"))
        fields = {bytes(name).lower(): bytes(value) for name, value in headers}
        if self._status in _DEFERS and b"retry-after" in fields:
            self.decide({"type": "http.defer", **_wish(fields[b"retry-after"])})

    def http_response_body(self, event: Event) -> None:
        if not event.get("more_body") and not self._has_trailers:
            self._complete()

    def http_response_pathsend(self, event: Event) -> None:
        if not self._has_trailers:
            self._complete()

    def http_response_trailers(self, event: Event) -> None:
        if not event.get("more_trailers"):
            self._complete()

    def http_response_early_hint(self, event: Event) -> None:
        pass

    def _complete(self) -> None:
        """The application may go on, and its attempt with it. One that waits for the disconnect gets it only now: it
        would give up its answer."""
        self._is_complete = True
        self._goto("complete")
        asyncio.get_running_loop().call_soon(self.feed, _DISCONNECT)

    def failed_with(self) -> BaseException | None:
        if self.error is not None:
            return self.error
        if not self._is_complete:
            return RuntimeError("it ended without a complete response")
        if 200 <= self._status <= 299 or self.verdict is not None:
            return None
        failed = Unsuccessful if self._status >= 500 or self._status in _MAY_SUCCEED else Undeliverable
        return failed(f"its application answered {self._status}")


def _wish(written: bytes) -> Mapping[str, float]:
    """Return the pause that a Retry-After asks for; none if it is a date: then the policy's is taken."""
    if not (written.isdigit() and len(written) <= 9):
        return {}
    return {"retry_after": float(min(int(written), LONGEST_WISH))}


class HTTPDelivery(DeliveryKind):
    """A scope is one request. Requests are kept only on a route with an inbox: otherwise the client waits."""

    name: ClassVar = "http"
    checks: ClassVar = events.CHECKS
    content: ClassVar = frozenset({"body", "headers", "query_string", "raw_path"})
    raw: ClassVar = {"http.request": lambda event: event["body"]}

    def check(self, policy: Policy) -> None:
        if not policy.inbox:
            raise ValueError(
                "a policy needs inbox: true here: without it nothing is stored or tried again, because the client "
                "waits and gets the failure itself"
            )
        if not isinstance(policy, WebhookPolicy):
            raise ValueError("requests are stored under a WebhookPolicy, which says how they are verified")

    def live(self, app: Application, label: str, policy: Policy) -> Application | None:
        assert isinstance(policy, WebhookPolicy), "it is checked"
        assert policy.verify is not None, "it is checked"
        return Receiver(self, app, label, policy, policy.verify).serve

    def order_key(self, scope: HTTPScope, events: Sequence[Any]) -> str:
        """The requests for a path stay in order."""
        return f"http:{scope['path']}"

    def subject(self, scope: Scope, events: Sequence[Any]) -> str:
        """With the sender's id, by which its own pages list the request."""
        kept: Any = scope
        id_ = kept["extensions"].get(EXTENSION, {}).get("id", "")
        return f"{describe(scope)} {id_}".rstrip()

    def unrouted(self, scope: HTTPScope) -> Any:
        return {key: value for key, value in scope.items() if key not in ("path_remaining", "url_route")}

    def attempt(self, app: Application, scope: HTTPScope, events: Sequence[Any]) -> RequestAttempt:
        return RequestAttempt(app, scope, events)
