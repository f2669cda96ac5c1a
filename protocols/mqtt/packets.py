"""MQTT 3.1.1 control packets: bytes <-> packets. Pure.

:class:`Parser` reads what a client may send to a server; the functions below it write what a server sends. Packets are
tuples, the cheapest frozen thing there is, but for PUBLISH and the will: they are read right into the application's
dicts, so that a message is one object all the way. ``properties`` is MQTT 5's and empty in 3.1.1.
"""

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from protocols.asgi import MQTTReceiveEvent, MQTTWill
from protocols.errors import RemoteProtocolError
from protocols.mqtt.topics import valid_filter, valid_name

Properties = dict[str, Any]


class Connect(NamedTuple):
    client_id: str
    clean: bool
    keepalive: int
    """Seconds; 0 means none."""
    username: str | None
    password: bytes | None
    will: MQTTWill | None
    properties: Properties


class Puback(NamedTuple):
    id: int


class Subscribe(NamedTuple):
    id: int
    filters: list[tuple[str | None, int]]
    """(filter, requested QoS); None stands for a filter that breaks the rules, which gets 0x80 in the SUBACK."""


class Unsubscribe(NamedTuple):
    id: int
    filters: list[str]


class Pingreq(NamedTuple):
    pass


class Disconnect(NamedTuple):
    pass


Packet = Connect | MQTTReceiveEvent | Puback | Subscribe | Unsubscribe | Pingreq | Disconnect

# CONNACK return codes (3.2.2.3).
ACCEPTED, UNACCEPTABLE_VERSION, IDENTIFIER_REJECTED, UNAVAILABLE, BAD_CREDENTIALS, NOT_AUTHORIZED = range(6)

# MQTT 5's reason codes: what applications see whatever the version on the wire.
NORMAL, UNSPECIFIED, MALFORMED, PROTOCOL_ERROR = 0x00, 0x80, 0x81, 0x82
SERVER_UNAVAILABLE, SHUTTING_DOWN, KEEP_ALIVE_TIMEOUT, TAKEN_OVER = 0x88, 0x8B, 0x8D, 0x8E
TOPIC_INVALID, TOO_LARGE, QUOTA_EXCEEDED, QOS_NOT_SUPPORTED = 0x90, 0x95, 0x97, 0x9B

RETURN_CODES = {
    0x84: UNACCEPTABLE_VERSION,
    0x85: IDENTIFIER_REJECTED,
    0x86: BAD_CREDENTIALS,
    0x87: NOT_AUTHORIZED,
    0x8A: NOT_AUTHORIZED,
    0x8C: BAD_CREDENTIALS,
}
"""MQTT 5's CONNACK reason code -> the nearest return code of 3.1.1; any other: server unavailable."""

PINGRESP = b"\xd0\x00"
REFUSED_V5 = b"\x20\x03\x00\x84\x00"
"""CONNACK in MQTT 5's format: unsupported protocol version, no properties."""

MAX_CLIENT_ID = 256
"""Characters. The standard asks for 23 at least (3.1.3.1) and leaves the rest to the server."""

BATCH = 64
"""Packets that one call of :meth:`Parser.feed` returns at most, so that its caller can stop in between."""

_MAX_CACHED_TOPICS = 4096
_MAX_CACHED_TOPIC = 256
# C0 and C1 control characters: U+0000 is forbidden (MQTT-1.5.3-2), the others "SHOULD NOT" be there and a receiver may
# close for them (1.5.3). No log line and no path can be split by a name that passed.
_CONTROLS = frozenset(map(chr, (*range(0x20), *range(0x7F, 0xA0))))


class _Topics(dict[bytes, str]):
    """Topic names as they came -> checked text. Devices repeat theirs, and a hit costs one look-up."""

    def __missing__(self, raw: bytes) -> str:
        topic = _name(_text(raw))
        if len(raw) <= _MAX_CACHED_TOPIC:
            if len(self) >= _MAX_CACHED_TOPICS:
                self.clear()
            self[raw] = topic
        return topic


_topics = _Topics()


