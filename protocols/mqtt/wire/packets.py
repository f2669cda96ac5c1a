"""MQTT control packets, 3.1.1 and 5.0: what they are, and how both sides write theirs. Pure.

Packets are tuples, the cheapest frozen thing there is, but for PUBLISH and the will: these are the application's own
dicts, so that a message is one object all the way. ``version`` is a protocol level, 4 (3.1.1) or 5; codes are MQTT 5's
(:mod:`.reasons`) whatever the version; ``properties`` (:mod:`.properties`) are MQTT 5's: nothing is written of them in
3.1.1, and they are empty in what was read.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from protocols.asgi import MQTTReceiveEvent, MQTTWill
from protocols.mqtt.wire.fields import binary, string, variable
from protocols.mqtt.wire.properties import Kind, Properties, encode
from protocols.mqtt.wire.reasons import RETURN_CODES


class Connect(NamedTuple):
    version: int
    """4 (3.1.1) or 5."""
    client_id: str
    """May be empty: in 5.0, and in 3.1.1 where ``clean``."""
    clean: bool
    keepalive: int
    """Seconds; 0 means none."""
    username: str | None
    password: bytes | None
    will: MQTTWill | None
    properties: Properties


class Connack(NamedTuple):
    present: bool
    """The server has a session for us."""
    code: int
    """0, or why not: in 3.1.1 its return code."""
    properties: Properties


class Puback(NamedTuple):
    id: int
    code: int
    properties: Properties


class Pubrec(NamedTuple):
    id: int
    code: int
    properties: Properties


class Pubrel(NamedTuple):
    id: int
    code: int
    properties: Properties


class Pubcomp(NamedTuple):
    id: int
    code: int
    properties: Properties


class Options(NamedTuple):
    """Subscription options (5.0: 3.8.3.1); 3.1.1 has only the QoS."""

    qos: int
    no_local: bool
    retain_as_published: bool
    retain_handling: int
    """Retained messages are sent: 0 always, 1 where the subscription is new, 2 never."""


class Subscribe(NamedTuple):
    id: int
    filters: list[tuple[str | None, Options]]
    """None stands for a filter that breaks the rules: it gets an error in the SUBACK."""
    properties: Properties


class Unsubscribe(NamedTuple):
    id: int
    filters: list[str]
    properties: Properties


class Suback(NamedTuple):
    id: int
    codes: bytes
    """A granted QoS or an error for each filter."""
    properties: Properties


class Unsuback(NamedTuple):
    id: int
    codes: bytes
    """None in 3.1.1."""
    properties: Properties


class Pingreq(NamedTuple):
    pass


class Pingresp(NamedTuple):
    pass


class Disconnect(NamedTuple):
    code: int
    properties: Properties


class Auth(NamedTuple):
    """5.0 only (3.15)."""

    code: int
    properties: Properties


Packet = (
    Connect
    | Connack
    | MQTTReceiveEvent
    | Puback
    | Pubrec
    | Pubrel
    | Pubcomp
    | Subscribe
    | Suback
    | Unsubscribe
    | Unsuback
    | Pingreq
    | Pingresp
    | Disconnect
    | Auth
)
"""The packets that either side may send."""

_Given = Mapping[str, Any] | None

# ValueError: properties that the packet cannot have, see properties.encode.

PINGREQ, PINGRESP = b"\xc0\x00", b"\xd0\x00"


def connect(
    version: int,
    client_id: str,
    *,
    clean: bool,
    keepalive: int,
    username: str | None = None,
    password: bytes | None = None,
    properties: _Given = None,
) -> bytes:
    """Encode a CONNECT without a will."""
    flags = clean << 1 | (username is not None) << 7 | (password is not None) << 6
    head = b"\0\4MQTT" + bytes((version, flags)) + keepalive.to_bytes(2, "big")
    fields = string(client_id)
    fields += string(username) if username is not None else b""
    fields += binary(password) if password is not None else b""
    return _packet(0x10, head + (encode(properties, "CONNECT") if version == 5 else b"") + fields)


def subscribe(version: int, packet_id: int, filters: Iterable[tuple[str, int]], properties: _Given = None) -> bytes:
    """``filters``: each with its QoS."""
    head = packet_id.to_bytes(2, "big") + (encode(properties, "SUBSCRIBE") if version == 5 else b"")
    return _packet(0x82, head + b"".join(string(text) + bytes((qos,)) for text, qos in filters))


def unsubscribe(version: int, packet_id: int, filters: Iterable[str], properties: _Given = None) -> bytes:
    head = packet_id.to_bytes(2, "big") + (encode(properties, "UNSUBSCRIBE") if version == 5 else b"")
    return _packet(0xA2, head + b"".join(map(string, filters)))


def connack(version: int, code: int, session_present: bool = False, properties: _Given = None) -> bytes:
    """Encode a CONNACK; in 3.1.1 with the return code that is nearest to ``code``. A refusal has no session
    (MQTT-3.2.2-6, 3.1.1: -4)."""
    present = bool(session_present) and not code
    if version == 4:
        return bytes((0x20, 2, present, RETURN_CODES.get(code, 3)))
    return _packet(0x20, bytes((present, code)) + encode(properties, "CONNACK"))


def puback(version: int, packet_id: int, code: int = 0, properties: _Given = None) -> bytes:
    return _acknowledgement(0x40, "PUBACK", version, packet_id, code, properties)


def pubrec(version: int, packet_id: int, code: int = 0, properties: _Given = None) -> bytes:
    return _acknowledgement(0x50, "PUBREC", version, packet_id, code, properties)


def pubrel(version: int, packet_id: int, code: int = 0, properties: _Given = None) -> bytes:
    return _acknowledgement(0x62, "PUBREL", version, packet_id, code, properties)


def pubcomp(version: int, packet_id: int, code: int = 0, properties: _Given = None) -> bytes:
    return _acknowledgement(0x70, "PUBCOMP", version, packet_id, code, properties)


def pubacks(ids: Sequence[int]) -> bytes:
    """One PUBACK, success, for each of ``ids``, in their order; the same bytes in both versions."""
    return struct.pack(f">{len(ids)}I", *[0x40020000 | packet_id for packet_id in ids])


def suback(version: int, packet_id: int, codes: Iterable[int], properties: _Given = None) -> bytes:
    """A granted QoS or an error for each filter, in their order; 3.1.1 knows one error, 0x80 (3.9.3)."""
    number = packet_id.to_bytes(2, "big")
    if version == 4:
        return _packet(0x90, number + bytes(min(code, 0x80) for code in codes))
    return _packet(0x90, number + encode(properties, "SUBACK") + bytes(codes))


def unsuback(version: int, packet_id: int, codes: Iterable[int], properties: _Given = None) -> bytes:
    """A code for each filter, in their order; none in 3.1.1."""
    number = packet_id.to_bytes(2, "big")
    if version == 4:
        return b"\xb0\x02" + number
    return _packet(0xB0, number + encode(properties, "UNSUBACK") + bytes(codes))


def disconnect(code: int, properties: _Given = None) -> bytes:
    """Encode a client's DISCONNECT, in 3.1.1 without a code. A server that speaks 3.1.1 closes without one."""
    return _packet(0xE0, _reason("DISCONNECT", code, properties))


