"""MQTT 5 properties (section 2.2.2): bytes <-> dict. Pure.

Names are the standard's in snake_case. Values are int, str or bytes; ``user_property`` is a list of (name, value) pairs
in their order, and ``subscription_identifier`` a list of int in PUBLISH (one for each subscription that matched).
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, get_args

from protocols.errors import RemoteProtocolError
from protocols.mqtt.wire.fields import MAX_VARIABLE, Fields, binary, cut, string, valid_text, variable
from protocols.mqtt.wire.reasons import MALFORMED, PROTOCOL_ERROR, QUOTA_EXCEEDED
from protocols.mqtt.wire.topics import valid_name

Properties = dict[str, Any]

MAX_MANY = 4096
"""User properties of one packet: 256 KiB of the shortest would keep all others waiting for a tenth of a second."""

Kind = Literal[
    "CONNECT",
    "WILL",
    "CONNACK",
    "PUBLISH",
    "PUBACK",
    "PUBREC",
    "PUBREL",
    "PUBCOMP",
    "SUBSCRIBE",
    "SUBACK",
    "UNSUBSCRIBE",
    "UNSUBACK",
    "DISCONNECT",
    "AUTH",
]
"""What has properties: a packet, or the will in a CONNECT."""


class _Type(NamedTuple):
    what: str
    """Completes "is not ..."."""
    read: Callable[[Fields], Any]
    valid: Callable[[Any], bool]
    write: Callable[[Any], bytes]


class _Property(NamedTuple):
    name: str
    type: _Type
    many: bool
    """Whether it may be there more than once; its value is a list then."""
    identifier: bytes


def _integer(width: int, least: int = 0, most: int | None = None) -> _Type:
    """An integer of ``width`` bytes. A value out of the range is a Protocol Error wherever the standard sets one."""
    read = {1: Fields.byte, 2: Fields.short, 4: Fields.long}[width]
    last = 256**width - 1 if most is None else most
    return _Type(
        f"an integer from {least} to {last}",
        read,
        lambda value: isinstance(value, int) and least <= value <= last,
        lambda value: value.to_bytes(width, "big"),
    )


_FLAG = _integer(1, most=1)
_SHORT = _integer(2)
_SHORT_NOT_0 = _integer(2, 1)
_LONG = _integer(4)
_LONG_NOT_0 = _integer(4, 1)
_VARIABLE_NOT_0 = _Type(
    f"an integer from 1 to {MAX_VARIABLE}",
    Fields.variable,
    lambda value: isinstance(value, int) and 1 <= value <= MAX_VARIABLE,
    variable,
)
_BINARY = _Type(
    "bytes, 65535 at most", Fields.binary, lambda value: isinstance(value, bytes) and len(value) < 65536, binary
)
_TEXT = _Type("text without control characters, 65535 bytes at most", Fields.text, valid_text, string)
# MQTT-3.3.2-14: no wildcards; and it is to be published to.
_TOPIC = _Type("a topic name", Fields.text, lambda value: valid_text(value) and valid_name(value), string)
_PAIR = _Type(
    "a pair of texts without control characters, 65535 bytes each at most",
    Fields.pair,
    lambda value: isinstance(value, (tuple, list)) and len(value) == 2 and all(map(valid_text, value)),
    lambda value: string(value[0]) + string(value[1]),
)

_TABLE: tuple[tuple[int, str, _Type, str], ...] = (
    (0x01, "payload_format_indicator", _FLAG, "PUBLISH WILL"),
    (0x02, "message_expiry_interval", _LONG, "PUBLISH WILL"),
    (0x03, "content_type", _TEXT, "PUBLISH WILL"),
    (0x08, "response_topic", _TOPIC, "PUBLISH WILL"),
    (0x09, "correlation_data", _BINARY, "PUBLISH WILL"),
    (0x0B, "subscription_identifier", _VARIABLE_NOT_0, "PUBLISH* SUBSCRIBE"),
    (0x11, "session_expiry_interval", _LONG, "CONNECT CONNACK DISCONNECT"),
    (0x12, "assigned_client_identifier", _TEXT, "CONNACK"),
    (0x13, "server_keep_alive", _SHORT, "CONNACK"),
    (0x15, "authentication_method", _TEXT, "CONNECT CONNACK AUTH"),
    (0x16, "authentication_data", _BINARY, "CONNECT CONNACK AUTH"),
    (0x17, "request_problem_information", _FLAG, "CONNECT"),
    (0x18, "will_delay_interval", _LONG, "WILL"),
    (0x19, "request_response_information", _FLAG, "CONNECT"),
    (0x1A, "response_information", _TEXT, "CONNACK"),
    (0x1C, "server_reference", _TEXT, "CONNACK DISCONNECT"),
    (0x1F, "reason_string", _TEXT, "CONNACK PUBACK PUBREC PUBREL PUBCOMP SUBACK UNSUBACK DISCONNECT AUTH"),
    (0x21, "receive_maximum", _SHORT_NOT_0, "CONNECT CONNACK"),
    (0x22, "topic_alias_maximum", _SHORT, "CONNECT CONNACK"),
    (0x23, "topic_alias", _SHORT_NOT_0, "PUBLISH"),
    (0x24, "maximum_qos", _FLAG, "CONNACK"),
    (0x25, "retain_available", _FLAG, "CONNACK"),
    (0x26, "user_property", _PAIR, "* ".join((*get_args(Kind), ""))),
    (0x27, "maximum_packet_size", _LONG_NOT_0, "CONNECT CONNACK"),
    (0x28, "wildcard_subscription_available", _FLAG, "CONNACK"),
    (0x29, "subscription_identifier_available", _FLAG, "CONNACK"),
    (0x2A, "shared_subscription_available", _FLAG, "CONNACK"),
)
"""Section 2.2.2.2, table 2-4: identifier, name, type, and where it may be; ``*``: more than once."""

_NAMES = {identifier: name for identifier, name, _, _ in _TABLE}
_BY_IDENTIFIER: dict[str, dict[int, _Property]] = {
    kind: {
        identifier: _Property(name, type_, f"{kind}*" in kinds.split(), bytes((identifier,)))
        for identifier, name, type_, kinds in _TABLE
        if kind in kinds.replace("*", "").split()
    }
    for kind in get_args(Kind)
}
_BY_NAME = {kind: {each.name: each for each in rows.values()} for kind, rows in _BY_IDENTIFIER.items()}


def decode(buffer: bytes, at: int, stop: int, kind: Kind) -> tuple[Properties, int]:
    """The properties, their length included, that begin at ``at`` in a packet that ends at ``stop``; and their end.

    Raises RemoteProtocolError.
    """
    if at < stop and not buffer[at]:
        return {}, at + 1
    fields = Fields(kind, buffer, at, stop)
    length = fields.variable()
    end = fields.stop = fields.at + length
    if end > stop:
        raise cut(kind)
    found: Properties = {}
    while fields.more():
        _read(fields, _BY_IDENTIFIER[kind], found)
    return found, end


def _read(fields: Fields, rows: Mapping[int, _Property], found: Properties) -> None:
    identifier = fields.variable()
    row = rows.get(identifier)
    if row is None:  # "an identifier which is not valid for its packet type [...] is a Malformed Packet" (2.2.2.2)
        name = _NAMES.get(identifier, "unknown")
        raise RemoteProtocolError(f"{fields.kind} with property {identifier:#x}, {name} [2.2.2.2]", answer=MALFORMED)
    value = row.type.read(fields)
    if not row.type.valid(value):
        raise _error(f"{fields.kind} with a {row.name} that is not {row.type.what}")
    if row.many:
        many = found.setdefault(row.name, [])
        many.append(value)
        if len(many) > MAX_MANY:
            raise RemoteProtocolError(f"{fields.kind} with more than {MAX_MANY} of {row.name}", answer=QUOTA_EXCEEDED)
    elif row.name in found:
        raise _error(f"{fields.kind} with {row.name} more than once")
    else:
        found[row.name] = value


def _error(message: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"{message} [2.2.2.2]", answer=PROTOCOL_ERROR)


def encode(properties: Mapping[str, Any] | None, kind: Kind) -> bytes:
    """``properties`` as ``kind`` has them, their length included.

    Raises ValueError for one that ``kind`` cannot have, or a value that is none of its type.
    """
    if not properties:
        return b"\0"
    if not isinstance(properties, Mapping):
        raise ValueError(f"the properties of {kind} are not a dict")
    rows, written = _BY_NAME[kind], bytearray()
    for name, value in properties.items():
        row = rows.get(name)
        if row is None:
            raise ValueError(f"{kind} has no property {name!r}")
        written += _written(row, value)
    return variable(len(written)) + written


def _written(row: _Property, value: Any) -> bytes:
    values = value if row.many else (value,)
    if not isinstance(values, (tuple, list)):
        raise ValueError(f"the property {row.name} is not a list")
    if not all(map(row.type.valid, values)):
        raise ValueError(f"the property {row.name} is not {'a list, each ' if row.many else ''}{row.type.what}")
    return b"".join(row.identifier + row.type.write(each) for each in values)
