"""The bytes of a server's packets -> what they say, 3.1.1 and 5.0. Pure.

Reason codes are taken as they come: one that the standard does not name is a refusal from 0x80 on, as any other.
"""

from protocols.errors import RemoteProtocolError
from protocols.mqtt.wire.decoders import (
    Decoder,
    Decoders,
    acknowledgement,
    acknowledgement_v5,
    properties_of,
    reason_of,
    table_of,
)
from protocols.mqtt.wire.fields import Fields
from protocols.mqtt.wire.packets import (
    Auth,
    Connack,
    Disconnect,
    Pingresp,
    Puback,
    Pubcomp,
    Pubrec,
    Pubrel,
    Suback,
    Unsuback,
)
from protocols.mqtt.wire.publish import (
    delivery_v5_0,
    delivery_v5_1,
    delivery_v5_2,
    publish_0,
    publish_1,
    publish_2,
)
from protocols.mqtt.wire.reasons import MALFORMED, PROTOCOL_ERROR


def _connack(buffer: bytes, first: int, body: int, stop: int) -> Connack:
    """A server that does not speak 5.0 answers as 3.1.1 has it, without properties."""
    fields = Fields("CONNACK", buffer, body, stop)
    flags, code = fields.byte(), fields.byte()
    if flags > 1:
        raise RemoteProtocolError("CONNACK with reserved flags [MQTT-3.2.2-1]", answer=MALFORMED)
    found = properties_of(fields, "CONNACK") if fields.more() else {}
    fields.end()
    return Connack(flags == 1, code, found)


def _suback(buffer: bytes, first: int, body: int, stop: int) -> Suback:
    fields = Fields("SUBACK", buffer, body, stop)
    return Suback(fields.packet_id(), _codes(fields), {})


def _suback_v5(buffer: bytes, first: int, body: int, stop: int) -> Suback:
    fields = Fields("SUBACK", buffer, body, stop)
    packet_id, found = fields.packet_id(), properties_of(fields, "SUBACK")
    return Suback(packet_id, _codes(fields), found)


def _unsuback(buffer: bytes, first: int, body: int, stop: int) -> Unsuback:
    fields = Fields("UNSUBACK", buffer, body, stop)
    packet_id = fields.packet_id()
    fields.end()
    return Unsuback(packet_id, b"", {})


def _unsuback_v5(buffer: bytes, first: int, body: int, stop: int) -> Unsuback:
    fields = Fields("UNSUBACK", buffer, body, stop)
    packet_id, found = fields.packet_id(), properties_of(fields, "UNSUBACK")
    return Unsuback(packet_id, _codes(fields), found)


def _codes(fields: Fields) -> bytes:
    if not fields.more():
        raise RemoteProtocolError(f"{fields.kind} without a reason code [3.9.3, 5.0: 3.11.3]", answer=PROTOCOL_ERROR)
    return fields.take(fields.stop - fields.at)


def _pingresp(buffer: bytes, first: int, body: int, stop: int) -> Pingresp:
    Fields("PINGRESP", buffer, body, stop).end()
    return Pingresp()


def _disconnect(buffer: bytes, first: int, body: int, stop: int) -> Disconnect:
    return Disconnect(*reason_of(Fields("DISCONNECT", buffer, body, stop), "DISCONNECT"))


def _auth(buffer: bytes, first: int, body: int, stop: int) -> Auth:
    return Auth(*reason_of(Fields("AUTH", buffer, body, stop), "AUTH"))


_KINDS = frozenset({"CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBACK", "UNSUBACK", "PINGRESP"})
_V4: dict[int, Decoder] = {
    0x20: _connack,
    **dict.fromkeys((0x30, 0x31), publish_0),
    **dict.fromkeys((0x32, 0x33, 0x3A, 0x3B), publish_1),
    **dict.fromkeys((0x34, 0x35, 0x3C, 0x3D), publish_2),
    0x40: acknowledgement(Puback, "PUBACK"),
    0x50: acknowledgement(Pubrec, "PUBREC"),
    0x62: acknowledgement(Pubrel, "PUBREL"),
    0x70: acknowledgement(Pubcomp, "PUBCOMP"),
    0x90: _suback,
    0xB0: _unsuback,
    0xD0: _pingresp,
}
_V5: dict[int, Decoder] = {
    **_V4,
    **dict.fromkeys((0x30, 0x31), delivery_v5_0),
    **dict.fromkeys((0x32, 0x33, 0x3A, 0x3B), delivery_v5_1),
    **dict.fromkeys((0x34, 0x35, 0x3C, 0x3D), delivery_v5_2),
    0x40: acknowledgement_v5(Puback, "PUBACK"),
    0x50: acknowledgement_v5(Pubrec, "PUBREC"),
    0x62: acknowledgement_v5(Pubrel, "PUBREL"),
    0x70: acknowledgement_v5(Pubcomp, "PUBCOMP"),
    0x90: _suback_v5,
    0xB0: _unsuback_v5,
    0xE0: _disconnect,
    0xF0: _auth,
}
FROM_SERVER = Decoders("server", _KINDS, {4: table_of(_V4), 5: table_of(_V5)})
