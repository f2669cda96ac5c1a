"""One connection: requests in, one exchange after the other, answers out; and its deadlines."""

import asyncio
import contextlib
import math
import socket
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

from protocols.asgi import HostPort
from protocols.errors import Disconnected
from protocols.http.access import label_of
from protocols.http.channel import Hold, Raw
from protocols.http.forwarded import Origin
from protocols.http.handshake import refusal_of
from protocols.http.head import plain
from protocols.http.parser import RequestParser
from protocols.http.request import Refusal, Request
from protocols.http.service import HTTPService, InFlight, Occupant, logger
from protocols.log_facts import about_peer
from protocols.net.endpoints import describe_tls, host_port
from protocols.net.hang_up import has_hung_up
from protocols.net.wrong_protocol import describe_wrong_protocol
from protocols.resources import moment

LINGER = 5.0
"""Seconds that we read and discard after our last answer, so that no reset overtakes it."""

HALF_CLOSED = 0.1
"""Seconds after a peer's FIN in which its answer may come before the application hears of it. Many close when they have
sent their request (nc -N, monitors, scripts); a FIN is also all that comes from one that has left."""

READ_AHEAD = 64 * 1024
"""Bytes of further requests that are read while one is served."""
_LEFT_CHECK = 2.0
"""Seconds, at most, until a peer is noticed that has left behind WebSocket messages that are not read yet."""
_LEFT = 100
"""Applications on one connection that may go on after their answers. Above it the next request waits for one to end."""
_TOGETHER = 64 * 1024
"""Bytes that wait at most for the end of a turn of the loop."""
_NEVER = math.inf

_NO_TLS: Mapping[str, Any] = {}
Runs = tuple[Callable[["HTTPConnection", Request], InFlight], Callable[["HTTPConnection", Request], InFlight]]
"""The runs of a request: by :attr:`Request.upgrades`, that of an answer and that of a WebSocket."""


