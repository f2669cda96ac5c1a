"""The bytes of a client's packets but PUBLISH -> what they say, 3.1.1 and 5.0; and which byte begins which. Pure."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, NoReturn

from protocols.asgi import MQTTWill
from protocols.errors import RemoteProtocolError
from protocols.mqtt.wire import properties, reasons
from protocols.mqtt.wire.fields import Fields, zero
from protocols.mqtt.wire.packets import (
    Auth,
    Connect,
    Disconnect,
    Options,
    Packet,
    Pingreq,
    Puback,
    Pubcomp,
    Pubrec,
    Pubrel,
    Subscribe,
    Unsubscribe,
    connack,
)
from protocols.mqtt.wire.properties import Kind, Properties
from protocols.mqtt.wire.publish import (
    publish_0,
    publish_1,
    publish_2,
    publish_v5_0,
    publish_v5_1,
    publish_v5_2,
    topic_name,
)
from protocols.mqtt.wire.reasons import MALFORMED, PROTOCOL_ERROR, QUOTA_EXCEEDED
from protocols.mqtt.wire.topics import valid_filter

MAX_CLIENT_ID = 256
"""Characters. The standard asks for 23 at least (3.1.3.1) and leaves the rest to the server."""


def _connect(buffer: bytes, first: int, body: int, stop: int) -> Connect:
    fields = Fields("CONNECT", buffer, body, stop)
    version = read_version(fields)
    flags, keepalive = fields.byte(), fields.short()
    _check_connect_flags(flags, version)
    clean = flags & 0x02 != 0
    found = _connect_properties(fields) if version == 5 else {}
    client_id = fields.text()
    _check_client_id(client_id, may_be_empty=clean or version == 5)
    will = _will(fields, flags, version) if flags & 0x04 else None
    username = fields.text() if flags & 0x80 else None
    password = fields.binary() if flags & 0x40 else None
    fields.end()
    return Connect(version, client_id, clean, keepalive, username, password, will, found)


def read_version(fields: Fields) -> int:
    """Protocol name and level: 4 or 5."""
    name, level = fields.binary(), fields.byte()
    if name == b"MQTT" and level in (4, 5):
        return level
    if name not in (b"MQTT", b"MQIsdp"):
        raise RemoteProtocolError("CONNECT with another protocol name [MQTT-3.1.2-1]", answer=MALFORMED)
    # Mosquitto's bridges set bit 7 of the level of 3.1 and 3.1.1, and clear it when 3.1.1's answer says no.
    answer = connack(5 if 5 < level < 0x80 else 4, reasons.UNSUPPORTED_VERSION)
    raise RemoteProtocolError(f"CONNECT with protocol level {level} [MQTT-3.1.2-2]", answer=answer)


def _check_connect_flags(flags: int, version: int) -> None:
    """Section 3.1.2.3 to 3.1.2.9."""
    if flags & 0x01:
        raise RemoteProtocolError("CONNECT with its reserved flag [MQTT-3.1.2-3]", answer=MALFORMED)
    if not flags & 0x04 and flags & 0x38:
        raise RemoteProtocolError("CONNECT with will QoS or retain but no will [MQTT-3.1.2-11]", answer=MALFORMED)
    if flags & 0x18 == 0x18:
        raise RemoteProtocolError("CONNECT with will QoS 3 [MQTT-3.1.2-14, 5.0: 3.1.2-12]", answer=MALFORMED)
    if version == 4 and flags & 0xC0 == 0x40:
        raise RemoteProtocolError("CONNECT with a password but no user name [MQTT-3.1.2-22]", answer=MALFORMED)


def _check_client_id(client_id: str, *, may_be_empty: bool) -> None:
    if not client_id and not may_be_empty:
        raise _bad_client_id("an empty client identifier without clean session [MQTT-3.1.3-8]")
    if len(client_id) > MAX_CLIENT_ID:
        raise _bad_client_id(f"a client identifier of more than {MAX_CLIENT_ID} characters [3.1.3.1]")


def _bad_client_id(message: str) -> RemoteProtocolError:
    return RemoteProtocolError(message, answer=reasons.CLIENT_ID_INVALID)


def _connect_properties(fields: Fields) -> Properties:
    found = properties_of(fields, "CONNECT")
    if "authentication_data" in found and "authentication_method" not in found:
        raise RemoteProtocolError("CONNECT with authentication data but no method [3.1.2.11.10]", answer=PROTOCOL_ERROR)
    return found


def _will(fields: Fields, flags: int, version: int) -> MQTTWill:
    found = properties_of(fields, "WILL") if version == 5 else {}
    return {
        "topic": topic_name(fields.text()),
        "payload": fields.binary(),
        "qos": flags >> 3 & 3,
        "retain": flags & 0x20 != 0,
        "properties": found,
    }


def acknowledgement(packet: Callable[[int, int, Properties], Packet], kind: str) -> "Decoder":
    """The decoder of PUBACK and its like in 3.1.1."""

    def decode(buffer: bytes, first: int, body: int, stop: int) -> Packet:
        if stop - body != 2:
            raise RemoteProtocolError(f"{kind} whose remaining length is not 2 [3.4.1]", answer=MALFORMED)
        return packet(buffer[body] << 8 | buffer[body + 1] or zero(), 0, {})

    return decode


def acknowledgement_v5(
    packet: Callable[[int, int, Properties], Packet], kind: Kind, codes: frozenset[int] | None = None
) -> "Decoder":
    """The decoder of PUBACK and its like in 5.0: reason code and properties may be missing (3.4.2.1)."""

    def decode(buffer: bytes, first: int, body: int, stop: int) -> Packet:
        if stop - body == 2:
            return packet(buffer[body] << 8 | buffer[body + 1] or zero(), 0, {})
        fields = Fields(kind, buffer, body, stop)
        packet_id = fields.packet_id()
        return packet(packet_id, *reason_of(fields, kind, codes))

    return decode


def _subscribe(buffer: bytes, first: int, body: int, stop: int) -> Subscribe:
    fields = Fields("SUBSCRIBE", buffer, body, stop)
    packet_id = fields.packet_id()
    return Subscribe(packet_id, _filters(fields, _options), {})


def _subscribe_v5(buffer: bytes, first: int, body: int, stop: int) -> Subscribe:
    fields = Fields("SUBSCRIBE", buffer, body, stop)
    packet_id = fields.packet_id()
    found = properties_of(fields, "SUBSCRIBE")
    return Subscribe(packet_id, _filters(fields, _options_v5), found)


MAX_FILTERS = 4096
"""The most topic filters in one SUBSCRIBE: 256 KiB of the shortest would keep all others waiting for a third of a
second."""


def _filters(fields: Fields, options: Callable[[str, int], Options]) -> list[tuple[str | None, Options]]:
    _check_payload(fields)
    filters: list[tuple[str | None, Options]] = []
    while fields.more():
        topic_filter = fields.text()
        chosen = options(topic_filter, fields.byte())
        filters.append((topic_filter if valid_filter(topic_filter) else None, chosen))
        if len(filters) > MAX_FILTERS:
            raise RemoteProtocolError(f"SUBSCRIBE with more than {MAX_FILTERS} filters", answer=QUOTA_EXCEEDED)
    return filters


def _options(topic_filter: str, byte: int) -> Options:
    if byte > 2:
        raise RemoteProtocolError("SUBSCRIBE with reserved QoS bits [MQTT-3.8.3-4]", answer=MALFORMED)
    return Options(byte, no_local=False, retain_as_published=False, retain_handling=0)


def _options_v5(topic_filter: str, byte: int) -> Options:
    """Section 3.8.3.1."""
    options = Options(byte & 3, byte & 4 != 0, byte & 8 != 0, byte >> 4 & 3)
    if byte & 0xC0:
        raise RemoteProtocolError("SUBSCRIBE with reserved option bits [MQTT-3.8.3-5]", answer=MALFORMED)
    if options.qos == 3:
        raise RemoteProtocolError("SUBSCRIBE with QoS 3 [3.8.3.1]", answer=PROTOCOL_ERROR)
    if options.retain_handling == 3:
        raise RemoteProtocolError("SUBSCRIBE with retain handling 3 [3.8.3.1]", answer=PROTOCOL_ERROR)
    if options.no_local and topic_filter.startswith("$share/"):
        raise RemoteProtocolError("SUBSCRIBE, shared, with No Local [MQTT-3.8.3-4]", answer=PROTOCOL_ERROR)
    return options


def _unsubscribe(buffer: bytes, first: int, body: int, stop: int) -> Unsubscribe:
    fields = Fields("UNSUBSCRIBE", buffer, body, stop)
    packet_id = fields.packet_id()
    return Unsubscribe(packet_id, _texts(fields), {})


def _unsubscribe_v5(buffer: bytes, first: int, body: int, stop: int) -> Unsubscribe:
    fields = Fields("UNSUBSCRIBE", buffer, body, stop)
    packet_id = fields.packet_id()
    found = properties_of(fields, "UNSUBSCRIBE")
    return Unsubscribe(packet_id, _texts(fields), found)


def _texts(fields: Fields) -> list[str]:
    _check_payload(fields)
    texts = []
    while fields.more():
        texts.append(fields.text())
    return texts


def _check_payload(fields: Fields) -> None:
    if not fields.more():
        message = f"{fields.kind} without a topic filter [MQTT-3.8.3-3, 3.10.3-2, 5.0: 3.8.3-2]"
        raise RemoteProtocolError(message, answer=PROTOCOL_ERROR)


def _pingreq(buffer: bytes, first: int, body: int, stop: int) -> Pingreq:
    Fields("PINGREQ", buffer, body, stop).end()
    return Pingreq()


def _disconnect(buffer: bytes, first: int, body: int, stop: int) -> Disconnect:
    Fields("DISCONNECT", buffer, body, stop).end()
    return Disconnect(0, {})


def _disconnect_v5(buffer: bytes, first: int, body: int, stop: int) -> Disconnect:
    return Disconnect(*reason_of(Fields("DISCONNECT", buffer, body, stop), "DISCONNECT", _DISCONNECT_CODES))


def _auth_v5(buffer: bytes, first: int, body: int, stop: int) -> Auth:
    fields = Fields("AUTH", buffer, body, stop)
    code, found = reason_of(fields, "AUTH", _AUTH_CODES)
    if "authentication_method" not in found:
        raise RemoteProtocolError("AUTH without an authentication method [3.15.2.2.2]", answer=PROTOCOL_ERROR)
    return Auth(code, found)


def reason_of(fields: Fields, kind: Kind, codes: frozenset[int] | None = None) -> tuple[int, Properties]:
    """Reason code and properties, to the packet's end; what is missing is success, and none. A code that is not among
    ``codes`` is an error; without ``codes``, none is."""
    code = fields.byte() if fields.more() else reasons.SUCCESS
    if codes is not None and code not in codes:
        raise RemoteProtocolError(f"{kind} with reason code {code:#x} from a client [2.4]", answer=PROTOCOL_ERROR)
    found = properties_of(fields, kind) if fields.more() else {}
    fields.end()
    return code, found


def properties_of(fields: Fields, kind: Kind) -> Properties:
    found, fields.at = properties.decode(fields.buffer, fields.at, fields.stop, kind)
    return found


# The reason codes that a client may send: 3.4.2.1 and 3.5.2.1, 3.6.2.1 and 3.7.2.1, 3.14.2.1, 3.15.2.1.
_ACCEPTED = frozenset({0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99})
_RELEASED = frozenset({reasons.SUCCESS, reasons.PACKET_ID_NOT_FOUND})
_DISCONNECT_CODES = frozenset({0x00, 0x04, *range(0x80, 0x84), 0x90, *range(0x93, 0x9A)})
_AUTH_CODES = frozenset({reasons.CONTINUE_AUTHENTICATION, reasons.REAUTHENTICATE})

Decoder = Callable[[bytes, int, int, int], Packet]

_NAMES = (
    *("packet type 0", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP"),
    *("SUBSCRIBE", "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH"),
)
_FROM_CLIENTS = frozenset(_NAMES) - {"packet type 0", "CONNACK", "SUBACK", "UNSUBACK", "PINGRESP", "AUTH"}
_V4: dict[int, Decoder] = {
    0x10: _connect,
    **dict.fromkeys((0x30, 0x31), publish_0),
    **dict.fromkeys((0x32, 0x33, 0x3A, 0x3B), publish_1),
    **dict.fromkeys((0x34, 0x35, 0x3C, 0x3D), publish_2),
    0x40: acknowledgement(Puback, "PUBACK"),
    0x50: acknowledgement(Pubrec, "PUBREC"),
    0x62: acknowledgement(Pubrel, "PUBREL"),
    0x70: acknowledgement(Pubcomp, "PUBCOMP"),
    0x82: _subscribe,
    0xA2: _unsubscribe,
    0xC0: _pingreq,
    0xE0: _disconnect,
}
"""First byte, flags included (2.2.2) -> the decoder of what follows: a byte that is not here is illegal."""
_V5: dict[int, Decoder] = {
    **_V4,
    **dict.fromkeys((0x30, 0x31), publish_v5_0),
    **dict.fromkeys((0x32, 0x33, 0x3A, 0x3B), publish_v5_1),
    **dict.fromkeys((0x34, 0x35, 0x3C, 0x3D), publish_v5_2),
    0x40: acknowledgement_v5(Puback, "PUBACK", _ACCEPTED),
    0x50: acknowledgement_v5(Pubrec, "PUBREC", _ACCEPTED),
    0x62: acknowledgement_v5(Pubrel, "PUBREL", _RELEASED),
    0x70: acknowledgement_v5(Pubcomp, "PUBCOMP", _RELEASED),
    0x82: _subscribe_v5,
    0xA2: _unsubscribe_v5,
    0xE0: _disconnect_v5,
    0xF0: _auth_v5,
}


def table_of(decoders: dict[int, Decoder]) -> list[Decoder | None]:
    return [decoders.get(first) for first in range(256)]


class Decoders(NamedTuple):
    """The decoders of one side's packets."""

    sender: str
    kinds: frozenset[str]
    """What it may send in either version."""
    tables: Mapping[int, list[Decoder | None]]
    """The decoders by version. Version 0 is for the time before CONNECT; its caller reports any other packet."""

    def illegal(self, first: int, version: int) -> NoReturn:
        """No decoder for this first byte of a packet: say which rule it breaks."""
        kind, flags = _NAMES[first >> 4], first & 0x0F
        if kind == "PUBLISH" and flags & 6 == 6:
            raise RemoteProtocolError("PUBLISH with QoS 3 [MQTT-3.3.1-4]", answer=MALFORMED)
        if kind == "PUBLISH":
            raise RemoteProtocolError("PUBLISH with DUP at QoS 0 [MQTT-3.3.1-2]", answer=MALFORMED)
        if kind in self.kinds or (kind == "AUTH" and version == 5):
            raise RemoteProtocolError(
                f"{kind} with reserved flags {flags:#x} [MQTT-2.2.2-2, 5.0: 2.1.3-1]", answer=MALFORMED
            )
        raise RemoteProtocolError(f"{kind} from a {self.sender} [2.2.1, 5.0: 2.1.2]", answer=PROTOCOL_ERROR)


FROM_CLIENT = Decoders("client", _FROM_CLIENTS, {0: table_of(_V4), 4: table_of(_V4), 5: table_of(_V5)})
