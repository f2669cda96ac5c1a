"""The ASGI application that compresses the responses of another one, as far as that is safe and asked for."""

import asyncio
import logging
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from protocols.asgi import Application, Receive, Send, describe
from protocols.errors import LocalProtocolError
from protocols.http.compression.coding import IDENTITY, preferred
from protocols.http.compression.encoders import ENCODERS, Encoder
from protocols.http.compression.settings import Compression

logger = logging.getLogger(__name__)

_QUICK = 16 * 1024
"""Bytes that are compressed on the event loop. More would hold it up for a millisecond or longer."""
_SLICE = 256 * 1024
"""Bytes that are compressed at a time on a thread."""
_EVENTS = "text/event-stream"
_TIED = frozenset({"content-encoding", "content-range", "content-md5", "content-digest", "repr-digest", "digest"})
"""Fields of responses that are compressed already, are a part, or have a digest of what is sent."""
_PERSONAL = frozenset({"cookie", "authorization", "*"})

Event = Any
Headers = list[tuple[bytes, bytes]]


class Compressed:
    """An application whose responses are compressed."""

    def __init__(self, app: Application, settings: Compression | None) -> None:
        """``settings``: None leaves responses as they are, whatever is around this application."""
        self._app = app
        self.wrapped_app: Application = getattr(app, "wrapped_app", app)
        """The route's own application, below everything that its settings put around it."""
        self._settings = settings

    def __getattr__(self, name: str) -> Any:
        return getattr(self._app, name)  # routers and the commands look for names on an application

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if isinstance(around := getattr(send, "__self__", None), _Answer):
            around.leave_alone()
        if self._settings is None:
            await self._app(scope, receive, send)
        else:
            await self._app(scope, receive, _Answer(self._settings, scope, send).send)


class _Answer:
    """One response on its way to the client."""

    def __init__(self, settings: Compression, scope: Any, send: Send) -> None:
        self._settings = settings
        self._scope = scope
        self._send: Any = send
        self._start: Event = None
        """The start, which waits for the first piece of the body, so that one piece has a length."""
        self._encoder: Encoder | None = None
        self._coding = IDENTITY
        self._is_left_alone = False
        self._left: int | None = None
        """Bytes that the application has declared and not sent."""
        self._turn = asyncio.Lock()
        """Held for a piece of the body: the encoder is for one at a time, also where several tasks send."""
        self._is_torn = False
        """Whether a part of the body was lost in the encoder."""

    def leave_alone(self) -> None:
        """Send it as it is."""
        self._is_left_alone = True

    async def send(self, event: Event) -> None:
        kind = event["type"]
        if kind == "http.response.start" and not self._is_left_alone:
            await self._begin(event)
        elif kind == "http.response.body" and (self._start is not None or self._encoder is not None):
            async with self._turn:
                await self._body(event)
        else:
            await self._release()
            await self._send(event)

    async def _begin(self, event: Event) -> None:
        fields = _fields(event.get("headers") or ())
        if fields is None or not self._is_compressible(event["status"], fields):
            await self._send(self._confirmed(event, fields))
            return
        accepted = _fields(self._scope["headers"]) or {}
        self._coding = preferred(accepted.get("accept-encoding", ""), self._settings.available)
        length = fields.get("content-length", "")
        self._left = int(length) if length.isdecimal() else None
        self._start = {**event, "headers": _varying(event["headers"])}
        if self._coding == IDENTITY or self._scope["method"] == "HEAD":
            await self._release()
        elif fields["content-type"].startswith(_EVENTS):
            self._start_encoder(is_small=True)
            await self._release()

    def _confirmed(self, event: Event, fields: dict[str, str] | None) -> Event:
        """Return the start; a 304 has the Vary that its 200 would have (RFC 9110, 15.4.5)."""
        if event["status"] != HTTPStatus.NOT_MODIFIED or fields is None or not self._may_be_changed(fields):
            return event
        return {**event, "headers": _varying(event.get("headers") or ())}

    def _may_be_changed(self, fields: dict[str, str]) -> bool:
        """Whether its application forbids that by nothing, and it is not for one client alone."""
        control = {each.strip().lower() for each in fields.get("cache-control", "").split(",")}
        return "no-transform" not in control and (self._settings.private or not _is_private(fields, control))

    def _is_compressible(self, status: int, fields: dict[str, str]) -> bool:
        """Whether it may be compressed for a client that accepts it."""
        length = fields.get("content-length", "")
        return (
            status not in (204, 206, 304)
            and self._settings.has_type(fields.get("content-type", ""))
            and _TIED.isdisjoint(fields)
            and not (length.isdecimal() and int(length) < self._settings.min_size)
            and self._may_be_changed(fields)
        )

    async def _release(self) -> None:
        """Send the start."""
        if (start := self._start) is not None:
            self._start = None
            await self._send(start)

    def _start_encoder(self, *, is_small: bool = False) -> None:
        self._encoder = ENCODERS[self._coding](is_small=is_small)
        self._start = {**self._start, "headers": _encoded(self._start["headers"], self._coding)}

    async def _body(self, event: Event) -> None:
        if self._is_torn:
            raise LocalProtocolError("http.response.body: a piece before it was cancelled while it was compressed")
        body, more = bytes(event.get("body", b"")), event.get("more_body", False)
        self._count(len(body))
        if self._encoder is None:
            if self._start is None:  # another task has sent the whole body meanwhile: the server says what is wrong
                await self._send(event)
                return
            if not more and (len(body) < self._settings.min_size or self._left):
                await self._release()  # a body that ends short is for the server to find
                await self._send(event)
                return
            self._start_encoder()
        if not more and self._left:
            logger.error("%s: the response body ended %d bytes short", describe(self._scope), self._left)
            return  # without its end, the response is cut, so that no client takes it for complete
        try:
            data = await self._compress(body, more=more)
        except asyncio.CancelledError:
            self._is_torn = True  # a thread may still be in the encoder, and what it makes is lost
            raise
        if data is None:
            await self._release()
        else:
            await self._send_compressed(data, more=more)

    def _count(self, size: int) -> None:
        if self._left is not None:
            if size > self._left:
                raise LocalProtocolError(f"the body is {size - self._left} bytes longer than its content-length")
            self._left -= size

    async def _compress(self, body: bytes, *, more: bool) -> bytes | None:
        """Compress the piece, and return the last of it, which is still to be sent; None: there is nothing. A long one
        is compressed on a thread, slice by slice, and never whole in memory."""
        *first, last = _slices(body)
        for each in first:
            if data := await self._compressed(each, self._nothing):
                await self._send_compressed(data, more=True)
        assert self._encoder is not None, "it has been started"
        if more and not body:
            return None
        return await self._compressed(last, self._encoder.flush if more else self._encoder.finish)

    async def _send_compressed(self, data: bytes, *, more: bool) -> None:
        await self._release()
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    @staticmethod
    def _nothing() -> bytes:
        return b""

    async def _compressed(self, data: memoryview, end: Any) -> bytes:
        """Compress ``data``, and call ``end`` for what follows it."""
        encoder = self._encoder
        assert encoder is not None, "it has been started"

        def compress() -> bytes:
            return bytes(encoder.compress(data) + end())

        return compress() if len(data) <= _QUICK else await asyncio.to_thread(compress)


