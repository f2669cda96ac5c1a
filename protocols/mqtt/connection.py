"""One network connection, from CONNECT to its end, sans I/O: packets in, events for the application and bytes out."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from protocols.asgi import MQTTReceiveEvent, MQTTWill
from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.mqtt import packets
from protocols.mqtt.broker import REFUSED, Broker
from protocols.mqtt.packets import (
    PROTOCOL_ERROR,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Puback,
    Subscribe,
    Unsubscribe,
)
from protocols.mqtt.session import Outlet, Session
from protocols.mqtt.settings import MQTTSettings


class Goodbye(Exception):
    """The client said DISCONNECT."""


class Connection:
    """What a client may say once it is accepted, and what follows.

    :attr:`unacked` holds the packet identifiers of QoS 1 messages that the application has not acknowledged.
    """

    def __init__(self, broker: Broker, settings: MQTTSettings, connect: Connect, outlet: Outlet) -> None:
        self.unacked: set[int] = set()
        self.session = Session(connect.client_id, clean=connect.clean, settings=settings)
        self._broker = broker
        self._matches = broker.matches
        self._outlet = outlet
        self._will = connect.will

    def accept(self) -> None:
        """The application accepts the client: take its session over, say CONNACK, resume delivery."""
        self.session, present = self._broker.open(self.session, self._outlet)
        self._outlet.write(packets.connack(packets.ACCEPTED, present))
        self.session.resume(self._outlet)

    def refuse(self, reason_code: int) -> None:
        """The application, or the server, does not accept it: CONNACK with the return code nearest to MQTT 5's."""
        code = packets.RETURN_CODES.get(reason_code, packets.UNAVAILABLE)
        self._outlet.write(packets.connack(code))

    @property
    def open(self) -> bool:
        """Whether it was accepted and is not over."""
        return self.session.outlet is self._outlet

    def handle(self, packets: Iterable[Packet]) -> Iterator[MQTTReceiveEvent]:
        """The application's events for ``packets``, in order; the others are answered as they come up.

        Raises RemoteProtocolError at one that breaks the rules, Goodbye at DISCONNECT. What a device publishes goes to
        its subscribers here, at its arrival, whatever the application makes of it.
        """
        unacked, matches = self.unacked, self._matches
        for packet in packets:
            if not isinstance(packet, dict):
                _HANDLERS[type(packet)](self, packet)
                continue
            packet_id = packet["id"]
            if packet_id is not None:
                if packet_id in unacked:
                    _check_repeated(packet["dup"])
                    continue
                unacked.add(packet_id)
            if packet["retain"] or matches[packet["topic"]]:
                self._fan_out(packet)
            yield packet

    def acknowledge(self, packet_id: int) -> None:
        """The application is done with a message: its PUBACK may leave. Raises LocalProtocolError."""
        try:
            self.unacked.remove(packet_id)
        except (KeyError, TypeError):
            raise LocalProtocolError(f"mqtt.ack: no message {packet_id!r} is waiting for it") from None

    def publish(self, event: Mapping[str, Any]) -> None:
        """``mqtt.send``: to the matching subscribers of the server. Raises LocalProtocolError."""
        self._broker.send(event)

    def end(self, *, clean: bool) -> None:
        """The connection is over. Unless the client said goodbye, its will is published (MQTT-3.1.2-8)."""
        if not self.open:
            return
        self._broker.close(self.session)
        if self._will is not None and not clean:
            self._fan_out(self._will)

    def _fan_out(self, message: MQTTReceiveEvent | MQTTWill) -> None:
        # 4.7.2: clients must not use $-topics to exchange messages. The application may.
        if not message["topic"].startswith("$"):
            keys = message["topic"], message["payload"], message["qos"], message["retain"], message["properties"]
            self._broker.publish(*keys)

    def _puback(self, packet: Puback) -> None:
        self.session.acknowledged(packet.id)

    def _subscribe(self, packet: Subscribe) -> None:
        codes = self._broker.subscribe(self.session, packet.filters)
        self._outlet.write(packets.suback(packet.id, codes))
        for (topic_filter, _), code in zip(packet.filters, codes, strict=True):
            if topic_filter is not None and code != REFUSED:
                self._broker.replay(self.session, topic_filter, code)

    def _unsubscribe(self, packet: Unsubscribe) -> None:
        self._broker.unsubscribe(self.session, packet.filters)
        self._outlet.write(packets.unsuback(packet.id))

    def _pingreq(self, packet: Pingreq) -> None:
        self._outlet.write(packets.PINGRESP)

    def _disconnect(self, packet: Disconnect) -> None:
        raise Goodbye

    def _connect(self, packet: Connect) -> None:
        raise RemoteProtocolError("a second CONNECT [MQTT-3.1.0-2]", answer=PROTOCOL_ERROR)


def _check_repeated(dup: bool) -> None:
    """A message that is sent again while its handler runs is answered once, by that handler. A new one under an
    identifier in use could not be told apart."""
    if not dup:
        raise RemoteProtocolError("PUBLISH with a packet identifier in use [MQTT-2.3.1-2]", answer=PROTOCOL_ERROR)


_HANDLERS: dict[type, Callable[[Connection, Any], None]] = {
    Puback: Connection._puback,  # noqa: SLF001 -- the class's own table
    Subscribe: Connection._subscribe,  # noqa: SLF001 -- the class's own table
    Unsubscribe: Connection._unsubscribe,  # noqa: SLF001 -- the class's own table
    Pingreq: Connection._pingreq,  # noqa: SLF001 -- the class's own table
    Disconnect: Connection._disconnect,  # noqa: SLF001 -- the class's own table
    Connect: Connection._connect,  # noqa: SLF001 -- the class's own table
}
