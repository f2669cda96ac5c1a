"""The server's own topics under ``$SYS/broker``, by the names that Mosquitto uses."""

from collections.abc import Iterator

from protocols.mqtt.broker.broker import Broker
from protocols.mqtt.broker.counters import Counters


def sys_topics(counters: Counters, broker: Broker, now: float) -> Iterator[tuple[str, str]]:
    """Return each topic with its text."""
    sessions, away = len(broker.sessions), broker.away
    yield "$SYS/broker/version", "gateway"
    yield "$SYS/broker/uptime", f"{now - counters.started:.0f} seconds"
    yield "$SYS/broker/clients/connected", str(sessions - away)
    yield "$SYS/broker/clients/disconnected", str(away)
    yield "$SYS/broker/clients/total", str(sessions)
    yield "$SYS/broker/subscriptions/count", str(broker.subscriptions)
    yield "$SYS/broker/retained messages/count", str(len(broker.retained))
    yield "$SYS/broker/messages/received", str(counters.packets_received)
    yield "$SYS/broker/publish/messages/dropped", str(counters.messages_dropped)
    yield "$SYS/broker/bytes/received", str(counters.bytes_received)
    yield "$SYS/broker/bytes/sent", str(counters.bytes_sent)
