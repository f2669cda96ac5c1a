"""The application that stands before one whose requests have keys: it gives a repetition the first answer again."""

import asyncio
import logging
import time
from functools import partial
from typing import Any

from gateway.delivery.current_event import event_id
from gateway.delivery.retry_until_stored import retry_until_stored
from gateway.delivery.running_attempts import RunningAttempt
from gateway.delivery.service import Deliveries, deliveries
from gateway.scopes.http.idempotency.key import content_of, key_in, name_of
from gateway.scopes.http.idempotency.new_keys import NewKeys
from gateway.scopes.http.idempotency.recorder import Kept, Recorder
from gateway.scopes.http.idempotency.settings import Idempotency
from gateway.store import Claim, ClaimState, StoreUnavailable, codec
from protocols.app_run import grace_of, may_still_read, on_departure
from protocols.asgi import (
    Application,
    HTTPDisconnectEvent,
    HTTPRequestEvent,
    HTTPScope,
    Receive,
    Scope,
    Send,
    describe,
)
from protocols.errors import Disconnected, RemoteProtocolError
from protocols.log_facts import about_peer

logger = logging.getLogger(__name__)

_MAY_SUCCEED = (408, 425, 429)
"""Statuses of 4xx with which another attempt may succeed (RFC 9110, 15.5.9; RFC 8470; RFC 6585)."""
_REPLAYED = (b"idempotent-replayed", b"true")
_RUNNING = "its Idempotency-Key is that of a request that is being handled"
_PATIENCE = 0.9
"""The part of disconnect_grace for which a client that has closed its half of the connection is kept for its answer."""
_FIELDS = {409: [(b"retry-after", b"1")], 503: [(b"retry-after", b"30")]}


class FirstAnswers:
    """An application each of whose keys is handled once."""

    needs_store = True

    def __init__(self, app: Application, settings: Idempotency) -> None:
        self._app = app
        self.wrapped_app: Application = getattr(app, "wrapped_app", app)
        """The route's own application, below everything that its settings put around it."""
        self._settings = settings
        self._methods = {each.upper() for each in settings.methods}
        self._new_keys = NewKeys(settings.max_keys, settings.keep)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._app, name)  # routers and the commands look for names on an application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in self._methods:
            await self._app(scope, receive, send)
            return
        try:
            key = key_in(scope)
            if key is None and self._settings.required:
                raise RemoteProtocolError("it has no Idempotency-Key", answer=400)
            if key is not None:
                await self._once(scope, key, receive, send)
        except RemoteProtocolError as error:
            await _refuse(scope, error, send)
        except StoreUnavailable as error:
            logger.error("%s: answered 503, the store is unavailable: %s", describe(scope), error)
            await _answer(503, "the request cannot be handled now; send it again", send)
        except Disconnected:
            logger.info("%s: the client left before its body was complete", describe(scope))
        else:
            if key is None:
                await self._app(scope, receive, send)

    async def _once(self, scope: HTTPScope, key: str, receive: Receive, send: Send) -> None:
        """Answer a request with a key. Raises RemoteProtocolError, StoreUnavailable and Disconnected."""
        body = await _body(scope, receive, self._settings.max_body)
        content = content_of(scope, body)
        here = deliveries.get()
        name = name_of(scope, key, self._settings.client)
        if self._new_keys.are_used_up(time.monotonic()):
            raise RemoteProtocolError("too many new Idempotency-Keys (max_keys)", answer=503)
        claim = await here.claims.claim(name, id=event_id(scope), now=here.claims.now(), ttl=self._settings.keep)
        if claim.state is ClaimState.BUSY:
            raise RemoteProtocolError(_RUNNING, answer=409)
        if claim.state is ClaimState.DONE:
            await _replay(scope, claim, content, send)
            return
        if claim.attempts == 1:
            self._new_keys.add(time.monotonic())
        await self._handle(here, scope, body, _Request(claim, content), receive, send)

    async def _handle(
        self, here: Deliveries, scope: HTTPScope, body: bytes, request: "_Request", receive: Receive, send: Send
    ) -> None:
        """Handle it in a task of its own, which goes on if the client leaves: it will ask again."""
        extensions: Any = scope.get("extensions") or {}
        plain = {name: value for name, value in extensions.items() if not name.startswith("http.response.")}
        request.here, request.app, request.scope = here, self._app, {**scope, "extensions": plain}
        request.recorder = Recorder(body, self._settings.max_answer, send, request)
        request.running = here.attempts.begin(request.claim.key, request)
        on_departure(receive, lambda _: request.depart(receive))
        try:
            answer = await request.answered
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                request.leave()
                raise
            if not request.recorder.client_left:
                raise RuntimeError("its handler was cancelled") from None
            logger.info("%s: its client left; it is handled all the same", describe(scope))
            return
        for event in answer:
            await send(event)


