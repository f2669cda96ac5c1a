"""One connection in HTTP/2: bytes to streams, and their frames to bytes. It runs on a connection that has left
HTTP/1.1, as a WebSocket does."""

import asyncio
import math
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import ClassVar

from protocols.errors import Disconnected
from protocols.http.channel import Hold
from protocols.http.connection import HTTPConnection
from protocols.http.handshake import version_refusal
from protocols.http.http2.allowance import Allowance, Flooded
from protocols.http.http2.fields import Malformed, check, read_request
from protocols.http.http2.gate import Gate
from protocols.http.http2.library import (
    DataReceived,
    ErrorCodes,
    Event,
    PingAckReceived,
    ProtocolError,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    goaway,
    server_core,
)
from protocols.http.http2.stream import Fields, Stream, StreamBody
from protocols.http.request import Refusal, Request
from protocols.http.service import InFlight, logger
from protocols.log_facts import about_peer

STREAMS = 100
"""Requests at a time on one connection. Each holds 64 KiB of its body, and of its answer, at most."""
_WINDOW = STREAMS * 64 * 1024
"""Bytes that the peer may send on all streams together: a slow application stops its own stream, and no other."""
_LIST_SIZE = 68 * 1024
"""Bytes of all header fields of a request that h2 takes at least: what is a little too long gets 431, and ends no
connection."""
_PER_FIELD = 32
"""Bytes that each field counts more (RFC 9113, 6.5.2)."""
_PSEUDO_FIELDS = 8
"""More than there are in a request."""
_FLUSH = 16 * 1024
"""Bytes that are sent at once. Whether the socket takes more is looked at after them."""
_SLICE = 8 * 1024
"""Bytes that are handled before a look at the clock."""
_TURN = 0.01
"""Seconds that they may take in one turn of the loop."""
_NEVER = math.inf
_LAST = 2**31 - 1
_NOTICE = b"shutdown"
"""What the PING has that asks whether the peer has read our GOAWAY."""
_PATIENCE = 5.0
"""Seconds for the peer to answer that."""

RunOn = Callable[[Stream, Request], InFlight]
"""Makes the exchange of a request on a stream."""


class OpenStreams(dict[int, Stream]):
    """The open streams, by number."""

    highest = 0
    """The highest number that one has had."""

    def take_more(self, number: int) -> bool:
        """Whether the peer may send on a stream, which h2 may have yet to hear of."""
        stream = self.get(number)
        return number > self.highest if stream is None else stream.has_input

    def is_open(self, number: int) -> bool:
        """Whether a stream has not come to its end, or h2 has yet to hear of it."""
        return number in self or number > self.highest

    def is_premature(self, number: int) -> bool:
        """Whether a reset of it now would mean that the peer has made us work for nothing."""
        stream = self.get(number)
        return stream is None or stream.is_premature


