"""One device on one socket: the application's run over the connection, and the socket's side of it.

:class:`Arrival` is the socket's protocol until CONNECT is complete, :class:`Device` from then on.
"""

import asyncio
import logging
import socket
import uuid
from typing import Any, Protocol, cast

from protocols.asgi import VERSIONS, Application, MQTTScope
from protocols.ends import describe_tls, host_port
from protocols.errors import RemoteProtocolError
from protocols.instance import Instance
from protocols.mqtt import packets
from protocols.mqtt.broker import Broker
from protocols.mqtt.connection import Connection, Goodbye
from protocols.mqtt.packets import Connect, Parser
from protocols.mqtt.settings import MQTTSettings

logger = logging.getLogger(__name__)

READ_AHEAD = 64 * 1024
"""Bytes taken from a device whose application is not ready for them, before its socket is left alone."""
COALESCE = 64 * 1024
"""Bytes that wait for the end of the loop's iteration at most, so that what is written then is one write."""
CLOSE_TIMEOUT = 5.0
"""Seconds for a peer to read what was written before its connection was closed."""


class Host(Protocol):
    """What the server gives to each device."""

    app: Application
    name: str
    state: dict[str, Any]
    settings: MQTTSettings
    broker: Broker

    def arrived(self, arrival: "Arrival") -> None: ...
    def left(self, arrival: "Arrival") -> None: ...
    def connected(self, device: "Device") -> None: ...
    def disconnected(self, device: "Device") -> None: ...


