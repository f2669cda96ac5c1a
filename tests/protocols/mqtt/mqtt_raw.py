"""A client of either version on a blocking socket. What it hears is read with paho's properties, not with ours."""

import socket
from dataclasses import dataclass
from typing import Any, Self

from mqtt_bytes import packet, short, string
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

LIMIT = 10.0
"""Seconds that any wait may take."""

PINGREQ = packet(0xC0)

_KINDS = (
    *("", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP"),
    *("SUBSCRIBE", "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH"),
)

Given = dict[str, Any] | None
"""Properties by the names that paho has for them: ``SessionExpiryInterval``."""


@dataclass(frozen=True)
class Packet:
    """What a server said."""

    kind: str
    id: int = 0
    codes: tuple[int, ...] = ()
    present: bool = False
    topic: str = ""
    payload: bytes = b""
    qos: int = 0
    retain: bool = False
    dup: bool = False
    properties: tuple[tuple[str, Any], ...] = ()
    """Sorted by name."""


def encoded(kind: str, version: int, given: Given, *, will: bool = False) -> bytes:
    if version == 4:
        return b""
    properties = Properties(PacketTypes.WILLMESSAGE if will else getattr(PacketTypes, kind))
    for name, value in (given or {}).items():
        setattr(properties, name, value)
    data: bytes = properties.pack()
    return data


def connect(
    version: int,
    client_id: str,
    *,
    clean: bool = True,
    keepalive: int = 0,
    will: tuple[str, bytes, int, bool] | None = None,
    will_properties: Given = None,
    properties: Given = None,
) -> bytes:
    """``will``: topic, payload, QoS, retain."""
    flags, fields = clean << 1, b""
    if will:
        topic, payload, qos, retain = will
        flags |= 0x04 | qos << 3 | retain << 5
        fields = encoded("CONNECT", version, will_properties, will=True) + string(topic) + string(payload)
    head = string("MQTT") + bytes((version, flags)) + short(keepalive) + encoded("CONNECT", version, properties)
    return packet(0x10, head, string(client_id), fields)


def publish(
    version: int,
    topic: str,
    payload: bytes,
    qos: int = 0,
    packet_id: int = 0,
    *,
    retain: bool = False,
    dup: bool = False,
    properties: Given = None,
) -> bytes:
    number = short(packet_id) if qos else b""
    first = 0x30 | dup << 3 | qos << 1 | retain
    return packet(first, string(topic), number, encoded("PUBLISH", version, properties), payload)


def subscribe(version: int, packet_id: int, filters: list[tuple[str, int]], properties: Given = None) -> bytes:
    """``filters``: each with its options byte."""
    each = b"".join(string(topic_filter) + bytes((options,)) for topic_filter, options in filters)
    return packet(0x82, short(packet_id), encoded("SUBSCRIBE", version, properties), each)


def unsubscribe(version: int, packet_id: int, filters: list[str]) -> bytes:
    return packet(0xA2, short(packet_id), encoded("UNSUBSCRIBE", version, None), *map(string, filters))


def acknowledgement(first: int, packet_id: int) -> bytes:
    """PUBACK 0x40, PUBREC 0x50, PUBREL 0x62, PUBCOMP 0x70: success."""
    return packet(first, short(packet_id))


def disconnect(version: int, code: int = 0, properties: Given = None) -> bytes:
    if version == 4 or not (code or properties):
        return packet(0xE0)
    return packet(0xE0, bytes((code,)), encoded("DISCONNECT", version, properties))


class Raw:
    """One connection."""

    def __init__(self, port: int, version: int, host: str = "127.0.0.1", limit: float = LIMIT) -> None:
        self.version = version
        self._socket = socket.create_connection((host, port), limit)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def say(self, *packets: bytes) -> None:
        self._socket.sendall(b"".join(packets))

    def hear(self) -> Packet | None:
        """The next packet; None when the server has closed the connection. Raises TimeoutError."""
        while (end := self._end()) is None:
            try:
                data = self._socket.recv(65536)
            except ConnectionError:
                data = b""
            if not data:
                return None
            self._buffer += data
        start, stop = end
        first, body = self._buffer[0], self._buffer[start:stop]
        self._buffer = self._buffer[stop:]
        return decoded(self.version, first, body)

    def until(self, kind: str) -> list[Packet]:
        """Everything up to and with the next packet of a kind; ``kind`` "" is the end of the connection."""
        heard: list[Packet] = []
        while (each := self.hear()) is not None:
            heard.append(each)
            if each.kind == kind:
                return heard
        assert not kind, f"closed before {kind}, after {heard}"
        return heard

    def cut(self) -> list[Packet]:
        """End our half of the connection without a word, and read what still comes until the server's has ended."""
        self._socket.shutdown(socket.SHUT_WR)
        return self.until("")

    def close(self) -> None:
        self._socket.close()

    def _end(self) -> tuple[int, int] | None:
        """Where the first packet's body begins and ends, if it is all there."""
        length = shift = 0
        for at in range(1, len(self._buffer)):
            length |= (self._buffer[at] & 0x7F) << shift
            shift += 7
            if self._buffer[at] < 0x80:
                return (at + 1, at + 1 + length) if len(self._buffer) >= at + 1 + length else None
        return None


def decoded(version: int, first: int, body: bytes) -> Packet:
    kind = _KINDS[first >> 4]
    match kind:
        case "CONNACK":
            return Packet(kind, codes=(body[1],), present=body[0] == 1, properties=_read(kind, version, body[2:])[0])
        case "PUBLISH":
            return _published(version, first, body)
        case "SUBACK" | "UNSUBACK":
            properties, codes = _read(kind, version, body[2:])
            return Packet(kind, int.from_bytes(body[:2], "big"), tuple(codes), properties=properties)
        case "DISCONNECT":
            return Packet(kind, codes=(body[0] if body else 0,), properties=_read(kind, version, body[1:])[0])
        case "PINGRESP":
            return Packet(kind)
    code = body[2] if len(body) > 2 else 0
    return Packet(kind, int.from_bytes(body[:2], "big"), (code,), properties=_read(kind, version, body[3:])[0])


def _published(version: int, first: int, body: bytes) -> Packet:
    at = 2 + int.from_bytes(body[:2], "big")
    topic, qos, packet_id = body[2:at].decode(), first >> 1 & 3, 0
    if qos:
        packet_id = int.from_bytes(body[at : at + 2], "big")
        at += 2
    properties, payload = _read("PUBLISH", version, body[at:])
    return Packet(
        "PUBLISH",
        packet_id,
        topic=topic,
        payload=payload,
        qos=qos,
        retain=first & 1 == 1,
        dup=first & 8 == 8,
        properties=properties,
    )


def _read(kind: str, version: int, data: bytes) -> tuple[tuple[tuple[str, Any], ...], bytes]:
    """The properties that ``data`` begins with, and the rest of it."""
    if version == 4 or not data:
        return (), data
    properties, length = Properties(getattr(PacketTypes, kind)).unpack(data)
    return tuple(sorted(properties.json().items())), data[length:]
