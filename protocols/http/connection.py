"""One connection: aiohttp's ``RequestHandler``, with our loop of requests, our answers to errors and our stalls."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from aiohttp import web
from aiohttp.http import HttpRequestParser, RawRequestMessage
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler, RequestPayloadError

from protocols.asgi import HostPort
from protocols.errors import Disconnected
from protocols.http.head import plain
from protocols.http.service import HTTPService, InFlight, logger
from protocols.net.endpoints import describe_tls
from protocols.net.wrong_protocol import describe_wrong_protocol

LINGER = 5.0
"""Seconds that what a peer still sends is thrown away after our last answer, so that no reset overtakes it."""

READ_AHEAD = 64 * 1024
"""Bytes of further requests that are read while one is served."""
_LEFT = 100
"""Applications that go on after their answers, on one connection; then the next request waits until one has ended."""

Begin = Callable[[RawRequestMessage, StreamReader, "HTTPConnection"], Any]
"""Makes the exchange of a request, and starts it."""


class HTTPConnection(RequestHandler):
    """Reads requests (aiohttp does), runs their exchanges one after the other, and writes what they give it.

    aiohttp's own loop of requests, :meth:`start`, wakes one task to make another for each request. Here the exchange's
    task is the only one, which saves a fifth of the time of a short request.
    """

    __slots__ = (
        "_begin",
        "_closing",
        "_held",
        "_is_behind",
        "_left",
        "_pipelined",
        "_writers",
        "client",
        "extensions",
        "label",
        "loop",
        "scheme",
        "server",
        "service",
        "tls",
    )

    def __init__(self, service: HTTPService, manager: web.Server, begin: Begin) -> None:
        settings = service.settings
        super().__init__(
            manager,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=settings.keepalive_timeout,
            access_log=None,  # type: ignore[arg-type]  # None switches it off; the exchange writes ours
            max_line_size=settings.max_header,
        )
        self.service = service
        self._begin = begin
        # One message at a time: an error behind a request, in the same segment, would take the request with it.
        self._parser = HttpRequestParser(
            self,
            self._loop,
            self._read_bufsize,
            max_line_size=settings.max_header,
            max_field_size=settings.max_header + 1,  # by this one more, _refuse() can tell which of them was too long
            payload_exception=RequestPayloadError,
            auto_decompress=False,
            max_msg_queue_size=1,
        )
        self._pipelined = b""
        self._is_behind = True
        """The parser may have begun with what follows the request."""
        self._left = 0
        self._held: InFlight | None = None
        """The exchange that the next request waits for, there being so many before it."""
        self._closing: asyncio.Transport | None = None
        """What is closed, and has not sent everything yet."""
        self.label = service.name
        """Whom a log line is about: the listener and the peer."""
        self.loop = self._loop
        self.client: HostPort | None = None
        self.server: tuple[str, int | None] | None = None
        self.scheme = "http"
        self.tls: dict[str, Any] = {}
        """ASGI's tls extension, if the connection has TLS."""
        self.extensions = service.extensions.copy()
        self._writers: list[asyncio.Future[bool]] = []
        """Those that wait for a slow peer."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        client = _host_port(transport.get_extra_info("peername"))
        self.label = f"{self.service.name} {client[0]}:{client[1]}" if client else self.service.name
        self.client = cast("HostPort | None", client)  # a Unix socket's path has no port
        self.server = _host_port(transport.get_extra_info("sockname"))
        if (tls := transport.get_extra_info("ssl_object")) is not None:
            self.scheme = "https"
            self.tls = {"tls": describe_tls(tls)}
            self.extensions |= self.tls
        self.service.connections.add(self)
        super().connection_made(transport)
        if self.service.draining:  # it was in the backlog when the listener stopped
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._closing = None
        self.service.lost(self)
        super().connection_lost(exc)
        self._wake_writers()

    async def start(self) -> None:
        """Nothing: aiohttp runs this as a task for each connection, see above."""

    def data_received(self, data: bytes) -> None:
        if self._close or self._force_close:
            return  # our last answer is given; what the parser had left would get another
        request = self._current_request
        if request is not None and not self._upgraded and cast("Any", request).payload.is_eof():
            self._hold_back(data)
            return
        super().data_received(data)
        self._is_behind = True
        if self._messages:
            if self._current_request is None:
                # The usual request has no body, and ends with the segment.
                self._is_behind = data.find(b"\r\n\r\n") + 4 != len(data) or self._messages[0][1] is not EMPTY_PAYLOAD
                self._next(data)
            elif not isinstance(self._messages[-1][0], RawRequestMessage):
                # The parser's error is queued behind the request that it is in, whose body would never end.
                cast("Any", self._current_request).malformed(_words(self._messages[-1][0].exc))

    def _hold_back(self, data: bytes) -> None:
        """What follows a request that is being served is not parsed yet."""
        self._pipelined += data
        if len(self._pipelined) > READ_AHEAD and not self._buffer_paused:
            self._pause_reading_for_buffer()

    def _parse_on(self) -> None:
        """The next request, which may have come with the one before, or while that was served."""
        data = b""
        super().data_received(data)  # what the parser has left of the last segment comes before what was held back
        if self._pipelined and not (self._messages and self._messages[0][1].is_eof()):
            data, self._pipelined = self._pipelined, b""
            if self._buffer_paused:
                self._resume_reading_for_buffer()
            super().data_received(data)
        if self._messages:
            self._next(data)

    def _next(self, data: bytes = b"") -> None:
        """Run the exchange of the next request. Called when there is one and none runs. ``data``: what it came in."""
        message, payload = self._messages.popleft()
        if not isinstance(message, RawRequestMessage):
            self._refuse(message.exc, data)
        elif self._parser is not None:
            if message.upgrade and payload.is_eof():
                super().data_received(b"")  # only now the parser says that what follows is another protocol's
            self._current_request = self._begin(message, payload, self)
            self._parser.message_consumed()

    def served(self, payload: StreamReader, *, keep: bool) -> None:
        """The request is answered: run the next, or wait for it, or close."""
        self._current_request = self._held = None
        if not keep or self._upgraded:  # after an upgrade that was declined it is unclear who speaks what
            self._close_after(payload)
            return
        if self._is_behind or self._pipelined:
            self._parse_on()
        if self._current_request is None:
            self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
            if self._keepalive_handle is None:
                self._keepalive_handle = self._loop.call_later(self._keepalive_timeout, self._process_keepalive)

    def may_leave(self, exchange: InFlight) -> bool:
        """Whether ``exchange``, which is answered, may go on beside the next. If not, it is freed when another ends."""
        if self._left < _LEFT:
            self._left += 1
            return True
        self._held = exchange
        return False

    def ended(self) -> None:
        """An exchange that went on has ended."""
        self._left -= 1
        if self._held is not None:
            self._held.free()

    def _process_keepalive(self) -> None:
        self._keepalive_handle = None
        left = self._next_keepalive_close_time - self._loop.time()
        if self._current_request is not None:
            return  # served() winds it up again
        if left > 0:
            self._keepalive_handle = self._loop.call_later(left, self._process_keepalive)
        else:
            self.force_close()

    def _refuse(self, error: BaseException, data: bytes) -> None:
        """Answer bytes that are no request: a few plain words, where aiohttp has a page and a logged traceback."""
        status = 400
        if isinstance(error, LineTooLong):
            status = 414 if error.args[1] == self.max_line_size else 431
        logger.info("%s: %s%s; answered %d", self.label, _words(error), describe_wrong_protocol(data, "HTTP"), status)
        self.say(plain(status, fields=self.service.fields))
        self.linger()

    def _close_after(self, payload: StreamReader) -> None:
        if payload.is_eof() and payload.exception() is None and not self._buffer_paused:
            self.force_close()
        else:
            self.linger()

    def linger(self) -> None:
        """Send FIN and throw away what the peer still sends, until it closes or LINGER is over."""
        if self.transport is None or not self.transport.can_write_eof():  # TLS can not
            self.force_close()
            return
        self._close = True  # data_received() drops everything from now on
        self.transport.write_eof()
        self._resume_transport_reading()
        self._loop.call_later(LINGER, self.abort)

    def write(self, data: bytes) -> None:
        """Write, or raise Disconnected where there is nobody any more.

        A transport that is closing (a write has failed, or reading) takes what is written, throws it away and never
        asks to wait.
        """
        transport = self.transport
        if transport is None or transport.is_closing():
            raise Disconnected("the peer is gone")
        transport.write(data)

    def say(self, data: bytes) -> None:
        """Write what nobody waits for, if there is somebody."""
        if self.connected:
            self.write(data)

    @property
    def connected(self) -> bool:
        transport = self.transport
        return transport is not None and not transport.is_closing()

    async def _drain_helper(self) -> None:
        """Wait until the peer has read enough; one that reads nothing for ``stall_timeout`` is cut off.

        In aiohttp's place: its own has no bound, and shares one future that a cancelled waiter cancels for the others.
        """
        while self.writing_paused and self.transport is not None:
            unread = self.transport.get_write_buffer_size()
            if not await self._drained() and self.connected and self.transport.get_write_buffer_size() >= unread:
                self._cut_off()
        if self.transport is None:
            raise Disconnected("the peer has left, or stopped reading")

    async def _drained(self) -> bool:
        """Whether within ``stall_timeout`` the peer has read enough, or has left."""
        writer = self._loop.create_future()
        self._writers.append(writer)
        timer = self._loop.call_later(self.service.settings.stall_timeout, _tell, writer, False)  # noqa: FBT003
        try:
            return bool(await writer)
        finally:
            timer.cancel()
            self._writers.remove(writer)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._wake_writers()

    def _wake_writers(self) -> None:
        for writer in self._writers:
            _tell(writer, True)  # noqa: FBT003

    def end_writing(self) -> None:
        """FIN, while we still read: a peer that waits for the end of the connection need not wait longer."""
        if self.transport is not None and self.transport.can_write_eof():
            self.transport.write_eof()

    def retire(self) -> None:
        """The server drains: close now if there is nothing in flight, else after it."""
        if self._current_request is None:
            self.force_close()

    def finish(self) -> None:
        """Send what is still in the buffer, and close."""
        self.force_close()

    def force_close(self) -> None:
        """As aiohttp's, with an end: closing waits for a peer that may never read what is still in the buffer."""
        if self.transport is not None and (unread := self.transport.get_write_buffer_size()):
            self._closing = self.transport
            self._loop.call_later(self.service.settings.stall_timeout, self._flush, unread)
        super().force_close()

    def _flush(self, unread: int) -> None:
        left = self._closing.get_write_buffer_size() if self._closing else 0
        if left >= unread:
            self._cut_off()
        elif left:
            self._loop.call_later(self.service.settings.stall_timeout, self._flush, left)

    def _cut_off(self) -> None:
        logger.info("%s: reads nothing; cut off", self.label)
        self.abort()

    def abort(self) -> None:
        """Cut the connection, so that what the peer has can not look complete."""
        transport = self.transport or self._closing
        super().force_close()
        if transport is not None:
            transport.abort()


def _host_port(address: Any) -> tuple[str, int | None] | None:
    """A socket address as ASGI has it; a Unix socket's path has no port, its peer usually not even a path."""
    if isinstance(address, tuple):
        return address[0], address[1]
    return (str(address), None) if address else None


def _words(error: BaseException) -> str:
    """What was wrong with the bytes, without a byte of them."""
    if type(error) is BadHttpMessage:
        return error.message.partition(":\n")[0].rstrip(".")
    return type(error).__name__


def _tell(writer: "asyncio.Future[bool]", drained: bool) -> None:
    if not writer.done():
        writer.set_result(drained)
