"""A message on its way to one client."""

from protocols.mqtt.broker.message import ApplicationMessage
from protocols.mqtt.broker.share import Share
from protocols.mqtt.qos import SENT


class Outbound:
    """One message to one client at QoS 1 or 2."""

    __slots__ = ("identifiers", "message", "number", "packet_id", "qos", "retain", "share", "state")

    def __init__(
        self,
        message: ApplicationMessage,
        qos: int,
        *,
        retain: bool,
        identifiers: tuple[int, ...],
        share: Share | None = None,
    ) -> None:
        self.message = message
        self.qos = qos
        self.retain = retain
        self.identifiers = identifiers
        self.share = share
        self.number = 0
        """Its key in the journal; 0 if it is not kept."""
        self.packet_id = 0
        self.state = SENT[qos]
        """In :data:`protocols.mqtt.qos.SENDER`."""
