"""One application message on its way to any number of subscribers. Pure."""

from collections.abc import Mapping
from typing import Any

from protocols.mqtt.wire import packets

OVERHEAD = 256
"""Bytes that one kept message costs besides its topic and payload, roughly: the limits count it."""

PAIR = 160
"""Bytes that a user property costs besides its texts: five on the wire."""

FORWARDED = frozenset(
    {
        "payload_format_indicator",
        "message_expiry_interval",
        "content_type",
        "response_topic",
        "correlation_data",
        "user_property",
    }
)
"""The properties that travel with a message, unaltered (3.3.2.3); the others are between two ends of a connection."""

Parts = tuple[bytes, bytes]
"""A packet before and after its packet identifier."""


class ApplicationMessage:
    """Encoded once for all who get it in the same form. ``expires``: Unix time, None for never."""

    __slots__ = (
        *("_encoded", "expires", "holders", "number", "payload", "properties", "qos", "retain", "retained_at", "size"),
        "topic",
    )

    def __init__(
        self,
        topic: str,
        payload: bytes,
        qos: int = 0,
        *,
        retain: bool = False,
        properties: Mapping[str, Any] | None = None,
        expires: float | None = None,
    ) -> None:
        self.topic = topic
        self.payload = payload
        self.qos = qos
        self.retain = retain
        self.properties = {key: properties[key] for key in FORWARDED & properties.keys()} if properties else {}
        self.expires = expires
        self.size = OVERHEAD + len(topic) + len(payload)
        if self.properties:
            self.size += _size(self.properties)
        self.number = 0
        """Its key in the journal; 0 if it is not kept."""
        self.holders = 0
        """Kept deliveries of it."""
        self.retained_at = 0.0
        """The Unix time at which it was retained; 0 if it was not, or by a version that did not keep the time."""
        self._encoded: dict[Any, Any] = {}

    def expired(self, now: float) -> bool:
        return self.expires is not None and self.expires <= now

    def packet(self, version: int, *, retain: bool, identifiers: tuple[int, ...], now: float) -> bytes:
        """The PUBLISH packet at QoS 0."""
        key = version, retain, identifiers
        found: bytes | None = self._encoded.get(key)
        if found is None or self.expires is not None:
            head, tail = self.encode(version, 0, retain, identifiers, now=now)
            found = self._encoded[key] = head + tail
        return found

    def parts(self, version: int, qos: int, retain: bool, identifiers: tuple[int, ...], now: float) -> Parts:
        """The PUBLISH packet at QoS 1 or 2, around its packet identifier."""
        key = version, qos, retain, identifiers
        found: Parts | None = self._encoded.get(key)
        if found is None or self.expires is not None:
            found = self._encoded[key] = self.encode(version, qos, retain, identifiers, now=now)
        return found

    def encode(
        self,
        version: int,
        qos: int,
        retain: bool,
        identifiers: tuple[int, ...],
        *,
        now: float,
        dup: bool = False,
        alias: int = 0,
        known: bool = False,
    ) -> Parts:
        """``alias``: the topic's, for this connection; ``known``: it has been told, and the topic is left out."""
        topic = "" if known else self.topic
        properties = None if version == 4 else self._properties(identifiers, now, alias)
        return packets.publish_parts(
            version, topic, self.payload, qos, retain=retain, dup=dup, properties=properties or None
        )

    def _properties(self, identifiers: tuple[int, ...], now: float, alias: int) -> dict[str, Any]:
        properties = dict(self.properties)
        # MQTT-3.3.2-6: "The PUBLISH packet sent to a Client by the Server MUST contain a Message Expiry Interval set to
        # the received value minus the time that the Application Message has been waiting in the Server".
        if self.expires is not None:
            properties["message_expiry_interval"] = max(0, int(self.expires - now + 0.5))
        if identifiers:
            properties["subscription_identifier"] = list(identifiers)
        if alias:
            properties["topic_alias"] = alias
        return properties


def _size(properties: Mapping[str, Any]) -> int:
    size = 0
    for value in properties.values():
        if isinstance(value, str | bytes):
            size += len(value)
        elif isinstance(value, list | tuple):
            size += sum(PAIR + len(name) + len(text) for name, text in value)
    return size
