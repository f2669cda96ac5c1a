"""MQTT over WebSocket (3.1.1 and 5.0: section 6), from the client's side: aiohttp's websocket as a byte stream."""

import asyncio
import contextlib
import ssl
from typing import Any

import aiohttp

from protocols.errors import Disconnected
from protocols.mqtt.connection.websocket_transport import SUBPROTOCOL, WebSocketTransport
from protocols.tasks import Tasks

_CLOSE_TIMEOUT = aiohttp.ClientWSTimeout(ws_close=1.0)
_HEADROOM = 64 * 1024
"""Bytes of other packets in the frame of a large one: a frame may hold several."""


class _ClientTransport(WebSocketTransport):
    """The transport of our connection to a broker."""

    def __init__(
        self, session: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse, protocol: asyncio.BaseProtocol
    ) -> None:
        ends = {"client": socket.get_extra_info("peername"), "server": socket.get_extra_info("sockname")}
        super().__init__(ends, self._to_socket, protocol)
        self._session = session
        self._socket = socket

    async def serve(self) -> None:
        """Carry bytes until either end closes."""
        async with self._session:
            await self.carry(self._from_socket)

    def abort(self) -> None:
        super().abort()
        response = self._socket._response  # noqa: SLF001 -- aiohttp has no way to close one without waiting
        response.close()

    async def _from_socket(self) -> Any:
        message = await self._socket.receive()
        if message.type is aiohttp.WSMsgType.BINARY:
            return {"type": "websocket.receive", "bytes": message.data}
        if message.type is aiohttp.WSMsgType.TEXT:
            return {"type": "websocket.receive", "bytes": None}
        return {"type": "websocket.disconnect"}

    async def _to_socket(self, event: Any) -> None:
        if event["type"] == "websocket.close":
            await self._socket.close(code=event["code"])
            return
        try:
            await self._socket.send_bytes(event["bytes"])
        except ConnectionError as error:
            raise Disconnected("the connection is lost") from error


async def open_websocket(
    url: str, tls: ssl.SSLContext | None, largest: int, protocol: asyncio.BaseProtocol, tasks: Tasks
) -> asyncio.Transport:
    """Connect to ``url`` and give ``protocol`` the transport; a task of ``tasks`` carries the bytes. ``largest``: bytes
    of the largest packet that the broker may send; aiohttp keeps the frame that it is in until it is complete.

    Raises OSError (``ssl.SSLError``, ``socket.gaierror`` too).
    """
    async with contextlib.AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        socket = await _handshake(session, url, tls, largest + _HEADROOM)
        if socket.protocol != SUBPROTOCOL:
            raise ConnectionError("there is a WebSocket, but no MQTT over it")
        transport = _ClientTransport(session, socket, protocol)
        stack.pop_all()
    tasks.spawn(transport.serve(), name="websocket")
    await asyncio.sleep(0)  # it has made the connection then
    return transport


async def _handshake(
    session: aiohttp.ClientSession, url: str, tls: ssl.SSLContext | None, max_frame: int
) -> aiohttp.ClientWebSocketResponse:
    try:
        return await session.ws_connect(
            url,
            protocols=(SUBPROTOCOL,),
            ssl=True if tls is None else tls,
            max_msg_size=max_frame,
            timeout=_CLOSE_TIMEOUT,
        )
    except aiohttp.ClientConnectorCertificateError as error:
        raise error.certificate_error from error
    except aiohttp.ClientConnectorError as error:
        raise error.os_error from error
    except aiohttp.WSServerHandshakeError as error:
        raise ConnectionError(f"there is no WebSocket (HTTP {error.status})") from error
    except aiohttp.ClientError as error:
        raise ConnectionError(f"there is no WebSocket ({type(error).__name__})") from error
