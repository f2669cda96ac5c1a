"""One HTTP request and its response: one ``http`` scope."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable
from typing import Any, ClassVar, cast

from protocols.app_run import NO_STEPS, AppRun, observed
from protocols.asgi import (
    HostPort,
    HTTPDisconnectEvent,
    HTTPRequestEvent,
    HTTPScope,
    ReceiveEvent,
    WebSocketScope,
    describe,
)
from protocols.errors import LocalProtocolError
from protocols.events import Checks, Event, Table
from protocols.http import events
from protocols.http.access import Access, without_secrets
from protocols.http.channel import Channel
from protocols.http.forwarded import Origin
from protocols.http.head import plain
from protocols.http.limits import Excess
from protocols.http.request import Body, MalformedBody, Request
from protocols.http.response import NO_TRAILERS, Response
from protocols.http.scope import INTERIM, TRAILERS, http_scope
from protocols.log_facts import about_peer
from protocols.tasks import is_thrown_away

logger = logging.getLogger(__name__)

_NEVER = math.inf
_DISCONNECT: HTTPDisconnectEvent = {"type": "http.disconnect"}
AGAIN = 0.05
"""Seconds before an application that calls ``receive`` again gets another disconnect: it may ask for ever."""
_TO_END = 5.0
"""Seconds for an application to end that handler_timeout has cancelled. Then a line of the log names it."""
_ANSWERS = (
    "http.response.start",
    "http.response.body",
    "http.response.pathsend",
    "http.response.early_hint",
    "http.response.trailers",
)


class Exchange(Response):
    """A request and its response, from the first byte of its head to the last of its answer."""

    __slots__ = (
        "_complete",
        "_is_freed",
        "_is_left",
        "_missed",
        "_reads",
        "_since",
        "_told",
        "_waits",
        "_warned",
    )

    noun: ClassVar[str] = "http"
    sends: ClassVar[Table] = events.HTTP
    checks: ClassVar[Checks] = events.CHECKS

    def __init__(self, connection: Channel, request: Request) -> None:
        self.connection = connection
        self.request = request
        self.service = connection.service
        self.status = 0
        self.size = 0
        self._keeps = request.keeps
        self._begun = False
        self._complete = False
        """Whether the response is complete, or there is nobody to answer."""
        self._bodiless = False
        self._chunked = False
        self._fields = b""
        self._left = None
        self._trailers = NO_TRAILERS
        self._unread = True
        self._since = 0.0
        """When the request began, for the access log."""
        self._missed = False
        """Whether something that the application sent has reached nobody."""
        self._told = False
        """Whether the application has been given its disconnect."""
        self._warned = False
        """Whether it has been given its disconnect because the server stops."""
        self._is_left = False
        """Whether that was because the peer sends nothing more, and has perhaps left."""
        self._waits = False
        """Whether the application's own task waits in ``receive``, and not another one beside it."""
        self._is_due = False
        self._is_freed = False
        """Whether the connection goes on without waiting for the application."""
        self._reads = False
        """Whether a task waits for a piece of the body."""
        AppRun.__init__(self, self.service.app, self._scope())  # super() takes five times as long
        self.busy = self.service.busy
        if self.service.settings.access_log:
            self._since = time.monotonic()

    # The run.

    def begin(self) -> None:
        """Start serving. From now on the exchange is in flight, and a server that stops waits for it."""
        # Tasks would cost as much as the request. Here service.running keeps the exchange, whose task never raises.
        service, connection = self.service, self.connection
        service.running.add(self)
        context = service.context.copy() if service.context is not None else None
        # Without the loop, a task looks for it, which takes a system call: the process may have been forked.
        self._task = service.make_task(self.serve(), loop=connection.loop, name=connection.label, context=context)

    def refuse(self, excess: Excess) -> None:
        """Answer in place of the application. The request has its turn and its line in the access log all the same."""
        self._complete = True  # there is no application to tell of a disconnect
        self.service.running.add(self)
        self.service.uncounted += 1
        self._task = self.connection.loop.create_task(self._serve_refusal(excess))

    async def _serve_refusal(self, excess: Excess) -> None:
        request, service, connection = self.request, self.service, self.connection
        try:
            told = about_peer("http", service.name, self.client, str(excess.status))
            logger.info("%s: %s; answered %d", connection.label, excess.why, excess.status, extra=told)
            service.refusals[str(excess.status)] += 1
            must_close = self.awaits_body or request.needs_care or service.draining
            retry = b"retry-after: %d\r\n" % excess.retry_after
            self._answer(excess.status, retry, keeps=self._keeps and not must_close)
            if connection.is_full:  # otherwise answers to pipelined requests would fill the memory
                await self._drain()
        finally:
            service.uncounted -= 1
            service.running.discard(self)
            self._release()

    @property
    def client(self) -> HostPort | None:
        """The address of the client, or of a proxy that does not name it; None for a Unix socket."""
        scope: Any = self.scope
        client: HostPort | None = scope["client"]
        return client

    async def serve(self) -> None:
        """Run the application, and make sure that the peer gets an answer. Raises only CancelledError."""
        service, connection, body = self.service, self.connection, self.request.body
        try:
            error = await self.run()
            if not self._complete:
                self.unanswered(error)
            if body is not None and self._keeps and not self._is_freed and not body.complete:
                await self._discard(body)
        except asyncio.CancelledError:
            self.cut(503)
            raise
        except GeneratorExit:  # of a task or a thread that the application has waited for: it ends all that waits
            if is_thrown_away(self._task):
                raise
            self.cut(500)
        finally:
            service.running.discard(self)
            self.error = None  # as forget_error() does
            if self._is_freed:
                service.overrunning.discard(self)
                connection.ended()
            else:
                self._release()

    def free(self) -> None:
        """Let the connection serve the next request, because the answer is written. The application may go on, with a
        background task, say, unless too many of them do."""
        if self._is_freed or not self.connection.may_leave(self):
            return
        self._is_freed = True
        body = self.request.body
        if body is None or body.complete or not self._keeps:
            self._release()
        else:
            self._unread = False  # the unread rest of the body is discarded from now on
            self.service.tasks.spawn(self._discard_and_release(body), name="discard a body")

    async def _discard_and_release(self, body: Body) -> None:
        try:
            await self._discard(body)
        finally:
            self._release()

    def _release(self) -> None:
        body = self.request.body
        if body is not None and not body.complete:  # the connection ends, and nothing of it comes any more
            self._unread = False
            body.fail(ConnectionResetError, "the answer is complete")
        self.connection.served(self.request, keep=self._keeps and not self.service.draining)
        if self.service.settings.access_log:
            self._log()

    def final_result(self) -> str | int:
        """Return the status of the response; 500 if the application has not begun one. A client that has sent FIN gets
        that of a crash, too."""
        has_left = self.gone or (self._is_left and not isinstance(self.error, Exception))
        return self.result or ("client left" if has_left else 500)

    def reachable(self) -> bool:
        return not self.gone and not self._is_left and self.connection.connected

    @property
    def is_awaited(self) -> bool:
        """Whether the peer has sent its whole request, and has not got the whole answer."""
        return not self._complete and not self.gone and not self.awaits_body

    def half_closed(self) -> None:
        """Tell the application that its peer sends nothing more, and has perhaps left. An answer is still sent."""
        if self._complete or self._told or self.gone:
            return
        self._told = self._warned = self._is_left = True
        self.feed(self._farewell())
        self._announce(self._farewell())
        self._watch(self._received)

    def lost(self) -> None:
        """Tell the application that the connection is lost, unless it has had its last event."""
        if self.request.body is not None:
            self.request.body.fail(ConnectionResetError, "the peer is gone")
        if not self._complete:
            self._leave_told()

    def stalled(self) -> None:
        """Note that the body does not come."""
        if self.request.body is not None:
            self.request.body.fail(TimeoutError)

    def _leave_told(self) -> None:
        """Note that the peer is gone, and tell the application once."""
        if not self._warned:
            self.disconnect(self._farewell())
        elif not self.gone:
            self._peer_left()

    async def _discard(self, body: Body) -> None:
        """Read the rest of the body, which the application has not read: the next request comes after it."""
        try:
            async with asyncio.timeout(self.service.settings.stall_timeout):
                while self._reads:  # noqa: ASYNC110 -- _over() has woken the reader, which ends at once
                    await asyncio.sleep(0)
                while not body.is_taken and body.size <= self.service.settings.max_body:
                    await body.wait()
                    body.take()
        except (TimeoutError, ConnectionError, MalformedBody):
            pass
        self._keeps = body.is_taken

    def unanswered(self, error: BaseException | None) -> None:
        """Answer 500, because the application has ended too early; if the response has begun, abort."""
        if self._is_left and error is None and not self._begun:
            self._complete = True
            self._keeps = False
            return
        if self._warned and error is None:
            self._end_stream()
            return
        if error is None and self.reachable():
            logger.error("%s: ended before its response did", describe(self.scope), extra={"scope": self.scope})
        self.cut(500)

    def _end_stream(self) -> None:
        """End a response whose application has ended because the server stops. Its data is still sent if the missing
        last chunk tells the peer that it is not complete."""
        if self._begun and self._chunked:
            self._complete = True
            self._keeps = False
            self.connection.finish()
        else:
            self.cut(503)

    def cut(self, status: int) -> None:
        """Answer ``status``; if the response has begun, abort: a truncated one must never look complete."""
        if self._complete or self.gone:
            return
        if self._begun:
            self._complete = True
            self._keeps = False
            self.connection.abort()
        else:
            self._answer(status)

    @property
    def awaits_body(self) -> bool:
        """Whether the request's body has not come to its end."""
        body = self.request.body
        return body is not None and not body.complete and not body.broken

    @property
    def is_handled(self) -> bool:
        """Whether the application has the request, as far as it has asked for it, and has not begun its answer."""
        return not (self.status or self._reads or self._complete or self.gone)

    def overrun(self) -> None:
        """Answer 503 and cancel the application, because its time is over. The connection does not wait for its end:
        a thread cannot be cancelled, and some applications catch the cancellation."""
        logger.warning("%s: no answer within handler_timeout", describe(self.scope), extra={"scope": self.scope})
        self.result = 503
        self.cut(503)
        self.cancel()
        self.connection.loop.call_later(_TO_END, self._check_ended)
        if self.service.let_overrun(self):
            self.free()

    def _check_ended(self) -> None:
        if not self.ended:
            said = "%s: still runs %g s after it was cancelled (handler_timeout)"
            logger.warning(said, describe(self.scope), _TO_END, extra={"scope": self.scope})

    @property
    def task(self) -> "asyncio.Task[Any] | None":
        return self._task

    def cancel(self) -> None:
        """Cancel the application, because the grace is over."""
        if self._task is not None:
            self._task.cancel()

    def goodbye(self) -> None:
        """Prepare for the end, because the server drains.

        A response in flight finishes, with ``connection: close`` if its head is not written yet. Applications that
        would never finish get ``http.disconnect`` at once: an event stream, and a long poll that only waits for it.
        """
        if self._is_event_stream() or (self._waits and not self.status):
            self.warn()

    def _is_event_stream(self) -> bool:
        return b"\r\ncontent-type: text/event-stream" in self._fields

    def close_after(self) -> None:
        """Let its answer be the last one of the connection."""
        self._keeps = False

    def reconnect(self) -> None:
        """Let its answer be the last one, because the client is to connect again; an event stream ends now."""
        self.close_after()
        if self._is_event_stream():
            self.warn()

    def is_carried(self) -> bool:
        """Whether another server has the connection."""
        return False

    def doing(self) -> str:
        """Say in a few words what is on the connection. A query may have secrets, and is left out."""
        scope: Any = self.scope
        return f"{scope['method']} {scope['path']}"

    def messages(self) -> dict[str, int]:
        """Return what a list of connections shows of its messages: nothing, because a request has none."""
        return {}

    def dismiss(self) -> None:
        """End it, because an operator wants that. No peer can take a truncated answer for a complete one."""
        self.connection.abort()

    def warn(self) -> None:
        """Tell the application that the server will not wait much longer. The peer is there, and may get an answer."""
        if self._complete or self._told or self.gone:
            return
        self._told = self._warned = True
        self.feed(self._farewell())
        if self._unread and self.request.body is not None:
            self.request.body.fail(ConnectionResetError, "the server is stopping")

    @property
    def server_name(self) -> str:
        return self.service.name

    @property
    def disconnect_grace(self) -> float:
        return self.service.settings.disconnect_grace

    def end_turn(self) -> None:
        """Write the head alone, because no piece of the body came in the same turn of the loop; or, if the answer is
        complete and its application goes on, let the next request begin."""
        self._is_due = False
        if self._complete:
            if not self.connection.is_full:
                self.free()
        elif self.state == "started" and not self._begun and self.connection.connected:
            if self.service.draining:
                self._keeps = False
            self._begun = True
            self._write_head()

    def _answer(self, status: int, fields: bytes = b"", *, keeps: bool = False) -> None:
        self.status = status
        self._keeps = keeps
        self._complete = True
        fields += self.service.refusal_fields
        answer = plain(status, body=self.request.method != "HEAD", fields=fields, closes=not keeps)
        self.size = len(answer.partition(b"\r\n\r\n")[2])
        self.connection.say(answer)

    def _over(self) -> None:
        """Allow no further event. An application that waits in ``receive`` learns of it now, others later."""
        self._complete = True
        self.state, self._legal = "over", NO_STEPS
        if self._reads and self.request.body is not None:
            self.request.body.wake()
        elif self._queue.awaited:
            self._told = True
            self.feed(self._farewell())

    def _farewell(self) -> ReceiveEvent:
        return _DISCONNECT

    def _log(self) -> None:
        scope: Any = self.scope
        request, seconds = self.request, time.monotonic() - self._since
        done = Access(
            server=self.service.name,
            scope=scope["type"],
            client=scope["client"],
            method=request.method,
            target=without_secrets(request.target.decode("latin-1")),
            version=scope["http_version"],
            headers=tuple(request.headers),
            status=self.status,
            size=self.size,
            seconds=seconds,
        )
        if self.service.settings.access_log == "combined":
            done.log_combined()
        else:
            done.log(self.connection.label if self.service.proxies is None else None, scope["path"])

    def passes_over(self, event: Event) -> bool:
        """Return True for the first piece of a stream that reaches nobody; for the reason see ``_drain``."""
        first, self._missed = not self._missed, True
        if not self.gone:  # the transport knows it already
            self._leave_told()
        return first and not self.ended and event["type"] in _ANSWERS and bool(event.get("more_body"))

    def is_to_hear(self, event: Event) -> bool:
        """Raise only if the application would otherwise go on: for the next piece of a stream, and after its run.

        For others ``send`` returns, as in ASGI 2.3. Otherwise the work that an application does after its answer would
        never be done, and a task beside it, which its framework may not supervise, would die.
        """
        if self.ended or event["type"] not in _ANSWERS:
            return True
        return bool(event.get("more_body")) and asyncio.current_task() is self._task

    # What the application receives.

    async def receive(self) -> Any:
        """Return ``http.request`` as long as there is body, which is read from the socket only now; after that
        ``http.disconnect``, each time."""
        if self._unread and not self.gone:
            event = self._read_now() or await self._read()
            if event is not None:
                if observed.by is not None:
                    observed.by.received(self, event)
                return event
        if self._complete and not self._told and not self.gone:
            self._told = True
            self.feed(self._farewell())
        elif (again := self.after_the_last()) is not None:
            await asyncio.sleep(AGAIN)
            return again
        self._waits = asyncio.current_task() is self._task
        try:
            return await super().receive()
        finally:
            self._waits = False

    def after_the_last(self) -> ReceiveEvent | None:
        """Return the disconnect again, for another task or call.

        ASGI: it is sent "if receive is called after a response has been sent or after the HTTP connection has been
        closed".
        """
        return self._farewell() if (self.gone or self._told) and not self._queue else None

    def _read_now(self) -> HTTPRequestEvent | None:
        """Return the next piece of the body if it is there; None if it is not, or something else is to be done."""
        body = self.request.body
        if body is None:
            self._unread = False
            return {"type": "http.request", "body": b"", "more_body": False}
        if self._reads or not body.has_come or body.broken or body.size > self.service.settings.max_body:
            return None
        self._unread = not body.complete
        return {"type": "http.request", "body": body.take(), "more_body": self._unread}

    async def _read(self) -> HTTPRequestEvent | None:
        """Wait for the next piece of the body; None if there is none, because the peer erred or left."""
        body = cast("Body", self.request.body)
        if self._reads:
            await asyncio.sleep(0)  # a task that only polls for an event is cancelled here
            raise LocalProtocolError("receive: another task of the application waits for the body; read it in one")
        self._continue(body)
        try:
            await self._next_piece(body)
        except TimeoutError:
            limit = "stall_timeout" if self.connection.loop.time() < body.until else "body_timeout"
            self._break_off(408, f"the body did not come within {limit}")
        except MalformedBody as error:
            self._break_off(400, f"malformed body, {error}")
        except ConnectionError:
            pass
        else:
            if body.size > self.service.settings.max_body:
                self._break_off(413, "the body is longer than max_body")
            elif body.has_come:
                return self._read_now()
        return None

    async def _next_piece(self, body: Body) -> None:
        """Wait for a piece of ``body``; the connection sees to it that it comes within ``stall_timeout``, and all of it
        within ``body_timeout``."""
        self._reads = True
        settings, now = self.service.settings, self.connection.loop.time()
        if settings.body_timeout and body.until == _NEVER:
            body.until = now + settings.body_timeout
        self.connection.wait(min(settings.stall_timeout, body.until - now))
        try:
            await body.wait()
        finally:
            self._reads = False
            self.connection.wait_no_more()

    def _continue(self, body: Body) -> None:
        """Tell a waiting peer to send its body, because the application wants it."""
        if self.request.expects and not self._begun and not body.size:
            self.connection.say(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _break_off(self, status: int, why: str) -> None:
        if self._complete:
            return  # the peer has an answer, and nobody needs the rest of the body
        logger.info("%s: %s; answered %d", self.connection.label, why, status)
        self.cut(status)
        self.disconnect(self._farewell())

    # The end of the answer.

    def _answered(self) -> Awaitable[None] | None:
        """Note that the answer is complete. Return an awaitable if the peer is slow."""
        self._over()
        if self.connection.is_full:
            return self._drain_and_free()
        body = self.request.body
        if body is not None and not body.complete and self.awaits_body:
            self.free()
        elif not self._is_due:  # most applications end in the same turn
            self._is_due = True
            self.service.due(self)
        return None

    async def _drain_and_free(self) -> None:
        await self._drain()  # otherwise answers to pipelined requests would fill the memory
        self.free()

    # The scope.

    def _extensions(self) -> dict[str, Any]:
        """Return the extensions for a peer that reads trailers, or that speaks HTTP/1.0."""
        found = self.connection.extensions
        if self.request.version == "1.0":
            return {name: value for name, value in found.items() if name not in INTERIM}
        return found | TRAILERS if self.request.takes_trailers else found

    def _scope(self) -> HTTPScope | WebSocketScope:
        request, connection = self.request, self.connection
        client, scheme, server = connection.client, connection.scheme, connection.server
        root_path, headers = self.service.settings.root_path, request.headers
        if (proxies := self.service.proxies) is not None:
            told = Origin(client, scheme, server, root_path, headers)
            client, scheme, server, root_path, headers = proxies.origin(told)
        return http_scope(  # by place: keywords would take 1 % of a short request
            request.method,
            request.target,
            headers,
            self.service.name,
            request.version,
            scheme,
            root_path,
            client,
            server,
            self.service.state,
            self._extensions() if request.takes_trailers or request.needs_care else connection.extensions,
        )
