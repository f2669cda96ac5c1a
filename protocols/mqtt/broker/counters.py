"""What the server counts since its start."""


class Counters:
    """Counters of one server. ``started`` is the Unix time of its start."""

    __slots__ = ("bytes_received", "bytes_sent", "messages_dropped", "packets_received", "started")

    def __init__(self, started: float) -> None:
        self.started = started
        self.bytes_received = 0
        self.bytes_sent = 0
        self.packets_received = 0
        self.messages_dropped = 0
        """QoS 0 messages that were dropped because their client does not read."""
