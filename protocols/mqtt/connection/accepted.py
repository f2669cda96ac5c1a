"""One accepted connection to its end, sans I/O: packets in, events for the application and bytes out."""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, ClassVar, cast

from protocols.asgi import MQTTReceiveEvent
from protocols.errors import Disconnected, LocalProtocolError
from protocols.mqtt import qos
from protocols.mqtt.broker.broker import Broker
from protocols.mqtt.broker.fan_out import FanOut
from protocols.mqtt.broker.outgoing import Outgoing
from protocols.mqtt.broker.rules import Rules
from protocols.mqtt.broker.session import Session
from protocols.mqtt.connection.answer import encoded
from protocols.mqtt.connection.authentication import Authentication
from protocols.mqtt.connection.errors import Goodbye, broken
from protocols.mqtt.connection.exactly_once import ExactlyOnce
from protocols.mqtt.connection.subscribing import Subscribing
from protocols.mqtt.qos import step
from protocols.mqtt.settings import MQTTSettings
from protocols.mqtt.wire import packets, reasons
from protocols.mqtt.wire.aliases import resolve
from protocols.mqtt.wire.packets import (
    Auth,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Puback,
    Pubcomp,
    Pubrec,
    Pubrel,
    Subscribe,
    Unsubscribe,
)

Event = Any

MOST_DELIVERIES = 4096
"""Deliveries of what one connection publishes, more or less, before others have their turn."""


