"""One WebSocket, which is one ``websocket`` scope.

It begins as an HTTP exchange, whose answer may be 101. Each message goes into the run's queue; pings are answered, and
a close is noticed, however slow the application is.
"""

import asyncio
import logging
from collections.abc import Awaitable
from functools import partial
from typing import Any, cast

from protocols.app_run import AppRun
from protocols.asgi import Carrier, HTTPScope, WebSocketDisconnectEvent, WebSocketScope
from protocols.errors import Disconnected, RemoteProtocolError
from protocols.events import Event, as_bytes, utf8
from protocols.http import events
from protocols.http.channel import Channel, Hold
from protocols.http.compressor import Compressor
from protocols.http.deflate import Deflater, Inflater, agree
from protocols.http.exchange import Exchange
from protocols.http.frames import (
    BINARY,
    CLOSE,
    COMPRESSED,
    PING,
    PONG,
    TEXT,
    FrameReader,
    frame,
    head,
    inflated,
)
from protocols.http.handshake import accept_key
from protocols.http.head import encode
from protocols.http.request import Request
from protocols.http.scope import websocket_scope
from protocols.http.settings import HTTPSettings
from protocols.log_facts import about_peer

logger = logging.getLogger(__name__)

CLOSE_TIMEOUT = 5.0
"""Seconds for a peer to answer our close frame."""
GOODBYE_TIMEOUT = 1.0
"""Seconds for a peer to answer our close frame when the server stops."""
_LARGE = 64 * 1024
"""A message longer than this pauses reading until the application has taken it."""
_COPIED = 128 * 1024
"""Bytes of a message that are copied behind the head of their frame. Longer ones are written by themselves."""
_SIDELINE = 100
"""Frames that are no message, pings above all, which are handled in one turn of the loop."""
_GOODBYE = 1012, "server shutting down"
"""The client is to connect again: another process may be there already (IANA's registry: Service Restart)."""


