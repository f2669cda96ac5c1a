"""What is to leave on one network connection, and how it is to end, until the connection's shell takes it. Pure.

The core of a connection and the sessions of others write here; nothing here writes to a socket. ``notified`` says only
*that* there is something to take, never what (docs/decisions/0016-mqtt-core.md).
"""

from collections.abc import Mapping
from typing import Any, Protocol

from protocols.mqtt.broker.counters import Counters
from protocols.mqtt.wire import packets
from protocols.mqtt.wire.aliases import Aliases

COALESCE = 64 * 1024
"""Bytes that wait for the end of the loop's iteration at most, so that what is written then is one write."""


class Shell(Protocol):
    """The socket's side of a connection."""

    def notified(self) -> None:
        """Called when there is something to take: the first bytes, many bytes, an event, or the end of the
        connection."""


class Outgoing:
    """``properties``: CONNECT's."""

    __slots__ = (
        *("_counters", "_shell", "acks", "aliases", "congested", "data", "dropped", "ending", "events", "max_packet"),
        *("published", "size", "version"),
    )

    def __init__(self, version: int, properties: Mapping[str, Any], counters: Counters, shell: Shell) -> None:
        self.version = version
        """4 for MQTT 3.1.1, 5 for MQTT 5.0."""
        self.max_packet: int = properties.get("maximum_packet_size", 0)
        """Bytes of the largest packet that the client takes; 0 for any."""
        taken = properties.get("topic_alias_maximum", 0)
        self.aliases = Aliases(taken) if taken else None
        """Aliases of the topics that are sent to the client; most clients take none."""
        self.congested = False
        """Whether the client does not read. The shell sets it."""
        self.dropped = 0
        """QoS 0 messages that were dropped because of that."""
        self.published = 0
        """Messages that were sent to the client."""
        self.data: list[bytes] = []
        self.size = 0
        """Bytes in :attr:`data`."""
        self.acks: list[int] = []
        """Packet identifiers of PUBACKs, success, that leave after :attr:`data`."""
        self.events: tuple[Any, ...] = ()
        """Events for the application, which had to wait."""
        self.ending = 0
        """The reason code with which the broker ends this connection; 0 while it does not."""
        self._counters = counters
        self._shell = shell  # a bound method would cost an idle client 80 bytes

    def write(self, data: bytes) -> None:
        """Send ``data``."""
        waiting = self.data
        waiting.append(data)
        self.size = size = self.size + len(data)
        if size > COALESCE or (len(waiting) == 1 and not self.acks):  # the first: nobody has been told yet
            self._shell.notified()

    def offer(self, data: bytes) -> bool:
        """Send ``data``, or drop it if the client does not read; return whether it is sent."""
        if self.congested:
            self.dropped += 1
            self._counters.messages_dropped += 1
            return False
        self.published += 1
        waiting = self.data  # as in write, without a call for each message
        waiting.append(data)
        self.size = size = self.size + len(data)
        if size > COALESCE or (len(waiting) == 1 and not self.acks):
            self._shell.notified()
        return True

    def tell(self, event: Any) -> None:
        """Give the application an event that had to wait."""
        self.events += (event,)
        self._shell.notified()

    def end(self, reason_code: int) -> None:
        """End the connection. 0x8E, taken over: at once, before anything else of it is looked at (MQTT-3.1.4-3: "the
        Server sends a DISCONNECT packet to the existing Client with Reason Code of 0x8E (Session taken over) [...] and
        MUST close the Network Connection of the existing Client"). 0x97, quota exceeded: soon, because a delivery is
        under way."""
        self.ending = self.ending or reason_code
        self._shell.notified()

    def collect_acks(self) -> None:
        """Append the PUBACKs to the data."""
        if self.acks:
            self.data.append(packets.pubacks(self.acks))
            self.acks.clear()

    def take(self) -> bytes:
        """Take everything up to now, as one piece."""
        self.collect_acks()
        taken = b"".join(self.data)
        self.data.clear()
        self.size = 0
        return taken

    def take_events(self) -> tuple[Any, ...]:
        taken, self.events = self.events, ()
        return taken

    def take_ending(self) -> int:
        """Take the reason code of the end, once: what is written at the end notifies again."""
        taken, self.ending = self.ending, 0
        return taken
