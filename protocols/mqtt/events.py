"""What an application may send in an ``mqtt`` scope. Pure; see :mod:`protocols.events`.

Reason codes and properties are MQTT 5's whatever the version on the wire, and legal for the packet that they go into.
"""

from collections.abc import Mapping
from typing import Any, cast

from protocols.asgi import (
    MQTTAcceptEvent,
    MQTTAckEvent,
    MQTTAuthEvent,
    MQTTDeferEvent,
    MQTTDropEvent,
    MQTTRejectEvent,
    MQTTSendEvent,
    MQTTSubackEvent,
    MQTTSubscribeEvent,
    MQTTUnsubscribeEvent,
)
from protocols.errors import LocalProtocolError
from protocols.events import Event, as_bytes, retry_after, waits, wrong
from protocols.mqtt.wire import reasons
from protocols.mqtt.wire.fields import MAX_VARIABLE, has_control, valid_text
from protocols.mqtt.wire.properties import Kind, Properties, encode
from protocols.mqtt.wire.topics import valid_filter, valid_name

SERVER = {
    "connecting": {"mqtt.accept": "open", "mqtt.reject": "over", "mqtt.auth": "connecting"},
    "open": {
        "mqtt.ack": "open",
        "mqtt.send": "open",
        "mqtt.suback": "open",
        "mqtt.auth": "open",
        "mqtt.disconnect": "over",
    },
    # At QoS 2 an acknowledgement still counts; and what is published goes to others than the device.
    "gone": {"mqtt.ack": "gone", "mqtt.send": "gone"},
}
"""A device's connection to us."""
CLIENT = {
    "connecting": {"mqtt.accept": "open", "mqtt.reject": "over"},
    "open": {
        "mqtt.ack": "open",
        "mqtt.send": "open",
        "mqtt.subscribe": "open",
        "mqtt.unsubscribe": "open",
        "mqtt.disconnect": "over",
    },
}
"""Ours to a broker."""
STORED = {
    "connecting": {"mqtt.accept": "open", "mqtt.reject": "over"},
    "open": {"mqtt.ack": "open", "mqtt.defer": "open", "mqtt.send": "open", "mqtt.disconnect": "over"},
}
"""One that brings a message from the store."""
BATCH = {"open": {"mqtt.send": "open"}}
"""None: messages of many connections are handled at once."""

# The columns of MQTT 5.0's tables 3-1, 3-4 (3-5 is the same), 3-8 and 3-10.
OF_CONNACK = frozenset(
    {
        *(reasons.UNSPECIFIED, reasons.MALFORMED, reasons.PROTOCOL_ERROR, reasons.IMPLEMENTATION_SPECIFIC),
        *(reasons.UNSUPPORTED_VERSION, reasons.CLIENT_ID_INVALID, reasons.BAD_CREDENTIALS, reasons.NOT_AUTHORIZED),
        *(reasons.SERVER_UNAVAILABLE, reasons.SERVER_BUSY, reasons.BANNED, reasons.BAD_AUTHENTICATION_METHOD),
        *(reasons.TOPIC_INVALID, reasons.TOO_LARGE, reasons.QUOTA_EXCEEDED, reasons.PAYLOAD_FORMAT_INVALID),
        *(reasons.RETAIN_NOT_SUPPORTED, reasons.QOS_NOT_SUPPORTED, reasons.USE_ANOTHER_SERVER, reasons.SERVER_MOVED),
        reasons.CONNECTION_RATE_EXCEEDED,
    }
)
"""The reason codes with which a connection is refused."""
OF_PUBACK = frozenset(
    {
        *(reasons.SUCCESS, reasons.NO_MATCHING_SUBSCRIBERS, reasons.UNSPECIFIED, reasons.IMPLEMENTATION_SPECIFIC),
        *(reasons.NOT_AUTHORIZED, reasons.TOPIC_INVALID, reasons.PACKET_ID_IN_USE, reasons.QUOTA_EXCEEDED),
        reasons.PAYLOAD_FORMAT_INVALID,
    }
)
"""Reason codes of PUBACK and PUBREC."""
OF_SUBACK = frozenset(
    {
        *(reasons.SUCCESS, reasons.GRANTED_QOS_1, reasons.GRANTED_QOS_2, reasons.UNSPECIFIED),
        *(reasons.IMPLEMENTATION_SPECIFIC, reasons.NOT_AUTHORIZED, reasons.FILTER_INVALID, reasons.PACKET_ID_IN_USE),
        *(reasons.QUOTA_EXCEEDED, reasons.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED),
        *(reasons.SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED, reasons.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED),
    }
)
OF_DISCONNECT = frozenset(
    {
        *(reasons.SUCCESS, reasons.UNSPECIFIED, reasons.MALFORMED, reasons.PROTOCOL_ERROR),
        *(reasons.IMPLEMENTATION_SPECIFIC, reasons.NOT_AUTHORIZED, reasons.SERVER_BUSY, reasons.SHUTTING_DOWN),
        *range(reasons.KEEP_ALIVE_TIMEOUT, reasons.TOPIC_INVALID + 1),
        *range(reasons.RECEIVE_MAXIMUM_EXCEEDED, reasons.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED + 1),
    }
)
OF_AUTH = frozenset({reasons.SUCCESS, reasons.CONTINUE_AUTHENTICATION})

