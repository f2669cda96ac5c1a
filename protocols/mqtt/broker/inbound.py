"""A QoS 2 message that a client has sent, as its session knows it from the PUBLISH to the PUBREL (4.3.3)."""

from typing import Protocol

from protocols.asgi import MQTTReceiveEvent
from protocols.mqtt import qos
from protocols.mqtt.broker.fan_out import FanOut


class Owner(Protocol):
    """A connection whose application has the message, or would have it."""

    def inherit(self, packet: MQTTReceiveEvent, known: "Inbound") -> None:
        """Take over the message, which was sent again as ``packet``, because its owner has given it up."""


class Inbound:
    """One such message, under its packet identifier."""

    __slots__ = ("again", "event", "fan_out", "owner", "state")

    def __init__(self, event: str, state: str = qos.UNHANDLED) -> None:
        self.event = event
        """Its event id, the same each time the client sends it."""
        self.state = state
        """A state of :data:`protocols.mqtt.qos.RECEIVER_2`."""
        self.fan_out: FanOut | None = None
        """Its delivery to many subscribers, as long as that is not complete."""
        self.owner: Owner | None = None
        """The connection whose application is handling it."""
        self.again: tuple[Owner, MQTTReceiveEvent] | None = None
        """The connection on which the client has sent it again while its owner has it, and the event there."""