class HTTPConnection(asyncio.Protocol):
    """Reads requests, runs their exchanges one after the other, and writes their answers.

    Nothing here is a task or a timer of a request: either would be a tenth of its cost or more. The exchange has the
    only task; the service compares :attr:`deadline` with the clock.
    """

    __slots__ = (
        "_closing",
        "_exchange",
        "_head_deadline",
        "_holds",
        "_is_deaf",
        "_is_half_closed",
        "_last",
        "_left",
        "_parser",
        "_peer_check",
        "_pipelined",
        "_raw",
        "_runs",
        "_unread",
        "_unsent",
        "_unsent_size",
        "_waiting",
        "_writers",
        "bytes_received",
        "bytes_sent",
        "client",
        "deadline",
        "extensions",
        "generation",
        "is_full",
        "label",
        "loop",
        "requests",
        "scheme",
        "server",
        "service",
        "since",
        "tls",
        "transport",
    )

    def __init__(self, service: HTTPService, runs: Runs) -> None:
        self.service = service
        self.loop = asyncio.get_running_loop()
        self._runs = runs
        settings = service.settings
        self._parser = RequestParser(self, settings.max_header, settings.max_header_fields, settings.max_head)
        self._exchange: Occupant | None = None
        """What is on the connection now."""
        self._last = False
        """Whether the next answer is the last one."""
        self._pipelined = b""
        """Bytes behind the request that is served."""
        self._raw: Raw | None = None
        self._is_deaf = False
        """Whether the last answer is given: what comes now is discarded."""
        self._is_half_closed = False
        """Whether the peer has sent FIN, and waits for answers."""
        self._holds = Hold.NOTHING
        self._peer_check: asyncio.TimerHandle | None = None
        self._left = 0
        self._waiting: InFlight | None = None
        """The exchange that the next request waits for, because too many others go on."""
        self._closing: asyncio.Transport | None = None
        """The transport that is closing and has not sent everything yet."""
        self._unread = 0
        """Bytes that it had to send at the last look."""
        self.transport: asyncio.Transport | None = None
        self.is_full = False
        """Whether the peer has not read enough of what was written."""
        self.deadline = _NEVER
        """When :meth:`expire` is due (the loop's clock)."""
        self._head_deadline = 0.0
        """The same for the head that came last in more than one piece."""
        self.label = service.name
        """The listener and the peer, for log lines."""
        self.client: HostPort | None = None
        self.server: tuple[str, int | None] | None = None
        self.scheme = "http"
        self.generation = service.generation
        """How many applications its server had when it began, or its WebSocket did."""
        self.since = moment()
        """When it began."""
        self.requests = 0
        """How many requests it has brought, if there is a limit."""
        self.bytes_received = 0
        self.bytes_sent = 0
        self.tls: Mapping[str, Any] = _NO_TLS
        """ASGI's tls extension, if the connection has TLS."""
        self.extensions = service.extensions.copy()
        self._unsent: list[bytes] = []
        """What is written at the end of this turn of the loop."""
        self._unsent_size = 0
        self._writers: list[asyncio.Future[bool]] = []
        """The waiters for a slow peer."""

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.client = host_port(transport.get_extra_info("peername"))
        self.label = label_of(self.service.name, self.client)
        self.server = _asgi_address(transport.get_extra_info("sockname"))
        if (tls := transport.get_extra_info("ssl_object")) is not None:
            self.scheme = "https"
            self.tls = {"tls": describe_tls(tls)}
            self.extensions |= self.tls
        with contextlib.suppress(OSError):  # a peer without power is noticed, though nothing is sent to it
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.service.made(self)
        self.wait(self.service.settings.keepalive_timeout)
        if self.service.draining:  # it was in the backlog when the listener stopped
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.transport = self._closing = None
        self._unsent = []
        self.deadline = _NEVER
        if self._peer_check is not None:
            self._peer_check.cancel()
        self._parser.close()
        self.service.lost(self)
        if self._exchange is not None:
            self._exchange.lost()
        self.wake_writers()

    def eof_received(self) -> bool:
        """Keep the connection of a peer that waits for an answer; else the loop closes it. TLS knows no half."""
        exchange = self._exchange
        if self.tls or exchange is None:
            return False
        if not (exchange.is_awaited or self._pipelined or self._parser.messages):
            self.force_close()  # the loop would wait without an end for a peer that reads nothing
            return False
        self._is_half_closed = True
        self._tell_soon()
        return True

    def _tell_soon(self) -> None:
        if self._peer_check is not None:
            self._peer_check.cancel()
        self._peer_check = self.loop.call_later(HALF_CLOSED, self._tell_half_closed)

    def _tell_half_closed(self) -> None:
        self._peer_check = None
        if self._exchange is not None:
            self._exchange.half_closed()

    def data_received(self, data: bytes) -> None:
        self.bytes_received += len(data)
        if self._is_deaf:
            return  # we have given our last answer, and must not answer what follows
        if self._exchange is None:
            self._read(data)
        elif self._raw is not None:
            self._raw.feed_data(data)
        elif self._pipelined or not self._exchange.awaits_body:
            self._hold_back(data)
        elif rest := self._parser.feed(data):
            self._hold_back(rest)

    def _read(self, data: bytes) -> None:
        """Parse ``data``, and serve the first request in it. No exchange is running."""
        if rest := self._parser.feed(data):
            self._hold_back(rest)
        if self._parser.messages:
            self._next(data)
        elif self.deadline != self._head_deadline:  # the first part of a head
            self._head_deadline = self.deadline = self.loop.time() + self.service.settings.head_timeout

    def _hold_back(self, data: bytes) -> None:
        """Keep the bytes after a request that is being served: they are parsed later."""
        self._pipelined += data
        if len(self._pipelined) > READ_AHEAD:
            self.hold(Hold.REQUESTS)
            self._check_peer_later()

    def _check_peer_later(self) -> None:
        if self._peer_check is None:
            stall_timeout = self.service.settings.stall_timeout
            seconds = min(stall_timeout, _LEFT_CHECK) if self._holds & Hold.INBOX else stall_timeout
            self._peer_check = self.loop.call_later(seconds, self._check_peer)

    def _check_peer(self) -> None:
        """Notice a peer that has left while reading is paused: its application may wait for that."""
        self._peer_check = None
        if self.transport is None or not self._holds & (Hold.BODY | Hold.REQUESTS | Hold.INBOX):
            return
        if not has_hung_up(self.transport):
            self._check_peer_later()
        elif self._holds & Hold.INBOX:
            self._read_rest()
        else:
            self.abort()

    def _read_rest(self) -> None:
        """Read what a peer that has left sent last. Nothing comes behind it, so it is no more than the kernel holds."""
        self._is_half_closed = True
        self.let(Hold.INBOX)

    def hold_inbox(self) -> None:
        """Stop reading, because the WebSocket's application does not take its messages."""
        if not self._is_half_closed:
            self.hold(Hold.INBOX)
            self._check_peer_later()

    def pause_writing(self) -> None:
        self.is_full = True

    def resume_writing(self) -> None:
        self.is_full = False
        self.wake_writers()

    # Requests.

    def _next(self, data: bytes = b"") -> None:
        """Run the exchange of the next request, which came in ``data``. No other exchange is running."""
        message = self._parser.messages.pop(0)
        self.deadline = _NEVER
        if isinstance(message, Refusal):
            self._refuse(message, data)
        elif message.length > self.service.settings.max_body:
            self._refuse(Refusal(413, "its body is longer than max_body"), request=message)
        elif message.upgrades and (refusal := refusal_of(message)) is not None:
            self._refuse(refusal, request=message)
        else:
            self._exchange = exchange = self._runs[message.upgrades](self, message)
            if (limits := self.service.limits) is None:
                exchange.begin()
            elif self.service.begin_within(limits, exchange, self):
                self._last = True
            if self._last:
                exchange.close_after()
            if self._pipelined and exchange.awaits_body:
                self._read_body_on()
            if self._is_half_closed:
                self._begin_last()

    def _begin_last(self) -> None:
        """Go on with a request whose peer has sent FIN: one that is not complete never will be."""
        if self._exchange is not None and self._exchange.awaits_body:
            self.force_close()
        else:
            self._tell_soon()

    def served(self, request: Request, *, keep: bool) -> None:
        """Go on after a request that is answered: run the next one, wait for it, or close."""
        self._exchange = self._waiting = None
        if not keep or self._last or self.transport is None:
            self._close_after(request)
        elif self._parser.messages:
            self._next()
        else:
            self.deadline = self.loop.time() + self.service.settings.keepalive_timeout
            if self._pipelined:
                self._read_on()
            if self._is_half_closed and self._exchange is None:
                self.force_close()

    def _read_on(self) -> None:
        """Parse what came while the last request was served."""
        data, self._pipelined = self._pipelined, b""
        self.let(Hold.REQUESTS)
        self._read(data)

    def _read_body_on(self) -> None:
        """Parse the rest of a body whose head came behind the last request, in the same bytes."""
        data, self._pipelined = self._pipelined, b""
        self.let(Hold.REQUESTS)
        if rest := self._parser.feed(data):
            self._hold_back(rest)

    def may_leave(self, exchange: InFlight) -> bool:
        """Whether ``exchange``, which is answered, may go on beside the next one. If not, it may once another ends."""
        if self._left < _LEFT:
            self._left += 1
            return True
        self._waiting = exchange
        return False

    def ended(self) -> None:
        """Note that an exchange that went on has ended."""
        self._left -= 1
        if self._waiting is not None:
            self._waiting.free()

    def become_raw(self, raw: Raw) -> None:
        """Pass all that the peer sends to ``raw``, because it speaks another protocol from now on."""
        self._raw = raw
        self._parser.close()
        data, self._pipelined = self._pipelined, b""
        self.let(Hold.REQUESTS)
        if data:
            raw.feed_data(data)

    # Deadlines.

    def wait(self, seconds: float) -> None:
        """Call :meth:`expire` in ``seconds``, or up to half a second later."""
        self.deadline = self.loop.time() + seconds

    def wait_no_more(self) -> None:
        """Wait for no body any more. The deadline of a connection that lingers or closes stays."""
        if not self._is_deaf:
            self.deadline = _NEVER

    def expire(self) -> None:
        """End what has taken too long: the wait for a request, for a body, or for a peer to read or to close."""
        expired, self.deadline = self.deadline, _NEVER
        if self._closing is not None:
            self._flush(self._closing)
        elif self._is_deaf:
            self.abort()
        elif self._exchange is not None:
            self._exchange.stalled()
        elif self._parser.in_head and expired != self._head_deadline:  # it came together with the request before
            self._head_deadline = self.deadline = self.loop.time() + self.service.settings.head_timeout
        elif self._parser.in_head:
            self._refuse(Refusal(408, "its head did not come within head_timeout"))
        else:
            self.force_close()

    def _refuse(self, refusal: Refusal, data: bytes = b"", request: Request | None = None) -> None:
        """Answer bytes that are no request that an application may get."""
        status = refusal.status
        client = self.client if request is None else self._client_of(request)
        label = self.label if client is self.client else label_of(self.service.name, client)
        told = about_peer("http", self.service.name, client, str(status))
        what = refusal.why, describe_wrong_protocol(data, "HTTP"), status
        logger.info("%s: %s%s; answered %d", label, *what, extra=told)
        self.service.refusals[str(status)] += 1
        self.say(plain(status, body=not refusal.is_head, fields=self.service.refusal_fields))
        if request is None:
            self.linger()  # where the next request begins is unknown
        else:
            self._close_after(request)

    def _client_of(self, request: Request) -> HostPort | None:
        """Return the client that a trusted proxy names; otherwise the peer."""
        if (proxies := self.service.proxies) is None:
            return self.client
        return proxies.origin(Origin(self.client, self.scheme, self.server, "", request.headers)).client

    def _close_after(self, request: Request) -> None:
        body = request.body
        is_read = body is None or (body.complete and not body.broken)
        may_send = self._last and request.keeps and not self.tls  # a close could be a reset that overtakes the answer
        if is_read and not (may_send or self._holds or self._is_deaf):
            self.force_close()
        else:
            self.linger()

    # Reading.

    def hold(self, reason: Hold) -> None:
        """Stop reading until every reason for that is gone."""
        before, self._holds = self._holds, self._holds | reason
        if not before and self.connected and not self._is_deaf:
            cast("asyncio.Transport", self.transport).pause_reading()

    def let(self, reason: Hold) -> None:
        """Read on, if ``reason`` was the last one not to."""
        before, self._holds = self._holds, self._holds & ~reason
        if before and not self._holds and self.connected and not self._is_deaf:
            cast("asyncio.Transport", self.transport).resume_reading()

    def hold_body(self) -> None:
        self.hold(Hold.BODY)
        self._check_peer_later()

    def let_body(self) -> None:
        self.let(Hold.BODY)

    def linger(self) -> None:
        """Send FIN, and discard whatever the peer still sends, until it closes or LINGER is over.

        Under TLS there is no FIN: what a peer sends after a close_notify is an error, and would reset the connection.
        """
        if self.transport is None or self._is_deaf:
            return
        if self._is_half_closed:  # nothing more comes
            self.force_close()
            return
        self._is_deaf = True
        self._parser.close()
        self._pipelined = b""
        self.end_writing()
        if self._holds and self.connected:
            self.transport.resume_reading()
        self.wait(LINGER)

    def write(self, data: bytes) -> None:
        """Write, or raise Disconnected if the peer is gone.

        A transport that is closing, because reading or writing failed, would discard the data without an error.
        """
        transport = self.transport
        if transport is None or transport.is_closing():
            raise Disconnected("the peer is gone")
        if self._unsent:
            self.flush()
        self.bytes_sent += len(data)
        transport.write(data)

    def write_soon(self, data: bytes) -> None:
        """Write at the end of this turn of the loop, together with what else comes until then: each write is a system
        call, which takes longer than all else of a short message. Raises Disconnected if the peer is gone."""
        if not self.connected:
            raise Disconnected("the peer is gone")
        if not self._unsent:
            self.service.flush_soon(self)
        self._unsent.append(data)
        self._unsent_size += len(data)
        if self._unsent_size > _TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Write what waits for the end of the turn."""
        unsent, self._unsent, self._unsent_size = self._unsent, [], 0
        if unsent and self.connected:
            self.write(unsent[0] if len(unsent) == 1 else b"".join(unsent))

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

    async def drain(self) -> None:
        """Wait until the peer has read enough; disconnect a peer that reads nothing for ``stall_timeout``."""
        while self.is_full and self.transport is not None:
            unread = self.transport.get_write_buffer_size()
            if not await self.woken() and self.connected and self.transport.get_write_buffer_size() >= unread:
                self.cut_off()
        if self.transport is None:
            raise Disconnected("the peer has left, or stopped reading")

    async def woken(self) -> bool:
        """Whether the peer has read enough, or has left, within ``stall_timeout``."""
        writer = self.loop.create_future()
        self._writers.append(writer)
        timer = self.loop.call_later(self.service.settings.stall_timeout, partial(_tell, writer, drained=False))
        try:
            return bool(await writer)
        finally:
            timer.cancel()
            self._writers.remove(writer)

    def wake_writers(self) -> None:
        """Let all that wait for the peer look again."""
        for writer in self._writers:
            _tell(writer, drained=True)

    def end_writing(self) -> None:
        """Send FIN, while we still read: a peer may be waiting for the end of the connection."""
        self.flush()
        if self.transport is not None and self.transport.can_write_eof():
            with contextlib.suppress(OSError):  # the peer has reset the connection, which the loop has yet to notice
                self.transport.write_eof()

    def doing(self) -> tuple[str, str]:
        """Return the protocol that its peer speaks now, and in a few words what it does."""
        exchange = self._exchange
        return ("http", "idle") if exchange is None else (exchange.noun, exchange.doing())

    def counts(self) -> dict[str, int]:
        """Return how many bytes have come and gone, and how many messages, if it is a WebSocket."""
        exchange = self._exchange
        messages = exchange.messages() if exchange is not None else {}
        return {**messages, "bytes_received": self.bytes_received, "bytes_sent": self.bytes_sent}

    @property
    def waits(self) -> bool:
        """Whether it waits for bytes of a request: of its head, or of its body."""
        exchange = self._exchange
        return self.connected and (exchange is None or exchange.awaits_body)

    def dismiss(self) -> None:
        """Close, because an operator wants that."""
        logger.info("%s: closed by an operator", self.label)
        exchange = self._exchange
        if exchange is None:
            self.force_close()
        else:
            exchange.dismiss()

    def is_carried(self) -> bool:
        """Whether what it has is another server's, which ends it."""
        exchange = self._exchange
        return exchange is not None and exchange.is_carried()

    def reconnect(self, grace: float) -> None:
        """Close a WebSocket; else let the answer that is under way be the last, or the next one: to close an idle
        connection would lose a request that is on its way. ``grace`` is not needed, because no answer is cut."""
        if self._exchange is None:
            self._last = True
        else:
            self._exchange.reconnect()

    def retire(self) -> None:
        """Close, because the server drains: now if there is nothing in flight, otherwise after it."""
        if self._exchange is None:
            self.force_close()

    def finish(self) -> None:
        """Send the rest of the buffer, and close."""
        self.force_close()

    def force_close(self) -> None:
        """Close once the peer has read the rest of the buffer, for which it has ``stall_timeout``."""
        self.flush()
        transport, self.transport = self.transport, None
        if transport is None:
            return
        self._is_deaf = True
        self.deadline = _NEVER
        if unread := transport.get_write_buffer_size():
            self._closing, self._unread = transport, unread
            self.wait(self.service.settings.stall_timeout)
        transport.close()

    def _flush(self, closing: asyncio.Transport) -> None:
        """Cut off a peer that has read nothing since the last look at it."""
        before, self._unread = self._unread, closing.get_write_buffer_size()
        if self._unread >= before:
            self.cut_off()
        elif self._unread:
            self.wait(self.service.settings.stall_timeout)

    def cut_off(self) -> None:
        """Abort the connection of a peer that reads nothing."""
        logger.info("%s: disconnected, it reads nothing", self.label)
        self.abort()

    def abort(self) -> None:
        """Abort the connection, so that the peer cannot take a truncated answer for a complete one."""
        transport = self.transport or self._closing
        self.transport = None
        self._is_deaf = True
        if transport is not None:
            transport.abort()


def _asgi_address(address: Any) -> tuple[str, int | None] | None:
    """The address of a server's socket in ASGI's form. The path of a Unix socket has no port."""
    if isinstance(address, tuple):
        return address[0], address[1]
    return (str(address), None) if address else None


def _tell(writer: "asyncio.Future[bool]", *, drained: bool) -> None:
    if not writer.done():
        writer.set_result(drained)