_QOS = (0, 1, 2)
_OF_THE_CONNECTION = ("topic_alias", "subscription_identifier")
"""Properties that a received message may have and that say nothing on its way on (3.3.2.3.4, 3.3.4-6)."""


def accept(event: Event) -> MQTTAcceptEvent:
    asks = event.get("subscribe", False)
    if not isinstance(asks, bool):
        raise wrong(event, "subscribe", "True or False")
    return {"type": "mqtt.accept", "subscribe": asks, "properties": _properties(event, "CONNACK")}


def reject(event: Event) -> MQTTRejectEvent:
    code = _code(event, OF_CONNACK, reasons.NOT_AUTHORIZED)
    return {"type": "mqtt.reject", "reason_code": code, "properties": _properties(event, "CONNACK")}


def auth(event: Event) -> MQTTAuthEvent:
    data = event.get("data")
    if data is not None and (not isinstance(data, bytes | bytearray) or len(data) > 65535):
        raise wrong(event, "data", "bytes, 65535 at most, or None")
    return {
        "type": "mqtt.auth",
        "reason_code": _code(event, OF_AUTH, reasons.CONTINUE_AUTHENTICATION),
        "data": None if data is None else bytes(data),
        "properties": _properties(event, "AUTH"),
    }


def ack(event: Event) -> MQTTAckEvent:
    """Return the event; with ``reason_code`` and ``properties`` only if the code is not success, or there are
    properties."""
    if type(event) is dict and len(event) == 2 and type(event["id"]) is int:
        return cast("MQTTAckEvent", event)  # as nearly all are, and this is on the way of each message
    packet_id = _id(event)
    code, properties = _code(event, OF_PUBACK, reasons.SUCCESS), _properties(event, "PUBACK")
    if code == reasons.SUCCESS and not properties:
        return {"type": "mqtt.ack", "id": packet_id}
    return {"type": "mqtt.ack", "id": packet_id, "reason_code": code, "properties": properties}


def defer(event: Event) -> MQTTDeferEvent:
    packet_id, wait = _id(event), retry_after(event)
    if wait is None:
        return {"type": "mqtt.defer", "id": packet_id}
    return {"type": "mqtt.defer", "id": packet_id, "retry_after": wait}


def suback(event: Event) -> MQTTSubackEvent:
    packet_id, codes = _id(event), event["reason_codes"]
    if not isinstance(codes, list | tuple) or not all(isinstance(code, int) and code in OF_SUBACK for code in codes):
        raise wrong(event, "reason_codes", "a list: for each filter 0, 1, 2, or a reason code that SUBACK has (3.9.3)")
    return {"type": "mqtt.suback", "id": packet_id, "reason_codes": [int(code) for code in codes]}


def publication(
    topic: str, payload: bytes | str, qos: int = 0, retain: bool = False, properties: Mapping[str, Any] | None = None
) -> MQTTSendEvent:
    """Return the event for code that has no scope. Text becomes UTF-8. It is not checked."""
    return {
        "type": "mqtt.send",
        "topic": topic,
        "payload": payload.encode() if isinstance(payload, str) else payload,
        "qos": qos,
        "retain": retain,
        "properties": {} if properties is None else dict(properties),
    }


