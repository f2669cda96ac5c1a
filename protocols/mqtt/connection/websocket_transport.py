"""MQTT over WebSocket (3.1.1 and 5.0: section 6): an ASGI application whose websocket is a client's socket."""

import asyncio
from collections.abc import Callable, Collection
from typing import Any, cast

from protocols.asgi import Receive, Send
from protocols.errors import Disconnected
from protocols.queue import Queue
from protocols.wakeup import Wakeup

SUBPROTOCOL = "mqtt"
UNSUPPORTED_DATA, GOING_AWAY, NORMAL = 1003, 1001, 1000


class WebSocketTransport(asyncio.Transport):
    """The transport of a client behind a websocket."""

    def __init__(self, scope: Any, send: Send, protocol: asyncio.BaseProtocol) -> None:
        extensions = scope.get("extensions") or {}
        super().__init__({"peername": scope["client"], "sockname": scope["server"], "websocket": True} | extensions)
        self._send = send
        self._protocol = cast("asyncio.Protocol", protocol)
        self._high = 64 * 1024
        self._out: Queue[bytes] = Queue(1)  # bounded by its bytes: the protocol is paused at ``_high``
        self._unsent = 0
        self._is_reading = True
        self._read_on = Wakeup()
        self._paused = False
        self._closing = False
        self._code = NORMAL

    # What the websocket's side does.

    async def carry(self, receive: Receive) -> None:
        """Carry bytes until either end closes."""
        self._protocol.connection_made(self)
        async with asyncio.TaskGroup() as group:
            writing = group.create_task(self._write_all())
            try:
                await self._read_all(receive, writing)
            finally:
                self.close()
                self._protocol.connection_lost(None)

    async def _read_all(self, receive: Receive, writing: "asyncio.Task[None]") -> None:
        reading = asyncio.ensure_future(self._events(receive))
        done, _ = await asyncio.wait({reading, writing}, return_when=asyncio.FIRST_COMPLETED)
        if reading in done:
            reading.result()
            return
        reading.cancel()
        await asyncio.wait({reading})

    async def _events(self, receive: Receive) -> None:
        while True:
            while not self._is_reading:
                await self._read_on.wait()
            event = await receive()
            if event["type"] == "websocket.disconnect":
                return
            if event.get("bytes") is None:  # MQTT is in binary frames only (MQTT-6.0.0-1)
                self._code = UNSUPPORTED_DATA
                return
            self._protocol.data_received(event["bytes"])

    async def _write_all(self) -> None:
        try:
            while chunks := await self._out.take():
                data = b"".join(chunks)
                await self._send({"type": "websocket.send", "bytes": data})
                self._unsent -= len(data)
                self._resume_writing()
            await self._send({"type": "websocket.close", "code": self._code})
        except Disconnected:
            self._out.clear()

    def _resume_writing(self) -> None:
        if self._paused and self._unsent <= self._high // 2:
            self._paused = False
            self._protocol.resume_writing()

    # What the client's side does.

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = cast("asyncio.Protocol", protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = self._high if high is None else high

    def get_write_buffer_size(self) -> int:
        return self._unsent

    def write(self, data: Any) -> None:
        if self._closing or not data:
            return
        self._out.put(bytes(data))
        self._unsent += len(data)
        if self._unsent > self._high and not self._paused:
            self._paused = True
            self._protocol.pause_writing()

    def pause_reading(self) -> None:
        self._is_reading = False

    def resume_reading(self) -> None:
        self._is_reading = True
        self._read_on.wake()

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True
        self._out.close()

    def abort(self) -> None:
        self._out.clear()
        self._code = GOING_AWAY
        self.close()


async def serve(
    factory: Callable[[], asyncio.BaseProtocol], origins: Collection[str], scope: Any, receive: Receive, send: Send
) -> None:
    """Carry one client's connection over a websocket, if the client asks for the subprotocol (MQTT-6.0.0-3) and its
    page, if it has one, is our own or among ``origins``."""
    await receive()
    if SUBPROTOCOL not in scope["subprotocols"] or not _is_welcome(scope, origins):
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL})
    await WebSocketTransport(scope, send, factory()).carry(receive)


def _is_welcome(scope: Any, origins: Collection[str]) -> bool:
    """A browser says from which page it comes (RFC 6455, 10.2); other clients need not. Without this, any page that
    somebody on this machine or in this network looks at could talk to the clients."""
    headers = dict(scope["headers"])
    origin = headers.get(b"origin", b"").decode("latin-1")
    own = origin.partition("://")[2].lower() == headers.get(b"host", b"").decode("latin-1").lower()
    return not origin or own or "*" in origins or origin in origins
