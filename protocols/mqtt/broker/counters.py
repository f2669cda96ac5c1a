"""What the server counts since its start."""

from protocols.net.traffic import Traffic


class Counters(Traffic):
    """Counters of one server. ``started`` is the Unix time of its start."""

    __slots__ = ("messages_dropped", "packets_received", "started")

    def __init__(self, started: float) -> None:
        super().__init__()
        self.started = started
        self.packets_received = 0
        self.messages_dropped = 0
        """QoS 0 messages that were dropped because their client does not read."""
