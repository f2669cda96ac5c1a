"""What the server tells of itself under ``$SYS/broker``: the usual names of the field."""

from collections.abc import Iterator

from protocols.mqtt.broker.broker import Broker


class Counters:
    """Counted since the server started."""

    __slots__ = ("_started", "bytes_received", "bytes_sent", "messages_dropped", "packets_received")

    def __init__(self, started: float) -> None:
        self._started = started
        self.bytes_received = 0
        self.bytes_sent = 0
        self.packets_received = 0
        self.messages_dropped = 0

    def topics(self, broker: Broker, now: float) -> Iterator[tuple[str, str]]:
        """Topic and text of each."""
        sessions, away = len(broker.sessions), broker.away
        yield "$SYS/broker/version", "gateway"
        yield "$SYS/broker/uptime", f"{now - self._started:.0f} seconds"
        yield "$SYS/broker/clients/connected", str(sessions - away)
        yield "$SYS/broker/clients/disconnected", str(away)
        yield "$SYS/broker/clients/total", str(sessions)
        yield "$SYS/broker/subscriptions/count", str(broker.subscriptions)
        yield "$SYS/broker/retained messages/count", str(broker.retained)
        yield "$SYS/broker/messages/received", str(self.packets_received)
        yield "$SYS/broker/publish/messages/dropped", str(self.messages_dropped)
        yield "$SYS/broker/bytes/received", str(self.bytes_received)
        yield "$SYS/broker/bytes/sent", str(self.bytes_sent)
