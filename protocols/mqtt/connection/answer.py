"""Packets whose properties the application has chosen, within what the client takes. Pure."""

from collections.abc import Callable, Mapping
from typing import Any

from protocols.errors import LocalProtocolError
from protocols.mqtt.broker.outgoing import Outgoing


def encoded(outgoing: Outgoing, encode: Callable[..., bytes], *fields: Any, properties: dict[str, Any]) -> bytes:
    """Encode a packet. If it is longer than the client takes, leave out the properties that are for people.

    MQTT-3.1.2-24 (5.0): "The Server MUST NOT send packets exceeding Maximum Packet Size to the Client". Raises
    LocalProtocolError for illegal properties.
    """
    data = _legal(encode, *fields, properties)
    if outgoing.max_packet and len(data) > outgoing.max_packet:
        data = _legal(encode, *fields, without_problems(properties))
    return data


def _legal(encode: Callable[..., bytes], *fields: Any) -> bytes:
    try:
        return encode(*fields)
    except ValueError as error:
        raise LocalProtocolError(str(error)) from error


def without_problems(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the properties that are for people.

    3.1.2.11.7: "If the value of Request Problem Information is 0, the Server MAY return a Reason String or User
    Properties on a CONNACK or DISCONNECT packet, but MUST NOT send a Reason String or User Properties on any packet
    other than PUBLISH, CONNACK, or DISCONNECT" (MQTT-3.1.2-29).
    """
    return {key: value for key, value in properties.items() if key not in ("reason_string", "user_property")}
