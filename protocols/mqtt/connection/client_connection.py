"""One client on one socket, from its CONNECT on: the application's run, and the socket's side of the connection."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Iterator
from typing import Any, Protocol, cast

from protocols.app_run import AppRun
from protocols.asgi import MQTTSendEvent
from protocols.errors import RemoteProtocolError
from protocols.mqtt import events, handshake
from protocols.mqtt.broker.fan_out import FanOut
from protocols.mqtt.broker.outgoing import COALESCE, Outgoing
from protocols.mqtt.broker.session import Session
from protocols.mqtt.connection.accepted import AcceptedConnection
from protocols.mqtt.connection.admission import NotAdmitted, authenticate, authorize
from protocols.mqtt.connection.context import ServerContext, log
from protocols.mqtt.connection.delivered import delivered
from protocols.mqtt.connection.errors import Goodbye
from protocols.mqtt.connection.handshake import Handshake
from protocols.mqtt.connection.keepalive import KeepAlive
from protocols.mqtt.connection.rate import Rate
from protocols.mqtt.connection.scope import scope_of
from protocols.mqtt.wire import packets, reasons
from protocols.mqtt.wire.packets import Connect
from protocols.mqtt.wire.parser import Parser
from protocols.net.write_buffer import unreceived

logger = logging.getLogger(__name__)

READ_AHEAD = 64 * 1024
"""Bytes taken from a client whose application is not ready for them, before its socket is left alone."""
CLOSE_TIMEOUT = 5.0
"""Seconds for a peer to read what was written before its connection was closed."""
TURN = 500
"""Packets of one client that are worked through before others have their turn: a read may bring 17,000 small ones."""
UNKEPT = 10_000
"""Changes of state that wait for the disk; then nothing more is read until they are kept."""


class ConnectionContext(ServerContext, Protocol):
    """What the server does for each connection that has said CONNECT."""

    async def until_gone(self, client_id: str) -> None:
        """Wait until what this client said on its last connection, which is lost, has been looked at, and until the
        application has heard it, unless that waits for something else meanwhile."""

    def leaving(self, client: "ClientConnection") -> None:
        """Its connection is lost, and what it said is still to be looked at, or to be heard."""

    def disconnected(self, client: "ClientConnection") -> None: ...


class ClientConnection(AppRun, asyncio.Protocol):
    """A client that has said CONNECT, and the application's run for it."""

    sends = events.SERVER
    # An acknowledgement is one call a message: mqtt_ack has it checked where it is more than the id that it waits for.
    checks = {kind: check for kind, check in events.CHECKS.items() if kind != "mqtt.ack"}

    # Beside the base's own attributes; a dict of them all would cost an idle client a quarter more.
    __slots__ = (
        *("_admission", "_closed", "_events", "_held", "_journal", "_keepalive", "_loop", "_lost", "_outgoing"),
        *("_parser", "_phase", "_rate", "_resting", "_server", "_stopping", "_throttle", "_timer", "_transport"),
        *("_turn", "_unacked", "client_id"),
    )

    def __init__(
        self,
        server: ConnectionContext,
        transport: asyncio.Transport,
        parser: Parser,
        connect: Connect,
        *,
        assigned: bool,
    ) -> None:
        super().__init__(server.app, scope_of(server, transport, connect))
        self.client_id = connect.client_id
        self._outgoing = Outgoing(connect.version, connect.properties, server.counters, self)
        self._server = server
        self._transport = transport
        self._parser = parser
        self._journal = server.broker.journal
        self._loop = asyncio.get_running_loop()
        self._keepalive: KeepAlive | None = None
        self._rate = Rate(server.settings.max_publish_rate) if server.settings.max_publish_rate else None
        self._throttle: asyncio.TimerHandle | None = None
        # While it is held, packets are not looked at: the application has not accepted yet, or its queue is full.
        self._held = True
        # While it rests, others have their turn; then it goes on with what is left of its events and packets.
        self._resting = False
        self._events: Iterator[Any] | None = None
        self._turn = TURN
        self._lost = False
        self._admission: asyncio.Task[Any] | None = None
        self._stopping = False
        self._closed = False
        self._phase: Handshake | AcceptedConnection = Handshake(
            server.broker, server.settings, connect, self._outgoing, assigned=assigned
        )
        self._unacked: dict[int, int] = {}  # the connection's, when there is one
        self._timer = self._loop.call_later(server.settings.connect_timeout, self._unanswered)
        # A client without an MQTT keep-alive that has gone without a word is found by TCP.
        if (sock := transport.get_extra_info("socket")) is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        transport.set_write_buffer_limits(server.settings.max_unsent)

    # The application's side.

    async def serve(self) -> None:
        """Ask who it is, run the application; its end is the connection's."""
        try:
            if not self._closed and await self._admit():
                await self.run()
        finally:
            if isinstance(self._phase, AcceptedConnection):
                self._phase.abandon()
            elif not self._closed:
                self._phase.refuse(handshake.APP_END, reasons.SERVER_UNAVAILABLE)
            self.close(reasons.UNSPECIFIED, "the application has ended")

    @property
    def disconnect_grace(self) -> float:
        return self._server.settings.disconnect_grace

    @property
    def _handshake(self) -> Handshake:
        """The handshake, for events that are legal only before the client is accepted: the table above lets nothing
        else through."""
        return cast("Handshake", self._phase)

    async def _admit(self) -> bool:
        """Whether the server's own users and rules let it in; then the application is asked."""
        connect, username = self._handshake.connect, self._handshake.connect.username
        try:
            if self._server.access.needed:
                username = self.scope["username"] = await self._authenticate()  # type: ignore[typeddict-unknown-key]  # it is an mqtt scope
            authorize(self._server, self._handshake, username)
        except NotAdmitted as refused:
            return self._turn_away(refused.code, str(refused))
        await self._server.until_gone(self.client_id)
        if self._closed:
            return False
        self._handshake.admit()
        self.feed({"type": "mqtt.connect", "username": username, "password": connect.password})
        return True

    async def _authenticate(self) -> str | None:
        """Neither the client nor the application is late while it waits for us."""
        self._timer.cancel()
        self._admission = asyncio.current_task()
        try:
            return await authenticate(self._server, self._transport, self._handshake)
        finally:
            self._admission = None
            if not self._closed:
                self._timer = self._loop.call_later(self._server.settings.connect_timeout, self._unanswered)

    def _turn_away(self, code: int, why: str) -> bool:
        if not self._closed:
            self._handshake.refuse(handshake.TURN_AWAY, code)
            self._log(f"rejected: {why}")
            self.close(code, why)
        return False

    def mqtt_accept(self, event: dict[str, Any]) -> None:
        accepting = self._handshake
        connection = self._phase = accepting.accept(event)
        self._unacked = connection.unacked
        self._timer.cancel()
        self._log_dropped(connection.session)
        if accepting.keepalive:
            self._keepalive = KeepAlive(accepting.keepalive, self._loop.time())
            self._timer = self._loop.call_at(self._keepalive.due, self._check_keepalive)
        self._loop.call_soon(self.resume)

    def _log_dropped(self, session: Session) -> None:
        if session.dropped:
            self._log(f"{session.dropped} messages to it dropped while it was away: its queue was full", lost=True)
            session.dropped = 0

    def mqtt_reject(self, event: dict[str, Any]) -> None:
        code = event["reason_code"]
        self._handshake.refuse(handshake.APP_REJECT, code, event["properties"])
        self._log(f"rejected by the application, reason code {code:#x}")
        self.close(code, "rejected by the application")

    def mqtt_ack(self, event: dict[str, Any]) -> None:
        packet_id = event["id"]
        unacked = self._unacked
        position = unacked.get(packet_id) if type(packet_id) is int else None
        if position is None or len(event) > 2 or self.gone or (position and not self._is_kept(position)):
            self._phase.acknowledge(events.ack(event))
            return
        del unacked[packet_id]
        outgoing = self._outgoing
        if not outgoing.acks and not outgoing.data:
            self._loop.call_soon(self._flush)
        outgoing.acks.append(packet_id)

    def _is_kept(self, position: int) -> bool:
        return self._journal is None or position <= self._journal.committed

    def mqtt_send(self, event: MQTTSendEvent) -> Awaitable[None] | None:
        fan_out, journal = self._server.broker.send(event), self._journal
        if fan_out is None and (journal is None or journal.position <= journal.committed):
            return None
        return delivered(fan_out, journal)

    def mqtt_suback(self, event: dict[str, Any]) -> None:
        cast("AcceptedConnection", self._phase).granted(event)  # only in the state "open"

    def mqtt_auth(self, event: dict[str, Any]) -> None:
        self._phase.authenticate(event)
        if self.state == "connecting":  # it may answer, and say nothing else until it is accepted
            self._held = False
            self._loop.call_soon(self._handle)

    def mqtt_disconnect(self, event: dict[str, Any]) -> None:
        self.close(event["reason_code"], "closed by the application", properties=event["properties"])

    def pause(self) -> None:
        self._held = True

    def resume(self) -> None:
        if self._closed or self._lost or self._resting or self._throttle is not None or self._paused:
            return
        self._held = False
        self._excuse()  # what it said while it was held may still be in the socket
        self._handle()
        if self._stopping:
            self._stop_if_done()
        elif not self._held and not self._outgoing.congested:
            self._transport.resume_reading()

    def _unanswered(self) -> None:
        timeout = self._server.settings.connect_timeout
        self._log(f"closed: the application did not answer within {timeout:g} s")
        self._handshake.refuse(handshake.TIMEOUT, reasons.SERVER_UNAVAILABLE)
        self.close(reasons.SERVER_UNAVAILABLE, "the application did not answer")

    # The socket's side.

    def data_received(self, data: bytes) -> None:
        self._server.counters.bytes_received += len(data)
        if self._held:
            self._parser.append(data)
            if self._parser.waiting > READ_AHEAD:
                self._transport.pause_reading()
        else:
            self._begin_turn()
            self._handle(data)

    def _begin_turn(self) -> None:
        self._turn = TURN
        if isinstance(self._phase, AcceptedConnection):
            self._phase.deliveries = 0

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = True
        if not self._resting:
            self._leave()
        elif not self._closed:
            self._server.leaving(self)

    def _leave(self) -> None:
        """What it said before it left, a turn at a time and whether the application is ready for it or not; then it is
        gone."""
        if isinstance(self._phase, AcceptedConnection):
            self._handle()
        if self._resting and not self._closed:
            self._server.leaving(self)
            return
        self.close(reasons.UNSPECIFIED, "connection lost", silent=True)
        self._timer.cancel()
        self._let_hear(-1)

    def _let_hear(self, received: int) -> None:
        """The client's next connection waits while the application hears the rest of this one, a turn at a time; not
        where it had its turn and has taken nothing since ``received``, because it waits for something else."""
        if not self._queue or received == self._received:
            self._server.disconnected(self)
        else:
            self._server.leaving(self)
            self._loop.call_soon(self._let_hear, self._received)

    def pause_writing(self) -> None:
        """It does not read: what it says from now on would be answered into memory."""
        self._outgoing.congested = True
        self._reads()
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._outgoing.congested = False
        self._excuse()  # what it said meanwhile is still in the socket
        if not self._held and not self._stopping:
            self._transport.resume_reading()
        if dropped := self._outgoing.dropped:
            self._log(f"{dropped} QoS 0 messages to it dropped while it did not read")
            self._outgoing.dropped = 0
        if isinstance(self._phase, AcceptedConnection) and not self._closed:
            self._phase.session.pump()

    def notified(self) -> None:
        """There is something in what is to leave, or it is to end."""
        outgoing = self._outgoing
        if outgoing.ending and not self._closed:
            self._end_by_broker(outgoing.take_ending())
        elif outgoing.events:
            for event in outgoing.take_events():
                self.feed(event)
        elif outgoing.size > COALESCE:
            self._flush()
        else:
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        outgoing = self._outgoing
        data = outgoing.take()
        if data and not self._transport.is_closing():
            self._server.counters.bytes_sent += len(data)
            if outgoing.congested and self._keepalive is not None:
                self._keepalive.wrote(len(data))
            self._transport.write(data)
        if self._stopping:
            self._stop_if_done()

    def _handle(self, data: bytes = b"") -> None:
        if self._closed:
            return
        try:
            self._work(data)
        except Goodbye as goodbye:
            with_will = goodbye.code != reasons.SUCCESS  # 3.14.4: only success discards it
            self.close(goodbye.code, "", clean=True, silent=True, with_will=with_will)
        except RemoteProtocolError as error:
            self._log(f"closed: {error}")
            code = error.answer if isinstance(error.answer, int) else reasons.PROTOCOL_ERROR
            if isinstance(self._phase, Handshake):
                self._phase.refuse(handshake.OTHER, code)
            self.close(code, str(error))

    def _work(self, data: bytes) -> None:
        """Look at packets until there are none, the application's queue is full, or others are to have their turn."""
        parser, handle, feed = self._parser, self._phase.handle, self.feed
        events, self._events = self._events, None
        while True:
            if events is None:
                parsed = parser.feed(data)
                if not parsed:
                    return
                data = b""
                if self._keepalive is not None:
                    self._keepalive.heard = self._loop.time()
                self._server.counters.packets_received += len(parsed)
                self._turn -= len(parsed)
                self._hold_back(parsed)
                events = handle(parsed)
            for event in events:
                if event is None:
                    self._events = events
                    self._rest(cast("AcceptedConnection", self._phase).fan_out)
                    return
                feed(event)
            if self._turn <= 0:
                self._rest()
                return
            if self._held and not self._lost:
                return
            events = None

    def _rest(self, fan_out: FanOut | None = None) -> None:
        """Let others have their turn; go on after that, or when everybody has the last message."""
        self._held = self._resting = True
        if self._parser.waiting > READ_AHEAD and not self._lost:
            self._transport.pause_reading()
        if fan_out is None:
            self._go_on_soon()
        else:
            fan_out.when_done(self._go_on_soon)

    def _go_on_soon(self) -> None:
        self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._resting = False
        self._begin_turn()
        if self._lost:
            self._leave()
        else:
            self.resume()

    def _hold_back(self, parsed: list[packets.Packet]) -> None:
        """Read no more for a while where it publishes too fast, or the disk does not keep up."""
        if self._rate is not None and self._throttle is None and not self._lost:
            published = sum(isinstance(packet, dict) for packet in parsed)
            if pause := self._rate.spend(published, self._loop.time()):
                self._held = True
                self._throttle = self._loop.call_later(pause, self._unthrottle)
        journal = self._journal
        if journal is not None and journal.position - journal.committed > UNKEPT:
            self._held = True
            journal.when(journal.position, self.resume)

    def _unthrottle(self) -> None:
        self._throttle = None
        self.resume()

    def _excuse(self) -> None:
        """Its silence was not its own."""
        if self._keepalive is not None:
            self._keepalive.heard = self._loop.time()

    def _check_keepalive(self) -> None:
        """One that was not looked at yet counts; from a client that is not read because it reads slowly, that it reads
        at all."""
        keepalive = cast("KeepAlive", self._keepalive)
        if self._held or (self._outgoing.congested and self._reads()):
            self._excuse()
        if keepalive.due <= self._loop.time():
            self._log(f"closed: silent for {keepalive.limit:g} s [MQTT-3.1.2-24]")
            self.close(reasons.KEEP_ALIVE_TIMEOUT, "keep-alive timeout")
        else:
            self._timer = self._loop.call_at(keepalive.due, self._check_keepalive)

    def _reads(self) -> bool:
        """Whether it has taken anything since this was asked last."""
        return self._keepalive is not None and self._keepalive.reads(unreceived(self._transport))

    # How it ends.

    def _end_by_broker(self, reason_code: int) -> None:
        if reason_code == reasons.TAKEN_OVER:
            self._log("closed: another connection has its client identifier [MQTT-3.1.4-2]")
            self.close(reasons.TAKEN_OVER, "session taken over")
        else:  # soon: a delivery is under way, and a will that is published now might overflow the next subscriber
            self._loop.call_soon(self._overflow)

    def _overflow(self) -> None:
        if not self._closed:
            self._log("closed: it does not acknowledge, and its queue is full")
            self.close(reasons.QUOTA_EXCEEDED, "its queue is full")

    def stop(self) -> None:
        """The server stops: take nothing more, let what has arrived be handled and acknowledged, close."""
        self._stopping = True
        if self._closed:
            return
        self._transport.pause_reading()
        if isinstance(self._phase, Handshake) and self._phase.state == handshake.CHECK:  # nothing of it is under way
            self._phase.refuse(handshake.STOP, reasons.SERVER_UNAVAILABLE)
            self.close(reasons.SERVER_UNAVAILABLE, "server shutting down")
        self._stop_if_done()

    def _stop_if_done(self) -> None:
        if isinstance(self._phase, AcceptedConnection) and not self._held and not self._phase.busy:
            self.dismiss()

    def dismiss(self) -> None:
        """Close the connection, because the server stops, whatever is under way. A client that is not accepted yet is
        refused when its handler has ended."""
        if isinstance(self._phase, AcceptedConnection):
            self.close(reasons.SHUTTING_DOWN, "server shutting down")

    def abort(self) -> None:
        self._transport.abort()

    def close(
        self,
        reason_code: int,
        reason: str,
        *,
        clean: bool = False,
        silent: bool = False,
        with_will: bool | None = None,
        properties: dict[str, Any] | None = None,
    ) -> None:
        """End the connection and tell the application, once. What was written still leaves.

        ``silent``: the client is not told why. The will is published unless the end is ``clean``, or as said.
        """
        if self._closed:
            return
        connection = self._phase if isinstance(self._phase, AcceptedConnection) else None
        if connection is not None and not silent:
            self._outgoing.collect_acks()  # after DISCONNECT nothing may follow (MQTT-3.14.4-1)
            connection.goodbye(reason_code, properties)
        self._closed = True
        self._held = True
        if self._admission is not None:
            self._admission.cancel()
        self._timer.cancel()
        if self._throttle is not None:
            self._throttle.cancel()
        if connection is not None:
            if connection.refused:
                self._log(f"the acl did not allow {connection.refused} of its messages")
            connection.end(with_will=not clean if with_will is None else with_will)
        self.disconnect({"type": "mqtt.disconnect", "reason_code": reason_code, "reason": reason, "clean": clean})
        self._flush()
        self._transport.close()
        self._timer = self._loop.call_later(CLOSE_TIMEOUT, self._transport.abort)

    def _log(self, what: str, *, lost: bool = False) -> None:
        log(self._server.name, self._transport, f" ({self.client_id})", what, lost=lost)