class _Request:
    """One request that is handled, and becomes the answer of its key."""

    here: Deliveries
    app: Application
    scope: HTTPScope
    recorder: Recorder
    running: RunningAttempt

    def __init__(self, claim: Claim, content: str) -> None:
        self.claim = claim
        self._content = content
        self._is_kept = False
        self.answered: asyncio.Future[Kept] = asyncio.get_running_loop().create_future()
        """What its client gets."""

    def depart(self, receive: Receive) -> None:
        """Note that its client has left, or has closed its half of the connection: then it may wait for the answer."""
        if not may_still_read(receive):
            self.leave()
        elif grace := grace_of(receive):
            timer = asyncio.get_running_loop().call_later(grace * _PATIENCE, self.leave)
            self.answered.add_done_callback(lambda _: timer.cancel())

    def leave(self) -> None:
        """Let its client go. The next request with the key gets the answer."""
        self.recorder.client_left = True
        self.answered.cancel()
        self.running.expire(TimeoutError("the client has left"))

    async def __call__(self, running: RunningAttempt, ended_by: BaseException | None = None) -> Kept:
        """Run the application. Returns the events of its answer."""
        try:
            if ended_by is not None:
                raise RuntimeError("the handler's thread or task was thrown away") from ended_by
            await self.app(self.scope, self.recorder.receive, self.recorder.send)
            if not self.recorder.is_complete:
                raise RuntimeError("it ended before its response did")
        except Exception as error:
            if not self._is_kept:
                await self._give_back(type(error).__name__)
                self._fail(error)
                return []
            logger.error("%s: failed after its answer", describe(self.scope), exc_info=error)
        except asyncio.CancelledError:
            if not self.here.attempts.is_over and not self._is_kept:
                await self._give_back("cancelled")
            self.answered.cancel()
            raise
        return self.recorder.answer()

    async def keep(self, recorder: Recorder) -> None:
        """Keep the answer. One after which a repetition may succeed is not kept."""
        if recorder.status >= 500 or recorder.status in _MAY_SUCCEED:
            await self._give_back(str(recorder.status))
        else:
            result = codec.encode({"content": self._content}, recorder.answer())
            settle = partial(self.here.claims.settle, self.claim, result=result)
            await retry_until_stored(settle, told=None if recorder.is_too_long else self._fail)
        self._is_kept = True

    def tell(self, answer: Kept) -> None:
        if not self.answered.done():
            self.answered.set_result(answer)

    def _fail(self, error: Exception) -> None:
        if not self.answered.done():
            self.answered.set_exception(error)

    async def _give_back(self, error: str) -> None:
        """Let a repetition be handled."""
        release = partial(self.here.claims.release, self.claim.key, error=error)
        await retry_until_stored(release, told=None if self.recorder.is_too_long else self._fail)


async def _replay(scope: HTTPScope, claim: Claim, content: str, send: Send) -> None:
    first, answer = codec.decode(claim.result)
    if first["content"] != content:
        raise RemoteProtocolError("its Idempotency-Key is that of another request", answer=422)
    if not answer:
        raise RemoteProtocolError("the answer to its Idempotency-Key was too long to be kept", answer=409)
    logger.info("%s: repeated, answered as the first time", describe(scope))
    start, body = answer
    await send({**start, "headers": [*map(tuple, start["headers"]), _REPLAYED]})
    await send(body)


async def _body(scope: HTTPScope, receive: Receive, longest: int) -> bytes:
    """Read the whole body. Raises RemoteProtocolError and Disconnected."""
    declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    too_long = RemoteProtocolError(f"its body has more than {longest} bytes (max_body)", answer=413)
    if declared.isdigit() and int(declared) > longest:
        raise too_long
    body = bytearray()
    while True:
        event: HTTPRequestEvent | HTTPDisconnectEvent = await receive()
        if event["type"] == "http.disconnect":
            raise Disconnected("the client left")
        body += event.get("body", b"")
        if len(body) > longest:
            raise too_long
        if not event.get("more_body"):
            return bytes(body)


async def _refuse(scope: HTTPScope, error: RemoteProtocolError, send: Send) -> None:
    """Refuse a request: one line in the log, and the same sentence to the client."""
    status = error.answer if isinstance(error.answer, int) else 400
    peer = about_peer("http", "", scope.get("client"))["facts"].peer
    logger.info("%s from %s: answered %d: %s", describe(scope), peer, status, error)
    await _answer(status, f"The request was refused: {error}", send)


async def _answer(status: int, sentence: str, send: Send) -> None:
    body = f"{sentence}\n".encode()
    fields = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
    start: Any = {"type": "http.response.start", "status": status, "headers": [*fields, *_FIELDS.get(status, [])]}
    await send(start)
    await send({"type": "http.response.body", "body": body, "more_body": False})
