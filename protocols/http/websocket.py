"""One WebSocket, which is one ``websocket`` scope.

It begins as an HTTP exchange, whose answer may be 101. aiohttp's reader parses the frames and puts each message into
the run's queue; pings are answered, and a close is noticed, however slow the application is.
"""

import asyncio
import logging
from collections.abc import Awaitable
from struct import Struct
from typing import Any, cast

from protocols.app_run import AppRun
from protocols.asgi import Carrier, HTTPScope, WebSocketDisconnectEvent, WebSocketScope
from protocols.errors import Disconnected
from protocols.events import Event, as_bytes, utf8
from protocols.http import events
from protocols.http.channel import Channel, Hold
from protocols.http.exchange import Exchange
from protocols.http.handshake import accept_key
from protocols.http.head import encode
from protocols.http.library import (
    WebSocketDataQueue,
    WebSocketError,
    WebSocketReader,
    WebSocketWriter,
    ws_ext_gen,
    ws_ext_parse,
)
from protocols.http.request import Request
from protocols.http.scope import websocket_scope
from protocols.log_facts import about_peer

logger = logging.getLogger(__name__)

CLOSE_TIMEOUT = 5.0
"""Seconds for a peer to answer our close frame."""
GOODBYE_TIMEOUT = 1.0
"""Seconds for a peer to answer our close frame when the server stops."""
_SLICE = 8192
"""Bytes parsed before a full queue is noticed: some 1400 messages in the smallest frames."""
_LARGE = 64 * 1024
"""A message longer than this pauses reading until the application has taken it."""
_CONTROL = 1000
"""Pings and pongs handled in one turn of the loop."""
_TEXT, _BINARY, _CLOSE, _PING, _PONG = 1, 2, 8, 9, 10
_SHORT, _MEDIUM, _LONG = Struct("!BB").pack, Struct("!BBH").pack, Struct("!BBQ").pack