class WebSocket(Exchange):
    """A WebSocket, from its opening handshake to the end of its connection."""

    noun = "websocket"
    is_connection = True
    limit = 32
    sends = events.WEBSOCKET

    def _announce_trailers(self) -> None:
        """A denial has none."""

    websocket_http_response_start = Exchange.http_response_start
    websocket_http_response_body = Exchange.http_response_body
    receive = AppRun.receive

    def __init__(self, connection: Channel, request: Request) -> None:
        super().__init__(connection, request)
        self.busy = None
        settings = self.service.settings
        loop = asyncio.get_running_loop()
        self._keeps = self._unread = False
        self._accepted = False
        self._messages_received = self._messages_sent = 0
        self._reconnects = False
        connection.generation = self.service.generation
        self._code, self._reason = 1006, ""
        self._silent = False
        self._sideline = 0
        """Frames without a message since the last pause."""
        self._broken = False
        """Whether the peer has sent what cannot be read. Nothing is read after it."""
        self._inflating = False
        """Whether a thread inflates a message."""
        self._is_lost = False
        """Whether the connection is lost, and the application has yet to receive what came before that."""
        self._lost: asyncio.Future[None] = loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._extension = ""
        self._compressor: Compressor | None = None
        self._inflater: Inflater | None = None
        if settings.compression:
            self._compress(settings)
        self._reader = FrameReader(settings.max_message, inflates=self._inflater is not None)

    def _compress(self, settings: HTTPSettings) -> None:
        """Accept an offer of compression, if the peer makes one that can be kept."""
        offers = [value for name, value in self.request.headers if name == b"sec-websocket-extensions"]
        takes_over = settings.compression_context_takeover
        if (agreed := agree(offers, settings.compression_window_bits, takes_over=takes_over)) is not None:
            self._extension = agreed.answer
            deflater = Deflater(agreed.server_bits, takes_over=agreed.server_takes_over)
            self._compressor = Compressor(deflater, self._write_frame, self.connection)
            self._inflater = Inflater(agreed.client_bits, settings.max_message, takes_over=agreed.client_takes_over)

    # The run.

    async def run(self) -> BaseException | None:
        """Run the application, then close the WebSocket (1011 after a crash) and wait for the peer's close."""
        self.feed({"type": "websocket.connect"})
        self.service.uncounted += 1
        try:
            error = await super().run()
            if self._accepted:
                if not self._complete and self.reachable():
                    self._close(1011 if error else 1000, "")
                await self._lost
        finally:
            self.service.uncounted -= 1
        return error

    def final_result(self) -> str | int:
        """Return the status of a handshake that was refused."""
        if self._accepted:
            return "failed" if self.error is not None else "accepted"
        return self.status or super().final_result()

    def unanswered(self, error: BaseException | None) -> None:
        if not self._accepted:
            super().unanswered(error)

    def cut(self, status: int) -> None:
        if not self._accepted:
            super().cut(status)
        elif not self._lost.done():
            self.connection.abort()

    def doing(self) -> str:
        scope: Any = self.scope
        return f"{'' if self._accepted else 'asks for '}{scope['path']}"

    def messages(self) -> dict[str, int]:
        return {"messages_received": self._messages_received, "messages_sent": self._messages_sent}

    def dismiss(self) -> None:
        """Close with 1008, because an operator wants that."""
        if self._accepted and not self._complete and self.reachable():
            self._close(1008, "closed by an operator")
            self._leave_told()
        else:
            self.connection.abort()

    def goodbye(self) -> None:
        """Close with 1012, because the server drains. During the handshake, that follows at its end."""
        if self._accepted and not self._complete and self.reachable():
            self._close(*_GOODBYE)
            self._leave_told()
        if self._accepted and self._complete:  # by either side, perhaps long ago
            self._abort_in(GOODBYE_TIMEOUT)

    def reconnect(self) -> None:
        """Close with 1012, because the client is to connect again. During the handshake, that follows at its end."""
        self._reconnects = True
        if self._accepted and not self._complete and self.reachable():
            self._close(1012, "connect again")
            self._leave_told()

    def is_carried(self) -> bool:
        app: object = self.app
        return isinstance(app, Carrier) and bool(app.carried(self.scope))

    def warn(self) -> None:
        """Give an application that has not accepted yet 1012, too, before it is cancelled."""
        if not self._accepted:
            self._code, self._reason = _GOODBYE
            super().warn()

    @property
    def is_awaited(self) -> bool:
        """A WebSocket has no half that is closed (RFC 6455, 7.1.1)."""
        return False

    def half_closed(self) -> None:
        """End it, because its peer has sent FIN behind frames that came before the handshake was accepted."""
        self.connection.finish()

    passes_over = AppRun.passes_over

    def is_to_hear(self, event: Event) -> bool:
        """Return True: websocket scopes are of ASGI 2.4."""
        return True

    def _over(self) -> None:
        self._complete = True
        self._goto("over")
        self.feed(self._farewell())
        self._watch(self._received)  # that was its last event; it must not wait for another one for ever

    def lost(self) -> None:
        """Note that the connection is lost. The application still receives the messages that have come before that."""
        self._stop_timer()
        if not self._lost.done():
            self._lost.set_result(None)
        if self._paused and not (self._complete or self._broken or self.gone):
            self._is_lost = True
            self._announce(self._farewell())
            self._watch(self._received)
        else:
            super().lost()

    def _farewell(self) -> WebSocketDisconnectEvent:
        return {"type": "websocket.disconnect", "code": self._code, "reason": self._reason}

    # What the application sends.

    def websocket_accept(self, event: Event) -> None:
        subprotocol = event.get("subprotocol")
        own = [(b"sec-websocket-protocol", utf8(event, "subprotocol"))] if subprotocol else []
        if self._extension:
            own.append((b"sec-websocket-extensions", self._extension.encode()))
        fields, _, _, dated = encode([*own, *(event.get("headers") or ())])
        self._write_acceptance(fields + (self.service.fields if dated else self.service.dated))
        self._accepted = self._begun = True
        self.connection.become_raw(self)
        if self.service.draining:
            self.goodbye()
        elif self._reconnects:
            self.reconnect()
        elif self.service.settings.ping_interval:
            self._next_ping()

    def _write_acceptance(self, fields: bytes) -> None:
        self.status = 101
        switch = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        key = b"sec-websocket-accept: %b\r\n" % accept_key(self.request)
        self.connection.write(b"%b%b%b\r\n" % (switch, key, fields))

    def websocket_send(self, event: Event) -> Awaitable[None] | None:
        if event.get("text") is None:
            opcode, payload = BINARY, event["bytes"]
            if type(payload) is not bytes:
                payload = as_bytes(event, "bytes")
        elif event.get("bytes") is None:
            opcode, payload = TEXT, utf8(event, "text")
        else:
            raise events.both_given()
        self._messages_sent += 1
        if self._compressor is not None:
            return self._compressor.send(opcode, payload)
        self._write_frame(opcode, payload)
        return self.connection.drain() if self.connection.is_full else None

    def _write_frame(self, first: int, payload: bytes) -> None:
        """Write a frame of a message. Raises Disconnected."""
        connection = self.connection
        if self._complete:  # while the message was compressed
            raise Disconnected("the WebSocket is closed")
        if len(payload) <= _COPIED:
            connection.write_soon(frame(first, payload))
        else:
            connection.write(head(first, len(payload)))
            connection.write(payload)

    def websocket_close(self, event: Event) -> None:
        if self._accepted:
            self._close(*events.close_frame(event))
        else:
            self._answer(403)
        self._over()

    def _close(self, code: int, reason: str) -> None:
        """Send our close frame, and give the peer CLOSE_TIMEOUT seconds to answer."""
        self._code, self._reason = code, reason
        self.connection.say(frame(CLOSE, code.to_bytes(2) + reason.encode()))
        self._complete = True
        self._abort_in(CLOSE_TIMEOUT)
        if self._paused and not self._broken:  # the peer's close comes behind messages that count no more
            self._read_on()

    def _abort_in(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.connection.abort)

    # What the peer sends, and what the reader finds.

    def feed_data(self, data: bytes) -> None:
        if self._silent:
            self._silent = False
            self._next_ping()
        if not self._broken:
            self._reader.feed(data)
            self._parse()

    def _parse(self) -> None:
        """Handle what has come, until the queue is full."""
        read = self._reader.next
        try:
            while not self._paused and (found := read()) is not None:
                self._heard(*found)
        except RemoteProtocolError as error:
            self.failed(error)

    def _heard(self, kind: int, content: Any) -> None:
        """Handle a message, or a frame that is none."""
        if 0 < kind < CLOSE:
            if not self._complete:
                self._messages_received += 1
                event: Any = {"type": "websocket.receive", "text" if kind == TEXT else "bytes": content}
                self.feed(event)
                if len(content) > _LARGE and not self._paused and self._queue:
                    self._paused = True
                    self.pause()
        elif kind & COMPRESSED:
            self._inflate(kind, content)
        elif kind == CLOSE:
            self._closed_by_peer(*content)
        else:
            if kind == PING and not self.connection.is_full and not self._complete:
                self.connection.say(frame(PONG, content))
            self._sideline += 1
            if self._sideline > _SIDELINE:
                self._rest()

    def _rest(self) -> None:
        """Pause reading for one turn of the loop, because so many frames keep other connections waiting."""
        self._sideline = 0
        if not self._paused:
            self._paused = True
            self.pause()
            asyncio.get_running_loop().call_soon(self._rested)

    def _rested(self) -> None:
        if len(self._queue) < self.limit:
            self._read_on()

    def _inflate(self, kind: int, content: bytearray) -> None:
        """Inflate a message, on a thread if it is large. Nothing else is read meanwhile."""
        inflater = cast("Inflater", self._inflater)
        if (message := inflater.begin(content)) is not None:
            self._heard(*inflated(kind, message))
            return
        self._inflating = self._paused = True
        self.pause()
        rest = asyncio.get_running_loop().run_in_executor(None, inflater.finish)
        rest.add_done_callback(partial(self._inflated, kind))

    def _inflated(self, kind: int, message: "asyncio.Future[bytes]") -> None:
        self._inflating = False
        try:
            self._heard(*inflated(kind, message.result()))
        except RemoteProtocolError as error:
            self.failed(error)
        except MemoryError:
            self.failed(RemoteProtocolError("no memory for its message", answer=1011))
        if self._complete or not self._queue:  # otherwise the application reads on, when it has taken the message
            self._read_on()

    def _read_on(self) -> None:
        if not self._inflating:
            self._paused = False
            self.resume()

    def _closed_by_peer(self, code: int, reason: str) -> None:
        if not self._complete:
            self._complete = True
            self._code, self._reason = code, reason
            self.connection.say(frame(CLOSE, b"" if code == 1005 else code.to_bytes(2)))
            self.disconnect(self._farewell())
        self._broken = True  # nothing comes after a close
        self.connection.finish()

    def failed(self, error: RemoteProtocolError) -> None:
        """Close because of an invalid frame or too long a message. Nothing is read after it."""
        self._broken = True
        if self._complete:
            return
        code = cast("int", error.answer)
        told = about_peer("websocket", self.connection.service.name, self.connection.client, f"closed, {code}")
        logger.info("%s: %s; WebSocket closed with %d", self.connection.label, error, code, extra=told)
        self._close(code, "")
        self.connection.end_writing()
        self.disconnect(self._farewell())

    def pause(self) -> None:
        self.connection.hold_inbox()

    def resume(self) -> None:
        if self._inflating:  # the messages before it are taken, and the next one is not there yet
            self._paused = True
            return
        if not self._broken:
            self._parse()
        if self._paused:
            return
        if self._is_lost:
            self.disconnect(self._farewell())
        else:
            self.connection.let(Hold.INBOX)

    # Keep-alive pings.

    def _next_ping(self) -> None:
        if self._complete:
            return  # the timer ends the wait for the peer's close
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(self.service.settings.ping_interval, self._ping)

    def _ping(self) -> None:
        if not self.reachable():
            return
        self._silent = True
        self.connection.say(frame(PING, b""))
        self._timer = asyncio.get_running_loop().call_later(self.service.settings.ping_timeout, self._check)

    def _check(self) -> None:
        """Disconnect a peer that has sent nothing since the ping."""
        if self._paused:  # we are not reading, so its pong may be waiting in the socket
            self._next_ping()
        else:
            logger.info("%s: disconnected, no answer to a ping", self.connection.label)
            self.connection.abort()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _scope(self) -> WebSocketScope:
        return websocket_scope(cast("HTTPScope", super()._scope()), self.connection.tls)