class Session:
    """HTTP/2 on one connection."""

    noun: ClassVar[str] = "http"
    ended = False

    def __init__(self, connection: HTTPConnection, run_on: RunOn) -> None:
        self.connection = connection
        self.streams = OpenStreams()
        self._last = _LAST
        """The last one that is served."""
        self._run_on = run_on
        settings = connection.service.settings
        size = max(_LIST_SIZE, settings.max_head + _PER_FIELD * (settings.max_header_fields + _PSEUDO_FIELDS))
        self.core = server_core(STREAMS, size)
        self.core.increment_flow_control_window(_WINDOW)
        self._allowance = Allowance(connection.loop.time)
        self._gate = Gate(self._allowance, self.streams, size)
        self._running = 0
        """Applications that have not ended. Their streams may have."""
        self._sending: deque[Stream] = deque()
        """Streams with something to send, the next one first."""
        self._is_due = False
        """Whether what there is to send is sent at the end of this turn of the loop."""
        self._is_receiving = False
        self._later = b""
        """What has come and waits for the next turn of the loop."""
        self._is_over = False
        """Whether the connection is closed, or closes at once."""
        self._close = connection.linger
        """What closes the connection after the last answer."""
        self._is_leaving = False
        """Whether the peer has our GOAWAY."""
        self._notice: asyncio.TimerHandle | None = None
        """Ends the wait for the answer to it."""

    def begin(self) -> None:
        """Send our settings, and wait for a first request."""
        self._flush()
        self._expect_request()

    # What the peer sends.

    def feed_data(self, data: bytes) -> None:
        if self._later:
            self._later += data
        else:
            self._receive(data)

    def _receive(self, data: bytes) -> None:
        """Handle ``data``, but leave what takes long for later: a header block of 1 KiB can take milliseconds."""
        until, at = monotonic() + _TURN, 0
        while at < len(data) and not self._is_over:
            self._take(data[at : at + _SLICE])
            at += _SLICE
            if at < len(data) and monotonic() > until and not self._is_over:
                self._later = data[at:]
                self.connection.hold(Hold.TURN)
                self.connection.loop.call_soon(self._go_on)
                break
        self._send()

    def _go_on(self) -> None:
        data, self._later = self._later, b""
        self.connection.let(Hold.TURN)
        self._receive(data)

    def _take(self, data: bytes) -> None:
        self._is_receiving = True
        try:
            for event in self.core.receive_data(self._gate.admit(data)):
                self._handle(event)
        except Flooded as flood:
            self._give_up(ErrorCodes.ENHANCE_YOUR_CALM, str(flood))
        except ProtocolError as error:  # h2's words quote what the peer has sent
            self._give_up(error.error_code, f"it breaks the rules of HTTP/2 ({type(error).__name__})")
        finally:
            self._is_receiving = False

    def _handle(self, event: Event) -> None:
        if (handle := self._HANDLERS.get(type(event))) is not None and not self._is_over:
            handle(self, event)

    def _request(self, event: RequestReceived) -> None:
        number = event.stream_id or 0
        stream = Stream(self, number)
        stream.has_input = has_body = event.stream_ended is None
        if not self.streams:
            self.connection.deadline = _NEVER
        self.streams[number] = stream
        self.streams.highest = number
        if number > self._last:
            self._refuse(stream, ErrorCodes.REFUSED_STREAM, "the connection is closing")
            return
        if self._running >= STREAMS:
            self._refuse(stream, ErrorCodes.REFUSED_STREAM, "too many of its requests are under way")
            return
        settings = self.connection.service.settings
        try:
            request = read_request(event.headers or [], settings=settings, has_body=has_body)
        except Malformed as error:
            self._refuse(stream, ErrorCodes.PROTOCOL_ERROR, str(error))
            return
        if isinstance(request, Request) and (refusal := self._refusal_of(request)) is not None:
            request = refusal
        if isinstance(request, Refusal):
            self._answer(stream, request)
        else:
            self._run(stream, request, has_body=has_body)

    def _refusal_of(self, request: Request) -> Refusal | None:
        if request.length > self.connection.service.settings.max_body:
            return Refusal(413, "its body is longer than max_body", is_head=request.method == "HEAD")
        if request.upgrades and (refusal := version_refusal(request)) is not None:
            return refusal._replace(status=400)  # 426 is of HTTP/1.1
        return None

    def _run(self, stream: Stream, request: Request, *, has_body: bool) -> None:
        if has_body and not request.upgrades:
            request.body = stream.body = StreamBody(stream)
        self._running += 1
        stream.length, stream.upgrades = request.length, request.upgrades
        stream.exchange = exchange = self._run_on(stream, request)
        service = self.connection.service
        if service.limits is None:
            exchange.begin()
        elif service.begin_within(service.limits, exchange, self.connection):
            self.retire()

    def _data(self, event: DataReceived) -> None:
        data, size = event.data or b"", event.flow_controlled_length or 0
        if not data and event.stream_ended is None:
            self._allowance.control()
        self._allowance.moved(len(data))
        stream = self.streams.get(event.stream_id or 0)
        if stream is not None:
            stream.received(data, size)
        elif size:
            self.acknowledge(event.stream_id or 0, size)

    def _trailers(self, event: TrailersReceived) -> None:
        """Check fields behind a body. ASGI has no place for them."""
        stream = self.streams.get(event.stream_id or 0)
        try:
            for name, value in event.headers or []:
                check(name, value)
        except Malformed as error:
            if stream is not None:
                self._refuse(stream, ErrorCodes.PROTOCOL_ERROR, str(error))

    def _ended(self, event: StreamEnded) -> None:
        stream = self.streams.get(event.stream_id or 0)
        if stream is None:
            return
        if stream.length not in (0, stream.arrived):
            self._refuse(stream, ErrorCodes.PROTOCOL_ERROR, "its body is not as long as its Content-Length")
        else:
            stream.input_ended()

    def _reset(self, event: StreamReset) -> None:
        if not event.remote_reset:
            self._allowance.reset()  # h2 has answered a mistake of the peer
        if (stream := self.streams.get(event.stream_id or 0)) is not None:
            stream.lose()

    def _settings(self, event: RemoteSettingsChanged) -> None:
        self.core.bound_table()

    def _pong(self, event: PingAckReceived) -> None:
        if event.ping_data == _NOTICE and self._is_leaving:
            self._leave_for_good()

    def _refuse(self, stream: Stream, code: ErrorCodes, why: str) -> None:
        """Reset a stream that no application gets, or that it gets no more of."""
        self._note(code.name, f"{why}; reset with {code.name}")
        stream.abort(code)
        self._allowance.reset()

    def _answer(self, stream: Stream, refusal: Refusal) -> None:
        self._note(str(refusal.status), f"{refusal.why}; answered {refusal.status}")
        service = self.connection.service
        stream.answer(refusal.status, service.refusal_fields, is_head=refusal.is_head)
        stream.finish()

    def _note(self, verdict: str, why: str) -> None:
        connection = self.connection
        told = about_peer("http", connection.service.name, connection.client, verdict)
        logger.info("%s: %s", connection.label, why, extra=told)
        connection.service.refusals[verdict] += 1

    def acknowledge(self, number: int, size: int) -> None:
        """Let the peer send ``size`` bytes more on a stream, which may have ended, and on the connection."""
        if not self._is_over:
            self.core.acknowledge_received_data(size, number)
            self._soon()

    # What is sent.

    def send_fields(self, number: int, fields: Fields, *, ends: bool) -> None:
        """Send header fields. Raises Disconnected."""
        if self._is_over:
            raise Disconnected("the peer is gone")
        try:
            self.core.send_headers(number, fields, end_stream=ends)
        except ProtocolError:
            raise Disconnected("the peer is gone") from None
        self._soon()

    def sends(self, stream: Stream) -> None:
        """Note that ``stream`` has something to send."""
        if not stream.is_queued:
            stream.is_queued = True
            self._sending.append(stream)
        self._soon()

    def reset(self, number: int, code: ErrorCodes) -> None:
        if not self._is_over:
            try:
                self.core.reset_stream(number, code)
            except ProtocolError:
                return  # the peer was first
            self._soon()

    def _soon(self) -> None:
        if not self._is_due and not self._is_receiving:
            self._is_due = True
            self.connection.loop.call_soon(self._send)

    def _send(self) -> None:
        """Send what the peer takes: of each stream a frame, in turn, as long as its windows and the socket are open."""
        self._is_due = False
        blocked: list[Stream] = []
        unflushed = 0
        while self._sending and not self.connection.is_full and not self._is_over:
            stream = self._sending.popleft()
            sent = self._send_some(stream) if stream.is_sending else 0
            stream.is_queued = stream.is_sending
            if stream.is_queued:
                (self._sending if sent else blocked).append(stream)
            unflushed += sent
            if unflushed > _FLUSH:
                unflushed = 0
                self._flush()
        self._sending.extend(blocked)
        self._flush()
        self._end_if_over()

    def _send_some(self, stream: Stream) -> int:
        try:
            window = self.core.local_flow_control_window(stream.number)
            sent = stream.send_some(min(window, self.core.max_outbound_frame_size))
        except ProtocolError:  # the peer has ended it
            stream.lose()
            return 0
        self._allowance.moved(sent)
        return sent

    def _flush(self) -> None:
        if data := self.core.data_to_send():
            self.connection.say(data)

    def resume(self) -> None:
        """Go on, because the peer has read enough."""
        self._send()

    # Streams.

    def answered(self) -> None:
        """Note that a request is answered completely."""
        self._allowance.answers += 1
        if self.connection.service.draining:
            self.retire()

    def left(self, stream: Stream) -> None:
        """Note that the application of ``stream`` has ended."""
        self._running -= 1
        self._soon()

    def closed(self, stream: Stream) -> None:
        self.streams.pop(stream.number, None)
        if stream.unread:
            self.acknowledge(stream.number, stream.unread)
        if not self.streams:
            self._expect_request()
            self._soon()

    # Its end.

    def retire(self) -> None:
        """Ask the peer for no more requests on this connection. Those that are on their way are still served."""
        if not self._is_leaving and not self._is_over:
            self._is_leaving = True
            self._flush()
            self.connection.say(goaway(_LAST))
            self.core.ping(_NOTICE)
            self._notice = self.connection.loop.call_later(_PATIENCE, self._leave_for_good)
            self._send()

    def _leave_for_good(self) -> None:
        """Say which request was the last one, and close when it is answered."""
        self._stop_waiting()
        if not self._is_over:
            self._last = min(self._last, self.streams.highest)  # it never grows (RFC 9113, 6.8)
            self._is_leaving = self._gate.is_leaving = True
            self._flush()
            self.connection.say(goaway(self._last))
            self._end_if_over()

    def _stop_waiting(self) -> None:
        if self._notice is not None:
            self._notice.cancel()
            self._notice = None

    def _end_if_over(self) -> None:
        if self._gate.is_leaving and not self.streams and not self._is_over:
            self._is_over = True
            self._close()

    def finish(self) -> None:
        """Say which request was the last one, send what is left of the answers, and close at once after that."""
        self._close = self.connection.force_close
        self._send()
        self._leave_for_good()
        if self._is_over:
            self._close()

    def _end(self) -> None:
        self._is_over = True
        self._stop_waiting()
        self._sending.clear()
        for stream in list(self.streams.values()):
            stream.lose()

    def _give_up(self, code: int, why: str) -> None:
        """Close because of what the peer does."""
        name = ErrorCodes(code).name
        self._note(name, f"{why}; closed with {name}")
        if not self.core.is_closed:
            self.core.close_connection(code)
        self._flush()
        self._end()
        self.connection.linger()

    def lost(self) -> None:
        """Note that the connection is lost."""
        self._end()

    # What its connection asks.

    def _expect_request(self) -> None:
        if not self._is_over:
            self.connection.wait(self.connection.service.settings.keepalive_timeout)

    def expect(self, deadline: float) -> None:
        """Let the connection look at the deadlines of streams at ``deadline``."""
        self.connection.deadline = min(self.connection.deadline, deadline)

    def stalled(self) -> None:
        """End what has taken too long: streams, or the wait for one."""
        if not self.streams:
            self._leave_for_good()
            return
        now = self.connection.loop.time()
        for stream in [each for each in self.streams.values() if each.deadline <= now]:
            stream.expire()
        if self.streams:
            self.expect(min(each.deadline for each in self.streams.values()))

    @property
    def awaits_body(self) -> bool:
        """Whether it waits for a request."""
        return not self.streams

    @property
    def is_awaited(self) -> bool:
        """Whether its peer may close its half: a client of HTTP/2 acknowledges and answers to the end."""
        return False

    def half_closed(self) -> None:
        """Never called: see :attr:`is_awaited`."""

    def doing(self) -> str:
        """Say in a few words what is on the connection."""
        running = [each.doing() for each in self._exchanges()]
        if not running:
            return "idle"
        return running[0] if len(running) == 1 else f"{running[0]}, and {len(running) - 1} more"

    def messages(self) -> dict[str, int]:
        return {}

    def dismiss(self) -> None:
        """Close, because an operator wants that."""
        for exchange in self._exchanges():
            exchange.dismiss()
        self._leave_for_good()

    def close_after(self) -> None:
        self.retire()

    def reconnect(self) -> None:
        """Let the client connect again, once what is under way has ended."""
        self.retire()
        for exchange in self._exchanges():
            if not exchange.is_carried():
                exchange.reconnect()

    def is_carried(self) -> bool:
        exchanges = self._exchanges()
        return bool(exchanges) and all(each.is_carried() for each in exchanges)

    def _exchanges(self) -> list[InFlight]:
        return [each.exchange for each in self.streams.values() if each.exchange is not None]

    _HANDLERS: ClassVar[dict[type, Callable[..., None]]] = {
        RequestReceived: _request,
        DataReceived: _data,
        TrailersReceived: _trailers,
        StreamEnded: _ended,
        StreamReset: _reset,
        RemoteSettingsChanged: _settings,
        PingAckReceived: _pong,
    }
