"""The ASGI run of a request, and of a WebSocket, on a stream of HTTP/2."""

from collections.abc import Awaitable
from typing import cast

from protocols.events import Event
from protocols.http.exchange import Exchange
from protocols.http.head import interim
from protocols.http.http2.fields import response_fields, split_lines
from protocols.http.http2.stream import Fields, Stream
from protocols.http.request import Body
from protocols.http.websocket import WebSocket

_CONTINUE = [(b":status", b"100")]


class StreamExchange(Exchange):
    """A request and its response. Frames have the lengths, so nothing of HTTP/1.1's framing is left."""

    __slots__ = ()

    @property
    def _stream(self) -> Stream:
        return cast("Stream", self.connection)

    def _write_head(self) -> None:
        self._stream.respond(self._response_fields(None))

    def _response_fields(self, length: int | None) -> Fields:
        """Return the header fields. ``length`` is that of the whole body, if it is known."""
        fields = response_fields(self._fields)
        if self._left is None and not self._bodiless:
            self._left = length
        if self._left is not None and self.status != 204:
            fields.append((b"content-length", b"%d" % self._left))
        else:
            self._chunked = not self._bodiless
        return fields

    def _push_piece(self, body: bytes, *, more: bool) -> Awaitable[None] | None:
        stream, fields = self._stream, None if self._begun else self._response_fields(None if more else len(body))
        if self._bodiless:
            body = b""
        else:
            self._count(len(body))
        is_short = not more and bool(self._left) and not self._bodiless
        if fields is not None:
            stream.respond(fields, ends=not more and not body and not is_short)
        self._begun = True
        stream.say(body) if fields is not None else stream.write(body)
        if more:
            return self._drain() if stream.is_full else None
        if is_short:
            self._ended_short(self._left or 0)
        else:
            stream.end()
        return self._answered()

    def _write_trailers(self, fields: bytes, *, more: bool) -> None:
        self._stream.trail(split_lines(fields))
        if not more:
            self._stream.end()

    def _answer(self, status: int, fields: bytes = b"", *, keeps: bool = False) -> None:
        self.status = status
        self._complete = True
        fields += self.service.refusal_fields
        self.size = self._stream.answer(status, fields, is_head=self.request.method == "HEAD")

    def _continue(self, body: Body) -> None:
        if self.request.expects and not self._begun and not body.size and self._stream.connected:
            self._stream.respond(_CONTINUE)

    def http_response_early_hint(self, event: Event) -> Awaitable[None] | None:
        self._stream.respond(response_fields(interim(103, [(b"link", link) for link in event["links"]])))
        return None


class StreamWebSocket(StreamExchange, WebSocket):
    """A WebSocket that an extended CONNECT has asked for (RFC 8441)."""

    def _write_acceptance(self, fields: bytes) -> None:
        self.status = 200
        self._stream.respond(response_fields(b"HTTP/1.1 200 OK\r\n" + fields))