class Parser:
    """Bytes of one client -> its packets, whatever way the bytes are cut.

    ``max_packet`` bounds the remaining length (bytes) of a packet, and with it what is kept while one is incomplete.
    """

    __slots__ = ("_at", "_buffer", "_max", "_need", "_tail")

    def __init__(self, max_packet: int) -> None:
        self._max = max_packet
        self._buffer = b""
        self._at = 0
        # What came after _buffer, and how long both must be for the next packet: a packet that dribbles in is joined
        # once, when it is complete.
        self._tail = bytearray()
        self._need = 0

    @property
    def waiting(self) -> int:
        """Bytes that were fed and are not parsed yet."""
        return len(self._buffer) - self._at + len(self._tail)

    def append(self, data: bytes) -> None:
        """Keep ``data`` for a later :meth:`feed`."""
        if self._at == len(self._buffer) and not self._tail:
            self._buffer, self._at = data, 0
        else:
            self._tail += data

    def feed(self, data: bytes = b"", most: int = BATCH) -> list[Packet]:
        """The next complete packets, ``most`` at most: call it without ``data`` until the list is empty.

        Raises RemoteProtocolError at the first packet that breaks the rules, after those before it were returned.
        """
        if data:
            self.append(data)
        if self._tail:
            if self.waiting < self._need:
                return []
            self._buffer, self._at = self._buffer[self._at :] + self._tail, 0
            self._tail = bytearray()
        packets: list[Packet] = []
        try:
            self._parse(packets, most)
        except RemoteProtocolError:
            if not packets:
                raise
        return packets

    def _parse(self, packets: list[Packet], most: int) -> None:
        buffer, at, end, decoders = self._buffer, self._at, len(self._buffer), _DECODERS
        append, longest, need = packets.append, self._max, 2
        try:
            for _ in range(most):
                if end - at < 2:
                    break
                first, length, body = buffer[at], buffer[at + 1], at + 2
                decode = decoders[first] or _illegal(first)
                if length > 127:
                    length, body = _remaining_length(buffer, at + 1, end)
                stop = body + length
                if length > longest:
                    raise RemoteProtocolError(f"a packet of {length} bytes; the limit is {longest}", answer=TOO_LARGE)
                if stop > end:
                    need = stop - at
                    break
                append(decode(buffer, first, body, stop))
                at = stop
        finally:
            self._at = at
        if end - at < need:  # incomplete: let go of the chunk that its first bytes came in
            self._buffer, self._at, self._need = buffer[at:], 0, need


def _remaining_length(buffer: bytes, at: int, end: int) -> tuple[int, int]:
    """The remaining length (2.2.3), of which there is a second byte, and where it ends; one byte more than there is
    where it is incomplete."""
    length = shift = 0
    for position in range(at, min(at + 4, end)):
        length |= (buffer[position] & 0x7F) << shift
        shift += 7
        if buffer[position] < 0x80:
            return length, position + 1
    if shift == 28:
        raise RemoteProtocolError("a remaining length of more than four bytes [2.2.3]", answer=MALFORMED)
    return 0, end + 1


def _illegal(first: int) -> "Decoder":
    """No decoder for this first byte of a packet: say which rule it breaks."""
    kind, flags = _NAMES[first >> 4], first & 0x0F
    if kind == "PUBLISH" and flags & 6 == 6:
        raise RemoteProtocolError("PUBLISH with QoS 3 [MQTT-3.3.1-4]", answer=MALFORMED)
    if kind == "PUBLISH" and flags & 6 == 0:
        raise RemoteProtocolError("PUBLISH with DUP at QoS 0 [MQTT-3.3.1-2]", answer=MALFORMED)
    if kind in _NOT_SERVED:
        raise RemoteProtocolError(f"{kind}: QoS 2 is not served", answer=QOS_NOT_SUPPORTED)
    if kind in _FROM_CLIENTS:
        raise RemoteProtocolError(f"{kind} with reserved flags {flags:#x} [MQTT-2.2.2-2]", answer=MALFORMED)
    raise RemoteProtocolError(f"{kind} from a client [2.2.1]", answer=PROTOCOL_ERROR)


def _publish_0(buffer: bytes, first: int, body: int, stop: int) -> MQTTReceiveEvent:
    try:  # past its own end it may read the next packet's bytes: then the topic ends past it too
        start, middle = body + 2, body + 2 + (buffer[body] << 8 | buffer[body + 1])
    except IndexError:
        raise _cut("PUBLISH") from None
    if middle > stop:
        raise _cut("PUBLISH")
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


def _publish_1(buffer: bytes, first: int, body: int, stop: int) -> MQTTReceiveEvent:
    try:
        start, middle = body + 2, body + 2 + (buffer[body] << 8 | buffer[body + 1])
    except IndexError:
        raise _cut("PUBLISH") from None
    payload = middle + 2
    if payload > stop:
        raise _cut("PUBLISH")
    packet_id = buffer[middle] << 8 | buffer[middle + 1] or _zero()
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