class Entrance(asyncio.Protocol):
    """Makes an :class:`Arrival` as soon as there is a transport."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        transport.set_protocol(Arrival(self._host, transport))


class Arrival(asyncio.Protocol):
    """A socket that has not said CONNECT yet."""

    def __init__(self, host: Host, transport: asyncio.Transport) -> None:
        self._host = host
        self._transport = transport
        self._parser = Parser(host.settings.max_packet)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(host.settings.connect_timeout, self._overdue)
        host.arrived(self)

    def data_received(self, data: bytes) -> None:
        try:
            for packet in self._parser.feed(data, most=1):
                self._first(packet)
        except RemoteProtocolError as error:
            self._refuse(error)

    def connection_lost(self, error: Exception | None) -> None:
        self._leave()

    def close(self) -> None:
        """The server stops."""
        self._transport.abort()

    def _first(self, packet: packets.Packet) -> None:
        if not isinstance(packet, Connect):
            raise RemoteProtocolError("the first packet is not CONNECT [MQTT-3.1.0-1]")
        if not packet.client_id:  # MQTT-3.1.3-6
            packet = packet._replace(client_id=f"auto-{uuid.uuid4().hex}")
        self._leave()
        device = Device(self._host, self._transport, self._parser, packet)
        self._transport.set_protocol(device)
        self._host.connected(device)

    def _refuse(self, error: RemoteProtocolError) -> None:
        _log(self._host, self._transport, "", f"closed: {error}")
        if isinstance(error.answer, bytes):
            self._transport.write(error.answer)
        self._transport.close()

    def _overdue(self) -> None:
        timeout = self._host.settings.connect_timeout
        _log(self._host, self._transport, "", f"closed: no CONNECT within {timeout:g} s")
        self._transport.abort()

    def _leave(self) -> None:
        self._timer.cancel()
        self._host.left(self)


class Device(Instance, asyncio.Protocol):
    """A device that has said CONNECT, and the application's run for it."""

    sends = {
        "connecting": {"mqtt.accept": "open", "mqtt.reject": "over"},
        "open": {"mqtt.ack": "open", "mqtt.send": "open", "mqtt.disconnect": "over"},
    }

    # Beside the base's own attributes; a dict of them all would cost an idle device a quarter more.
    __slots__ = (
        *("_acks", "_closed", "_congested", "_connection", "_dropped", "_heard", "_held", "_host", "_keepalive"),
        *("_loop", "_out", "_parser", "_stopping", "_timer", "_transport", "_unsent", "client_id"),
    )

    def __init__(self, host: Host, transport: asyncio.Transport, parser: Parser, connect: Connect) -> None:
        super().__init__(host.app, _scope(host, transport, connect))
        self.client_id = connect.client_id
        self._host = host
        self._transport = transport
        self._parser = parser
        self._connection = Connection(host.broker, host.settings, connect, self)
        self._loop = asyncio.get_running_loop()
        self._keepalive = connect.keepalive * 1.5
        self._heard = self._loop.time()
        # While it is held, packets are not looked at: the application has not accepted yet, or its inbox is full.
        self._held = True
        self._acks: list[int] = []
        self._out: list[bytes] = []
        self._unsent = 0
        self._congested = False
        self._dropped = 0
        self._stopping = False
        self._closed = False
        self._timer = self._loop.call_later(host.settings.connect_timeout, self._unanswered)
        # A device without an MQTT keep-alive that has gone without a word is found by TCP.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        transport.set_write_buffer_limits(host.settings.max_unsent)
        self.feed({"type": "mqtt.connect", "username": connect.username, "password": connect.password})

    # The application's side.

    async def serve(self) -> None:
        """Run the application; its end is the connection's."""
        try:
            await self.run()
        finally:
            if not self._closed and not self._connection.open:
                self._connection.refuse(packets.SERVER_UNAVAILABLE)
            self.close(packets.UNSPECIFIED, "the application has ended")

    def mqtt_accept(self, event: dict[str, Any]) -> None:
        self._timer.cancel()
        self._connection.accept()
        session = self._connection.session
        if session.dropped:
            self._log(f"{session.dropped} messages to it dropped while it was away: its queue was full")
            session.dropped = 0
        self._heard = self._loop.time()
        if self._keepalive:
            self._timer = self._loop.call_later(self._keepalive, self._check_keepalive)
        self._loop.call_soon(self.resume)

    def mqtt_reject(self, event: dict[str, Any]) -> None:
        code = event.get("reason_code", 0x87)
        self._connection.refuse(code)
        self._log(f"rejected by the application, reason code {code:#x}")
        self.close(code, "rejected by the application")

    def mqtt_ack(self, event: dict[str, Any]) -> None:
        packet_id = event["id"]
        self._connection.acknowledge(packet_id)
        if not self._acks and not self._out:
            self._loop.call_soon(self._flush)
        self._acks.append(packet_id)

    def mqtt_send(self, event: dict[str, Any]) -> None:
        self._connection.publish(event)

    def mqtt_disconnect(self, event: dict[str, Any]) -> None:
        self.close(event.get("reason_code", packets.NORMAL), "closed by the application")

    def pause(self) -> None:
        self._held = True

    def resume(self) -> None:
        if self._closed:
            return
        self._held = False
        self._heard = self._loop.time()  # what it said while it was held may still be in the socket
        self._handle()
        if self._stopping:
            self._stop_if_done()
        elif not self._held:
            self._transport.resume_reading()

    def _unanswered(self) -> None:
        timeout = self._host.settings.connect_timeout
        self._log(f"closed: the application did not answer within {timeout:g} s")
        self._connection.refuse(packets.SERVER_UNAVAILABLE)
        self.close(packets.SERVER_UNAVAILABLE, "the application did not answer")

    # The socket's side.

    def data_received(self, data: bytes) -> None:
        if self._held:
            self._parser.append(data)
            if self._parser.waiting > READ_AHEAD:
                self._transport.pause_reading()
        else:
            self._handle(data)

    def connection_lost(self, error: Exception | None) -> None:
        if self._connection.open:
            self._handle(everything=True)  # what it said before it left
        self.close(packets.UNSPECIFIED, "connection lost")
        self._timer.cancel()
        self._host.disconnected(self)

    def pause_writing(self) -> None:
        self._congested = True

    def resume_writing(self) -> None:
        self._congested = False
        if self._dropped:
            self._log(f"{self._dropped} QoS 0 messages to it dropped while it did not read")
            self._dropped = 0

    def write(self, data: bytes) -> None:
        if not self._out and not self._acks:
            self._loop.call_soon(self._flush)
        self._out.append(data)
        self._unsent += len(data)
        if self._unsent > COALESCE:
            self._flush()

    def offer(self, data: bytes) -> None:
        if self._congested:
            self._dropped += 1
        else:
            self.write(data)

    def _flush(self) -> None:
        if self._acks:
            self._out.append(packets.pubacks(self._acks))
            self._acks.clear()
        if self._out and not self._transport.is_closing():
            self._transport.write(b"".join(self._out))
            self._out.clear()
            self._unsent = 0
        if self._stopping:
            self._stop_if_done()

    def _handle(self, data: bytes = b"", *, everything: bool = False) -> None:
        parser, handle, feed = self._parser, self._connection.handle, self.feed
        try:
            parsed = parser.feed(data)
            while parsed:
                self._heard = self._loop.time()
                for event in handle(parsed):
                    feed(event)
                if self._held and not everything:
                    return
                parsed = parser.feed()
        except Goodbye:
            self.close(packets.NORMAL, "", clean=True)
        except RemoteProtocolError as error:
            self._log(f"closed: {error}")
            self.close(error.answer if isinstance(error.answer, int) else packets.PROTOCOL_ERROR, str(error))

    def _check_keepalive(self) -> None:
        """MQTT-3.1.2-24: no packet for one and a half times the keep-alive. One that was not looked at yet counts."""
        now = self._loop.time()
        if self._held:
            self._heard = now
        due = self._heard + self._keepalive
        if due <= now:
            self._log(f"closed: silent for {self._keepalive:g} s [MQTT-3.1.2-24]")
            self.close(packets.KEEP_ALIVE_TIMEOUT, "keep-alive timeout")
        else:
            self._timer = self._loop.call_at(due, self._check_keepalive)

    # How it ends.

    def taken_over(self) -> None:
        self._log("closed: another connection has its client identifier [MQTT-3.1.4-2]")
        self.close(packets.TAKEN_OVER, "session taken over")

    def overflow(self) -> None:
        """Not at once: the caller is in the middle of a delivery, and a will that is published now might overflow the
        next subscriber."""
        self._loop.call_soon(self._overflow)

    def _overflow(self) -> None:
        if not self._closed:
            self._log("closed: it does not acknowledge, and its queue is full")
            self.close(packets.QUOTA_EXCEEDED, "its queue is full")

    def stop(self) -> None:
        """The server stops: take nothing more, let what has arrived be handled and acknowledged, close."""
        self._stopping = True
        if not self._closed:
            self._transport.pause_reading()
        self._stop_if_done()

    def _stop_if_done(self) -> None:
        if self._connection.open and not self._held and not self._connection.unacked:
            self.close(packets.SHUTTING_DOWN, "server shutting down")

    def abort(self) -> None:
        self._transport.abort()

    def close(self, reason_code: int, reason: str, *, clean: bool = False) -> None:
        """End the connection and tell the application, once. What was written still leaves."""
        if self._closed:
            return
        self._closed = True
        self._held = True
        self._timer.cancel()
        self._connection.end(clean=clean)
        self.disconnect({"type": "mqtt.disconnect", "reason_code": reason_code, "reason": reason, "clean": clean})
        self._flush()
        self._transport.close()
        self._timer = self._loop.call_later(CLOSE_TIMEOUT, self._transport.abort)

    def _log(self, what: str) -> None:
        _log(self._host, self._transport, f" ({self.client_id})", what)


def _log(host: Host, transport: asyncio.Transport, who: str, what: str) -> None:
    logger.warning("%s: %s%s %s", host.name, _peer(transport.get_extra_info("peername")), who, what)


def _peer(address: Any) -> str:
    return "{}:{}".format(*address[:2]) if isinstance(address, tuple) else "a local socket"


def _scope(host: Host, transport: asyncio.Transport, connect: Connect) -> MQTTScope:
    tls = transport.get_extra_info("ssl_object")
    return {
        "type": "mqtt",
        "asgi": VERSIONS,
        "listener": host.name,
        "client": host_port(transport.get_extra_info("peername")),
        "server": host_port(transport.get_extra_info("sockname")),
        "extensions": {"tls": describe_tls(tls)} if tls is not None else {},
        "state": host.state.copy(),
        "role": "server",
        "protocol_version": "3.1.1",
        "client_id": connect.client_id,
        "username": connect.username,
        "clean_start": connect.clean,
        "keepalive": connect.keepalive,
        "session_present": not connect.clean and host.broker.kept(connect.client_id),
        "will": connect.will and connect.will.copy(),
        "properties": connect.properties,
        "transport": "tcp",
    }
