"""A stream: what HTTP/1.1 has a connection for. It carries one exchange."""

import asyncio
import math
from collections import deque
from typing import Protocol

from protocols.errors import Disconnected
from protocols.http.channel import Hold, Raw
from protocols.http.connection import LINGER, HTTPConnection
from protocols.http.head import plain
from protocols.http.http2.fields import response_fields
from protocols.http.http2.library import Core, ErrorCodes
from protocols.http.request import Body, Flow, Request
from protocols.http.service import InFlight, logger

Fields = list[tuple[bytes, bytes]]

_FULL = 64 * 1024
"""Bytes that wait for the peer's window, above which the application waits as well."""
_PIECES = 256
"""Pieces of them: a short one takes more memory than its bytes."""
_FRAME = 16 * 1024
"""Bytes of a DATA frame: other streams have their turn after it."""
_NEVER = math.inf
_YOUNG = 1.0
"""Seconds in which the reset of a stream without an answer is premature, as in Envoy."""


class Streams(Protocol):
    """The session that a stream belongs to."""

    connection: HTTPConnection
    core: Core

    def acknowledge(self, number: int, size: int) -> None:
        """Let the peer send ``size`` bytes more."""

    def send_fields(self, number: int, fields: Fields, *, ends: bool) -> None:
        """Send header fields. Raises Disconnected."""

    def sends(self, stream: "Stream") -> None:
        """Note that ``stream`` has something to send."""

    def reset(self, number: int, code: ErrorCodes) -> None: ...

    def expect(self, deadline: float) -> None:
        """Look at the deadlines of streams at ``deadline``."""

    def answered(self) -> None:
        """Note that a request is answered completely."""

    def left(self, stream: "Stream") -> None:
        """Note that the application of ``stream`` has ended."""

    def closed(self, stream: "Stream") -> None: ...


class StreamBody(Body):
    """A body whose peer may send more as soon as the application has taken some of it."""

    __slots__ = ("_stream",)

    def __init__(self, stream: "Stream") -> None:
        super().__init__(stream)
        self._stream = stream

    def take(self) -> bytes:
        taken = super().take()
        self._stream.acknowledge(len(taken))
        return taken