def _puback(buffer: bytes, first: int, body: int, stop: int) -> Puback:
    if stop - body != 2:
        raise RemoteProtocolError("PUBACK whose remaining length is not 2 [3.4.1]", answer=MALFORMED)
    return Puback(buffer[body] << 8 | buffer[body + 1] or _zero())


def _connect(buffer: bytes, first: int, body: int, stop: int) -> Connect:
    fields = _Fields("CONNECT", buffer, body, stop)
    _version(fields.binary(), fields.byte())
    flags, keepalive = fields.byte(), fields.short()
    _check_connect_flags(flags)
    clean = flags & 0x02 != 0
    client_id = fields.text()
    if not client_id and not clean:
        raise _refused("an empty client identifier without clean session [MQTT-3.1.3-8]", IDENTIFIER_REJECTED)
    if len(client_id) > MAX_CLIENT_ID:
        raise _refused(f"a client identifier of more than {MAX_CLIENT_ID} characters", IDENTIFIER_REJECTED)
    will: MQTTWill | None = None
    if flags & 0x04:
        will = {
            "topic": _name(fields.text()),
            "payload": fields.binary(),
            "qos": flags >> 3 & 3,
            "retain": flags & 0x20 != 0,
            "properties": {},
        }
    username = fields.text() if flags & 0x80 else None
    password = fields.binary() if flags & 0x40 else None
    fields.end()
    return Connect(client_id, clean, keepalive, username, password, will, {})


def _version(name: bytes, level: int) -> None:
    if (name, level) == (b"MQTT", 4):
        return
    if (name, level) == (b"MQTT", 5):
        raise RemoteProtocolError("CONNECT of MQTT 5.0, which is not served", answer=REFUSED_V5)
    if name == b"MQTT" or (name, level) == (b"MQIsdp", 3):
        raise _refused(f"CONNECT with protocol level {level} [MQTT-3.1.2-2]", UNACCEPTABLE_VERSION)
    raise RemoteProtocolError("CONNECT with another protocol name [MQTT-3.1.2-1]", answer=MALFORMED)


def _check_connect_flags(flags: int) -> None:
    """Section 3.1.2.3 to 3.1.2.9."""
    if flags & 0x01:
        raise RemoteProtocolError("CONNECT with its reserved flag [MQTT-3.1.2-3]", answer=MALFORMED)
    if not flags & 0x04 and flags & 0x38:
        raise RemoteProtocolError("CONNECT with will QoS or retain but no will [MQTT-3.1.2-11]", answer=MALFORMED)
    if flags & 0x18 == 0x18:
        raise RemoteProtocolError("CONNECT with will QoS 3 [MQTT-3.1.2-14]", answer=MALFORMED)
    if flags & 0xC0 == 0x40:
        raise RemoteProtocolError("CONNECT with a password but no user name [MQTT-3.1.2-22]", answer=MALFORMED)


def _subscribe(buffer: bytes, first: int, body: int, stop: int) -> Subscribe:
    fields = _Fields("SUBSCRIBE", buffer, body, stop)
    packet_id = fields.short() or _zero()
    filters: list[tuple[str | None, int]] = []
    while not filters or fields.more():
        topic_filter, qos = fields.text(), fields.byte()
        if qos > 2:
            raise RemoteProtocolError("SUBSCRIBE with reserved QoS bits [MQTT-3.8.3-4]", answer=MALFORMED)
        filters.append((topic_filter if valid_filter(topic_filter) else None, qos))
    return Subscribe(packet_id, filters)


def _unsubscribe(buffer: bytes, first: int, body: int, stop: int) -> Unsubscribe:
    fields = _Fields("UNSUBSCRIBE", buffer, body, stop)
    packet_id = fields.short() or _zero()
    filters = [fields.text()]
    while fields.more():
        filters.append(fields.text())
    return Unsubscribe(packet_id, filters)


def _pingreq(buffer: bytes, first: int, body: int, stop: int) -> Pingreq:
    _Fields("PINGREQ", buffer, body, stop).end()
    return Pingreq()


def _disconnect(buffer: bytes, first: int, body: int, stop: int) -> Disconnect:
    _Fields("DISCONNECT", buffer, body, stop).end()
    return Disconnect()


