"""The bytes of a PUBLISH -> the application's event (3.3). Pure.

The hot path: no calls but what the packet needs, and a decoder for each shape.
"""

from collections.abc import Callable

from protocols.asgi import MQTTReceiveEvent
from protocols.errors import RemoteProtocolError
from protocols.mqtt.wire import properties
from protocols.mqtt.wire.fields import cut, read_text, zero
from protocols.mqtt.wire.properties import Properties
from protocols.mqtt.wire.reasons import PROTOCOL_ERROR, TOPIC_INVALID
from protocols.mqtt.wire.topics import valid_name

_MAX_CACHED_TOPICS = 4096
_MAX_CACHED_TOPIC = 256


def topic_name(text: str) -> str:
    """``text``, checked. Raises RemoteProtocolError."""
    if not valid_name(text):
        raise RemoteProtocolError("a topic name that is none [MQTT-3.3.2-2, MQTT-4.7.3-1]", answer=TOPIC_INVALID)
    return text


class _Topics(dict[bytes, str]):
    """Topic names as they came -> checked text. Devices repeat theirs, and a hit costs one look-up."""

    def __missing__(self, raw: bytes) -> str:
        topic = topic_name(read_text(raw))
        if len(raw) <= _MAX_CACHED_TOPIC:
            if len(self) >= _MAX_CACHED_TOPICS:
                self.clear()
            self[raw] = topic
        return topic


_topics = _Topics()


def publish_0(buffer: bytes, first: int, body: int, stop: int) -> MQTTReceiveEvent:
    try:  # past its own end it may read the next packet's bytes: then the topic ends past it too
        start, middle = body + 2, body + 2 + (buffer[body] << 8 | buffer[body + 1])
    except IndexError:
        raise cut("PUBLISH") from None
    if middle > stop:
        raise cut("PUBLISH")
    return {
        "type": "mqtt.receive",
        "topic": _topics[buffer[start:middle]],
        "payload": buffer[middle:stop],
        "qos": 0,
        "retain": first == 0x31,
        "dup": False,
        "id": None,
        "properties": {},
    }


def publish_1(buffer: bytes, first: int, body: int, stop: int) -> MQTTReceiveEvent:
    try:
        start, middle = body + 2, body + 2 + (buffer[body] << 8 | buffer[body + 1])
    except IndexError:
        raise cut("PUBLISH") from None
    payload = middle + 2
    if payload > stop:
        raise cut("PUBLISH")
    packet_id = buffer[middle] << 8 | buffer[middle + 1] or zero()
    return {
        "type": "mqtt.receive",
        "topic": _topics[buffer[start:middle]],
        "payload": buffer[payload:stop],
        "qos": 1,
        "retain": first & 1 == 1,
        "dup": first & 8 == 8,
        "id": packet_id,
        "properties": {},
    }


def publish_2(buffer: bytes, first: int, body: int, stop: int) -> MQTTReceiveEvent:
    message = publish_1(buffer, first, body, stop)
    message["qos"] = 2
    return message


_Read = Callable[[bytes, int, int], tuple[Properties, int]]
Decoder = Callable[[bytes, int, int, int], MQTTReceiveEvent]


def _publish_v5(read: _Read) -> tuple[Decoder, Decoder, Decoder]:
    """The decoders for QoS 0, 1 and 2 of MQTT 5, whose properties ``read`` reads."""

    def qos_0(buffer: bytes, first: int, body: int, stop: int) -> MQTTReceiveEvent:
        try:
            start, middle = body + 2, body + 2 + (buffer[body] << 8 | buffer[body + 1])
            length = buffer[middle]
        except IndexError:
            raise cut("PUBLISH") from None
        payload = middle + 1
        if payload > stop:
            raise cut("PUBLISH")
        found: Properties = {}
        if length:
            found, payload = read(buffer, middle, stop)
        return {
            "type": "mqtt.receive",
            "topic": _topics[buffer[start:middle]] if start < middle else _aliased(found),
            "payload": buffer[payload:stop],
            "qos": 0,
            "retain": first == 0x31,
            "dup": False,
            "id": None,
            "properties": found,
        }

    def qos_1(buffer: bytes, first: int, body: int, stop: int) -> MQTTReceiveEvent:
        try:
            start, middle = body + 2, body + 2 + (buffer[body] << 8 | buffer[body + 1])
            length = buffer[middle + 2]
        except IndexError:
            raise cut("PUBLISH") from None
        payload = middle + 3
        if payload > stop:
            raise cut("PUBLISH")
        packet_id = buffer[middle] << 8 | buffer[middle + 1] or zero()
        found: Properties = {}
        if length:
            found, payload = read(buffer, middle + 2, stop)
        return {
            "type": "mqtt.receive",
            "topic": _topics[buffer[start:middle]] if start < middle else _aliased(found),
            "payload": buffer[payload:stop],
            "qos": 1,
            "retain": first & 1 == 1,
            "dup": first & 8 == 8,
            "id": packet_id,
            "properties": found,
        }

    def qos_2(buffer: bytes, first: int, body: int, stop: int) -> MQTTReceiveEvent:
        message = qos_1(buffer, first, body, stop)
        message["qos"] = 2
        return message

    return qos_0, qos_1, qos_2


def _properties_to_client(buffer: bytes, at: int, stop: int) -> tuple[Properties, int]:
    return properties.decode(buffer, at, stop, "PUBLISH")


def _properties_to_server(buffer: bytes, at: int, stop: int) -> tuple[Properties, int]:
    found, end = properties.decode(buffer, at, stop, "PUBLISH")
    if "subscription_identifier" in found:
        raise RemoteProtocolError(
            "PUBLISH to a server with subscription_identifier [MQTT-3.3.4-6]", answer=PROTOCOL_ERROR
        )
    return found, end


def _aliased(found: Properties) -> str:
    """An empty topic name, which a topic alias stands for (3.3.2.1)."""
    if "topic_alias" not in found:
        raise RemoteProtocolError("PUBLISH with neither topic name nor topic alias [3.3.2.1]", answer=PROTOCOL_ERROR)
    return ""


publish_v5_0, publish_v5_1, publish_v5_2 = _publish_v5(_properties_to_server)
delivery_v5_0, delivery_v5_1, delivery_v5_2 = _publish_v5(_properties_to_client)
