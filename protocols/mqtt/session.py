"""What the server keeps for one client identifier: its subscriptions, and the messages on their way to it. Pure.

The session outlives the network connection where the client asked for that (clean session 0). While there is one, the
connection is the session's :class:`Outlet`.
"""

from functools import cached_property
from typing import Any, Protocol

from protocols.mqtt import packets
from protocols.mqtt.settings import MQTTSettings

OVERHEAD = 256
"""Bytes that one kept message costs besides its topic and payload, roughly: the queues' limits count it."""


class Message:
    """One application message on its way to any number of subscribers, encoded once for all of them."""

    def __init__(self, topic: str, payload: bytes, qos: int, *, retain: bool, properties: dict[str, Any]) -> None:
        self.topic = topic
        self.payload = payload
        self.qos = qos
        self.retain = retain
        self.properties = properties

    @property
    def size(self) -> int:
        return OVERHEAD + len(self.topic) + len(self.payload)

    @cached_property
    def at_most_once(self) -> bytes:
        """The packet at QoS 0."""
        return packets.publish(self.topic, self.payload, retain=self.retain)

    @cached_property
    def head(self) -> bytes:
        """The packet at QoS 1, up to its packet identifier."""
        return packets.publish_head(self.topic, self.payload, retain=self.retain)

    def at_least_once(self, packet_id: int) -> bytes:
        """The packet at QoS 1."""
        return self.head + packet_id.to_bytes(2, "big") + self.payload

    def again(self, packet_id: int) -> bytes:
        """The packet at QoS 1, delivered again (MQTT-3.3.1-1)."""
        head = packets.publish_head(self.topic, self.payload, retain=self.retain, dup=True)
        return head + packet_id.to_bytes(2, "big") + self.payload


class Outlet(Protocol):
    """A network connection, as a session sees it."""

    def write(self, data: bytes) -> None:
        """Send ``data``."""

    def offer(self, data: bytes) -> None:
        """Send ``data``, or drop it where the peer does not read."""

    def overflow(self) -> None:
        """The peer does not acknowledge and its queue is full: close, soon."""

    def taken_over(self) -> None:
        """Another connection has come with this client identifier: close, now (MQTT-3.1.4-2)."""


class Session:
    """Subscriptions and outbound messages of one client."""

    __slots__ = (
        "_last_id",
        "_queue",
        "_queued",
        "_settings",
        "clean",
        "client_id",
        "dropped",
        "filters",
        "inflight",
        "outlet",
    )

    def __init__(self, client_id: str, *, clean: bool, settings: MQTTSettings) -> None:
        self.client_id = client_id
        self.clean = clean
        self.filters: set[str] = set()
        self.inflight: dict[int, Message] = {}
        """Sent at QoS 1 and not acknowledged, by packet identifier, in order."""
        self.outlet: Outlet | None = None
        """The connection; None while the client is away."""
        self.dropped = 0
        """Messages for which there was no room while the client was away."""
        self._settings = settings
        self._queue: list[Message] = []  # an empty deque would be a tenth of what an idle device costs
        self._queued = 0
        self._last_id = 0

    def deliver(self, message: Message, qos: int) -> None:
        """Send ``message`` at the lower of its own and the granted QoS; at QoS 1, keep it until it is acknowledged."""
        outlet = self.outlet
        if not qos or not message.qos:
            if outlet is not None:
                outlet.offer(message.at_most_once)
        elif outlet is not None and not self._queue and len(self.inflight) < self._settings.max_inflight:
            self._transmit(message, outlet)
        elif self._queued + message.size <= self._settings.max_queued:
            self._queue.append(message)
            self._queued += message.size
        elif outlet is not None:
            outlet.overflow()
        else:
            self.dropped += 1

    def acknowledged(self, packet_id: int) -> None:
        """A PUBACK came. One for nothing is nothing: after a reconnect it may be late."""
        if self.inflight.pop(packet_id, None) is not None and self.outlet is not None:
            self._refill(self.outlet)

    def resume(self, outlet: Outlet) -> None:
        """The client is back on ``outlet``: send again what it has not acknowledged (MQTT-4.4.0-1), then what waits."""
        self.outlet = outlet
        for packet_id, message in self.inflight.items():
            outlet.write(message.again(packet_id))
        self._refill(outlet)

    def _refill(self, outlet: Outlet) -> None:
        while self._queue and len(self.inflight) < self._settings.max_inflight:
            message = self._queue.pop(0)
            self._queued -= message.size
            self._transmit(message, outlet)

    def _transmit(self, message: Message, outlet: Outlet) -> None:
        packet_id = self._next_id()
        self.inflight[packet_id] = message
        outlet.write(message.at_least_once(packet_id))

    def _next_id(self) -> int:
        """A packet identifier that is not in use (MQTT-2.3.1-2): 1 to 65,535, round and round."""
        packet_id = self._last_id % 65535 + 1
        while packet_id in self.inflight:
            packet_id = packet_id % 65535 + 1
        self._last_id = packet_id
        return packet_id
