"""A will: what a client leaves to be published."""

from protocols.mqtt.broker.message import ApplicationMessage


class Will:
    """What is published when the connection ends without a goodbye (3.1.2.5)."""

    __slots__ = ("delay", "due", "message")

    def __init__(self, message: ApplicationMessage, delay: float) -> None:
        self.message = message
        self.delay = delay
        self.due = 0.0