def _slices(body: bytes) -> Iterator[memoryview]:
    """Yield one slice at least."""
    view = memoryview(body)
    for begin in range(0, len(body) or 1, _SLICE):
        yield view[begin : begin + _SLICE]


def _is_private(fields: dict[str, str], control: set[str]) -> bool:
    """Whether it is for one client, so that it may have a secret."""
    varies = {each.strip().lower() for each in fields.get("vary", "").split(",")}
    restricted = any(each.partition("=")[0] in ("private", "no-store") for each in control)
    return "set-cookie" in fields or restricted or not varies.isdisjoint(_PERSONAL)


def _fields(headers: Any) -> dict[str, str] | None:
    """Return fields by their names, those of one name as a list; None for what the server will refuse."""
    found: dict[str, str] = {}
    try:
        for name, value in headers:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1")
            found[key] = f"{found[key]}, {text}" if key in found else text
    except (TypeError, ValueError, AttributeError):
        return None
    return found


def _varying(headers: Any) -> Headers:
    """Return the fields with Accept-Encoding in Vary."""
    varies = [value for name, value in headers if name.lower() == b"vary"]
    named = {each.strip().lower() for value in varies for each in value.split(b",")}
    if not named.isdisjoint((b"accept-encoding", b"*")):
        return list(headers)
    others = [(name, value) for name, value in headers if name.lower() != b"vary"]
    return [*others, (b"vary", b", ".join([*varies, b"accept-encoding"]))]


def _encoded(headers: Headers, coding: str) -> Headers:
    """Return the fields for a compressed body: without its length, and with a weak ETag (RFC 9110, 8.8.3)."""
    kept = [(name, value) for name, value in headers if name.lower() not in (b"content-length", b"accept-ranges")]
    weak = [
        (name, b"W/" + value if name.lower() == b"etag" and not value.startswith(b"W/") else value)
        for name, value in kept
    ]
    return [*weak, (b"content-encoding", coding.encode())]
