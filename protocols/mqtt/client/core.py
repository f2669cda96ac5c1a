"""Our end of one connection to a broker, sans I/O: bytes in, events and bytes out."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, NamedTuple

from protocols.asgi import MQTTReceiveEvent
from protocols.errors import RemoteProtocolError
from protocols.mqtt import qos as steps
from protocols.mqtt.client.connect_options import ConnectOptions
from protocols.mqtt.client.keepalive import KeepAlive
from protocols.mqtt.client.oversize import Oversize
from protocols.mqtt.client.packet_ids import PacketIds
from protocols.mqtt.client.refused import Refused, in_words
from protocols.mqtt.client.session import ClientSession
from protocols.mqtt.qos import FREE, RECEIVER_2, SENDER, step
from protocols.mqtt.wire import packets, reasons
from protocols.mqtt.wire.aliases import resolve
from protocols.mqtt.wire.packets import (
    Connack,
    Disconnect,
    Packet,
    Pingresp,
    Puback,
    Pubcomp,
    Pubrec,
    Pubrel,
    Suback,
    Unsuback,
)
from protocols.mqtt.wire.parser import BATCH, Parser
from protocols.mqtt.wire.server_decoders import FROM_SERVER

ALL_IDS = 65535
_PUBLISH = 3


class Connected(NamedTuple):
    """CONNACK: the broker has let us in, unless ``code`` says why not."""

    code: int


class Answered(NamedTuple):
    """The broker has answered what we sent under this id."""

    id: int
    codes: Sequence[int]
    """Reason codes, one for each topic filter of a SUBSCRIBE."""


class Ended(NamedTuple):
    """The connection is over, and why. Nothing that comes after it counts."""

    reason: str
    code: int = reasons.UNSPECIFIED
    """The broker's reason code where it gave one (5.0), ours where it broke a rule, else unspecified."""


class Dropped(NamedTuple):
    """A message that is larger than we take: it is acknowledged, so that it does not come again, and lost."""

    topic: str
    size: int
    """Bytes of its packet."""


Event = Connected | Dropped | MQTTReceiveEvent | Answered | Ended


