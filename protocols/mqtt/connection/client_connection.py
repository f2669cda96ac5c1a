"""One client, from its CONNECT on: what its application answers, and how its connection ends."""

import asyncio
import time
from collections.abc import Awaitable
from typing import Any, NamedTuple, cast

from protocols.asgi import MQTTSendEvent
from protocols.mqtt import events, handshake
from protocols.mqtt.access.access import Stays
from protocols.mqtt.broker.session import Session
from protocols.mqtt.connection.accepted import AcceptedConnection
from protocols.mqtt.connection.admission import NotAdmitted, authenticate, authorize
from protocols.mqtt.connection.client_socket import ClientSocket, ConnectionContext
from protocols.mqtt.connection.delivered import delivered
from protocols.mqtt.connection.endings import CLOSE_TIMEOUT
from protocols.mqtt.connection.handshake import Handshake
from protocols.mqtt.connection.keepalive import KeepAlive
from protocols.mqtt.wire import reasons
from protocols.mqtt.wire.packets import Connect
from protocols.mqtt.wire.parser import Parser

SHOWN = 5
"""Topic filters that a line of the log names."""
ABSENCE = 60.0
"""Seconds at most that a client has to connect to the server that goes on with its session."""


class Farewell(NamedTuple):
    """What a client is told when its connection ends although neither it nor its application wants that."""

    code: int
    reason: str
    moves: bool = False
    """Whether another server goes on with its session: the client has not gone, it connects there next."""


SHUTDOWN = Farewell(reasons.SHUTTING_DOWN, "server shutting down")
MOVED = SHUTDOWN._replace(moves=True)
RECONNECT = Farewell(reasons.ADMINISTRATIVE, "to connect again after a reload")


