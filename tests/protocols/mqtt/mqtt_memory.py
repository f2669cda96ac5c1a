"""A connection to a broker in memory, without sockets and clocks."""

from typing import Any

from protocols.mqtt.broker.broker import Broker
from protocols.mqtt.broker.peer import Goodbye
from protocols.mqtt.connection.connection import Connection
from protocols.mqtt.connection.handshake import Handshake
from protocols.mqtt.settings import MQTTSettings
from protocols.mqtt.wire.aliases import Aliases
from protocols.mqtt.wire.packets import Connect
from protocols.mqtt.wire.parser import Parser


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
        self.out: list[bytes] = []
        self.told: list[Any] = []
        self.ended = ""
        self.congested = False
        self.parser = Parser(100_000)
        (packet,) = self.parser.feed(hello)
        assert isinstance(packet, Connect)
        if assigned:
            packet = packet._replace(client_id="auto-1")
        self.version = packet.version
        self.max_packet = packet.properties.get("maximum_packet_size", 0)
        taken = packet.properties.get("topic_alias_maximum", 0)
        self.aliases = Aliases(taken) if taken else None
        self.phase: Handshake | Connection
        self.phase = self.handshake = Handshake(broker, MQTTSettings(**settings), packet, self, assigned=assigned)
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
        out, self.out = self.out, []
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

    # What the connection calls.

    def write(self, data: bytes) -> None:
        self.out.append(data)

    def offer(self, data: bytes) -> bool:
        if not self.congested:
            self.out.append(data)
        return not self.congested

    def tell(self, event: Any) -> None:
        self.told.append(event)

    def overflow(self) -> None:
        self.ended = "overflow"

    def taken_over(self) -> None:
        self.ended = "taken over"
        self.connection.end(with_will=True)