class ClientCore:
    """One connection from CONNECT on. Bytes to send, also after :meth:`receive`, are in :meth:`data_to_send`.

    If the session is kept, an answer is not among them before what it acknowledges is durable: :attr:`waits_for`.
    """

    def __init__(self, options: ConnectOptions, session: ClientSession, now: float) -> None:
        self.session_present = False
        self.properties: dict[str, Any] = {}
        """The properties of the CONNACK (5.0)."""
        self.ended: Ended | None = None
        self.more = False
        """Whether :meth:`receive` may have more events, without more data."""
        self.unsent = 0
        """Bytes of publications that wait in :meth:`data_to_send`."""
        self.keepalive = KeepAlive(options.keepalive, now)
        self._session = session
        self._level = options.level
        self._max_packet = options.max_packet
        self._parser = Parser(options.max_packet, FROM_SERVER, self._level)
        self._oversize: Oversize | None = None
        self._connected = False
        self._aliases: dict[int, str] = {}  # the broker's
        self._out = [_connect(options)]
        self._acks: list[int] = []
        self._unkept: deque[tuple[int, bytes]] = deque()  # with the position in the journal that they wait for
        self._at_least_once: set[int] = set()  # what the application has, at QoS 1
        self._exactly_once: dict[int, bytes] = {}  # and at QoS 2, with its digest
        self._states: dict[int, str] = {}  # of our publications, by packet id
        self._asked: dict[int, tuple[type, int]] = {}  # what answers our SUBSCRIBE or UNSUBSCRIBE; its filters
        self._clearing: set[int] = set()
        self._ids = PacketIds()

    # Bytes in.

    @property
    def unread(self) -> int:
        """Bytes that were received and not looked at yet."""
        return self._parser.waiting

    def append(self, data: bytes) -> None:
        """Keep ``data`` for a later :meth:`receive`."""
        self._parser.append(data if self._oversize is None else self._oversize.feed(data))

    def receive(self, data: bytes = b"") -> list[Event]:
        """Return the events of the next packets, some dozens of them; call it again without data while :attr:`more` is
        set.

        The first event of all is Connected, alone; the last is Ended.
        """
        events: list[Event] = []
        self.more = False
        if self.ended is None:
            self.append(data)
            try:
                self._parse(events)
            except RemoteProtocolError as error:
                events.append(self._broken(error))
        return events

    def _parse(self, events: list[Event]) -> None:
        if self._oversize is not None:
            if not self._oversize.has_passed:
                return
            events.append(self._dropped(self._oversize))
            self._oversize = None
        try:
            parsed = self._parser.feed(most=BATCH if self._connected else 1)
        except RemoteProtocolError as error:
            if error.answer != reasons.TOO_LARGE or not self._connected:
                raise
            self._pass_over(error)
        else:
            self.more = bool(parsed)
            self._handle(parsed, events)

    def _pass_over(self, error: RemoteProtocolError) -> None:
        """Pass over a message that is too large; any other packet that is too large is an error.

        3.1.1 cannot say how much we take. To close the connection would not help: the broker would send it again.
        """
        first, size, data = self._parser.pass_over()
        if first >> 4 != _PUBLISH:
            raise error
        self._oversize = Oversize(first, size, self._level)
        self.append(data)
        self.more = True

    def _dropped(self, oversize: Oversize) -> Event:
        message = oversize.message()
        resolve(message, self._aliases)
        packet_id, code = message["id"], reasons.QUOTA_EXCEEDED if self._level == 5 else reasons.SUCCESS
        if packet_id is not None and packet_id not in self._exactly_once:
            if message["qos"] == 2:
                self._exactly_once[packet_id] = b""
            self.acknowledge(packet_id, code)
        return Dropped(message["topic"], oversize.size)

    def _handle(self, parsed: Iterable[Packet], events: list[Event]) -> None:
        append = events.append
        for packet in parsed:
            if isinstance(packet, dict):
                if not self._connected:
                    raise _broken("PUBLISH before CONNACK [MQTT-3.2.0-1]")
                if packet["properties"]:
                    resolve(packet, self._aliases)
                if packet["id"] is None or self._is_new(packet["id"], packet):
                    append(packet)
                continue
            handler = self._handlers.get(type(packet))
            if handler is None or (not self._connected and type(packet) is not Connack):
                raise _broken(f"{type(packet).__name__.upper()} that is not expected")
            event = handler(self, packet)
            if event is not None:
                append(event)
            if self.ended is not None:
                return

    def _is_new(self, packet_id: int, packet: MQTTReceiveEvent) -> bool:
        """Whether a PUBLISH at QoS 1 or 2 is to be handled. Raises RemoteProtocolError.

        MQTT-3.3.4-9: "The Server MUST NOT send more than Receive Maximum QoS 1 and QoS 2 PUBLISH packets for which it
        has not received PUBACK, PUBCOMP, or PUBREC with a Reason Code of 128 or greater from the Client". That is not
        asked for here: Mosquitto 2.0 sends as many again for each PUBACK.
        """
        what = steps.PUBLISH_DUP if packet["dup"] else steps.PUBLISH
        if packet_id in self._at_least_once or packet_id in self._exactly_once:
            return step(RECEIVER_2, steps.HANDLING, what).answer is steps.EVENT
        if packet["qos"] == 1:
            self._at_least_once.add(packet_id)
        else:
            digest = self._session.digest(packet["topic"], packet["payload"])
            state = self._session.state(packet_id, digest, packet["dup"])
            if step(RECEIVER_2, state, what).answer is steps.PUBREC:
                self._received(packet_id)
                return False
            self._exactly_once[packet_id] = digest
            if (journal := self._session.journal) is not None:
                packet["event"] = self._session.take(journal, packet_id, digest, packet["dup"])
        return True

    def _connack(self, packet: Connack) -> Event:
        if self._connected:
            raise _broken("a second CONNACK [MQTT-3.2.0-2]")
        if packet.code:
            self.ended = Ended(str(Refused("us", packet.code)), packet.code)
            return Connected(packet.code)
        self._connected = True
        self.session_present = packet.present
        self.properties = packet.properties
        # 3.2.2.3.14: "the Client MUST use this value instead of the Keep Alive value the Client sent on CONNECT".
        self.keepalive.interval = packet.properties.get("server_keep_alive", self.keepalive.interval)
        self._session.begin(packet.present)
        self._release_all()
        return Connected(0)

    def _release_all(self) -> None:
        """Release what earlier connections have published; this comes first in a continued session (4.4).

        The publishers were told that the fate of their messages is unknown. A PUBREL is sent even if no PUBREC has
        come: the broker has the message and delivers it, or answers that it has none. Either way the id becomes free.
        """
        for packet_id in sorted(self._session.unreleased):
            self._ids.hold(packet_id)
            self._release(packet_id)

    def _release(self, packet_id: int) -> None:
        self._states[packet_id] = steps.WAIT_PUBCOMP
        self._out.append(packets.pubrel(self._level, packet_id))

    def _puback(self, packet: Puback) -> Event | None:
        return self._answer(packet, steps.PUBACK)

    def _pubrec(self, packet: Pubrec) -> Event | None:
        return self._answer(packet, steps.PUBREC if packet.code < reasons.UNSPECIFIED else steps.PUBREC_ERROR)

    def _pubcomp(self, packet: Pubcomp) -> Event | None:
        return self._answer(Pubcomp(packet.id, reasons.SUCCESS, {}), steps.PUBCOMP)

    def _answer(self, packet: Puback | Pubrec | Pubcomp, what: str) -> Event | None:
        """Take the step that follows for our publication; tell its publisher if it is the last one."""
        packet_id = packet.id
        before = self._states.get(packet_id, FREE)
        after, answer, _ = step(SENDER, before, what)
        if answer is steps.PUBREL:
            self._release(packet_id)
        elif answer is steps.PUBREL_NOT_FOUND:
            self._out.append(packets.pubrel(self._level, packet_id, reasons.PACKET_ID_NOT_FOUND))
        if before is FREE or after is not FREE:
            return None
        del self._states[packet_id]
        if packet_id in self._clearing:
            self._clearing.discard(packet_id)
            self._session.clear(packet_id)
        else:
            self._session.completed(packet_id)
            self._ids.free(packet_id)
        return Answered(packet_id, (packet.code,))

    def _granted(self, packet: Suback | Unsuback) -> Event | None:
        expected, filters = self._asked.get(packet.id, (None, 0))
        if expected is not type(packet):
            return None
        if len(packet.codes) != filters and (self._level == 5 or expected is Suback):
            # "MUST contain a Reason Code for each Topic Filter/Subscription Option pair"; a 3.1.1 UNSUBACK has none.
            raise _broken(f"{len(packet.codes)} reason codes for {filters} filters [MQTT-3.8.4-6, 3.11.3-1]")
        del self._asked[packet.id]
        self._ids.free(packet.id)
        return Answered(packet.id, packet.codes)

    def _pubrel(self, packet: Pubrel) -> None:
        in_hand = packet.id in self._exactly_once
        state = steps.HANDLING if in_hand else steps.WAIT_PUBREL if packet.id in self._session.handled else FREE
        code = reasons.SUCCESS
        if step(RECEIVER_2, state, steps.PUBREL).answer is steps.PUBCOMP:
            self._session.settle(packet.id)
        else:
            code = reasons.PACKET_ID_NOT_FOUND
        self._say_when_kept(packets.pubcomp(self._level, packet.id, code))

    def _pingresp(self, packet: Pingresp) -> None:
        pass

    def _disconnect(self, packet: Disconnect) -> Event:
        self.ended = Ended(f"the broker closed the connection: {in_words(packet.code)}", packet.code)
        return self.ended

    def _broken(self, error: RemoteProtocolError) -> Ended:
        """Tell the broker that it has broken a rule, and end the connection."""
        code = error.answer if isinstance(error.answer, int) else reasons.PROTOCOL_ERROR
        self.disconnect(code)
        hint = f" (max_packet: {self._max_packet})" if code == reasons.TOO_LARGE else ""
        self.ended = Ended(f"the broker broke a rule of MQTT: {error}{hint}", code)
        return self.ended

    # Bytes out.

    @property
    def waits_for(self) -> int:
        """The position in the session's journal that the next answer waits for; 0: none does."""
        return self._unkept[0][0] if self._unkept else 0

    def data_to_send(self, now: float) -> bytes:
        journal = self._session.journal
        while self._unkept and journal is not None and self._unkept[0][0] <= journal.committed:
            self._out.append(self._unkept.popleft()[1])
        if self._acks:
            self._out.append(packets.pubacks(self._acks))  # after what their handlers have sent
            self._acks.clear()
        if not self._out:
            return b""
        data = b"".join(self._out)
        self._out.clear()
        self.unsent = 0
        self.keepalive.sent(now)
        return data

    def acknowledge(self, packet_id: int, code: int = reasons.SUCCESS) -> None:
        """Send PUBACK or PUBREC. That of a QoS 2 message is remembered even if the connection is over."""
        if packet_id not in self._exactly_once:
            self._at_least_once.discard(packet_id)
            if code:
                self._out.append(packets.puback(self._level, packet_id, code))
            else:
                self._acks.append(packet_id)
            return
        refuses = code >= reasons.UNSPECIFIED and self._level == 5
        digest = self._exactly_once.pop(packet_id)
        if RECEIVER_2[steps.HANDLING][steps.ACK_ERROR if refuses else steps.ACK].state is steps.WAIT_PUBREL:
            self._session.handle(packet_id, code, digest)
            self._received(packet_id)
        else:
            self._session.forget(packet_id)
            self._out.append(packets.pubrec(self._level, packet_id, code))

    def _received(self, packet_id: int) -> None:
        self._say_when_kept(packets.pubrec(self._level, packet_id, self._session.handled[packet_id]))

    def _say_when_kept(self, data: bytes) -> None:
        journal = self._session.journal
        if journal is None or (journal.position <= journal.committed and not self._unkept):
            self._out.append(data)
        else:
            self._unkept.append((journal.position, data))

    @property
    def window(self) -> int:
        """Publications that the broker takes at a time (5.0: 3.2.2.3.3), and no more than we have ids for."""
        most: int = self.properties.get("receive_maximum", ALL_IDS)
        return min(ALL_IDS // 2, most)

    def check(self, topic: str, qos: int, retain: bool) -> None:
        """Raises Refused for a publication that the broker has said it does not take."""
        if qos > self.properties.get("maximum_qos", 2):
            raise Refused(f"a message to {topic!r}", reasons.QOS_NOT_SUPPORTED)
        if retain and not self.properties.get("retain_available", 1):  # it would close the connection (3.2.2.3.5)
            raise Refused(f"a message to {topic!r}", reasons.RETAIN_NOT_SUPPORTED)

    def publish(
        self, topic: str, payload: bytes, qos: int, packet_id: int, *, retain: bool, properties: dict[str, Any]
    ) -> None:
        """``packet_id``: as :meth:`reserve` gave it, 0 at QoS 0. Raises Refused for what is larger than the broker
        takes (3.2.2.3.6)."""
        data = packets.publish(self._level, topic, payload, qos, packet_id, retain=retain, properties=properties)
        if len(data) > self.properties.get("maximum_packet_size", len(data)):
            raise Refused(f"a message to {topic!r}", reasons.TOO_LARGE)
        if qos:
            self._states[packet_id] = steps.SENT[qos]
        if qos == 2:
            self._session.published(packet_id)
        self._out.append(data)
        self.unsent += len(data)

    def clear(self, packet_id: int) -> bool:
        """Prepare an id for a publication at QoS 2; return whether to wait for an answer of this id before
        publishing."""
        if not self._session.is_doubtful(packet_id):
            return False
        self._clearing.add(packet_id)
        self._release(packet_id)
        return True

    def subscribe(self, filters: Sequence[tuple[str, int]]) -> int:
        packet_id = self.reserve()
        self._asked[packet_id] = Suback, len(filters)
        self._out.append(packets.subscribe(self._level, packet_id, filters))
        return packet_id

    def unsubscribe(self, filters: Sequence[str]) -> int:
        packet_id = self.reserve()
        self._asked[packet_id] = Unsuback, len(filters)
        self._out.append(packets.unsubscribe(self._level, packet_id, filters))
        return packet_id

    def disconnect(self, code: int = reasons.SUCCESS) -> None:
        """Send DISCONNECT as the last packet. In 3.1.1 there is one for a normal end only."""
        if self._acks:
            self._out.append(packets.pubacks(self._acks))
            self._acks.clear()
        if self._level == 5 or not code:
            self._out.append(packets.disconnect(code))

    def tick(self, now: float) -> list[Event]:
        """Call it when :attr:`keepalive` is due."""
        if self.ended is None and self.keepalive.is_over(now):
            self.ended = Ended(f"the broker has said nothing for {2 * self.keepalive.interval:g} s")
            return [self.ended]
        if self.keepalive.asks(now):
            self._out.append(packets.PINGREQ)
        return []

    # Packet ids.

    def reserve(self) -> int:
        """A packet id for a publication."""
        return self._ids.reserve()

    def free(self, packet_id: int) -> None:
        """Give back an id that is not used after all. While it is being cleared, it becomes free after that."""
        if packet_id in self._clearing:
            self._clearing.discard(packet_id)
        else:
            self._ids.free(packet_id)

    _handlers: ClassVar[dict[type, Callable[["ClientCore", Any], Event | None]]] = {
        Connack: _connack,
        Puback: _puback,
        Pubrec: _pubrec,
        Pubcomp: _pubcomp,
        Suback: _granted,
        Unsuback: _granted,
        Pubrel: _pubrel,
        Pingresp: _pingresp,
        Disconnect: _disconnect,
    }


def _connect(options: ConnectOptions) -> bytes:
    password = None if options.password is None else options.password.encode()
    return packets.connect(
        options.level,
        options.client_id,
        clean=options.clean_start,
        keepalive=options.keepalive,
        username=options.username,
        password=password,
        properties=options.properties,
    )


def _broken(why: str, code: int = reasons.PROTOCOL_ERROR) -> RemoteProtocolError:
    return RemoteProtocolError(why, answer=code)