class ClientConnection(ClientSocket):
    """A client that has said CONNECT, and the application's run for it."""

    sends = events.SERVER
    # An acknowledgement is one call a message: mqtt_ack has it checked where it is more than the id that it waits for.
    checks = {kind: check for kind, check in events.CHECKS.items() if kind != "mqtt.ack"}

    __slots__ = ("_admission", "_done", "_farewell", "_unacked")

    def __init__(
        self,
        server: ConnectionContext,
        transport: asyncio.Transport,
        parser: Parser,
        connect: Connect,
        *,
        assigned: bool,
    ) -> None:
        super().__init__(server, transport, parser, connect, assigned=assigned)
        self._admission: asyncio.Task[Any] | None = None
        self._farewell = SHUTDOWN
        self._done = False
        self._unacked: dict[int, int] = {}  # the connection's, when there is one
        self._timer = self._loop.call_later(server.settings.connect_timeout, self._unanswered)

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
            self._server.refusals[f"0x{code:02x}"] += 1
            self._handshake.refuse(handshake.TURN_AWAY, code)
            self._log(f"rejected: {why}", verdict=f"rejected, 0x{code:02x}")
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

    def _unanswered(self) -> None:
        timeout = self._server.settings.connect_timeout
        self._log(f"closed: the application did not answer within {timeout:g} s")
        self._handshake.refuse(handshake.TIMEOUT, reasons.SERVER_UNAVAILABLE)
        self.close(reasons.SERVER_UNAVAILABLE, "the application did not answer")

    # What an operator sees, and does.

    @property
    def session(self) -> Session | None:
        """Its session; None until it is accepted."""
        return self._phase.session if isinstance(self._phase, AcceptedConnection) else None

    def facts(self) -> dict[str, Any]:
        """Return what a list shows of it, beside its session's."""
        outgoing, phase = self._outgoing, self._phase
        return {
            "messages_received": phase.published if isinstance(phase, AcceptedConnection) else 0,
            "messages_sent": outgoing.published,
            "bytes_received": self.bytes_received,
            "bytes_sent": self.bytes_sent,
            "dropped": outgoing.dropped,
            "last_packet": time.time() - (self._loop.time() - self.heard),
        }

    def doing(self) -> str:
        """Say in a word or two how it is."""
        if not isinstance(self._phase, AcceptedConnection):
            return "connecting"
        if self._outgoing.congested:
            return "does not read"
        if self._throttle is not None:
            return "publishes too fast"
        return "its handler is behind" if self._paused else "connected"

    def keepalive(self) -> float:
        """Return the seconds of its keep-alive; 0 if it has none."""
        return self._keepalive.limit / 1.5 if self._keepalive is not None else 0.0

    def remove(self, *, with_will: bool) -> None:
        """End the connection, because an operator wants that."""
        if isinstance(self._phase, AcceptedConnection):
            self._server.broker.disconnect(self._phase.session, with_will=with_will)
        elif not self._closed:
            self._phase.refuse(handshake.APP_END, reasons.SERVER_UNAVAILABLE)
            self.close(reasons.SERVER_UNAVAILABLE, "closed by an operator")

    # What follows a change of the settings.

    def follow(self, stays: Stays) -> None:
        """The server's users and rules are other ones now. A client that may not stay is disconnected."""
        if self._closed or (isinstance(self._phase, Handshake) and self._phase.state == handshake.CHECK):
            return  # they will be asked about it
        user, tls = self._phase.user, self._transport.get_extra_info("ssl_object")
        if not stays(user, tls.getpeercert() if tls is not None else None):
            self._log("closed: its user is gone, or has another password")
            self.leave(reasons.NOT_AUTHORIZED, "not authorized any more")
            return
        forbidden = self._phase.follow(self._server.access.rules_for(self.client_id, user))
        if forbidden:
            self._log(f"the acl ends {len(forbidden)} of its subscriptions: {', '.join(forbidden[:SHOWN])}")

    def leave(self, reason_code: int, reason: str) -> None:
        """Disconnect the client, whose application is told so."""
        if isinstance(self._phase, Handshake):
            self._phase.refuse(handshake.APP_END, reason_code)
        self.close(reason_code, reason)

    # How it ends.

    def _end_by_broker(self, reason_code: int) -> None:
        if reason_code == reasons.TAKEN_OVER:
            self._log("closed: another connection has its client identifier [MQTT-3.1.4-2]")
            self.close(reasons.TAKEN_OVER, "session taken over")
        elif reason_code == reasons.ADMINISTRATIVE:
            self._log("closed: by an operator")
            self.close(reasons.ADMINISTRATIVE, "closed by an operator")
        else:  # soon: a delivery is under way, and a will that is published now might overflow the next subscriber
            self._loop.call_soon(self._overflow)

    def _overflow(self) -> None:
        if not self._closed:
            self._log("closed: it does not acknowledge, and its queue is full")
            self.close(reasons.QUOTA_EXCEEDED, "its queue is full")

    def stop(self, *, moves: bool = False) -> None:
        """The server stops: take nothing more, let what has arrived be handled and acknowledged, close. ``moves``:
        another server goes on with its session, and its will is published if it does not connect there."""
        self._end_with(MOVED if moves else SHUTDOWN)

    def reconnect(self, grace: float) -> None:
        """End it as :meth:`stop` does, for a client that may connect again at once; after ``grace`` seconds whatever is
        under way. A will is published, as where an operator disconnects a client."""
        if not self._stopping and not self._closed:
            self._loop.call_later(grace, self.dismiss)
            self._end_with(RECONNECT)

    def _end_with(self, farewell: "Farewell") -> None:
        self._farewell = farewell
        self._stopping = True
        if self._closed:
            return
        self._transport.pause_reading()
        if isinstance(self._phase, Handshake) and self._phase.state == handshake.CHECK:  # nothing of it is under way
            self._phase.refuse(handshake.STOP, reasons.SERVER_UNAVAILABLE)
            self.close(reasons.SERVER_UNAVAILABLE, farewell.reason)
        self._stop_if_done()

    def _stop_if_done(self) -> None:
        """Close when nothing is under way, and every answer has left: some wait until the journal has what they say."""
        if isinstance(self._phase, AcceptedConnection) and not (self._held or self._phase.busy or self._done):
            self._done = True
            if self._journal is None:
                self.dismiss()
            else:
                self._journal.when(self._journal.position, self.dismiss)

    def dismiss(self) -> None:
        """Close the connection, because the server stops or it is to reconnect, whatever is under way. A client that is
        not accepted yet is refused when its handler has ended."""
        if isinstance(self._phase, AcceptedConnection):
            self.close(self._farewell.code, self._farewell.reason, absence=self._absence())

    def _absence(self) -> float:
        """Return how long its connection could be down before a server would notice, if it moves to another."""
        if not self._farewell.moves:
            return 0.0
        return min(self._keepalive.limit, ABSENCE) if self._keepalive is not None else ABSENCE

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
        absence: float = 0.0,
        properties: dict[str, Any] | None = None,
    ) -> None:
        """End the connection and tell the application, once. What was written still leaves, and the client can read it
        also if it goes on sending (:mod:`protocols.mqtt.connection.endings`).

        ``silent``: the client is not told why. The will is published unless the end is ``clean``, or as said, and if
        the client is not back within ``absence`` seconds.
        """
        if self._closed:
            return
        connection = self._phase if isinstance(self._phase, AcceptedConnection) else None
        if connection is not None and not silent:
            # MQTT-3.14.4-1: after DISCONNECT the sender "MUST NOT send any more MQTT Control Packets".
            self._outgoing.collect_acks()
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
            connection.end(with_will=not clean if with_will is None else with_will, absence=absence)
        self.disconnect({"type": "mqtt.disconnect", "reason_code": reason_code, "reason": reason, "clean": clean})
        last = self._outgoing.take()
        self._write(last)
        told = connection is not None and self._outgoing.version == 5
        if not silent and (connection is not None or last) and self._server.endings.begin(self._transport, told=told):
            self._loop.call_soon(self.connection_lost, None)  # nobody waits for it any longer
        else:
            self._transport.close()
            self._timer = self._loop.call_later(CLOSE_TIMEOUT, self._transport.abort)
