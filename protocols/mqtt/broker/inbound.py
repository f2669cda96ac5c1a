"""What a session knows of a message at QoS 2 that its client has sent, from the PUBLISH to the PUBREL (4.3.3)."""

from typing import Protocol

from protocols.asgi import MQTTReceiveEvent
from protocols.mqtt import qos
from protocols.mqtt.broker.fan_out import FanOut


class Owner(Protocol):
    """A connection whose application has the message, or would have it."""

    def inherit(self, packet: MQTTReceiveEvent, known: "Inbound") -> None:
        """The owner before has given it up: it is yours, as you have heard it."""


class Inbound:
    """One such message, under its packet identifier."""

    __slots__ = ("again", "event", "fan_out", "owner", "state")

    def __init__(self, event: str, state: str = qos.UNHANDLED) -> None:
        self.event = event
        """Its event id, the same each time the client sends it."""
        self.state = state
        """In :data:`protocols.mqtt.qos.RECEIVER_2`."""
        self.fan_out: FanOut | None = None
        """While it is on its way to its subscribers, where they are many."""
        self.owner: Owner | None = None
        """The connection whose application is handling it."""
        self.again: tuple[Owner, MQTTReceiveEvent] | None = None
        """As the client has sent it once more, on another connection, while its owner has it."""