class Stream(Flow):
    """One stream, from its request to its end on both sides."""

    def __init__(self, session: "Streams", number: int) -> None:
        connection = session.connection
        self.service = connection.service
        self.loop = connection.loop
        self.client, self.server, self.scheme = connection.client, connection.server, connection.scheme
        self.extensions, self.tls = connection.extensions, connection.tls
        self.label = connection.label
        self.generation = connection.generation
        self.number = number
        self.exchange: InFlight | None = None
        self.body: StreamBody | None = None
        self.deadline = _NEVER
        self.is_open = True
        """Whether it has not come to its end."""
        self.has_input = True
        """Whether the peer may send more."""
        self._since = self.loop.time()
        self._session = session
        self._raw: Raw | None = None
        self.upgrades = False
        """Whether it asks for a WebSocket."""
        self._early = b""
        """What has come for that before it is accepted."""
        self._is_held = False
        self.length = 0
        """Bytes of the request's body, if it says so before it comes."""
        self.arrived = 0
        """Bytes of it that have come."""
        self.is_queued = False
        """Whether the session sends on it in its turn."""
        self.unread = 0
        """Bytes that have come, and that the peer may not replace by others yet."""
        self._unsent: deque[memoryview] = deque()
        self._size = 0
        """Bytes of them."""
        self._sent = self._seen = 0
        """Bytes that were sent, and those at the last look at the deadline."""
        self._ends = False
        """Whether nothing more will be written."""
        self._has_ended = False
        """Whether that is told to the peer."""
        self._cut_with: ErrorCodes | None = None
        """The error that ends it when all is sent; None if it ends properly."""
        self._trailers: Fields = []
        self._is_served = False
        self._is_finishing = False
        """Whether it ends as soon as everything is sent."""
        self._lingers = False
        """Whether what the peer sends is discarded, until it ends."""
        self._lives_on = False
        """Whether the application goes on after its answer."""
        self._room: asyncio.Future[None] | None = None

    # What the peer sends.

    @property
    def is_premature(self) -> bool:
        """Whether a reset now would be one of an attack: the peer has not got any content, and has hardly waited. A
        client may leave after a second; one that has begun to read an answer has cost no more than others."""
        return not self._sent and self.loop.time() - self._since < _YOUNG

    def received(self, data: bytes, size: int) -> None:
        """Take ``data``, which counts ``size`` bytes in the peer's windows."""
        self.unread += size
        self.arrived += len(data)
        if self._raw is not None:
            self._raw.feed_data(data)
            if not self._is_held:
                self.acknowledge(self.unread)
        elif self.upgrades:
            self._early += data  # no more than the window
        elif self.body is None or self.body.broken or self._is_served:
            self.acknowledge(size)
        else:
            self.acknowledge(size - len(data))  # the padding
            self.body.feed(data)

    def acknowledge(self, size: int) -> None:
        """Let the peer send ``size`` bytes more."""
        if size := min(size, self.unread):
            self.unread -= size
            self._session.acknowledge(self.number, size)

    def input_ended(self) -> None:
        """Note that the peer sends nothing more on it."""
        self.has_input = False
        if self._raw is not None:
            self.finish()  # as on a connection: a WebSocket has no use for one direction
        elif self.body is not None:
            self.body.finish()
        self._end_if_over()

    def hold(self, reason: Hold) -> None:
        self._is_held = True

    def hold_inbox(self) -> None:
        """The connection is read all the same, so that the end of the stream is noticed."""
        self._is_held = True

    def let(self, reason: Hold) -> None:
        self._is_held = False
        self.acknowledge(self.unread)

    def hold_body(self) -> None:
        """The window is shut already: it opens when the application takes the body."""

    def let_body(self) -> None: ...

    def become_raw(self, raw: Raw) -> None:
        self._raw = raw
        early, self._early = self._early, b""
        if early:
            raw.feed_data(early)
            self.acknowledge(0 if self._is_held else self.unread)
        if not self.has_input:
            self.finish()

    # What is sent.

    @property
    def connected(self) -> bool:
        return self.is_open and not self._ends

    def is_closing(self) -> bool:
        return not self.connected

    @property
    def is_full(self) -> bool:
        return self._size > _FULL or len(self._unsent) > _PIECES

    def respond(self, fields: Fields, *, ends: bool = False) -> None:
        """Send header fields, interim ones as well. Raises Disconnected."""
        self._check()
        self._session.send_fields(self.number, fields, ends=ends)
        if ends:
            self._ends = self._has_ended = True

    def write(self, data: bytes) -> None:
        self._check()
        if data:
            self._unsent.append(memoryview(data))
            self._size += len(data)
            self._session.sends(self)

    def write_soon(self, data: bytes) -> None:
        self.write(data)  # the session sends all of its streams at the end of a turn

    def say(self, data: bytes) -> None:
        if self.connected:
            self.write(data)

    def _check(self) -> None:
        if not self.connected:
            raise Disconnected("the peer is gone")

    def answer(self, status: int, fields: bytes, *, is_head: bool) -> int:
        """Send a complete, short answer of the server's own, with header ``fields`` in HTTP/1.1's form, unless the peer
        is gone. Return the size of its body."""
        if not self.connected:
            return 0
        head, _, text = plain(status, body=not is_head, fields=fields).partition(b"\r\n\r\n")
        self.respond(response_fields(head), ends=not text)
        self.say(text)
        self.end()
        return len(text)

    def trail(self, fields: Fields) -> None:
        """Send ``fields`` behind the body."""
        self._trailers += fields

    def end(self) -> None:
        """Send nothing more after what is written, and the trailers."""
        if self.connected:
            self._ends = True
            self._session.sends(self)

    def end_writing(self) -> None:
        self.end()

    @property
    def is_sending(self) -> bool:
        """Whether something waits to be sent."""
        return self.is_open and (bool(self._unsent) or (self._ends and not self._has_ended))

    def send_some(self, window: int) -> int:
        """Send one frame at most, of ``window`` bytes at most. Return the bytes of content in it."""
        if not self._unsent:
            self._send_end()
            return 0
        if window <= 0:
            return 0
        piece, size = self._unsent[0], min(window, _FRAME)
        if len(piece) > size:
            self._unsent[0], piece = piece[size:], piece[:size]
        else:
            self._unsent.popleft()
        self._size -= len(piece)
        self._sent += len(piece)
        is_last = self._ends and not self._unsent and not self._trailers and self._cut_with is None
        self._session.core.send_data(self.number, piece, end_stream=is_last)
        self._has_ended = is_last
        if not self.is_full:
            self._wake()
        if not self._unsent:
            self._send_end()
        return len(piece)

    def _send_end(self) -> None:
        if not self._ends or not self.is_open:
            return
        if self._cut_with is not None:
            self.abort(self._cut_with)
        elif not self._has_ended:
            self._has_ended = True
            if self._trailers:
                self._session.send_fields(self.number, self._trailers, ends=True)
            else:
                self._session.core.end_stream(self.number)
        self._end_if_over()

    def _end_if_over(self) -> None:
        """End it, if all of the answer is sent and the application is done with it. What a peer still sends of its
        request is not wanted (RFC 9113, 8.1), but it has a moment to end by itself: curl 7 shows no answer that a reset
        follows at once."""
        if not (self.is_open and self._has_ended and self._is_finishing):
            return
        if not self.has_input:
            self._close()
        elif self._raw is not None or self.service.draining:
            self.abort(ErrorCodes.NO_ERROR)
        elif not self._lingers:
            self._lingers = True
            self.wait(LINGER)

    async def drain(self) -> None:
        """Wait until the peer has taken enough; reset a stream that stalls for ``stall_timeout``."""
        while self.is_full and self.is_open:
            sent = self._sent
            try:
                async with asyncio.timeout(self.service.settings.stall_timeout):
                    await self._has_room()
            except TimeoutError:
                if self._sent == sent:
                    self._cut_off()
        if not self.is_open:
            raise Disconnected("the peer has left, or stopped reading")

    async def _has_room(self) -> None:
        if self._room is None:
            self._room = self.loop.create_future()
        await asyncio.shield(self._room)

    def _wake(self) -> None:
        if self._room is not None:
            if not self._room.done():
                self._room.set_result(None)
            self._room = None

    def _cut_off(self) -> None:
        if self.is_open:
            logger.info("%s: reset a stream, its peer reads nothing", self.label)
            self.abort(ErrorCodes.CANCEL)

    # Its exchange.

    def wait(self, seconds: float) -> None:
        self.deadline = self.loop.time() + seconds
        self._session.expect(self.deadline)

    def wait_no_more(self) -> None:
        if not self._is_finishing:
            self.deadline = _NEVER

    def expire(self) -> None:
        """End a wait that has taken too long: for a body, or for a peer to take the rest of an answer."""
        self.deadline = _NEVER
        if self._lingers:
            self.abort(ErrorCodes.NO_ERROR)
        elif not self._is_finishing:
            if self.exchange is not None:
                self.exchange.stalled()
        elif self._sent == self._seen:
            self._cut_off()
        else:
            self._expect_progress()

    def _expect_progress(self) -> None:
        self._seen = self._sent
        self.wait(self.service.settings.stall_timeout)

    def may_leave(self, exchange: InFlight) -> bool:
        self._lives_on = True
        return True

    def served(self, request: Request, *, keep: bool) -> None:
        """Note that the answer is written. It may wait for the peer's windows still."""
        self._is_served, self.exchange = True, None
        if self.is_open and self._ends:
            self._session.answered()
        if not self._lives_on:
            self._session.left(self)
        self.acknowledge(self.unread)
        self._finish()

    def ended(self) -> None:
        self._session.left(self)

    def finish(self) -> None:
        """Send what is written, and end it: a WebSocket's properly, and an answer that is not complete by a reset."""
        if self._raw is None and self.connected:
            self._cut_with = ErrorCodes.CANCEL
        self.end()
        self._finish()

    def _finish(self) -> None:
        self._is_finishing = True
        self._end_if_over()
        if self.is_open and not self._lingers:
            self._expect_progress()

    def abort(self, code: ErrorCodes = ErrorCodes.INTERNAL_ERROR) -> None:
        if self.is_open:
            self._session.reset(self.number, code)
            self._close()

    def lose(self) -> None:
        """Note that the peer has ended it, or the connection."""
        if self.is_open:
            self._close()

    def _close(self) -> None:
        self.is_open = self.has_input = False
        self._ends = True
        self._unsent.clear()
        self._size = 0
        self.deadline = _NEVER
        self._wake()
        self._session.closed(self)
        self.unread = 0
        exchange, self.exchange, self.body = self.exchange, None, None
        if exchange is not None:
            self.loop.call_soon(exchange.lost)