class _Fields:
    """The fields of one packet, from left to right, never past its end."""

    def __init__(self, kind: str, buffer: bytes, at: int, stop: int) -> None:
        self._kind, self._buffer, self._at, self._stop = kind, buffer, at, stop

    def take(self, length: int) -> bytes:
        at, self._at = self._at, self._at + length
        if self._at > self._stop:
            raise _cut(self._kind)
        return self._buffer[at : self._at]

    def byte(self) -> int:
        return self.take(1)[0]

    def short(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def binary(self) -> bytes:
        return self.take(self.short())

    def text(self) -> str:
        return _text(self.binary())

    def more(self) -> bool:
        return self._at < self._stop

    def end(self) -> None:
        if self.more():
            raise RemoteProtocolError(f"{self._kind} with bytes after its last field [2.2.3]", answer=MALFORMED)


def _text(raw: bytes) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise RemoteProtocolError("a string that is not UTF-8 [MQTT-1.5.3-1]", answer=MALFORMED) from None
    if not text.isprintable() and not _CONTROLS.isdisjoint(text):
        raise RemoteProtocolError("a string with a control character [MQTT-1.5.3-2]", answer=MALFORMED)
    return text


def _name(text: str) -> str:
    if not valid_name(text):
        raise RemoteProtocolError("a topic name that is none [MQTT-3.3.2-2, MQTT-4.7.3-1]", answer=TOPIC_INVALID)
    return text


def _zero() -> int:
    raise RemoteProtocolError("packet identifier 0 [MQTT-2.3.1-1]", answer=PROTOCOL_ERROR)


def _cut(kind: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"{kind} that ends in the middle of a field [2.2.3]", answer=MALFORMED)


def _refused(why: str, code: int) -> RemoteProtocolError:
    return RemoteProtocolError(why, answer=connack(code))


Decoder = Callable[[bytes, int, int, int], Packet]

_NAMES = (
    *("packet type 0", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP"),
    *("SUBSCRIBE", "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "packet type 15"),
)
_FROM_CLIENTS = {"CONNECT", "PUBACK", "SUBSCRIBE", "UNSUBSCRIBE", "PINGREQ", "DISCONNECT"}
_NOT_SERVED = {"PUBLISH", "PUBREC", "PUBREL", "PUBCOMP"}
_BY_FIRST_BYTE: dict[int, Decoder] = {
    0x10: _connect,
    **dict.fromkeys((0x30, 0x31), _publish_0),
    **dict.fromkeys((0x32, 0x33, 0x3A, 0x3B), _publish_1),
    0x40: _puback,
    0x82: _subscribe,
    0xA2: _unsubscribe,
    0xC0: _pingreq,
    0xE0: _disconnect,
}
"""First byte, flags included (2.2.2) -> the decoder of what follows: a byte that is not here is illegal."""
_DECODERS = [_BY_FIRST_BYTE.get(first) for first in range(256)]


# What a server sends.


def connack(code: int, session_present: bool = False) -> bytes:
    """CONNACK with a return code of 3.1.1 (0 to 5)."""
    return bytes((0x20, 2, session_present, code))


def pubacks(ids: Sequence[int]) -> bytes:
    """One PUBACK for each of ``ids``, in their order."""
    return struct.pack(f">{len(ids)}I", *[0x40020000 | packet_id for packet_id in ids])


def suback(packet_id: int, codes: Iterable[int]) -> bytes:
    """SUBACK with a return code (granted QoS, or 0x80) per filter."""
    return _packet(0x90, packet_id.to_bytes(2, "big") + bytes(codes))


def unsuback(packet_id: int) -> bytes:
    return b"\xb0\x02" + packet_id.to_bytes(2, "big")


def publish(topic: str, payload: bytes, *, retain: bool = False) -> bytes:
    """PUBLISH at QoS 0."""
    return _packet(0x30 | retain, _string(topic) + payload)


def publish_head(topic: str, payload: bytes, *, retain: bool = False, dup: bool = False) -> bytes:
    """PUBLISH at QoS 1 up to its packet identifier, which is followed by ``payload``."""
    name = _string(topic)
    return bytes((0x32 | dup << 3 | retain,)) + _length(len(name) + 2 + len(payload)) + name


def _packet(first: int, body: bytes) -> bytes:
    return bytes((first,)) + _length(len(body)) + body


def _string(text: str) -> bytes:
    raw = text.encode()
    return len(raw).to_bytes(2, "big") + raw


def _length(value: int) -> bytes:
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
