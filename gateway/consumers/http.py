"""Consumers of the http scope: one instance for each request."""

import asyncio
import contextlib
import json
import logging
from typing import Any, ClassVar, TypeVar

from gateway.consumers import arguments, form_data, server_sent
from gateway.consumers.base import Asked, Consumer
from gateway.consumers.cookies import Cookies
from gateway.consumers.form_data import FormData, FormError, FormReader
from gateway.consumers.forms import AsyncForm, Awaited, SyncForm
from gateway.consumers.header_fields import Headers, header_fields
from gateway.consumers.hooks import Call, writes
from protocols.app_run import whole_answer_of
from protocols.asgi import HTTPDisconnectEvent, HTTPRequestEvent, HTTPScope, describe
from protocols.errors import LocalProtocolError
from protocols.tasks import Tasks

logger = logging.getLogger(__name__)

R = TypeVar("R")
_BEGUN = "the response has begun; call self.write()"
_JSON = (b"content-type", b"application/json")
_QUICK = 64 * 1024
"""Bytes of a form that are read on the event loop."""
_streams = Tasks("event streams")


class HttpMethods(Cookies, Consumer[R]):
    """The methods of both forms. Write ``handle``."""

    scope: HTTPScope

    ping_interval: ClassVar[float] = 15.0
    """Seconds between the comments that keep an event stream open, which proxies end when it is quiet. 0: none."""

    stream_forms: ClassVar[bool] = False
    """Whether each request is a form that is read as it comes. ``handle`` is then called with an empty body, and
    ``form(body)`` returns the form. Files of more than 1 MiB together are in a temporary file, which is closed when the
    request is over."""

    states = {
        "waiting": "the response has not begun; call self.start() first",
        "started": _BEGUN,
        "streaming": _BEGUN,
        "over": "the response is complete, and a request gets one",
    }
    instead = {"http.request": Asked("handle", "self.respond(body)")}
    _hooks = {"handle": Call(("body",)), "receive_chunk": Call(("chunk",)), "disconnect": Call(())}
    _required = ("handle", "http_request")
    _takes_chunks: ClassVar[bool] = False
    _body: bytes | bytearray = b""
    """What has come of the body."""
    _pings: "asyncio.Task[None] | None" = None
    _reader: FormReader | None = None
    """Reads the form as it comes."""
    _form: FormData | None = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._takes_chunks = writes(cls, "receive_chunk")

    def _stop_beside(self) -> None:
        if self._pings is not None:
            self._pings.cancel()
        if self._reader is not None:
            self._reader.close()
        super()._stop_beside()

    async def dispatch(self, event: Any) -> None:
        if event["type"] != "http.request":
            await super().dispatch(event)
            return
        more = event.get("more_body")
        if self.stream_forms:
            await self._read_on(event)
        elif not self._takes_chunks:
            self._gather_body(event.get("body", b""), more=more)
        elif event.get("body"):
            await super().dispatch({**event, "more_body": True})
        if more or self._answered:
            return
        try:
            await super().dispatch({**event, "body": b""} if self._takes_chunks or self.stream_forms else event)
        except FormError as error:
            await self._refuse(error)
        if not self._headers_sent and not self._layer_handlers:
            method = self.method("http.request", "handle")
            raise RuntimeError(f"{method} has returned without self.respond(), self.respond_json() or self.start()")

    def _gather_body(self, piece: bytes, *, more: bool) -> None:
        if not more and not self._body:  # nearly every body comes in one piece, and is not copied
            self._body = piece
            return
        if not isinstance(self._body, bytearray):
            self._body = bytearray()
        self._body += piece

    async def _read_on(self, event: HTTPRequestEvent) -> None:
        """Read the next piece of a form. One that is none is answered 400 at once."""
        try:
            if self._reader is None:
                self._reader = FormReader(self._header(b"content-type"))
            piece = event.get("body", b"")
            if len(piece) <= _QUICK:
                self._reader.feed(piece)
            else:
                await asyncio.to_thread(self._reader.feed, piece)
            if not event.get("more_body"):
                self._form = self._reader.end()
        except FormError as error:
            await self._refuse(error)

    async def _refuse(self, error: FormError) -> None:
        """Answer a request that is not the form that it should be: a mistake of the client."""
        if self._headers_sent:
            raise error
        logger.info("%s: %s; answered 400", describe(self.scope), error, extra={"scope": self.scope})
        await self._respond("respond", f"{error}\n".encode(), 400, [(b"content-type", b"text/plain; charset=utf-8")])

    def http_request(self, event: HTTPRequestEvent) -> Any:
        if self._takes_chunks and event.get("body"):
            return self.receive_chunk(event["body"])
        return self.handle(bytes(self._body))

    def http_disconnect(self, event: HTTPDisconnectEvent) -> Any:
        return self.disconnect()

    def handle(self, body: bytes) -> Any:
        """Handle one request with its whole body, whose size the server limits. Answer with ``respond``, now or later,
        from a ``@layer_event`` method."""

    def receive_chunk(self, chunk: bytes) -> Any:
        """Take one piece of the body, as it arrives. If your class has this method, ``handle`` is called with an empty
        body after the last piece. No more is read from the client while this runs. It may respond: then the rest of the
        body is not read."""

    def disconnect(self) -> Any:
        """Clean up after a peer that left before the response was complete."""

    def respond(self, body: bytes | str, status: int = 200, headers: Headers = ()) -> R:
        """Send the whole response. Text is UTF-8. ``headers`` are a dict or pairs, of text or bytes."""
        data = arguments.content("respond", "body", body, "; for JSON call respond_json(content)")
        return self.perform(
            self._respond("respond", data, _status("respond", status), header_fields("respond", headers))
        )

    def respond_json(self, content: Any, status: int = 200, headers: Headers = ()) -> R:
        """Send ``content`` as JSON. Raises TypeError or ValueError if it cannot be written as JSON."""
        fields = header_fields("respond_json", headers)
        if not any(name.lower() == b"content-type" for name, _ in fields):
            fields.append(_JSON)
        data = json.dumps(content, allow_nan=False).encode()
        return self.perform(self._respond("respond_json", data, _status("respond_json", status), fields))

    async def _respond(self, helper: str, body: bytes, status: int, fields: list[tuple[bytes, bytes]]) -> None:
        answer = whole_answer_of(self._to_peer) if not self._set_cookies else None
        try:
            if answer is not None and await answer(status, fields, body):
                self._headers_sent = self._answered = True
                return
        except asyncio.CancelledError:  # it is written; it was waiting for a slow peer
            self._headers_sent = True
            raise
        await self._emit(self._start_event(status, [*fields, (b"content-length", b"%d" % len(body))]), helper)
        self._headers_sent = True
        await self._emit({"type": "http.response.body", "body": body, "more_body": False}, helper)

    def start(self, status: int = 200, headers: Headers = ()) -> R:
        """Begin a streamed response; ``write`` follows."""
        return self.perform(self._start("start", _status("start", status), header_fields("start", headers)))

    async def _start(self, helper: str, status: int, fields: list[tuple[bytes, bytes]]) -> None:
        await self._emit(self._start_event(status, fields), helper)
        self._headers_sent = True

    def _start_event(self, status: int, fields: list[tuple[bytes, bytes]]) -> dict[str, Any]:
        headers = [*fields, *self._set_cookies] if self._set_cookies else fields
        return {"type": "http.response.start", "status": status, "headers": headers, "trailers": False}

    def write(self, chunk: bytes | str, more: bool = True) -> R:
        """Send one part of a streamed response; text is UTF-8. ``more=False`` ends the response."""
        data = arguments.content("write", "chunk", chunk)
        return self.perform(self._emit({"type": "http.response.body", "body": data, "more_body": more}, "write"))

    def start_events(self, headers: Headers = ()) -> R:
        """Begin a stream of server-sent events; ``send_event`` follows. ``write(b"", more=False)`` ends it."""
        return self.perform(self._start_events(header_fields("start_events", headers)))

    async def _start_events(self, fields: list[tuple[bytes, bytes]]) -> None:
        await self._start("start_events", 200, [*server_sent.HEADERS, *fields])
        if self.ping_interval:
            self._pings = _streams.spawn(self._ping(), name=describe(self.scope))

    async def _ping(self) -> None:
        with contextlib.suppress(OSError, LocalProtocolError):  # the peer is gone, or the response complete
            while not self._answered:
                await asyncio.sleep(self.ping_interval)
                await self._to_peer({"type": "http.response.body", "body": server_sent.COMMENT, "more_body": True})

    def send_event(self, data: str, event: str | None = None, id: str | None = None, retry: int | None = None) -> R:
        """Send one event. ``data`` is text of any number of lines. ``id`` is what the browser sends back when it
        connects again, and ``retry`` after how many milliseconds it does that."""
        body = server_sent.event_text(data, event, id, retry)
        return self.perform(self._emit({"type": "http.response.body", "body": body, "more_body": True}, "send_event"))

    @property
    def last_event_id(self) -> str:
        """The ``id`` of the last event that a browser got before it has connected again; empty if there is none."""
        return self._header(b"last-event-id").decode(errors="replace")

    def _header(self, name: bytes) -> bytes:
        return next((value for key, value in self.scope["headers"] if key == name), b"")

    def _read_form(self, body: bytes) -> FormData:
        return self._form if self._form is not None else form_data.read(self._header(b"content-type"), body)


def _status(helper: str, given: Any) -> int:
    """Return the status. ``respond(404, "not found")`` fails at its body, which comes first."""
    return arguments.integer(helper, "status", given, "an integer from 200 to 599, after the body")


class HttpConsumer(HttpMethods[None], SyncForm):
    """Plain methods, called on a thread."""

    def form(self, body: bytes) -> FormData:
        """Read ``body``, which an HTML form has sent. Raises FormError, for which the client gets 400."""
        return self._read_form(body)


class AsyncHttpConsumer(HttpMethods[Awaited], AsyncForm):
    """``async def`` methods; the helpers are awaited."""

    async def form(self, body: bytes) -> FormData:
        """Read ``body``, which an HTML form has sent. Raises FormError, for which the client gets 400."""
        if len(body) <= _QUICK:
            return self._read_form(body)
        return await asyncio.to_thread(self._read_form, body)
