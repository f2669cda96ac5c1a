"""The response of one HTTP request: its head, the framing of its body, files and trailers."""

import contextlib
import logging
import os
from abc import abstractmethod
from collections.abc import Awaitable
from enum import Enum
from typing import cast

from protocols.app_run import AppRun
from protocols.asgi import describe
from protocols.errors import Disconnected, LocalProtocolError
from protocols.events import Event
from protocols.http.channel import Channel
from protocols.http.file_sender import FileSender, can_send
from protocols.http.head import ENDS, STATUS_LINES, Headers, encode, interim, status_line, trailers
from protocols.http.open_file import OpenFile
from protocols.http.request import Body, Request
from protocols.http.service import HTTPService

logger = logging.getLogger(__name__)

_COPIED = 16 * 1024
"""Bytes of a body that are copied behind its head. Longer ones are written by themselves."""
_WITH_BODY = STATUS_LINES.keys() - {*range(200), 204, 304}
"""The final statuses with a reason of their own whose responses have a body."""
_PIECE = 256 * 1024
"""Bytes of a file that are read and sent at a time."""


class Trailers(Enum):
    """Whether fields follow the body of a response."""

    NONE = 0
    ANNOUNCED = 1
    """They do, and the body is not complete."""
    DUE = 2
    """The body is complete, and the next event has trailers."""
    BEGUN = 3
    """Some are written, and more follow."""


NO_TRAILERS = Trailers.NONE
"""A look at a member of an Enum takes 1 % of a short request."""


