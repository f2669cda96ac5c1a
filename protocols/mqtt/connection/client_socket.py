"""The socket's side of one client's connection: its packets are worked through in turns, and what is for it is sent."""

import asyncio
import socket
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, Protocol, cast

from protocols.app_run import AppRun
from protocols.errors import RemoteProtocolError
from protocols.mqtt import handshake
from protocols.mqtt.broker.fan_out import FanOut
from protocols.mqtt.broker.outgoing import COALESCE, Outgoing
from protocols.mqtt.connection.accepted import AcceptedConnection
from protocols.mqtt.connection.context import ServerContext, log
from protocols.mqtt.connection.errors import Goodbye
from protocols.mqtt.connection.handshake import Handshake
from protocols.mqtt.connection.keepalive import KeepAlive
from protocols.mqtt.connection.rate import Rate
from protocols.mqtt.connection.scope import scope_of
from protocols.mqtt.wire import packets, reasons
from protocols.mqtt.wire.packets import Connect
from protocols.mqtt.wire.parser import Parser
from protocols.net.write_buffer import unreceived
from protocols.resources import moment

READ_AHEAD = 64 * 1024
"""Bytes taken from a client whose application is not ready for them, before its socket is left alone."""
TURN = 500
"""Packets of one client that are worked through before others have their turn: a read may bring 17,000 small ones."""
UNKEPT = 10_000
"""Changes of state that wait for the disk; then nothing more is read until they are kept."""


class ConnectionContext(ServerContext, Protocol):
    """What the server does for each connection that has said CONNECT."""

    async def until_gone(self, client_id: str) -> None:
        """Wait until what this client said on its last connection, which is lost, has been looked at, and until the
        application has heard it, unless that waits for something else meanwhile."""

    def leaving(self, client: "ClientSocket") -> None:
        """Its connection is lost, and what it said is still to be looked at, or to be heard."""

    def disconnected(self, client: "ClientSocket") -> None: ...


class ClientSocket(AppRun, asyncio.Protocol):
    """A client that has said CONNECT. A subclass says what the application may answer, and how the connection ends."""

    is_connection = True

    # Beside the base's own attributes; a dict of them all would cost an idle client a quarter more.
    __slots__ = (
        *("_closed", "_events", "_held", "_journal", "_keepalive", "_loop", "_lost", "_outgoing", "_parser", "_phase"),
        *("_rate", "_resting", "_server", "_stopping", "_told_dropped", "_throttle", "_timer", "_transport", "_turn"),
        *("bytes_received", "bytes_sent", "client_id", "generation", "heard", "since"),
    )

    _timer: asyncio.TimerHandle

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
        self.since = moment()
        """When it said CONNECT."""
        self._outgoing = Outgoing(connect.version, connect.properties, server.counters, self)
        self._server = server
        self._transport = transport
        self._parser = parser
        self._journal = server.broker.journal
        self._loop = asyncio.get_running_loop()
        self.heard = self._loop.time()
        """The time of its last packet."""
        self.bytes_received = self.bytes_sent = 0
        """After CONNECT."""
        self._told_dropped = 0
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
        self._stopping = False
        self.generation = server.generation
        """How many applications its server had before the one that it has."""
        self._closed = False
        self._phase: Handshake | AcceptedConnection = Handshake(
            server.broker, server.settings, connect, self._outgoing, assigned=assigned
        )
        # A client without an MQTT keep-alive that has gone without a word is found by TCP.
        if (sock := transport.get_extra_info("socket")) is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        transport.set_write_buffer_limits(server.settings.max_unsent)

    # What a subclass decides.

    @abstractmethod
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
        """End the connection and tell the application, once."""

    @abstractmethod
    def _end_by_broker(self, reason_code: int) -> None:
        """The broker ends the connection."""

    @abstractmethod
    def _stop_if_done(self) -> None:
        """The server stops: close, if nothing is under way any more."""

    # What arrives.

    def data_received(self, data: bytes) -> None:
        size = len(data)
        self.bytes_received += size
        self._server.counters.bytes_received += size
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

    def _handle(self, data: bytes = b"") -> None:
        if self._closed:
            return
        try:
            self._work(data)
        except Goodbye as goodbye:
            with_will = goodbye.code != reasons.SUCCESS  # 3.14.4: only success discards it
            self.close(goodbye.code, "", clean=True, silent=True, with_will=with_will)
        except RemoteProtocolError as error:
            code = error.answer if isinstance(error.answer, int) else reasons.PROTOCOL_ERROR
            self._log(f"closed: {error}", verdict=f"closed, 0x{code:02x}")
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
                self.heard = self._loop.time()
                if self._keepalive is not None:
                    self._keepalive.heard = self.heard
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

    # What leaves.

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
        if dropped := self._outgoing.dropped - self._told_dropped:
            self._log(f"{dropped} QoS 0 messages to it dropped while it did not read")
            self._told_dropped += dropped
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
        """Send what is ready; after our last words nothing."""
        data = self._outgoing.take()
        if not self._closed:
            self._write(data)
        if self._stopping:
            self._stop_if_done()

    def _write(self, data: bytes) -> None:
        if data and not self._transport.is_closing():
            self.bytes_sent += len(data)
            self._server.counters.bytes_sent += len(data)
            if self._outgoing.congested and self._keepalive is not None:
                self._keepalive.wrote(len(data))
            self._transport.write(data)

    # The keep-alive.

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

    def _log(self, what: str, *, verdict: str = "", lost: bool = False) -> None:
        log(self._server.name, self._transport, self.client_id, what, verdict=verdict, lost=lost)
