"""A device that publishes at QoS 2, and goes on after a lost connection just where it was (MQTT 4.4).

paho does not: where it has sent PUBREL, and a connection then ends before its CONNACK, it publishes the message anew,
without DUP. A broker that had the PUBREL must take that for another message (MQTT-4.3.3-12).
"""

import time
from collections.abc import Callable

from mqtt_raw import Raw, acknowledgement, connect, publish

VERSION = 4
LIMIT = 4.0
"""Seconds that it waits for an answer."""


class QoS2Device:
    """``step`` is called with ``PUBLISH``, ``PUBREC``, ``PUBREL`` and ``PUBCOMP``, when that was sent or has come.
    ``flags``: whether it sets DUP, as it must."""

    def __init__(self, client_id: str, host: str, port: int, topic: str) -> None:
        self._client_id, self._address, self._topic = client_id, (host, port), topic
        self.flags = True
        self.step: Callable[[str], None] = lambda _: None
        self.received: dict[str, float] = {}
        """When each PUBREC came: since then the message is the server's."""
        self._connection: Raw | None = None
        self._what = ""
        self._packet_id = 0
        self._sent = self._received = False

    def send(self, what: str) -> bool:
        """Go on with the exchange of ``what``, or begin it; return whether it is over. Raises OSError where the
        connection ends before that."""
        if what != self._what:
            self._what, self._sent, self._received = what, False, False
            self._packet_id = self._packet_id % 65535 + 1
        connection = self._connection = self._connection or self._connect()
        try:
            if not self._received:
                self._publish(connection)
                self._hear(connection, "PUBREC")
                self._received = True
                self.received[what] = time.monotonic()
            connection.say(acknowledgement(0x62, self._packet_id))
            self.step("PUBREL")
            self._hear(connection, "PUBCOMP")
        except OSError:
            self.close()
            raise
        return True

    def _publish(self, connection: Raw) -> None:
        again = self._sent and self.flags
        self._sent = True
        connection.say(publish(VERSION, self._topic, self._what.encode(), 2, self._packet_id, dup=again))
        self.step("PUBLISH")

    def _hear(self, connection: Raw, kind: str) -> None:
        """Wait for it; a PUBREC that comes twice says nothing new."""
        while (packet := connection.hear()) is None or (packet.kind, packet.id) != (kind, self._packet_id):
            if packet is None:
                raise ConnectionError(f"closed before {kind}")
        self.step(kind)

    def _connect(self) -> Raw:
        connection = Raw(self._address[1], VERSION, self._address[0], LIMIT)
        try:
            connection.say(connect(VERSION, self._client_id, clean=False))
            if (answer := connection.hear()) is None or answer.codes != (0,):
                raise ConnectionError(f"not accepted: {answer}")
        except OSError:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """End the connection without a word. The session stays."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