class Response(AppRun):
    """The response of a run, from its start to its last byte."""

    # The exchange sets them: an __init__ of their own would be one call more for each request.
    __slots__ = (
        "_begun",
        "_bodiless",
        "_chunked",
        "_fields",
        "_is_due",
        "_keeps",
        "_left",
        "_trailers",
        "_unread",
        "connection",
        "request",
        "service",
        "size",
        "status",
    )

    connection: Channel
    request: Request
    service: HTTPService
    status: int
    size: int
    """Bytes of the response's body so far."""
    _keeps: bool
    """Whether the connection may serve another request after this one."""
    _begun: bool
    """Whether the head of the response is written."""
    _bodiless: bool
    _chunked: bool
    _fields: bytes
    _left: int | None
    """Bytes of the body that are still to come, if their number is known."""
    _trailers: Trailers
    _unread: bool
    """Whether the application may still read from the request's body."""
    _is_due: bool
    """Whether the service calls ``end_turn`` at the end of this turn of the loop."""

    @abstractmethod
    def end_turn(self) -> None:
        """Write the head alone, because no piece of the body came in the same turn of the loop."""

    @abstractmethod
    def _answered(self) -> Awaitable[None] | None:
        """Note that the answer is complete. Return an awaitable if the peer is slow."""

    def _write_head(self) -> None:
        self.connection.write(self._head(None))

    def http_response_start(self, event: Event) -> None:
        self.status = self.result = event["status"]
        service = self.service
        fields, self._left, close, dated = encode(event.get("headers") or ())
        line = STATUS_LINES.get(self.status) or status_line(self.status)
        self._fields = line + fields + (service.fields if dated else service.dated)
        self._bodiless = self.status in (204, 304) or self.request.method == "HEAD"
        if close or service.draining:
            self._keeps = False
        if event.get("trailers"):
            self._announce_trailers()
        if not self._is_due:
            self._is_due = True
            service.due(self)

    def _announce_trailers(self) -> None:
        self._trailers = Trailers.ANNOUNCED
        self.request.needs_care = True  # the body does not end the answer
        if self._sends_trailers:
            self._left = None  # only chunks have trailers after them

    @property
    def _sends_trailers(self) -> bool:
        """Whether trailers reach the peer. They are discarded if it does not ask for them, or gets no body."""
        return self.request.takes_trailers and not self._bodiless

    def http_response_early_hint(self, event: Event) -> Awaitable[None] | None:
        hint = interim(103, [(b"link", link) for link in event["links"]])
        if self.request.version == "1.1":  # RFC 8297; a 1.0 peer knows no interim responses
            self.connection.write(hint)
        return self._drain() if self.connection.is_full else None

    def http_response_body(self, event: Event) -> Awaitable[None] | None:
        body, more = event.get("body", b""), event.get("more_body", False)
        if more or self._begun or self._bodiless or not self._keeps or self.request.needs_care:
            return self._push(body, more=more)
        size = len(body)  # nearly every answer comes in one piece
        if self._left is not None and self._left != size:
            return self._push(body, more=more)
        self._begun = True
        self._left, self.size = 0, size
        if size <= _COPIED:
            self.connection.write(b"".join((self._fields, ENDS[size], body)))
        else:
            self._write(self._fields + ENDS[size], body)
        return self._answered()

    async def answer_whole(self, status: int, headers: Headers, body: bytes) -> bool:
        """Send a whole response in one step, and return True; it is as if both of its events had been sent.

        Return False, and do nothing, if anything is unusual: then they are to be sent, and say what is wrong.
        """
        service, size = self.service, len(body)
        if not self._takes_whole(status, size) or service.draining or not self.connection.connected:
            return False
        try:
            fields, length, close, dated = encode(headers)
        except LocalProtocolError:
            return False
        if close or (length is not None and length != size):
            return False
        self.status = self.result = status
        self._begun = True
        self._left, self.size = 0, size
        ours = service.fields if dated else service.dated
        self.connection.write(b"".join((STATUS_LINES[status], fields, ours, ENDS[size], body)))
        if (pending := self._answered()) is not None:
            await pending
        return True

    def _takes_whole(self, status: int, size: int) -> bool:
        """Whether the peer gets such a response as nearly all are: a head with the length of its body, and the body."""
        request = self.request
        return (
            "http.response.start" in self._legal
            and self._keeps
            and not request.needs_care
            and request.method != "HEAD"
            and size <= _COPIED
            and status in _WITH_BODY
        )

    def http_response_trailers(self, event: Event) -> Awaitable[None] | None:
        if self._trailers in (Trailers.NONE, Trailers.ANNOUNCED):
            raise LocalProtocolError("http.response.trailers: the body is not complete; more_body=False ends it")
        fields, more = trailers(event["headers"]) if self._sends_trailers else b"", event.get("more_trailers", False)
        self._write_trailers(fields, more=more)
        self._trailers = Trailers.BEGUN
        if not more:
            return self._answered()
        return self._drain() if self.connection.is_full else None

    def _write_trailers(self, fields: bytes, *, more: bool) -> None:
        if self._chunked:
            first = b"0\r\n" if self._trailers is Trailers.DUE else b""
            self._write(first + fields, b"", b"" if more else b"\r\n")

    def http_response_pathsend(self, event: Event) -> Awaitable[None]:
        return self._send_file(event["path"])

    def _push(self, body: bytes, *, more: bool) -> Awaitable[None] | None:
        """Write the next piece of the body, the first one with the head. Return an awaitable if the peer is slow."""
        if self._trailers is not NO_TRAILERS:
            return self._push_before_trailers(body, more=more)
        return self._push_piece(body, more=more)

    def _push_before_trailers(self, body: bytes, *, more: bool) -> Awaitable[None] | None:
        """Write the next piece of a body that does not end the answer, because trailers follow."""
        if self._trailers is not Trailers.ANNOUNCED:
            raise LocalProtocolError("http.response.body: the body is complete, and its trailers are due")
        if not self._begun and not more and not self._sends_trailers and self._left is None:
            self._left = len(body)
        pending = self._push_piece(body, more=True)
        if not more:
            self._trailers = Trailers.DUE
            if self._left and not self._bodiless:
                self._ended_short(self._left)
        return pending

    def _push_piece(self, body: bytes, *, more: bool) -> Awaitable[None] | None:
        head = b"" if self._begun else self._head(None if more else len(body))
        if self._bodiless:
            body = b""
        else:
            self._count(len(body))
        self._begun = True
        if self._chunked and body:
            head += b"%x\r\n" % len(body)
        end = b"" if not self._chunked else (b"\r\n" if body else b"") + (b"" if more else b"0\r\n\r\n")
        self._write(head, body, end)
        if more:
            return self._drain() if self.connection.is_full else None
        if self._left and not self._bodiless:
            self._ended_short(self._left)
        return self._answered()

    def _write(self, head: bytes, body: bytes, end: bytes = b"") -> None:
        """Write in one piece, unless the body is so large that a copy costs more than a second piece."""
        write = self.connection.write
        if len(body) <= _COPIED:
            if data := head + body + end:
                write(data)
            return
        for each in (head, body, end):
            if each:
                write(each)

    async def _drain(self) -> None:
        """Wait for a slow peer. If it leaves meanwhile, only the next ``send`` says so.

        Frameworks cancel the application when they learn of it. This way they cancel it where the body's generator
        waits, and not in ``send``: the generator cleans up at once, instead of when it is garbage-collected.
        """
        with contextlib.suppress(Disconnected):
            await self.connection.drain()

    def _head(self, length: int | None) -> bytes:
        """Return the head with its framing (RFC 9112, 6.3). ``length`` is that of the whole body, if it is known."""
        if self._unread and self.request.expects and not cast("Body", self.request.body).size:
            self._keeps = False  # the peer may send its body or not: the next bytes could be either
        if self._left is None and not self._bodiless:
            self._left = length
        if self._left is not None and self.status != 204:
            framing = b"content-length: %d\r\n" % self._left
        elif self._bodiless:
            framing = b""
        elif self.request.version == "1.1":
            self._chunked = True
            framing = b"transfer-encoding: chunked\r\n"
        else:
            self._keeps = False
            framing = b""
        if not self._keeps:
            framing += b"connection: close\r\n"
        elif self.request.version == "1.0":
            framing += b"connection: keep-alive\r\n"
        return b"%b%b\r\n" % (self._fields, framing)

    def _count(self, size: int) -> None:
        """Count the bytes of a piece. Raises LocalProtocolError if they are too many."""
        if self._left is not None:
            if size > self._left:
                raise LocalProtocolError(f"the body is {size - self._left} bytes longer than its content-length")
            self._left -= size
        self.size += size

    def _ended_short(self, left: int) -> None:
        logger.error("%s: the response body ended %d bytes short", describe(self.scope), left)
        self._keeps = False
        self.connection.abort()

    async def _send_file(self, path: str | os.PathLike[str]) -> None:
        """Send the file. It may become shorter meanwhile: then the body ends short, and the connection with it."""
        opened = await OpenFile.at(path)
        size = opened.size
        try:
            if self._left is None and not (self._trailers is Trailers.ANNOUNCED and self._sends_trailers):
                self._left = size
            if not size or self._bodiless:
                pending = self._push(b"", more=False)
            elif size > _PIECE and self._left is not None and can_send(self.connection):
                pending = await self._send_all(FileSender(self.connection, opened), size)
            else:
                pending = await self._send_pieces(opened)
            if pending is not None:
                await pending
        finally:
            opened.close()

    async def _send_all(self, sender: FileSender, size: int) -> Awaitable[None] | None:
        """Send it by the system."""
        if (pending := self._push(b"", more=True)) is not None:
            await pending
        self._count(size)
        missing = size - await sender.send(size)
        if missing:
            self.size -= missing
            self._ended_short(missing)
        return self._push(b"", more=False)

    async def _send_pieces(self, opened: OpenFile) -> Awaitable[None] | None:
        """Send it in pieces that are read on a thread: TLS encrypts them, and chunks have a size."""
        size = opened.size
        while size:
            piece = await opened.read(min(size, _PIECE))
            size = size - len(piece) if piece else 0  # the file may be truncated meanwhile: _push() notices
            pending = self._push(piece, more=size > 0)
            if pending is not None and size:
                await pending
        return pending
