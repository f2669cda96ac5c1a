"""One network connection to a broker: the socket and the clock around a :class:`ClientCore`."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

from protocols.asgi import MQTTReceiveEvent
from protocols.errors import Disconnected
from protocols.mqtt.client.connect_options import ConnectOptions
from protocols.mqtt.client.core import Answered, ClientCore, Connected, Dropped, Ended, Event
from protocols.mqtt.client.refused import Refused
from protocols.mqtt.client.session import ClientSession
from protocols.mqtt.wire import reasons
from protocols.net.write_buffer import unreceived
from protocols.tasks import Tasks

logger = logging.getLogger(__name__)

READ_AHEAD = 64 * 1024
"""Bytes that may wait, unread, before the socket is read no more."""
TURN = 4
"""Times that some dozens of packets are looked at before others have their turn of the event loop. What the application
has left of one turn is not lost: it may come in the same turn of the event loop as the next."""
COALESCE = 64 * 1024
"""Bytes of publications that wait for the end of this turn of the event loop, to leave together."""
CLOSE_TIMEOUT = 2.0
"""Seconds for our last words to leave, and for the broker to close."""

_LOST = Ended("the connection is lost")


class BrokerConnection(asyncio.Protocol):
    """A connection that is up, made by :meth:`connect`. Its owner calls `watch`, `deliver`, and at the end `close`."""

    def __init__(self, options: ConnectOptions, session: ClientSession) -> None:
        self.lost: Ended | None = None
        """Why it is over, when it is."""
        self.closed_by_us = False
        self.tasks = Tasks("mqtt-client")
        self._loop = asyncio.get_running_loop()
        self._core = ClientCore(options, session, self._loop.time())
        self._journal = session.journal
        self._options = options
        self._transport: asyncio.Transport | None = None
        self._connected = self._loop.create_future()
        self._gone = asyncio.Event()  # the socket is closed
        self._deliver: Callable[[MQTTReceiveEvent], None] = _ignore
        self._tell: Callable[[Ended], None] = _ignore
        self._waiting: dict[int, asyncio.Future[Sequence[int]]] = {}
        self._window = asyncio.Semaphore(1)
        self._under_way: set[int] = set()  # publications, each with its place in the window
        self._full = False
        self._resting = False
        self._turn = TURN
        self._flushing = False
        self._awaited = 0  # position in the journal
        self._writable = asyncio.Event()
        self._writable.set()
        self._unread_by_broker = 0
        self._timers: dict[Callable[[], None], asyncio.TimerHandle] = {}

    @classmethod
    async def connect(cls, options: ConnectOptions, session: ClientSession) -> "BrokerConnection":
        """Connect and say who we are. Raises Refused, OSError (``ssl.SSLError`` too) or Disconnected."""
        connection = cls(options, session)
        try:
            await connection._open(options)
            await connection._connected
        except BaseException:
            connection.abort()
            raise
        return connection

    async def _open(self, options: ConnectOptions) -> None:
        if options.open_websocket is not None:
            await options.open_websocket(options.url, options.tls, options.largest, self, self.tasks)
        else:
            await self._loop.create_connection(lambda: self, options.host, options.port, ssl=options.tls)

    # What its owner asks.

    @property
    def session_present(self) -> bool:
        return self._core.session_present

    @property
    def properties(self) -> dict[str, Any]:
        """The CONNACK's (5.0)."""
        return self._core.properties

    @property
    def names(self) -> tuple[Any, Any]:
        """The socket's own name and its peer's."""
        transport = cast("asyncio.Transport", self._transport)
        return transport.get_extra_info("sockname"), transport.get_extra_info("peername")

    def watch(self, lost: Callable[[Ended], None]) -> None:
        """Call ``lost`` once when the connection is over, before anybody who waits for an answer learns of it."""
        self._tell = lost
        if self.lost:
            lost(self.lost)

    def deliver(self, deliver: Callable[[MQTTReceiveEvent], None]) -> None:
        """Call ``deliver`` with each message from now on; until then none is looked at."""
        self._deliver = deliver
        self.resume()

    def acknowledge(self, id: int, reason_code: int = 0) -> None:
        """PUBACK, or PUBREC. Of a message at QoS 2 it is remembered even where the connection is lost."""
        self._core.acknowledge(id, reason_code)
        self._flush_soon()

    async def publish(self, topic: str, payload: bytes, qos: int, retain: bool, properties: dict[str, Any]) -> None:
        """Return when the socket takes it (QoS 0) or the broker has taken it (QoS 1 and 2).

        Raises Refused, or Disconnected, also where there is no answer in time.
        """
        self._check_alive()
        self._core.check(topic, qos, retain)
        if qos:
            code = await self._publish(topic, payload, qos, retain, properties)
            if code >= reasons.UNSPECIFIED:
                raise Refused(f"a message to {topic!r}", code)
            return
        self._core.publish(topic, payload, 0, 0, retain=retain, properties=properties)
        if self._core.unsent > COALESCE:
            self._flush()
        else:
            self._flush_soon()
        if not self._writable.is_set():
            await self._writable.wait()
            self._check_alive()

    async def _publish(self, topic: str, payload: bytes, qos: int, retain: bool, properties: dict[str, Any]) -> int:
        await self._window.acquire()
        packet_id = 0
        try:
            self._check_alive()
            packet_id = self._core.reserve()
            if qos == 2 and self._core.clear(packet_id):
                await self._answer(packet_id)
            self._core.publish(topic, payload, qos, packet_id, retain=retain, properties=properties)
        except BaseException:
            if packet_id:
                self._core.free(packet_id)
            self._window.release()
            raise
        self._under_way.add(packet_id)
        [code] = await self._answer(packet_id)
        return code

    async def subscribe(self, filters: Sequence[tuple[str, int]]) -> None:
        """Raises Refused if the broker refuses one of them, or Disconnected."""
        self._check_alive()
        codes = await self._answer(self._core.subscribe(filters))
        for (text, _), code in zip(filters, codes, strict=True):
            if code >= reasons.UNSPECIFIED:
                raise Refused(f"the subscription {text!r}", code)

    async def unsubscribe(self, filters: Sequence[str]) -> None:
        """Raises Disconnected."""
        self._check_alive()
        await self._answer(self._core.unsubscribe(filters))

    @property
    def paused(self) -> bool:
        """Whether what arrives is left unread. Not where an answer is waited for: its handler would wait for ever."""
        return self._full and not self._waiting

    def pause(self) -> None:
        """Read no more, but for the answers that somebody here waits for."""
        self._full = True

    def resume(self) -> None:
        self._full = False
        self._read_on()

    def drop(self, reason: str) -> None:
        """Close at once, because of ``reason``."""
        self._end(Ended(reason))
        self.abort()

    async def close(self, reason_code: int = 0) -> None:
        """Say goodbye and close; bounded."""
        if not self.lost:
            await self._until_kept()
        if not self.lost:
            self._core.disconnect(reason_code)
            self._flush()
            self._end_by_us(reason_code)
        if self._transport is not None:
            self._hang_up(self._transport)
            await _in_time(self._gone)
        self.abort()
        await self.tasks.cancel()

    def _hang_up(self, transport: asyncio.Transport) -> None:
        """Send what is written, and drop what still comes until the broker closes, as DISCONNECT asks it to (3.14.4). A
        socket that is closed before it is read to its end resets the connection: the broker that sends the
        next message then fails to, gives the connection up, and may not have read our acknowledgements yet.
        """
        if transport.is_closing():  # TLS in asyncio that is closed twice can be aborted no more
            return
        if self._options.open_websocket is not None:
            transport.close()  # its closing handshake (RFC 6455, 7.1.1) does the same
            return
        if transport.can_write_eof():
            with contextlib.suppress(OSError):  # the broker has gone, and this is not known here yet
                transport.write_eof()
        transport.resume_reading()

    async def _until_kept(self) -> None:
        """What stands for a message that is handled leaves before our goodbye."""
        if self._journal is not None and self._core.waits_for:
            kept = asyncio.Event()
            self._journal.when(self._journal.position, kept.set)
            await _in_time(kept)

    def abort(self) -> None:
        """Close at once."""
        self._end_by_us(0)
        if self._transport is not None:
            self._transport.abort()

    def _end_by_us(self, reason_code: int) -> None:
        self.closed_by_us = self.closed_by_us or not self.lost
        self._end(Ended("closed by us", reason_code))

    def _check_alive(self) -> None:
        if self.lost:
            raise Disconnected(self.lost.reason)

    async def _answer(self, packet_id: int) -> Sequence[int]:
        """Wait for the reason codes that answer this packet id, which is sent now."""
        answer = self._waiting[packet_id] = self._loop.create_future()
        self._flush_soon()
        if self._full:
            self._read_on()
        try:
            async with asyncio.timeout(self._options.timeout):
                codes: Sequence[int] = await answer
                return codes
        except TimeoutError as error:
            self.drop(f"no answer from the broker within {self._options.timeout:g} s")
            raise Disconnected("no answer from the broker") from error
        finally:
            if self._waiting.get(packet_id) is answer:  # once it is answered, the id may be another's already
                del self._waiting[packet_id]

    # What the socket tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if self.lost:
            self._transport.abort()
            return
        self._flush()

    def data_received(self, data: bytes) -> None:
        if self.lost:
            return
        self._core.keepalive.heard(self._loop.time())
        if self._resting or self.paused:
            self._core.append(data)
            self._hold_back()
        else:
            self._turn = TURN
            self._work(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._gone.set()
        if not self._resting:
            self._turn = TURN
            self._work()

    def pause_writing(self) -> None:
        self._writable.clear()
        self._unread_by_broker = unreceived(cast("asyncio.Transport", self._transport))
        self._set_timer(self._check_reads, self._loop.time() + self._options.timeout)

    def resume_writing(self) -> None:
        self._writable.set()

    def _check_reads(self) -> None:
        """A broker that does not read is given up: what we have to say would wait in memory."""
        if self._writable.is_set() or self.lost:
            return
        before, self._unread_by_broker = self._unread_by_broker, unreceived(cast("asyncio.Transport", self._transport))
        if self._unread_by_broker >= before:
            self.drop(f"the broker does not read: nothing for {self._options.timeout:g} s")
        else:
            self._set_timer(self._check_reads, self._loop.time() + self._options.timeout)

    # What arrives.

    def _work(self, data: bytes = b"") -> None:
        """Look at packets until there are none, the application's queue is full, or others are to have their turn.

        When the socket is closed, also of what the application has no room for: there may be a reason among it.
        """
        core, gone = self._core, self._gone.is_set()
        core.append(data)
        while self._turn and (gone or not self.paused):
            self._turn -= 1
            for event in core.receive():
                if isinstance(event, dict):
                    self._pass_on(event)
                else:
                    self._hear(event)
            if not core.more:
                self._flush_soon()
                if gone:
                    self._end(_LOST)
                return
        self._flush_soon()
        if not self._turn:
            self._rest()

    def _pass_on(self, message: MQTTReceiveEvent) -> None:
        """Give the application a message; one that has an event id when that is kept, so that it has the same one if
        this process is killed and the broker sends it again."""
        if self._journal is not None and "event" in message:
            self._journal.when(self._journal.position, partial(self._pass_on_kept, message))
        else:
            self._deliver(message)

    def _pass_on_kept(self, message: MQTTReceiveEvent) -> None:
        if not self.lost:
            self._deliver(message)

    def _hear(self, event: Event) -> None:
        match event:
            case Answered(packet_id, codes):
                self._answered(packet_id, codes)
            case Dropped(topic, size):
                logger.warning(
                    "mqtt %s: a message to %r is lost: its %d bytes are more than max_packet, %d",
                    *(self._options.client_id, topic, size, self._options.max_packet),
                    extra={"lost": True},
                )
            case Ended():
                self._end(event)
                self._flush()
                cast("asyncio.Transport", self._transport).close()
            case Connected(0):
                self._full = True  # until deliver(): what was kept for us may have come with it
                self._window = asyncio.Semaphore(self._core.window)
                self._check_keepalive()
                self._connected.set_result(None)
            case Connected(code):
                self._fail_to_connect(Refused("us", code))

    def _answered(self, packet_id: int, codes: Sequence[int]) -> None:
        if packet_id in self._under_way:
            self._under_way.discard(packet_id)
            self._window.release()
        answer = self._waiting.pop(packet_id, None)
        if answer is not None and not answer.done():
            answer.set_result(codes)

    def _rest(self) -> None:
        self._resting = True
        self._hold_back()
        self._loop.call_soon(self._after_rest)

    def _after_rest(self) -> None:
        self._resting = False
        self._turn = TURN
        if self._gone.is_set():
            self._work()
        else:
            self._read_on()

    def _hold_back(self) -> None:
        if self._core.unread > READ_AHEAD and self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def _read_on(self) -> None:
        """Unless something keeps us from it yet."""
        if self._may_read():
            self._core.keepalive.heard(self._loop.time())  # what it said meanwhile may still be in the socket
            self._work()
        if self._may_read() and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _may_read(self) -> bool:
        return not (self.lost or self._gone.is_set() or self.paused or self._resting)

    # What leaves.

    def _flush_soon(self) -> None:
        if not self._flushing and not self.lost:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Send what is ready; after our DISCONNECT nothing (3.14.4), also what was kept too late for it."""
        self._flushing = False
        if self.closed_by_us:
            return
        data = self._core.data_to_send(self._loop.time())
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
        position = self._core.waits_for
        if self._journal is not None and position > self._awaited:
            self._awaited = position
            self._journal.when(position, self._flush)

    # The clock.

    def _check_keepalive(self) -> None:
        now = self._loop.time()
        if self.paused or self._resting:
            self._core.keepalive.heard(now)
        for event in self._core.tick(now):
            self._hear(event)
        self._flush()
        due = self._core.keepalive.due
        if due is not None:
            self._set_timer(self._check_keepalive, due)

    def _set_timer(self, call: Callable[[], None], when: float) -> None:
        if not self.lost:
            self._timers[call] = self._loop.call_at(when, call)

    def _end(self, ended: Ended) -> None:
        if self.lost:
            return
        self.lost = ended
        for timer in self._timers.values():
            timer.cancel()
        self._tell(ended)
        error = Disconnected(ended.reason)
        self._fail_to_connect(error)
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(error)
        for _ in self._under_way:
            self._window.release()
        self._under_way.clear()
        self._writable.set()

    def _fail_to_connect(self, error: Exception) -> None:
        if not self._connected.done():
            self._connected.set_exception(error)
            self._connected.exception()  # nobody may wait for it any more


def _ignore(_: object) -> None:
    pass


async def _in_time(event: asyncio.Event) -> None:
    """Wait for ``event``, for ``CLOSE_TIMEOUT`` seconds at most."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_TIMEOUT):
            await event.wait()
