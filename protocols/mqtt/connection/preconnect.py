"""A socket of a client until its CONNECT is complete; then a :class:`ClientConnection` has it."""

import asyncio
import uuid
from typing import Any, Protocol, cast

from protocols.asgi import HostPort
from protocols.errors import RemoteProtocolError
from protocols.mqtt.connection.client_connection import ClientConnection
from protocols.mqtt.connection.client_socket import ConnectionContext
from protocols.mqtt.connection.context import log
from protocols.mqtt.wire import packets, reasons
from protocols.mqtt.wire.packets import Connect
from protocols.mqtt.wire.parser import Parser
from protocols.net.endpoints import host_port
from protocols.net.wrong_protocol import describe_wrong_protocol
from protocols.resources import moment

_CONNECT = 0x10
"""The first byte of every conversation (3.1.1)."""


class PreconnectContext(ConnectionContext, Protocol):
    """What the server does for each socket, beside what it gives to a client."""

    def arrived(self, preconnect: "Preconnect") -> None: ...
    def left(self, preconnect: "Preconnect") -> None: ...
    def connected(self, client: ClientConnection) -> None: ...


class Opening(asyncio.Protocol):
    """Makes a :class:`Preconnect` as soon as there is a transport."""

    def __init__(self, server: PreconnectContext) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        transport.set_protocol(Preconnect(self._server, transport))


class Preconnect(asyncio.Protocol):
    """A socket that has not said CONNECT yet."""

    def __init__(self, server: PreconnectContext, transport: asyncio.Transport) -> None:
        self._server = server
        self._transport = transport
        self._parser = Parser(server.settings.max_packet)
        self.since = moment()
        """When it connected."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(server.settings.connect_timeout, self._overdue)
        server.arrived(self)

    def data_received(self, data: bytes) -> None:
        if self._transport.is_closing():  # TLS and WebSocket give what came before that
            return
        self._server.counters.bytes_received += len(data)
        try:
            if data and not self._parser.waiting:  # a WebSocket's frame may be empty
                _check_begins(data)
            for packet in self._parser.feed(data, most=1):
                self._first(cast("Connect", packet))
        except RemoteProtocolError as error:
            self._refuse(error)

    def connection_lost(self, error: Exception | None) -> None:
        self._leave()

    @property
    def client(self) -> HostPort | None:
        """The address of its peer; None if that is a Unix socket."""
        return host_port(self._transport.get_extra_info("peername"))

    def close(self) -> None:
        """The server stops, or an operator ends it."""
        self._transport.abort()

    def _first(self, packet: Connect) -> None:
        assigned = not packet.client_id  # then the server has to assign one (MQTT-3.1.3-6)
        if assigned:
            packet = packet._replace(client_id=f"auto-{uuid.uuid4().hex}")
        self._leave()
        client = ClientConnection(self._server, self._transport, self._parser, packet, assigned=assigned)
        self._transport.set_protocol(client)
        self._server.connected(client)

    def _refuse(self, error: RemoteProtocolError) -> None:
        log(self._server.name, self._transport, "", f"closed: {error}")
        self._server.refusals[f"0x{_code(error.answer):02x}"] += 1
        refusal = _refusal(self._parser.version, error.answer)
        self._server.counters.bytes_sent += len(refusal)
        self._transport.write(refusal)
        if refusal and self._server.endings.begin(self._transport, told=False):
            self._leave()
        else:
            self._transport.close()

    def _overdue(self) -> None:
        if not self._transport.is_closing():
            timeout = self._server.settings.connect_timeout
            log(self._server.name, self._transport, "", f"closed: no CONNECT within {timeout:g} s")
        self._transport.abort()

    def _leave(self) -> None:
        self._timer.cancel()
        self._server.left(self)


def _check_begins(data: bytes) -> None:
    """Check the first byte: other protocols' bytes may have the shape of a packet, whose rest would be waited for, or
    whose flags would be reported."""
    if data[0] != _CONNECT:
        raise RemoteProtocolError(
            f"not MQTT: the first packet is not CONNECT [MQTT-3.1.0-1]{describe_wrong_protocol(data, 'MQTT')}"
        )


def _code(answer: Any) -> int:
    """The reason code, also where the client's version has none for this. Bytes are the answer to a version that this
    server does not speak, as that version has it."""
    return reasons.UNSUPPORTED_VERSION if isinstance(answer, bytes) else answer or reasons.PROTOCOL_ERROR


def _refusal(version: int, answer: Any) -> bytes:
    """The CONNACK to send, if the client's version has one for this: 3.1.1 only closes the connection at a malformed
    packet (4.8)."""
    if isinstance(answer, bytes):
        return answer
    if version == 5 or (version == 4 and answer == reasons.CLIENT_ID_INVALID):
        return packets.connack(version, answer or reasons.PROTOCOL_ERROR)
    return b""
