"""What the server counts since its start."""


class Counters:
    """``started``: Unix time."""

    __slots__ = ("bytes_received", "bytes_sent", "messages_dropped", "packets_received", "started")

    def __init__(self, started: float) -> None:
        self.started = started
        self.bytes_received = 0
        self.bytes_sent = 0
        self.packets_received = 0
        self.messages_dropped = 0
        """At QoS 0, to clients that do not read."""