def send(event: Event) -> MQTTSendEvent:
    topic, payload, qos, retain = event["topic"], event["payload"], event.get("qos", 0), event.get("retain", False)
    if not isinstance(topic, str) or not valid_name(topic) or has_control(topic):
        raise wrong(event, "topic", "a topic name: without + and # and control characters, 65535 bytes at most")
    if type(payload) is not bytes:
        payload = as_bytes(event, "payload")
    if qos not in _QOS or not isinstance(qos, int):
        raise wrong(event, "qos", "0, 1 or 2")
    if not isinstance(retain, int):
        raise wrong(event, "retain", "True or False")
    properties = _of_publish(event) if event.get("properties") else {}
    if len(payload) > _LONG or (properties and len(properties.get("user_property", ())) > _MANY):
        _check_length(topic, payload, properties)
    clean: MQTTSendEvent = {
        "type": "mqtt.send",
        "topic": topic,
        "payload": payload,
        "qos": qos if type(qos) is int else int(qos),
        "retain": retain if type(retain) is bool else bool(retain),
        "properties": properties,
    }
    if "wait" in event and waits(event):
        clean["wait"] = True
    return clean


def subscribe(event: Event) -> MQTTSubscribeEvent:
    filters = event["filters"]
    if not isinstance(filters, list | tuple) or not filters or not all(map(_is_subscription, filters)):
        raise wrong(event, "filters", "a list of (topic filter, QoS) pairs")
    return {"type": "mqtt.subscribe", "filters": [(topic_filter, int(qos)) for topic_filter, qos in filters]}


def unsubscribe(event: Event) -> MQTTUnsubscribeEvent:
    filters = event["filters"]
    if not isinstance(filters, list | tuple) or not filters or not all(map(_is_filter, filters)):
        raise wrong(event, "filters", "a list of topic filters")
    return {"type": "mqtt.unsubscribe", "filters": list(filters)}


def disconnect(event: Event) -> MQTTDropEvent:
    code = _code(event, OF_DISCONNECT, reasons.SUCCESS)
    return {"type": "mqtt.disconnect", "reason_code": code, "properties": _properties(event, "DISCONNECT")}


CHECKS = {
    "mqtt.accept": accept,
    "mqtt.reject": reject,
    "mqtt.auth": auth,
    "mqtt.ack": ack,
    "mqtt.defer": defer,
    "mqtt.suback": suback,
    "mqtt.send": send,
    "mqtt.subscribe": subscribe,
    "mqtt.unsubscribe": unsubscribe,
    "mqtt.disconnect": disconnect,
}


def _id(event: Event) -> int:
    given = event["id"]
    if not isinstance(given, int) or isinstance(given, bool):
        raise wrong(event, "id", "the id of what was received")
    return int(given)


def _code(event: Event, legal: frozenset[int], default: int) -> int:
    code = event.get("reason_code", default)
    if not isinstance(code, int) or isinstance(code, bool) or code not in legal:
        codes = ", ".join(f"{each:#04x}" for each in sorted(legal))
        raise wrong(event, "reason_code", f"one of {codes}")
    return int(code)


def _properties(event: Event, kind: Kind) -> Properties:
    given = event.get("properties")
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise wrong(event, "properties", "a dict")
    try:
        encode(given, kind)
    except ValueError as error:
        raise LocalProtocolError(f"{event['type']}: {error}") from error
    return {name: [*map(tuple, value)] if name == "user_property" else value for name, value in given.items()}


def _of_publish(event: Event) -> Properties:
    given = event["properties"]
    if isinstance(given, Mapping) and any(name in given for name in _OF_THE_CONNECTION):
        kept = {name: value for name, value in given.items() if name not in _OF_THE_CONNECTION}
        event = {**event, "properties": kept}
    return _properties(event, "PUBLISH")


_LONG, _MANY = MAX_VARIABLE // 2, 1000
"""Bytes of payload and user properties, of 131,070 bytes at most, that together still fit into a packet."""


def _check_length(topic: str, payload: bytes, properties: Properties) -> None:
    length = 2 + len(topic.encode()) + 2 + len(encode(properties, "PUBLISH")) + len(payload)
    if length > MAX_VARIABLE:
        raise LocalProtocolError(f"mqtt.send: a packet of {length} bytes; {MAX_VARIABLE} is MQTT's most (2.1.4)")


def _is_filter(given: Any) -> bool:
    return isinstance(given, str) and valid_text(given) and valid_filter(given)


def _is_subscription(given: Any) -> bool:
    if not isinstance(given, list | tuple) or len(given) != 2:
        return False
    topic_filter, qos = given
    return _is_filter(topic_filter) and isinstance(qos, int) and qos in _QOS
