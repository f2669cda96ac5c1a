"""A connection to a broker in memory, without sockets and clocks."""

from typing import Any

from protocols.mqtt.broker.broker import Broker
from protocols.mqtt.broker.counters import Counters
from protocols.mqtt.broker.outgoing import Outgoing
from protocols.mqtt.connection.accepted import AcceptedConnection
from protocols.mqtt.connection.errors import Goodbye
from protocols.mqtt.connection.handshake import Handshake
from protocols.mqtt.settings import MQTTSettings
from protocols.mqtt.wire.packets import Connect
from protocols.mqtt.wire.parser import Parser
from protocols.mqtt.wire.reasons import TAKEN_OVER


class Clock:
    """Unix time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Client:
    """What it says goes in as bytes, what it hears comes out as packets.

    ``accept`` is the application's event; None: it has not answered yet.
    """

    def __init__(
        self,
        broker: Broker,
        hello: bytes,
        *,
        accept: dict[str, Any] | None = {},  # noqa: B006 -- nobody writes to it
        assigned: bool = False,
        **settings: Any,
    ) -> None:
        self.told: list[Any] = []
        self.ended = ""
        self.parser = Parser(100_000)
        (packet,) = self.parser.feed(hello)
        assert isinstance(packet, Connect)
        if assigned:
            packet = packet._replace(client_id="auto-1")
        self.outgoing = Outgoing(packet.version, packet.properties, Counters(0.0), self)
        self.version = packet.version
        self.phase: Handshake | AcceptedConnection
        self.phase = self.handshake = Handshake(
            broker, MQTTSettings(**settings), packet, self.outgoing, assigned=assigned
        )
        self.handshake.admit()
        if accept is not None:
            self.accept(accept)

    def accept(self, event: dict[str, Any]) -> None:
        """The application's ``mqtt.accept``."""
        self.phase = self.connection = self.handshake.accept(event)

    def say(self, *data: bytes) -> list[Any]:
        """The application's events."""
        return list(self.phase.handle(self.parser.feed(b"".join(data))))

    def heard(self) -> list[bytes]:
        self.outgoing.collect_acks()
        out, self.outgoing.data = self.outgoing.data, []
        return out

    def acknowledge(self, packet_id: int, **more: Any) -> None:
        """The application's ``mqtt.ack``."""
        self.connection.acknowledge({"id": packet_id, **more})

    def cut(self) -> None:
        """The connection breaks; its application may still run."""
        self.connection.end(with_will=True)

    def quit(self, goodbye: bytes) -> None:
        """It says DISCONNECT."""
        try:
            self.say(goodbye)
        except Goodbye as said:
            self.connection.end(with_will=said.code != 0)
        else:
            raise AssertionError("no goodbye")

    def notified(self) -> None:
        self.told += self.outgoing.take_events()
        if self.outgoing.ending == TAKEN_OVER and not self.ended:
            self.ended = "taken over"
            self.connection.end(with_will=True)
        elif self.outgoing.ending:
            self.ended = self.ended or "overflow"
