"""One connection: aiohttp's ``RequestHandler`` with our own loop of requests, error answers and stall timeouts."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

from protocols.asgi import HostPort
from protocols.errors import Disconnected
from protocols.http.head import plain
from protocols.http.library import (
    EMPTY_PAYLOAD,
    BadHttpMessage,
    HttpRequestParser,
    LineTooLong,
    Manager,
    RawRequestMessage,
    RequestHandler,
    RequestPayloadError,
    StreamReader,
)
from protocols.http.service import HTTPService, InFlight, logger
from protocols.log_facts import about_peer
from protocols.net.endpoints import describe_tls
from protocols.net.hang_up import has_hung_up
from protocols.net.wrong_protocol import describe_wrong_protocol
from protocols.resources import moment

LINGER = 5.0
"""Seconds that we read and discard after our last answer, so that no reset overtakes it."""

READ_AHEAD = 64 * 1024
"""Bytes of further requests that are read while one is served."""
_LEFT = 100
"""Applications on one connection that may go on after their answers. Above it the next request waits for one to end."""

_NO_TLS: Mapping[str, Any] = {}
Begin = Callable[[RawRequestMessage, StreamReader, "HTTPConnection"], Any]
"""Makes the exchange of a request and starts it."""


class HTTPConnection(RequestHandler):
    """Reads requests by aiohttp's parser, runs their exchanges one after the other, and writes their answers.

    aiohttp's own loop of requests, :meth:`start`, is a task that makes another task for each request. Here the exchange
    has the only task, which saves a fifth of the time of a short request.
    """

    __slots__ = (
        "_begin",
        "_closing",
        "_held",
        "_is_behind",
        "_left",
        "_peer_check",
        "_pipelined",
        "_writers",
        "bytes_received",
        "bytes_sent",
        "client",
        "extensions",
        "generation",
        "label",
        "loop",
        "scheme",
        "server",
        "service",
        "since",
        "tls",
    )

    def __init__(self, service: HTTPService, manager: Manager, begin: Begin) -> None:
        settings = service.settings
        super().__init__(
            manager,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=settings.keepalive_timeout,
            access_log=None,  # type: ignore[arg-type]  # None switches it off; the exchange writes our own
            max_line_size=settings.max_header,
        )
        self.service = service
        self._begin = begin
        # One message at a time: otherwise an error behind a request in the same segment would discard the request.
        self._parser = HttpRequestParser(
            self,
            self._loop,
            self._read_bufsize,
            max_line_size=settings.max_header,
            max_field_size=settings.max_header + 1,  # one more, so that _refuse() can tell which of them was too long
            payload_exception=RequestPayloadError,
            auto_decompress=False,
            max_msg_queue_size=1,
        )
        self._pipelined = b""
        self._peer_check: asyncio.TimerHandle | None = None
        self._is_behind = True
        """Whether the parser may have begun with the bytes after the request."""
        self._left = 0
        self._held: InFlight | None = None
        """The exchange that the next request waits for, because too many others go on."""
        self._closing: asyncio.Transport | None = None
        """The transport that is closing and has not sent everything yet."""
        self.label = service.name
        """The listener and the peer, for log lines."""
        self.loop = self._loop
        self.client: HostPort | None = None
        self.server: tuple[str, int | None] | None = None
        self.scheme = "http"
        self.generation = service.generation
        """How many applications its server had when it began, or its WebSocket did."""
        self.since = moment()
        """When it began."""
        self.bytes_received = 0
        self.bytes_sent = 0
        self.tls: Mapping[str, Any] = _NO_TLS
        """ASGI's tls extension, if the connection has TLS."""
        self.extensions = service.extensions.copy()
        self._writers: list[asyncio.Future[bool]] = []
        """The waiters for a slow peer."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        client = _asgi_address(transport.get_extra_info("peername"))
        self.label = f"{self.service.name} {client[0]}:{client[1]}" if client else self.service.name
        self.client = cast("HostPort | None", client)  # a Unix socket's path has no port
        self.server = _asgi_address(transport.get_extra_info("sockname"))
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
        if self._peer_check is not None:
            self._peer_check.cancel()
        self.service.lost(self)
        super().connection_lost(exc)
        self._wake_writers()

    async def start(self) -> None:
        """Do nothing. aiohttp runs this as a task for each connection."""

    def data_received(self, data: bytes) -> None:
        self.bytes_received += len(data)
        if self._close or self._force_close:
            return  # we have given our last answer, and must not answer the parser's rest
        request = self._current_request
        if request is not None and not self._upgraded and cast("Any", request).payload.is_eof():
            self._hold_back(data)
            return
        super().data_received(data)
        self._is_behind = True
        if self._messages:
            if self._current_request is None:
                # The usual request has no body and ends with the segment.
                self._is_behind = data.find(b"\r\n\r\n") + 4 != len(data) or self._messages[0][1] is not EMPTY_PAYLOAD
                self._next(data)
            elif not isinstance(self._messages[-1][0], RawRequestMessage):
                # The parser queues its error behind the request with the error, whose body would never end.
                cast("Any", self._current_request).malformed(_words(self._messages[-1][0].exc))

    def _hold_back(self, data: bytes) -> None:
        """Keep the bytes after a request that is being served: they are parsed later."""
        self._pipelined += data
        if len(self._pipelined) > READ_AHEAD and not self._buffer_paused:
            self._pause_reading_for_buffer()

    def _pause_reading_for_buffer(self) -> None:
        super()._pause_reading_for_buffer()
        self._check_peer_later()

    def _check_peer_later(self) -> None:
        if self._peer_check is None:
            self._peer_check = self._loop.call_later(self.service.settings.stall_timeout, self._check_peer)

    def _check_peer(self) -> None:
        """Abort the connection of a peer that has left while reading is paused: its application may wait for that."""
        self._peer_check = None
        if self.transport is None or not self._buffer_paused:
            return
        if has_hung_up(self.transport):
            self.abort()
        else:
            self._check_peer_later()

    def _parse_on(self) -> None:
        """Parse the next request, which may have come with the previous one, or while that was served."""
        data = b""
        super().data_received(data)  # the parser's rest of the last segment comes before what was held back
        if self._pipelined and not (self._messages and self._messages[0][1].is_eof()):
            data, self._pipelined = self._pipelined, b""
            if self._buffer_paused:
                self._resume_reading_for_buffer()
            super().data_received(data)
        if self._messages:
            self._next(data)

    def _next(self, data: bytes = b"") -> None:
        """Run the exchange of the next request, which came in ``data``. No other exchange is running."""
        message, payload = self._messages.popleft()
        if not isinstance(message, RawRequestMessage):
            self._refuse(message.exc, data)
        elif self._parser is not None:
            if message.upgrade and payload.is_eof():
                super().data_received(b"")  # only now does the parser say that another protocol follows
            self._current_request = self._begin(message, payload, self)
            self._parser.message_consumed()

    def served(self, payload: StreamReader, *, keep: bool) -> None:
        """Go on after a request that is answered: run the next one, wait for it, or close."""
        self._current_request = self._held = None
        if not keep or self._upgraded:  # after a declined upgrade it is unclear which protocol the peer speaks
            self._close_after(payload)
            return
        if self._is_behind or self._pipelined:
            self._parse_on()
        if self._current_request is None:
            self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
            if self._keepalive_handle is None:
                self._keepalive_handle = self._loop.call_later(self._keepalive_timeout, self._process_keepalive)

    def may_leave(self, exchange: InFlight) -> bool:
        """Whether ``exchange``, which is answered, may go on beside the next one. If not, it may once another ends."""
        if self._left < _LEFT:
            self._left += 1
            return True
        self._held = exchange
        return False

    def ended(self) -> None:
        """Note that an exchange that went on has ended."""
        self._left -= 1
        if self._held is not None:
            self._held.free()

    def _process_keepalive(self) -> None:
        self._keepalive_handle = None
        left = self._next_keepalive_close_time - self._loop.time()
        if self._current_request is not None:
            return  # served() starts the timer again
        if left > 0:
            self._keepalive_handle = self._loop.call_later(left, self._process_keepalive)
        else:
            self.force_close()

    def _refuse(self, error: BaseException, data: bytes) -> None:
        """Answer bytes that are not a request, in plain text; aiohttp would send a page and log a traceback."""
        status = 400
        if isinstance(error, LineTooLong):
            status = 414 if error.args[1] == self.max_line_size else 431
        told = about_peer("http", self.service.name, self.client, str(status))
        what = _words(error), describe_wrong_protocol(data, "HTTP"), status
        logger.info("%s: %s%s; answered %d", self.label, *what, extra=told)
        self.service.refusals[str(status)] += 1
        self.say(plain(status, fields=self.service.refusal_fields))
        self.linger()

    def _close_after(self, payload: StreamReader) -> None:
        if payload.is_eof() and payload.exception() is None and not self._buffer_paused:
            self.force_close()
        else:
            self.linger()

    def linger(self) -> None:
        """Send FIN, and discard whatever the peer still sends, until it closes or LINGER is over.

        Under TLS there is no FIN: what a peer sends after a close_notify is an error, and would reset the connection.
        """
        self._close = True  # data_received() drops everything from now on
        self.end_writing()
        self._resume_transport_reading()
        self._loop.call_later(LINGER, self.abort)

    def write(self, data: bytes) -> None:
        """Write, or raise Disconnected if the peer is gone.

        A transport that is closing, because reading or writing failed, would discard the data without an error.
        """
        transport = self.transport
        if transport is None or transport.is_closing():
            raise Disconnected("the peer is gone")
        self.bytes_sent += len(data)
        transport.write(data)

    def say(self, data: bytes) -> None:
        """Write, unless the peer is gone."""
        if self.connected:
            self.write(data)

    def is_closing(self) -> bool:
        """Whether nothing can be written: for aiohttp's writer of frames, to which this is the transport."""
        return not self.connected

    @property
    def connected(self) -> bool:
        transport = self.transport
        return transport is not None and not transport.is_closing()

    async def _drain_helper(self) -> None:
        """Wait until the peer has read enough; disconnect a peer that reads nothing for ``stall_timeout``.

        This replaces aiohttp's own, which has no time limit, and one future that a cancelled waiter cancels for all.
        """
        while self.writing_paused and self.transport is not None:
            unread = self.transport.get_write_buffer_size()
            if not await self._drained() and self.connected and self.transport.get_write_buffer_size() >= unread:
                self._cut_off()
        if self.transport is None:
            raise Disconnected("the peer has left, or stopped reading")

    async def _drained(self) -> bool:
        """Whether the peer has read enough, or has left, within ``stall_timeout``."""
        writer = self._loop.create_future()
        self._writers.append(writer)
        timer = self._loop.call_later(self.service.settings.stall_timeout, partial(_tell, writer, drained=False))
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
            _tell(writer, drained=True)

    def end_writing(self) -> None:
        """Send FIN, while we still read: a peer may be waiting for the end of the connection."""
        if self.transport is not None and self.transport.can_write_eof():
            with contextlib.suppress(OSError):  # the peer has reset the connection, which the loop has yet to notice
                self.transport.write_eof()

    def doing(self) -> tuple[str, str]:
        """Return the protocol that its peer speaks now, and in a few words what it does."""
        exchange = cast("InFlight | None", self._current_request)
        return ("http", "idle") if exchange is None else (exchange.noun, exchange.doing())

    def counts(self) -> dict[str, int]:
        """Return how many bytes have come and gone, and how many messages, if it is a WebSocket."""
        exchange = cast("InFlight | None", self._current_request)
        messages = exchange.messages() if exchange is not None else {}
        return {**messages, "bytes_received": self.bytes_received, "bytes_sent": self.bytes_sent}

    @property
    def waits(self) -> bool:
        """Whether it waits for bytes of a request: of its head, or of its body."""
        exchange = cast("InFlight | None", self._current_request)
        return self.connected and (exchange is None or exchange.awaits_body)

    def dismiss(self) -> None:
        """Close, because an operator wants that."""
        logger.info("%s: closed by an operator", self.label)
        exchange = cast("InFlight | None", self._current_request)
        if exchange is None:
            self.force_close()
        else:
            exchange.dismiss()

    def is_carried(self) -> bool:
        """Whether what it has is another server's, which ends it."""
        exchange = cast("InFlight | None", self._current_request)
        return exchange is not None and exchange.is_carried()

    def reconnect(self, grace: float) -> None:
        """Close a WebSocket; else let the answer that is under way be the last, or the next one: to close an idle
        connection would lose a request that is on its way. ``grace`` is not needed, because no answer is cut."""
        exchange = cast("InFlight | None", self._current_request)
        if exchange is None:
            self._begin = _closing_after(self._begin)
        else:
            exchange.reconnect()

    def retire(self) -> None:
        """Close, because the server drains: now if there is nothing in flight, otherwise after it."""
        if self._current_request is None:
            self.force_close()

    def finish(self) -> None:
        """Send the rest of the buffer, and close."""
        self.force_close()

    def force_close(self) -> None:
        """Close, within a time limit: aiohttp's would wait for a peer that never reads the rest of the buffer."""
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
        logger.info("%s: disconnected, it reads nothing", self.label)
        self.abort()

    def abort(self) -> None:
        """Abort the connection, so that the peer cannot take a truncated answer for a complete one."""
        transport = self.transport or self._closing
        super().force_close()
        if transport is not None:
            transport.abort()


def _closing_after(begin: Begin) -> Begin:
    def begin_last(message: RawRequestMessage, payload: StreamReader, connection: HTTPConnection) -> Any:
        exchange = begin(message, payload, connection)
        exchange.close_after()
        return exchange

    return begin_last


def _asgi_address(address: Any) -> tuple[str, int | None] | None:
    """A socket address in ASGI's form. The path of a Unix socket has no port; its peer usually has no path either."""
    if isinstance(address, tuple):
        return address[0], address[1]
    return (str(address), None) if address else None


def _words(error: BaseException) -> str:
    """Say what is wrong with the bytes, without quoting them."""
    if type(error) is BadHttpMessage:
        return error.message.partition(":\n")[0].rstrip(".")
    return type(error).__name__


def _tell(writer: "asyncio.Future[bool]", *, drained: bool) -> None:
    if not writer.done():
        writer.set_result(drained)
