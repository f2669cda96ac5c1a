"""The application that stands before one whose requests are stored: it verifies, stores, and answers 202."""

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from typing import Any

from gateway.arrivals.stored import current_watch
from gateway.delivery.current_event import current_event, event_id
from gateway.delivery.incoming import Incoming
from gateway.delivery.kind import DeliveryKind
from gateway.delivery.service import deliveries
from gateway.scopes.http.webhooks.identity import Named, named
from gateway.scopes.http.webhooks.policy import WebhookPolicy
from gateway.scopes.http.webhooks.scheme import Scheme, SignedRequest
from gateway.store import Claim, ClaimState, StoreUnavailable
from protocols.asgi import Application, HTTPDisconnectEvent, HTTPRequestEvent, HTTPScope, Receive, Send, describe
from protocols.errors import Disconnected, RemoteProtocolError
from protocols.log_facts import about_peer

logger = logging.getLogger(__name__)

METHODS = ("POST", "PUT", "PATCH")
"""Methods of requests that say something."""
LARGE = 256 * 1024
"""Bytes of a body that is verified on a thread: its HMAC would stop the loop for a millisecond or more."""
EXTENSION = "webhook"
"""The extension of a stored scope that has the sender's id."""
_UNAVAILABLE = 503, b"the request cannot be stored now; send it again\n", [(b"retry-after", b"30")]

Answer = tuple[int, bytes, list[tuple[bytes, bytes]]]
"""Status, body and header fields."""


class Receiver:
    """Stores the requests of one route. The sender is answered 202 when its request is on disk, with the event id."""

    def __init__(self, kind: DeliveryKind, app: Application, label: str, policy: WebhookPolicy, scheme: Scheme) -> None:
        self._kind = kind
        self._app = app
        self._label = label
        self._policy = policy
        self._scheme = scheme

    async def serve(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        try:
            status, body, headers = await self._answer(scope, receive)
        except Disconnected:
            logger.info("%s: the sender left before its body was complete", describe(scope))
            return
        content = b"application/json" if status == HTTPStatus.ACCEPTED else b"text/plain; charset=utf-8"
        fields = [(b"content-type", content), (b"content-length", str(len(body)).encode()), *headers]
        await send({"type": "http.response.start", "status": status, "headers": fields})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: HTTPScope, receive: Receive) -> Answer:
        if scope["method"] not in METHODS:
            return 405, b"send webhooks by POST\n", [(b"allow", ", ".join(METHODS).encode())]
        try:
            claim = await self._stored(scope, await self._request(scope, receive))
        except StoreUnavailable as error:
            logger.error("%s: answered 503, the store is unavailable: %s", describe(scope), error)
            return _UNAVAILABLE
        except RemoteProtocolError as error:
            return _refused(scope, error)
        return HTTPStatus.ACCEPTED, json.dumps({"id": claim.id}).encode(), []

    async def _request(self, scope: HTTPScope, receive: Receive) -> SignedRequest:
        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
        length = headers.get("content-length", "")
        self._check_length(int(length) if length.isdecimal() else 0)
        body = bytearray()
        while True:
            event: HTTPRequestEvent | HTTPDisconnectEvent = await receive()
            if event["type"] == "http.disconnect":
                raise Disconnected("the sender left")
            body += event.get("body", b"")
            self._check_length(len(body))
            if not event.get("more_body"):
                return SignedRequest(headers, bytes(body), time.time())

    def _check_length(self, length: int) -> None:
        if length > self._policy.longest:
            raise RemoteProtocolError(f"its body has more than {self._policy.longest} bytes (max_body)", answer=413)

    async def _stored(self, scope: HTTPScope, request: SignedRequest) -> Claim:
        """Verify the request and store it. Raises RemoteProtocolError and StoreUnavailable."""
        find = partial(self._named, scope["path"], request)
        name = await asyncio.to_thread(find) if len(request.body) > LARGE else find()
        incoming = self._incoming(scope, request.body, name.id)
        key, window = name.identity.key or f"http:{incoming.id}", name.identity.window
        claim = await deliveries.get().inbox.put_once(incoming.message(), key=key, ttl=window, failed_as="")
        current_event.set(claim.id)
        if (watch := current_watch.get()) is not None:
            watch.id = claim.id
        if claim.state is not ClaimState.OURS:
            logger.info("%s: delivered again, answered as the first time", incoming.kind.subject(incoming.scope, ()))
        return claim

    def _named(self, path: str, request: SignedRequest) -> Named:
        return named(path, request, self._scheme, self._scheme.verify(request), self._policy.identity)

    def _incoming(self, scope: HTTPScope, body: bytes, id_: str) -> Incoming:
        extensions: Mapping[str, Any] = scope.get("extensions") or {}
        kept = {**scope, "extensions": {**extensions, EXTENSION: {"id": id_}}}
        event = {"type": "http.request", "body": body, "more_body": False}
        return Incoming(self._kind, self._app, self._policy, self._label, kept, [event], event_id(kept))


def _refused(scope: HTTPScope, error: RemoteProtocolError) -> Answer:
    """Refuse what no repetition makes better. One line in the log, and the same sentence to the sender."""
    status = error.answer if isinstance(error.answer, int) else 400
    peer = about_peer("http", "", scope.get("client"))["facts"].peer
    logger.warning("%s from %s: answered %d: %s", describe(scope), peer, status, error)
    return status, f"The request was refused: {error}\n".encode(), []
