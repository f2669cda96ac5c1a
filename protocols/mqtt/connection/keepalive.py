"""When a client that says nothing is given up. Pure.

MQTT-3.1.2-24 (5.0: 3.1.2-22): "If the Keep Alive value is non-zero and the Server does not receive an MQTT Control
Packet from the Client within one and a half times the Keep Alive time period, it MUST close the Network Connection to
the Client as if the network had failed".
"""


class KeepAlive:
    """The clock of a client whose keep-alive is ``seconds``; ``now`` is the time of its last packet."""

    __slots__ = ("_unread", "heard", "limit")

    def __init__(self, seconds: float, now: float) -> None:
        self.limit = 1.5 * seconds
        """Seconds that the client may be silent."""
        self.heard = now
        """The time of its last packet, or of the last time that its silence was excused."""
        self._unread = 0

    @property
    def due(self) -> float:
        """The time at which the client is given up."""
        return self.heard + self.limit

    def wrote(self, size: int) -> None:
        """Note that so many more bytes wait for the client to read them."""
        self._unread += size

    def reads(self, unread: int) -> bool:
        """Return whether the client has read anything since the last call; ``unread`` bytes wait for it now."""
        before, self._unread = self._unread, unread
        return unread < before