def auth(code: int, properties: _Given = None) -> bytes:
    """5.0 only."""
    if not code and not properties:
        return b"\xf0\x00"
    return _packet(0xF0, bytes((code,)) + encode(properties, "AUTH"))


def publish(
    version: int,
    topic: str,
    payload: bytes,
    qos: int = 0,
    packet_id: int = 0,
    *,
    retain: bool = False,
    dup: bool = False,
    properties: _Given = None,
) -> bytes:
    head, tail = publish_parts(version, topic, payload, qos, retain=retain, dup=dup, properties=properties)
    return head + packet_id.to_bytes(2, "big") + tail if qos else head + tail


def publish_parts(
    version: int,
    topic: str,
    payload: bytes,
    qos: int,
    *,
    retain: bool = False,
    dup: bool = False,
    properties: _Given = None,
) -> tuple[bytes, bytes]:
    """PUBLISH in two parts, for many receivers: the two bytes of a packet identifier come between them above QoS 0, and
    nothing at QoS 0."""
    first = 0x30 | dup << 3 | qos << 1 | retain
    middle = encode(properties, "PUBLISH") if version == 5 else b""
    name = string(topic)
    length = len(name) + len(middle) + len(payload)
    if qos:
        return bytes((first,)) + variable(length + 2) + name, middle + payload
    return bytes((first,)) + variable(length) + name + middle, payload


def _acknowledgement(first: int, kind: Kind, version: int, packet_id: int, code: int, properties: _Given) -> bytes:
    number = packet_id.to_bytes(2, "big")
    return _packet(first, number if version == 4 else number + _reason(kind, code, properties))


def _reason(kind: Kind, code: int, properties: _Given) -> bytes:
    """Reason code and properties, as short as they may be (5.0: 3.4.2.1, 3.14.2.1 and the like)."""
    if properties:
        return bytes((code,)) + encode(properties, kind)
    return bytes((code,)) if code else b""


def _packet(first: int, body: bytes) -> bytes:
    return bytes((first,)) + variable(len(body)) + body
