"""Packets of both versions: what a client says, and what it hears, taken apart."""

from typing import Any, NamedTuple

from mqtt_bytes import packet, short, string

from protocols.mqtt.wire.properties import Kind, decode, encode


class Heard(NamedTuple):
    kind: str
    id: int = 0
    code: int = 0
    """A reason code; of SUBACK and UNSUBACK the first one. Of CONNACK without the session flag."""
    topic: str = ""
    payload: bytes = b""
    qos: int = 0
    retain: bool = False
    dup: bool = False
    present: bool = False
    properties: Any = {}


NAMES = {
    0x2: "CONNACK",
    0x3: "PUBLISH",
    0x4: "PUBACK",
    0x5: "PUBREC",
    0x6: "PUBREL",
    0x7: "PUBCOMP",
    0x9: "SUBACK",
    0xB: "UNSUBACK",
    0xD: "PINGRESP",
    0xE: "DISCONNECT",
    0xF: "AUTH",
}


def _body(data: bytes) -> bytes:
    at = 1
    while data[at] & 0x80:
        at += 1
    return data[at + 1 :]


def _reason(kind: Kind, body: bytes) -> tuple[int, dict[str, Any]]:
    return (body[0] if body else 0), (decode(body, 1, len(body), kind)[0] if len(body) > 1 else {})


def read(data: bytes, version: int = 5) -> Heard:
    """One packet of a server."""
    kind, body = NAMES[data[0] >> 4], _body(data)
    if kind == "PUBLISH":
        return _read_publish(data[0], body, version)
    if kind == "CONNACK":
        properties = decode(body, 2, len(body), "CONNACK")[0] if version == 5 else {}
        return Heard(kind, code=body[1], present=bool(body[0]), properties=properties)
    if kind in ("DISCONNECT", "AUTH"):
        code, properties = _reason(kind, body)
        return Heard(kind, code=code, properties=properties)
    if kind in ("SUBACK", "UNSUBACK"):
        properties, at = decode(body, 2, len(body), kind) if version == 5 else ({}, 2)
        return Heard(kind, int.from_bytes(body[:2], "big"), body[at] if body[at:] else 0, properties=properties)
    code, properties = _reason(kind, body[2:])
    return Heard(kind, int.from_bytes(body[:2], "big"), code, properties=properties)


def _read_publish(first: int, body: bytes, version: int) -> Heard:
    at = 2 + int.from_bytes(body[:2], "big")
    topic, qos, packet_id = body[2:at].decode(), first >> 1 & 3, 0
    if qos:
        packet_id, at = int.from_bytes(body[at : at + 2], "big"), at + 2
    properties, at = decode(body, at, len(body), "PUBLISH") if version == 5 else ({}, at)
    return Heard(
        "PUBLISH",
        packet_id,
        topic=topic,
        payload=body[at:],
        qos=qos,
        retain=first & 1 == 1,
        dup=first & 8 == 8,
        properties=properties,
    )


def connect(
    client_id: str = "ann",
    version: int = 5,
    *,
    clean: bool = True,
    keepalive: int = 0,
    will: tuple[str, bytes, int] | None = None,
    will_retain: bool = False,
    will_properties: dict[str, Any] | None = None,
    **properties: Any,
) -> bytes:
    """In 3.1.1 a session is what ``clean`` leaves; in 5.0 it is ``session_expiry_interval``."""
    flags = clean << 1 | (4 | will[2] << 3 | will_retain << 5 if will else 0)
    fields = [string("MQTT"), bytes((version, flags)), short(keepalive)]
    fields += [encode(properties, "CONNECT")] if version == 5 else []
    fields.append(string(client_id))
    if will:
        fields += [encode(will_properties, "WILL")] if version == 5 else []
        fields += [string(will[0]), string(will[1])]
    return packet(0x10, b"".join(fields))


def publish(
    topic: str,
    payload: bytes = b"x",
    qos: int = 0,
    packet_id: int = 0,
    version: int = 5,
    *,
    retain: bool = False,
    dup: bool = False,
    **properties: Any,
) -> bytes:
    number = short(packet_id) if qos else b""
    more = encode(properties, "PUBLISH") if version == 5 else b""
    return packet(0x30 | dup << 3 | qos << 1 | retain, string(topic) + number + more + payload)


def _answer(first: int, kind: Kind, packet_id: int, code: int, properties: dict[str, Any]) -> bytes:
    if not code and not properties:
        return packet(first, short(packet_id))
    return packet(first, short(packet_id) + bytes((code,)) + encode(properties, kind))


def puback(packet_id: int, code: int = 0, **properties: Any) -> bytes:
    return _answer(0x40, "PUBACK", packet_id, code, properties)


def pubrec(packet_id: int, code: int = 0, **properties: Any) -> bytes:
    return _answer(0x50, "PUBREC", packet_id, code, properties)


def pubrel(packet_id: int, code: int = 0, **properties: Any) -> bytes:
    return _answer(0x62, "PUBREL", packet_id, code, properties)


def pubcomp(packet_id: int, code: int = 0, **properties: Any) -> bytes:
    return _answer(0x70, "PUBCOMP", packet_id, code, properties)


def subscribe(
    *filters: str,
    qos: int = 2,
    packet_id: int = 1,
    version: int = 5,
    no_local: bool = False,
    as_published: bool = False,
    handling: int = 0,
    **properties: Any,
) -> bytes:
    more = encode(properties, "SUBSCRIBE") if version == 5 else b""
    options = bytes((qos | no_local << 2 | as_published << 3 | handling << 4,))
    return packet(0x82, short(packet_id) + more + b"".join(string(name) + options for name in filters))


def unsubscribe(*filters: str, packet_id: int = 1, version: int = 5) -> bytes:
    more = b"\0" if version == 5 else b""
    return packet(0xA2, short(packet_id) + more + b"".join(map(string, filters)))


def disconnect(code: int = 0, version: int = 5, **properties: Any) -> bytes:
    if version == 4 or not (code or properties):
        return b"\xe0\x00"
    return packet(0xE0, bytes((code,)) + encode(properties, "DISCONNECT"))


def auth(code: int, **properties: Any) -> bytes:
    return packet(0xF0, bytes((code,)) + encode(properties, "AUTH"))