def frame(opcode: int, payload: bytes) -> bytes:
    """One unmasked frame, as a server sends it (RFC 6455, 5.2)."""
    size = len(payload)
    if size < 126:
        return _SHORT(0x80 | opcode, size) + payload
    if size < 65536:
        return _MEDIUM(0x80 | opcode, 126, size) + payload
    return _LONG(0x80 | opcode, 127, size) + payload


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
        offered = request.header(b"sec-websocket-extensions") if settings.compression else None
        compress, notakeover = ws_ext_parse(offered.decode("latin-1") if offered else None, isserver=True)
        self._keeps = self._unread = False
        self._accepted = False
        self._messages_received = self._messages_sent = 0
        self._reconnects = False
        connection.generation = self.service.generation
        self._code, self._reason = 1006, ""
        self._held = b""
        self._silent = self._masks = False
        self._control = 0
        """Pings and pongs since the last pause."""
        self._lost: asyncio.Future[None] = loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._extension = ws_ext_gen(compress, isserver=True, server_notakeover=notakeover) if compress else ""
        self._deflate = _deflater(connection, compress, notakeover=notakeover) if compress else None
        sink = _Sink(self, loop)
        self._reader = WebSocketReader(sink, settings.max_message + 1, compress=bool(compress), decode_text=True)

    # The run.

    async def run(self) -> BaseException | None:
        """Run the application, then close the WebSocket (1011 after a crash) and wait for the peer's close."""
        self.feed({"type": "websocket.connect"})
        error = await super().run()
        if self._accepted:
            if not self._complete and self.reachable():
                self._close(1011 if error else 1000, "")
            await self._lost
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
        """Close with 1001, because the server drains. During the handshake, that follows at its end."""
        if self._accepted and not self._complete and self.reachable():
            self._close(1001, "server shutting down")
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
        """Give an application that has not accepted yet 1001, too, before it is cancelled."""
        if not self._accepted:
            self._code, self._reason = 1001, "server shutting down"
            super().warn()

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
        super().lost()
        self._stop_timer()
        if not self._lost.done():
            self._lost.set_result(None)

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
            opcode, payload = _BINARY, event["bytes"]
            if type(payload) is not bytes:
                payload = as_bytes(event, "bytes")
        elif event.get("bytes") is None:
            opcode, payload = _TEXT, utf8(event, "text")
        else:
            raise events.both_given()
        self._messages_sent += 1
        if self._deflate is not None:
            return _told(self._deflate.send_frame(payload, opcode))
        self.connection.write(frame(opcode, payload))
        return self.connection.drain() if self.connection.is_full else None

    def websocket_close(self, event: Event) -> None:
        if self._accepted:
            self._close(*events.close_frame(event))
        else:
            self._answer(403)
        self._over()

    def _close(self, code: int, reason: str) -> None:
        """Send our close frame, and give the peer CLOSE_TIMEOUT seconds to answer."""
        self._code, self._reason = code, reason
        self.connection.say(frame(_CLOSE, code.to_bytes(2) + reason.encode()))
        self._complete = True
        self._abort_in(CLOSE_TIMEOUT)

    def _abort_in(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.connection.abort)

    # What the peer sends, and what the reader finds.

    def feed_data(self, data: bytes) -> None:
        if self._silent:
            self._silent = False
            self._next_ping()
        if self._held:
            data = self._held + data
        if not self._masks:
            if len(data) < 2:
                self._held = data
                return
            if data[1] < 0x80:  # a client masks all frames or none: the first one shows which
                self.failed(WebSocketError(1002, "a frame that is not masked (RFC 6455, 5.1)"))
                return
            self._masks = True
        for start in range(0, len(data), _SLICE):
            if self._paused:
                self._held = data[start:]
                return
            self._reader.feed_data(data[start : start + _SLICE])
            if self._control > _CONTROL:
                self._rest()
        self._held = b""

    def _rest(self) -> None:
        """Pause reading for one turn of the loop, because so many pings and pongs keep other connections waiting."""
        self._control = 0
        if not self._paused:
            self._paused = True
            self.pause()
            asyncio.get_running_loop().call_soon(self._rested)

    def _rested(self) -> None:
        if len(self._queue) < self.limit:
            self._paused = False
            self.resume()

    def heard(self, kind: int, content: Any, extra: Any, size: int) -> None:
        """Handle a complete message or a control frame from the reader."""
        if kind in (_PING, _PONG):
            self._control += 1
        if kind == _TEXT:
            self._receive({"type": "websocket.receive", "text": content}, size)
        elif kind == _BINARY:
            self._receive({"type": "websocket.receive", "bytes": content}, size)
        elif kind == _PING:
            if not self.connection.is_full and not self._complete:
                self.connection.say(frame(_PONG, content))
        elif kind == _CLOSE:
            self._closed_by_peer(int(content or 1005), extra)

    def _receive(self, event: Any, size: int) -> None:
        if self._complete:
            return
        self._messages_received += 1
        self.feed(event)
        if size > _LARGE and not self._paused and self._queue:
            self._paused = True
            self.pause()

    def _closed_by_peer(self, code: int, reason: str) -> None:
        if (
            not self._complete and code != 1005 and not events.is_sendable(code)
        ):  # aiohttp's reader accepts some of them
            self.failed(WebSocketError(1002, "a close code that may not be sent"))
            return
        if not self._complete:
            self._complete = True
            self._code, self._reason = code, reason
            self.connection.say(frame(_CLOSE, b"" if code == 1005 else code.to_bytes(2)))
            self.disconnect(self._farewell())
        self.connection.finish()

    def failed(self, error: BaseException) -> None:
        """Close because of an invalid frame or too long a message. Nothing is read after it."""
        if self._complete:
            return
        code = int(error.code) if isinstance(error, WebSocketError) else 1002
        told = about_peer("websocket", self.connection.service.name, self.connection.client, f"closed, {code}")
        said = "%s: malformed or too long WebSocket message; closed with %d"
        logger.info(said, self.connection.label, code, extra=told)
        self._close(code, "")
        self.connection.end_writing()
        self.disconnect(self._farewell())

    def pause(self) -> None:
        self.connection.hold(Hold.INBOX)

    def resume(self) -> None:
        held, self._held = self._held, b""
        if held:
            self.feed_data(held)
        if not self._paused:
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
        self.connection.say(frame(_PING, b""))
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


class _Sink(WebSocketDataQueue):
    """Passes what aiohttp's reader has parsed straight to the WebSocket, instead of a queue."""

    def __init__(self, websocket: WebSocket, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(cast("Any", websocket.connection), _LARGE, loop=loop)
        self._websocket = websocket

    def feed_data(self, data: Any, size: int) -> None:
        self._websocket.heard(data[0], data[1], data[2], size)

    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        self._websocket.failed(exc)


class _Peer:
    """The connection as aiohttp's writer wants it: its protocol and its transport. It counts what is written."""

    def __init__(self, connection: Channel) -> None:
        self._connection = connection
        self.write, self.is_closing, self._drain_helper = connection.write, connection.is_closing, connection.drain

    @property
    def _paused(self) -> bool:
        return self._connection.is_full


def _deflater(connection: Channel, compress: int, *, notakeover: bool) -> WebSocketWriter:
    peer: Any = _Peer(connection)
    return WebSocketWriter(peer, peer, compress=compress, notakeover=notakeover)


async def _told(sending: Awaitable[None]) -> None:
    """Await ``sending``, and raise Disconnected if the peer is gone."""
    try:
        await sending
    except ConnectionError as error:
        raise Disconnected("the peer is gone") from error