class AcceptedConnection:
    """What a client may say once it is accepted, and what follows.

    :attr:`unacked` holds, by packet identifier, the QoS 1 messages that the application has not acknowledged, with the
    position in the journal that their PUBACK waits for (0: nothing). ``problems``: the client takes reason strings.
    """

    __slots__ = (
        *("_aliases", "_authentication", "_broker", "_exactly_once", "_journal", "_longest", "_matches", "_most"),
        *("_over", "_outgoing", "_problems", "_queue", "_rules", "_subscribing"),
        *("deliveries", "fan_out", "published", "refused", "session", "unacked"),
    )

    def __init__(
        self,
        broker: Broker,
        settings: MQTTSettings,
        session: Session,
        outgoing: Outgoing,
        *,
        rules: Rules | None,
        asks: bool,
        problems: bool,
        authentication: Authentication,
    ) -> None:
        self.session = session
        self.unacked: dict[int, int] = {}
        self.published = 0
        """Messages that the client has sent."""
        self.refused = 0
        """Messages that the rules did not let through."""
        self.fan_out: FanOut | None = None
        """The delivery of the last message, if it has many subscribers."""
        self.deliveries = 0
        """Deliveries of what it published, since others had their turn."""
        self._broker = broker
        self._journal = broker.journal
        self._matches = broker.matches
        self._outgoing = outgoing
        self._rules = rules
        self._problems = problems
        self._most = settings.max_unacked if outgoing.version == 5 else 65536
        self._longest = settings.max_session_expiry
        self._authentication = authentication
        self._subscribing = Subscribing(broker, session, outgoing, rules, asks=asks)
        self._exactly_once = ExactlyOnce(session, outgoing, broker.journal)
        self._aliases: dict[int, str] | None = None  # the client's
        self._queue: deque[tuple[int, Event]] | None = None  # an empty one is a tenth of an idle client
        self._over = False

    @property
    def busy(self) -> bool:
        """Whether the application has something to answer yet."""
        return bool(self.unacked or self._queue or self._exactly_once.busy or self._subscribing.busy)

    @property
    def user(self) -> str | None:
        return self.session.user

    def follow(self, rules: Rules | None) -> list[str]:
        """Go by other rules from now on. Return the topic filters whose subscriptions they end."""
        self._rules = rules
        self._subscribing.follow(rules)
        return [] if rules is None else self._broker.restrict(self.session, rules)

    # Packets.

    def handle(self, packets: Sequence[Packet]) -> Iterator[Event | None]:
        """Yield the application's events for ``packets``, in order; other packets are answered at once.

        A None between them asks for a pause in which others have their turn: until :attr:`fan_out` is done, if there is
        one. Raises RemoteProtocolError at a packet that breaks the rules, and Goodbye at DISCONNECT. What a client
        publishes goes to its subscribers here, at its arrival, whatever the application does with it.
        """
        unacked, inbound, matches, rules = self.unacked, self.session.inbound, self._matches, self._rules
        exactly_once, most, handlers = self._exactly_once, self._most, self._handlers
        self.published += len(packets)  # less those that are none: to count each would cost more
        for packet in packets:
            if not isinstance(packet, dict):
                self.published -= 1
                event = handlers[type(packet)](self, packet)
                if event is not None:
                    yield from self._in_turn(event)
                continue
            if (packet["properties"] or rules is not None) and not self._passes(packet):
                continue
            packet_id, level = packet["id"], packet["qos"]
            if packet_id is not None:
                room = len(unacked) + exactly_once.begun < most
                if level == 1 and room and packet_id not in unacked and packet_id not in inbound:
                    unacked[packet_id] = 0
                elif not (yield from self._is_new(packet_id, packet)):
                    continue
            if packet["retain"] or matches[packet["topic"]]:
                yield from self._fan_out(packet)
            if self._queue or level == 2:
                yield from self._in_turn(packet)
            else:
                yield packet

    def _passes(self, packet: MQTTReceiveEvent) -> bool:
        """Check its properties; return whether the rules allow it."""
        if packet["properties"]:
            if self._aliases is None:
                self._aliases = {}
            resolve(packet, self._aliases)
        if self._rules is None or self._rules.may_publish(packet["topic"]):
            return True
        self.refused += 1
        if packet["id"] is not None:  # 3.1.1 has no word for it: acknowledged, and it goes nowhere (3.3.5)
            answer = packets.puback if packet["qos"] == 1 else packets.pubrec
            self._outgoing.write(answer(self._outgoing.version, packet["id"], reasons.NOT_AUTHORIZED))
        return False

    def _is_new(self, packet_id: int, packet: MQTTReceiveEvent) -> Generator[Event | None, None, bool]:
        """Return whether this message is to be handled; yield what its repetition brings about."""
        if (fan_out := self._exactly_once.under_way(packet_id)) is not None:
            self.fan_out = fan_out
            yield None  # its repetition is answered when everybody has it
        if self._begin(packet_id, packet):
            return True
        yield from self._repeated(packet)
        return False

    def _begin(self, packet_id: int, packet: MQTTReceiveEvent) -> bool:
        """Begin a message; return whether it is new, which a repetition is not."""
        if packet_id in self.unacked or self._exactly_once.owns(packet_id):
            step(qos.RECEIVER[packet["qos"]], qos.HANDLING, qos.PUBLISH_DUP if packet["dup"] else qos.PUBLISH)
            return False
        if packet["qos"] == 2 and self._exactly_once.repeated(packet_id, packet):
            return False
        if len(self.unacked) + self._exactly_once.begun >= self._most:
            raise broken("more than the receive maximum [MQTT-3.3.4-7]", reasons.RECEIVE_MAXIMUM_EXCEEDED)
        if packet["qos"] == 1:
            self.unacked[packet_id] = 0
        else:
            self._exactly_once.begin(packet_id, packet)
        return True

    def _repeated(self, packet: MQTTReceiveEvent) -> Iterator[Event]:
        return self._in_turn(packet) if "event" in packet else iter(())

    def _fan_out(self, message: MQTTReceiveEvent) -> Iterator[None]:
        """Deliver to the subscribers. Yield None if this takes time, or if many deliveries together have taken it."""
        # 4.7.2: clients must not use $-topics to exchange messages. The application may.
        if message["topic"].startswith("$"):
            return
        keys = message["topic"], message["payload"], message["qos"]
        sent = self._broker.message(*keys, retain=message["retain"], properties=message["properties"])
        self.fan_out = self._broker.publish(sent, self.session)
        if self.fan_out is not None and message["qos"] == 2:
            self._exactly_once.fan_out(cast("int", message["id"]), self.fan_out)
        self.deliveries += len(self._matches[message["topic"]])
        if self.fan_out is not None or self.deliveries > MOST_DELIVERIES:
            yield None
        if self._journal is not None and message["id"] in self.unacked:
            self.unacked[message["id"]] = self._journal.position

    def _puback(self, packet: Puback) -> None:
        self.session.answered(packet.id, qos.PUBACK)

    def _pubrec(self, packet: Pubrec) -> None:
        session, version = self.session, self._outgoing.version
        answer = session.answered(packet.id, qos.PUBREC_ERROR if packet.code >= reasons.UNSPECIFIED else qos.PUBREC)
        if answer == qos.PUBREL_NOT_FOUND:
            self._outgoing.write(packets.pubrel(version, packet.id, reasons.PACKET_ID_NOT_FOUND))
        elif answer == qos.PUBREL:
            session.after(lambda: self._outgoing.write(packets.pubrel(version, packet.id)))

    def _pubrel(self, packet: Pubrel) -> None:
        self._exactly_once.release(packet)

    def _pubcomp(self, packet: Pubcomp) -> None:
        self.session.answered(packet.id, qos.PUBCOMP)

    def _subscribe(self, packet: Subscribe) -> Event:
        return self._subscribing.subscribe(packet)

    def _unsubscribe(self, packet: Unsubscribe) -> Event:
        return self._subscribing.unsubscribe(packet)

    def _pingreq(self, packet: Pingreq) -> None:
        self._outgoing.write(packets.PINGRESP)

    def _auth(self, packet: Auth) -> Event:
        return self._authentication.heard(packet)

    def _disconnect(self, packet: Disconnect) -> None:
        expiry = packet.properties.get("session_expiry_interval")
        if expiry is not None:
            if expiry and not self.session.expiry:
                # "If the Session Expiry Interval in the CONNECT packet was zero, then it is a Protocol Error to set a
                # non-zero Session Expiry Interval in the DISCONNECT packet sent by the Client".
                raise broken("DISCONNECT gives a life to a session without one [3.14.2.2.2]")
            self.session.expiry = min(float(expiry), self._longest)
        raise Goodbye(packet.code)

    def _connect_again(self, packet: Connect) -> None:
        raise broken("a second CONNECT [MQTT-3.1.0-2]")

    _handlers: ClassVar[dict[type, Callable[[Any, Any], Event]]] = {
        Puback: _puback,
        Pubrec: _pubrec,
        Pubrel: _pubrel,
        Pubcomp: _pubcomp,
        Subscribe: _subscribe,
        Unsubscribe: _unsubscribe,
        Pingreq: _pingreq,
        Auth: _auth,
        Disconnect: _disconnect,
        Connect: _connect_again,
    }

    # What the application says.

    def acknowledge(self, event: Mapping[str, Any]) -> None:
        """Acknowledge a message that the application is done with: PUBACK or PUBREC leaves when all that it
        acknowledges is kept.

        At QoS 2 this works after the end of the connection too, because the client may ask on the next one. Raises
        LocalProtocolError, and Disconnected if it is too late.
        """
        packet_id, code = event["id"], event.get("reason_code", reasons.SUCCESS)
        properties = dict(event.get("properties") or {}) if self._problems else {}
        if self._exactly_once.owns(packet_id):
            self._exactly_once.acknowledge(packet_id, code, properties)
        elif self._over:
            raise Disconnected("mqtt.ack: the client is gone, and sends it again")
        elif packet_id not in self.unacked:
            raise LocalProtocolError(f"mqtt.ack: no message {packet_id!r} is waiting for it")
        else:
            self._acknowledge_1(packet_id, code, properties)

    def _acknowledge_1(self, packet_id: int, code: int, properties: dict[str, Any]) -> None:
        outgoing = self._outgoing
        data = encoded(outgoing, packets.puback, outgoing.version, packet_id, code, properties=properties)
        position = self.unacked.pop(packet_id)
        if self._journal is None:
            outgoing.write(data)
        else:
            self._journal.when(position, lambda: outgoing.write(data))

    def granted(self, event: Mapping[str, Any]) -> None:
        """Take ``mqtt.suback``: the application has decided about a SUBSCRIBE. Raises LocalProtocolError."""
        self._subscribing.granted(event)

    def authenticate(self, event: Mapping[str, Any]) -> None:
        """Take ``mqtt.auth``: a step of authenticating again (4.12.1). Raises LocalProtocolError."""
        self._authentication.ask(event)

    def goodbye(self, reason_code: int, properties: Mapping[str, Any] | None = None) -> None:
        """Close the connection, with DISCONNECT and the reason if the version has them."""
        if self._outgoing.version == 5 and not self._over:
            self._outgoing.write(
                encoded(self._outgoing, packets.disconnect, reason_code, properties=dict(properties or {}))
            )

    # How it ends.

    def end(self, *, with_will: bool, absence: float = 0.0) -> None:
        """End the connection. ``absence``: seconds that the client may take to come back before its will counts.

        MQTT-3.1.2-8: "The Will Message MUST be published after the Network Connection is subsequently closed and either
        the Will Delay Interval has elapsed or the Session ends, unless the Will Message has been deleted by the Server
        on receipt of a DISCONNECT packet with Reason Code 0x00 (Normal disconnection)".
        """
        if not self._over:
            self._over = True
            self._queue = None
            if self.session.outgoing is self._outgoing:  # it has not been taken over
                self._broker.close(self.session, with_will=with_will, absence=absence)

    def abandon(self) -> None:
        """The application has ended. QoS 2 messages that it has not answered go to the application of the connection on
        which the client sends them again."""
        self._exactly_once.abandon()

    # What has to wait until it is kept.

    def _in_turn(self, event: Event) -> Iterator[Event]:
        """Yield ``event`` now, or later if it, or something before it, is not kept yet."""
        journal = self.session.journal
        position = journal.position if journal is not None else 0
        if journal is None or (not self._queue and position <= journal.committed):
            yield event
            return
        if self._queue is None:
            self._queue = deque()
        self._queue.append((position, event))
        journal.when(position, self._release)

    def _release(self) -> None:
        journal, queue = self.session.journal, self._queue
        while journal is not None and queue and queue[0][0] <= journal.committed:
            self._outgoing.tell(queue.popleft()[1])
