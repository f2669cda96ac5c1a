"""Bytes -> packets: what the standards allow, each rule that they set, and any bytes in any cut."""

from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mqtt_bytes import VERSIONS, connect, packet, pair, properties, short, string
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from protocols.errors import RemoteProtocolError
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
)
from protocols.mqtt.wire.parser import BATCH, Parser

LIMIT = 1000
MALFORMED, PROTOCOL_ERROR, CLIENT_ID_INVALID, TOPIC_INVALID, TOO_LARGE = 0x81, 0x82, 0x85, 0x90, 0x95

NONE = properties()
PINGREQ = b"\xc0\x00"
HELLO = {4: connect(4, 2, string("a")), 5: connect(5, 2, NONE, string("a"))}


def parse(*pieces: bytes, version: int = 0) -> tuple[list[Packet], str, Any, int]:
    """All packets of ``pieces`` fed one by one, the error that ended them and its answer, and the version then."""
    parser, found = Parser(LIMIT), []
    parser.version = version
    try:
        for piece in pieces:
            more = parser.feed(piece)
            while more:
                found += more
                more = parser.feed()
    except RemoteProtocolError as error:
        return found, str(error), error.answer, parser.version
    return found, "", None, parser.version


def one(data: bytes, version: int) -> tuple[type, Packet]:
    """The only packet, and its type: tuples are equal whatever theirs is."""
    found, error, _, _ = parse(data, version=version)
    assert not error
    assert len(found) == 1
    return is_(found[0])


def is_(packet: Packet) -> tuple[type, Packet]:
    return type(packet), packet


def message(topic: str, payload: bytes, packet_id: int | None = None, **keys: Any) -> dict[str, Any]:
    """QoS 1 with a packet identifier, 0 without."""
    common = {"type": "mqtt.receive", "topic": topic, "payload": payload, "id": packet_id}
    return {**common, "qos": int(packet_id is not None), "retain": False, "dup": False, "properties": {}, **keys}


# CONNECT


def test_connect_of_3_1_1_with_everything() -> None:
    fields = map(string, ("dev", "status", "gone", "ann", b"\x00secret"))
    will = {"topic": "status", "payload": b"gone", "qos": 1, "retain": True, "properties": {}}
    found = one(connect(4, 0xEE, *fields, keepalive=60), 0)
    assert found == is_(Connect(4, "dev", True, 60, "ann", b"\x00secret", will, {}))


def test_connect_of_5_0_with_everything() -> None:
    own = properties(b"\x11\0\0\x0e\x10", b"\x21\0\x14", b"\x27\0\1\0\0", b"\x22\0\x05", b"\x17\0", pair("a", "b"))
    of_will = properties(b"\x18\0\0\0\x05", b"\x01\x01", b"\x02\0\0\0\x3c", b"\x08" + string("r"), b"\x09\0\1\xff")
    fields = string("dev"), of_will, string("status"), string("gone"), string("ann"), string("secret")
    found = one(connect(5, 0xF4, own, *fields, keepalive=600), 0)
    will_properties = {
        "will_delay_interval": 5,
        "payload_format_indicator": 1,
        "message_expiry_interval": 60,
        "response_topic": "r",
        "correlation_data": b"\xff",
    }
    will = {"topic": "status", "payload": b"gone", "qos": 2, "retain": True, "properties": will_properties}
    expected = {
        "session_expiry_interval": 3600,
        "receive_maximum": 20,
        "maximum_packet_size": 65536,
        "topic_alias_maximum": 5,
        "request_problem_information": 0,
        "user_property": [("a", "b")],
    }
    assert found == is_(Connect(5, "dev", False, 600, "ann", b"secret", will, expected))


@pytest.mark.parametrize(
    ("flags", "fields", "username", "password"),
    [(0x02, [], None, None), (0x42, ["pw"], None, b"pw"), (0x82, ["ann"], "ann", None), (0, [], None, None)],
)
def test_in_5_0_a_password_needs_no_user_name_and_an_empty_client_identifier_no_clean_start(
    flags: int, fields: list[str], username: str | None, password: bytes | None
) -> None:
    found = one(connect(5, flags, NONE, string(""), *map(string, fields)), 0)
    assert found == is_(Connect(5, "", flags & 2 == 2, 0, username, password, None, {}))


WILL = string("a"), string("w"), string("")
BAD_CONNECT = [
    (connect(4, 2, string("a"), name="HTTP"), MALFORMED, "MQTT-3.1.2-1", 0),
    (connect(5, 2, NONE, string("a"), name="mqtt"), MALFORMED, "MQTT-3.1.2-1", 0),
    (packet(0x10), MALFORMED, "middle of a field", 0),
    (packet(0x10, string("MQTT")), MALFORMED, "middle of a field", 0),
    (packet(0x10, string("MQTT"), b"\x05"), MALFORMED, "middle of a field", 5),
    (packet(0x10, string("MQTT"), b"\x05\2\0"), MALFORMED, "middle of a field", 5),
    (packet(0x10, string("MQTT"), b"\x05\2\0\0"), MALFORMED, "middle of a field", 5),
    *((connect(each, 3, string("a")), MALFORMED, "MQTT-3.1.2-3", each) for each in VERSIONS),
    *((connect(each, 0x22, string("a")), MALFORMED, "MQTT-3.1.2-11", each) for each in VERSIONS),
    *((connect(each, 0x0A, string("a")), MALFORMED, "MQTT-3.1.2-11", each) for each in VERSIONS),
    *((connect(each, 0x1E, *WILL), MALFORMED, "MQTT-3.1.2-14", each) for each in VERSIONS),
    (connect(4, 0x42, string("a"), string("pw")), MALFORMED, "MQTT-3.1.2-22", 4),
    (connect(4, 0x06, string("a"), string("w/#"), string("")), TOPIC_INVALID, "MQTT-3.3.2-2", 4),
    (connect(5, 0x06, NONE, string("a"), NONE, string(""), string("")), TOPIC_INVALID, "MQTT-4.7.3-1", 5),
    (connect(4, 2, string("a"), b"?"), MALFORMED, "after its last field", 4),
    (connect(5, 2, NONE, string("a"), b"?"), MALFORMED, "after its last field", 5),
    (connect(4, 0x82, string("a")), MALFORMED, "middle of a field", 4),
    (connect(5, 0x82, NONE, string("a")), MALFORMED, "middle of a field", 5),
    (connect(5, 6, NONE, string("a"), string("w"), string("")), MALFORMED, "", 5),
    (connect(4, 0, string("")), CLIENT_ID_INVALID, "MQTT-3.1.3-8", 4),
    (connect(4, 2, string("x" * 257)), CLIENT_ID_INVALID, "256 characters", 4),
    (connect(5, 2, NONE, string("x" * 257)), CLIENT_ID_INVALID, "256 characters", 5),
    (connect(5, 2, properties(b"\x16\0\0"), string("a")), PROTOCOL_ERROR, "3.1.2.11.10", 5),
    (connect(5, 2, properties(b"\x21\0\0"), string("a")), PROTOCOL_ERROR, "receive_maximum", 5),
    (connect(5, 2, properties(b"\x27\0\0\0\0"), string("a")), PROTOCOL_ERROR, "maximum_packet_size", 5),
    (connect(5, 2, properties(b"\x17\2"), string("a")), PROTOCOL_ERROR, "request_problem_information", 5),
    (connect(5, 2, properties(b"\x01\0"), string("a")), MALFORMED, "payload_format_indicator", 5),
    (connect(5, 6, NONE, string("a"), properties(b"\x11\0\0\0\0"), *WILL[1:]), MALFORMED, "session_expiry_interval", 5),
    (b"\x11\x00", MALFORMED, "MQTT-2.2.2-2", 0),
    (b"\x10\xe9\x07", TOO_LARGE, "limit is 1000", 0),
    (b"\x10\xff\xff\xff\xff\x01", MALFORMED, "2.2.3", 0),
    (b"\x10\x92\x00" + HELLO[5][2:] + bytes(5), MALFORMED, "MQTT-1.5.5-1", 5),
]


@pytest.mark.parametrize(("data", "answer", "rule", "version"), BAD_CONNECT)
def test_a_connect_that_breaks_a_rule_and_the_version_that_it_named(
    data: bytes, answer: int, rule: str, version: int
) -> None:
    found, error, code, then = parse(data)
    assert (found, code, then) == ([], answer, version)
    assert rule in error


@pytest.mark.parametrize(
    ("name", "level", "answer"),
    [
        ("MQTT", 3, b"\x20\x02\x00\x01"),
        ("MQTT", 0, b"\x20\x02\x00\x01"),
        ("MQIsdp", 3, b"\x20\x02\x00\x01"),
        ("MQIsdp", 5, b"\x20\x02\x00\x01"),
        ("MQTT", 6, b"\x20\x03\x00\x84\x00"),
        ("MQTT", 0x7F, b"\x20\x03\x00\x84\x00"),
        # Mosquitto's bridges, which try again without bit 7.
        ("MQTT", 0x84, b"\x20\x02\x00\x01"),
        ("MQIsdp", 0x83, b"\x20\x02\x00\x01"),
    ],
)
def test_a_protocol_level_that_is_not_served_is_refused_in_its_own_format(name: str, level: int, answer: bytes) -> None:
    assert parse(connect(level, 2, string("a"), name=name))[2:] == (answer, 0)


@pytest.mark.parametrize("version", VERSIONS)
def test_what_follows_a_connect_is_read_in_its_version(version: int) -> None:
    publish = packet(0x30, string("a"), b"\x00x")
    assert parse(HELLO[version] + publish + publish)[0][1:] == 2 * [message("a", b"\x00x" if version == 4 else b"x")]


def test_the_version_is_unknown_until_connect_is_complete() -> None:
    parser = Parser(LIMIT)
    assert parser.feed(HELLO[5][:-1]) == []
    assert parser.version == 0
    assert len(parser.feed(HELLO[5][-1:])) == 1
    assert parser.version == 5


@pytest.mark.parametrize("version", VERSIONS)
def test_the_version_is_the_first_connect_s(version: int) -> None:
    assert parse(HELLO[version], HELLO[9 - version])[3] == version
    assert parse(HELLO[version], connect(6, 2, NONE, string("a")))[3] == version
    assert parse(PINGREQ + HELLO[version] + PINGREQ)[1:] == ("", None, version)


def test_the_version_of_a_connect_that_is_too_large_is_not_looked_at() -> None:
    """It would depend on how much of it has come."""
    data = connect(5, 6, NONE, string("a"), NONE, string("w"), string(bytes(LIMIT)))
    assert parse(data)[2:] == (TOO_LARGE, 0)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_longest_client_identifier(version: int) -> None:
    found, *_ = parse(connect(version, 2, *[NONE][: version - 4], string("ü" * 256)))
    assert isinstance(found[0], Connect)
    assert found[0].client_id == "ü" * 256


def test_only_5_0_demands_the_shortest_remaining_length() -> None:
    assert one(b"\xc0\x80\x00", 4) == is_(Pingreq())
    assert parse(b"\xc0\x80\x00", version=5)[2] == MALFORMED


# The others, in both versions

ACKNOWLEDGEMENTS = [(0x40, Puback), (0x50, Pubrec), (0x62, Pubrel), (0x70, Pubcomp)]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("topic", "text"), [("a/b", "a/b"), ("ü/☃", "ü/☃"), ("\ufeffa", "\ufeffa"), ("$x", "$x")])
@pytest.mark.parametrize("payload", [b"", b"x", bytes(300)])
def test_publish_at_each_quality(version: int, topic: str, text: str, payload: bytes) -> None:
    """MQTT-1.5.3-3, 5.0: MQTT-1.5.4-3: a byte order mark is kept."""
    end = (NONE if version == 5 else b"") + payload
    assert one(packet(0x31, string(topic), end), version) == is_(message(text, payload, retain=True))
    assert one(packet(0x3A, string(topic), short(513), end), version) == is_(message(text, payload, 513, dup=True))
    assert one(packet(0x3D, string(topic), short(1), end), version) == is_(
        message(text, payload, 1, qos=2, dup=True, retain=True)
    )


def test_publish_with_properties() -> None:
    some = properties(b"\x23\0\x07", pair("a", "1"), b"\x03" + string("text/plain"), pair("a", "2"))
    expected = {"topic_alias": 7, "content_type": "text/plain", "user_property": [("a", "1"), ("a", "2")]}
    for topic in ("", "a/b"):
        assert one(packet(0x30, string(topic), some, b"x"), 5) == is_(message(topic, b"x", properties=expected))
        assert one(packet(0x32, string(topic), short(9), some, b"x"), 5) == is_(
            message(topic, b"x", 9, properties=expected)
        )


def test_nothing_that_may_be_changed_is_shared_between_packets() -> None:
    found, *_ = parse(packet(0x30, string("a"), NONE) * 2 + b"\x40\x02\0\1" * 2, version=5)
    properties_ = [each["properties"] if isinstance(each, dict) else each.properties for each in cast("Any", found)]
    assert len({id(each) for each in properties_}) == 4


@pytest.mark.parametrize(("first", "kind"), ACKNOWLEDGEMENTS)
def test_acknowledgements(first: int, kind: Any) -> None:
    for version in VERSIONS:
        assert one(packet(first, short(513)), version) == is_(kind(513, 0, {}))
    assert one(packet(first, short(1), b"\x00"), 5) == is_(kind(1, 0, {}))
    code = 0x97 if kind in (Puback, Pubrec) else 0x92
    assert one(packet(first, short(1), bytes((code,))), 5) == is_(kind(1, code, {}))
    assert one(packet(first, short(1), bytes((code,)), NONE), 5) == is_(kind(1, code, {}))
    some = properties(b"\x1f" + string("why"), pair("a", "b"))
    expected = {"reason_string": "why", "user_property": [("a", "b")]}
    assert one(packet(first, short(1), bytes((code,)), some), 5) == is_(kind(1, code, expected))


def paho_knows(kind: Any, code: int) -> bool:
    named = ReasonCode(PacketTypes.PUBACK).names.get(code, {})
    return any(getattr(PacketTypes, kind.__name__.upper()) in packets for packets in named.values())


@pytest.mark.parametrize("code", range(256))
def test_the_reason_codes_that_a_client_may_send(code: int) -> None:
    """Of the acknowledgements those that paho has for them; of the others what the standard gives to clients."""
    for first, kind in ACKNOWLEDGEMENTS:
        found, _, answer, _ = parse(packet(first, short(1), bytes((code,))), version=5)
        assert (found, answer) == (([kind(1, code, {})], None) if paho_knows(kind, code) else ([], PROTOCOL_ERROR))
    found, *_ = parse(packet(0xE0, bytes((code,))), version=5)
    client_may = {0, 4, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99}  # 3.14.2.1
    assert found == ([Disconnect(code, {})] if code in client_may else [])
    found, *_ = parse(packet(0xF0, bytes((code,)), METHOD), version=5)
    assert bool(found) == (code in {0x18, 0x19})  # 3.15.2.1


def test_subscribe() -> None:
    filters = string("a/#"), b"\2", string("+"), b"\0", string("a#"), b"\1"
    expected = [("a/#", Options(2, False, False, 0)), ("+", Options(0, False, False, 0))]
    expected += [(None, Options(1, False, False, 0))]
    assert one(packet(0x82, short(9), *filters), 4) == is_(Subscribe(9, expected, {}))
    assert one(packet(0x82, short(9), NONE, *filters), 5) == is_(Subscribe(9, expected, {}))


def test_subscription_options() -> None:
    filters = string("a"), b"\x2d", string("$share/g/a"), b"\x1a"
    some = properties(b"\x0b\x80\x01", pair("a", "b"))
    expected = [("a", Options(1, True, True, 2)), ("$share/g/a", Options(2, False, True, 1))]
    assert one(packet(0x82, short(1), some, *filters), 5) == is_(
        Subscribe(1, expected, {"subscription_identifier": 128, "user_property": [("a", "b")]})
    )


def test_unsubscribe() -> None:
    filters = string("a/#"), string("b")
    assert one(packet(0xA2, short(1), *filters), 4) == is_(Unsubscribe(1, ["a/#", "b"], {}))
    some = properties(pair("a", "b"))
    assert one(packet(0xA2, short(1), some, *filters), 5) == is_(
        Unsubscribe(1, ["a/#", "b"], {"user_property": [("a", "b")]})
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_pingreq_and_the_shortest_disconnect(version: int) -> None:
    assert one(PINGREQ, version) == is_(Pingreq())
    assert one(b"\xe0\x00", version) == is_(Disconnect(0, {}))


def test_disconnect_and_auth_of_5_0() -> None:
    assert one(b"\xe0\x01\x04", 5) == is_(Disconnect(4, {}))
    assert one(b"\xe0\x02\x00\x00", 5) == is_(Disconnect(0, {}))
    some = properties(b"\x11\0\0\0\x05", b"\x1f" + string("bye"))
    expected = {"session_expiry_interval": 5, "reason_string": "bye"}
    assert one(packet(0xE0, b"\x81", some), 5) == is_(Disconnect(0x81, expected))
    some = properties(b"\x15" + string("SCRAM"), b"\x16" + string(b"\xff"))
    expected = {"authentication_method": "SCRAM", "authentication_data": b"\xff"}
    assert one(packet(0xF0, b"\x18", some), 5) == is_(Auth(0x18, expected))


def publish(topic: str | bytes) -> bytes:
    """At QoS 0, for both versions: its payload in 3.1.1 is the empty properties of 5.0."""
    return packet(0x30, string(topic), NONE)


BAD = [  # in both versions
    (b"\x00\x00", PROTOCOL_ERROR, "packet type 0"),
    (b"\x20\x02\0\0", PROTOCOL_ERROR, "CONNACK from a client"),
    (b"\x90\x03\0\1\0", PROTOCOL_ERROR, "SUBACK from a client"),
    (b"\xb0\x02\0\1", PROTOCOL_ERROR, "UNSUBACK from a client"),
    (b"\xd0\x00", PROTOCOL_ERROR, "PINGRESP from a client"),
    (b"\x38\x04\0\1a\0", MALFORMED, "MQTT-3.3.1-2"),
    (b"\x36\x06\0\1a\0\1\0", MALFORMED, "MQTT-3.3.1-4"),
    (b"\x3e\x06\0\1a\0\1\0", MALFORMED, "MQTT-3.3.1-4"),
    (b"\x41\x02\0\1", MALFORMED, "PUBACK with reserved flags 0x1 [MQTT-2.2.2-2"),
    (b"\x52\x02\0\1", MALFORMED, "PUBREC with reserved flags 0x2 [MQTT-2.2.2-2"),
    (b"\x60\x02\0\1", MALFORMED, "PUBREL with reserved flags 0x0 [MQTT-2.2.2-2"),
    (b"\x72\x02\0\1", MALFORMED, "PUBCOMP with reserved flags 0x2 [MQTT-2.2.2-2"),
    (b"\x80\x02\0\1", MALFORMED, "MQTT-2.2.2-2"),
    (b"\xa0\x02\0\1", MALFORMED, "MQTT-2.2.2-2"),
    (b"\xc1\x00", MALFORMED, "MQTT-2.2.2-2"),
    (b"\xe2\x00", MALFORMED, "MQTT-2.2.2-2"),
    (b"\x30\x00", MALFORMED, "middle of a field"),
    (b"\x30\x01\x00", MALFORMED, "middle of a field"),
    (b"\x30\x03\x00\x02a", MALFORMED, "middle of a field"),
    (b"\x32\x00", MALFORMED, "middle of a field"),
    (b"\x32\x03\x00\x01a", MALFORMED, "middle of a field"),
    (b"\x34\x04\x00\x01a\x01", MALFORMED, "middle of a field"),
    (publish(b"\xff"), MALFORMED, "MQTT-1.5.3-1"),
    (publish(b"\xed\xa0\x80"), MALFORMED, "MQTT-1.5.3-1"),
    (publish("a\0b"), MALFORMED, "MQTT-1.5.3-2"),
    (publish("a\nb"), MALFORMED, "MQTT-1.5.3-2"),
    (publish("a\x7fb"), MALFORMED, "MQTT-1.5.3-2"),
    (publish("a\x9fb"), MALFORMED, "MQTT-1.5.3-2"),
    (publish("a/+"), TOPIC_INVALID, "MQTT-3.3.2-2"),
    (publish("#"), TOPIC_INVALID, "MQTT-3.3.2-2"),
    (publish("/" * 200), TOPIC_INVALID, "MQTT-3.3.2-2"),
    (b"\x32\x06\0\1a\0\0\0", PROTOCOL_ERROR, "MQTT-2.3.1-1"),
    (b"\x34\x06\0\1a\0\0\0", PROTOCOL_ERROR, "MQTT-2.3.1-1"),
    *((packet(first, short(0)), PROTOCOL_ERROR, "MQTT-2.3.1-1") for first, _ in ACKNOWLEDGEMENTS),
    *((packet(first, b"\1"), MALFORMED, "") for first, _ in ACKNOWLEDGEMENTS),
    (b"\x82\x03\0\0\0", PROTOCOL_ERROR, "MQTT-2.3.1-1"),
    (b"\xa2\x03\0\0\0", PROTOCOL_ERROR, "MQTT-2.3.1-1"),
    (b"\x82\x01\0", MALFORMED, "middle of a field"),
    (b"\xa2\x01\0", MALFORMED, "middle of a field"),
    (b"\xc0\x01\0", MALFORMED, "after its last field"),
    (b"\x30\xff\xff\xff\xff\x01", MALFORMED, "2.2.3"),
    (b"\x30\xe9\x07", TOO_LARGE, "limit is 1000"),
    (b"\x30\xff\xff\xff\x7f", TOO_LARGE, "a packet of 268435455 bytes"),
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("data", "answer", "rule"), BAD)
def test_a_packet_that_breaks_a_rule_of_both(data: bytes, answer: int, rule: str, version: int) -> None:
    check_bad(data, answer, rule, version)


BAD_V4 = [
    (publish(""), TOPIC_INVALID, "MQTT-4.7.3-1"),
    (b"\xf0\x00", PROTOCOL_ERROR, "AUTH from a client"),
    *((packet(first, short(1), b"\0"), MALFORMED, "remaining length is not 2") for first, _ in ACKNOWLEDGEMENTS),
    (b"\x82\x02\0\1", PROTOCOL_ERROR, "MQTT-3.8.3-3"),
    (b"\xa2\x02\0\1", PROTOCOL_ERROR, "3.10.3-2"),
    (packet(0x82, short(1), string("a")), MALFORMED, "middle of a field"),
    (packet(0x82, short(1), string("a"), b"\3"), MALFORMED, "MQTT-3.8.3-4"),
    (packet(0x82, short(1), string("a"), b"\4"), MALFORMED, "MQTT-3.8.3-4"),
    (packet(0x82, short(1), string("a\0"), b"\1"), MALFORMED, "MQTT-1.5.3-2"),
    (packet(0xA2, short(1), string("a"), b"\0"), MALFORMED, "middle of a field"),
    (b"\xe0\x01\0", MALFORMED, "after its last field"),
]


@pytest.mark.parametrize(("data", "answer", "rule"), BAD_V4)
def test_a_packet_that_breaks_a_rule_of_3_1_1(data: bytes, answer: int, rule: str) -> None:
    check_bad(data, answer, rule, 4)


METHOD = properties(b"\x15" + string("SCRAM"))
BAD_V5 = [
    (publish(""), PROTOCOL_ERROR, "3.3.2.1"),
    (packet(0x32, string(""), short(1), NONE), PROTOCOL_ERROR, "3.3.2.1"),
    (packet(0x30, string("a")), MALFORMED, "middle of a field"),
    (packet(0x32, string("a"), short(1)), MALFORMED, "middle of a field"),
    (packet(0x30, string("a"), b"\1"), MALFORMED, "middle of a field"),
    (packet(0x30, string("a"), b"\2\1"), MALFORMED, "middle of a field"),
    (packet(0x30, string("a"), b"\x80\x00"), MALFORMED, "MQTT-1.5.5-1"),
    (packet(0x30, string("a"), b"\xff\xff\xff\xff\x01"), MALFORMED, "1.5.5"),
    (packet(0x30, string("a"), properties(b"\x0b\1")), PROTOCOL_ERROR, "MQTT-3.3.4-6"),
    (packet(0x32, string("a"), short(1), properties(b"\x23\0\0")), PROTOCOL_ERROR, "topic_alias"),
    (packet(0x30, string("a"), properties(b"\x08" + string("a/#"))), PROTOCOL_ERROR, "response_topic"),
    (b"\x30\x84\x00\0\1a\0", MALFORMED, "MQTT-1.5.5-1"),
    (b"\xf1\x00", MALFORMED, "AUTH with reserved flags"),
    *((packet(first, short(1), b"\x01"), PROTOCOL_ERROR, "reason code 0x1") for first, _ in ACKNOWLEDGEMENTS),
    *((packet(first, short(1), b"\0\0\0"), MALFORMED, "after its last field") for first, _ in ACKNOWLEDGEMENTS),
    *((packet(first, short(1), b"\0\2\x1f"), MALFORMED, "middle of a field") for first, _ in ACKNOWLEDGEMENTS),
    *((packet(first, short(1), b"\0\2\x01\0"), MALFORMED, "payload_format") for first, _ in ACKNOWLEDGEMENTS),
    (packet(0x62, short(1), b"\x97"), PROTOCOL_ERROR, "PUBREL with reason code 0x97"),
    (packet(0x82, short(1)), MALFORMED, "middle of a field"),
    (packet(0x82, short(1), NONE), PROTOCOL_ERROR, "3.8.3-2"),
    (packet(0xA2, short(1), NONE), PROTOCOL_ERROR, "3.10.3-2"),
    (packet(0x82, short(1), NONE, string("a")), MALFORMED, "middle of a field"),
    (packet(0x82, short(1), NONE, string("a"), b"\3"), PROTOCOL_ERROR, "QoS 3"),
    (packet(0x82, short(1), NONE, string("a"), b"\x30"), PROTOCOL_ERROR, "retain handling 3"),
    (packet(0x82, short(1), NONE, string("a"), b"\x40"), MALFORMED, "MQTT-3.8.3-5"),
    (packet(0x82, short(1), NONE, string("a"), b"\x80"), MALFORMED, "MQTT-3.8.3-5"),
    (packet(0x82, short(1), NONE, string("$share/g/a"), b"\5"), PROTOCOL_ERROR, "MQTT-3.8.3-4"),
    (packet(0x82, short(1), properties(b"\x0b\0"), string("a"), b"\0"), PROTOCOL_ERROR, "subscription_identifier"),
    (packet(0x82, short(1), properties(b"\x0b\1\x0b\2"), string("a"), b"\0"), PROTOCOL_ERROR, "more than once"),
    (packet(0xA2, short(1), properties(b"\x0b\1"), string("a")), MALFORMED, "subscription_identifier"),
    (b"\xe0\x01\x8e", PROTOCOL_ERROR, "DISCONNECT with reason code 0x8e"),
    (b"\xe0\x01\x03", PROTOCOL_ERROR, "DISCONNECT with reason code 0x3"),
    (b"\xe0\x03\0\0\0", MALFORMED, "after its last field"),
    (b"\xf0\x00", PROTOCOL_ERROR, "AUTH with reason code 0x0"),
    (b"\xf0\x01\x18", PROTOCOL_ERROR, "3.15.2.2.2"),
    (packet(0xF0, b"\x00", METHOD), PROTOCOL_ERROR, "AUTH with reason code 0x0"),
    (packet(0xF0, b"\x19", NONE), PROTOCOL_ERROR, "3.15.2.2.2"),
    (packet(0xF0, b"\x19", METHOD, b"\0"), MALFORMED, "after its last field"),
]


@pytest.mark.parametrize(("data", "answer", "rule"), BAD_V5)
def test_a_packet_that_breaks_a_rule_of_5_0(data: bytes, answer: int, rule: str) -> None:
    check_bad(data, answer, rule, 5)


def check_bad(data: bytes, answer: int, rule: str, version: int) -> None:
    """Also where other bytes follow, which a decoder must not take for its packet's."""
    for following in (b"", HELLO[version]):
        found, error, code, _ = parse(data + following, version=version)
        assert (found, code) == ([], answer)
        assert rule in error


# The stream


@pytest.mark.parametrize("version", VERSIONS)
def test_what_came_before_an_error_is_not_lost(version: int) -> None:
    found, error, *_ = parse(PINGREQ + publish("a") + b"\x00\x00", version=version)
    assert found == [Pingreq(), message("a", b"\0" if version == 4 else b"")]
    assert error


def test_a_batch_is_bounded_and_the_rest_is_kept() -> None:
    parser = Parser(LIMIT)
    parser.version = 5
    assert len(parser.feed(PINGREQ * 100)) == BATCH
    assert parser.waiting == 2 * (100 - BATCH)
    assert len(parser.feed(most=1)) == 1
    assert len(parser.feed(PINGREQ)) == 100 - BATCH
    assert parser.waiting == 0


def test_the_longest_packet_arrives_byte_by_byte() -> None:
    data = packet(0x30, string("a"), bytes(LIMIT - 3))
    found, error, *_ = parse(*(data[i : i + 1] for i in range(len(data))), version=4)
    assert found == [message("a", bytes(LIMIT - 3))]
    assert not error


KNOWN = st.sampled_from(
    [
        *HELLO.values(),
        connect(4, 0x0E, *WILL),
        connect(5, 0xCE, properties(b"\x21\0\5", pair("a", "b")), string("a"), NONE, *map(string, "wxyz")),
        publish("a/b"),
        packet(0x32, string("a/b"), short(3), NONE, b"payload"),
        packet(0x34, string("a"), short(4), properties(b"\x23\0\1", pair("a", "b")), bytes(200)),
        *(packet(first, short(3)) for first, _ in ACKNOWLEDGEMENTS),
        packet(0x40, short(3), b"\x97", properties(b"\x1f" + string("full"))),
        packet(0x82, short(1), string("a/+"), b"\1", string("x#"), b"\0"),
        packet(0x82, short(1), properties(b"\x0b\x81\1"), string("a/+"), b"\x1d"),
        packet(0xA2, short(1), string("a")),
        packet(0xA2, short(1), NONE, string("a")),
        packet(0xE0, b"\x04", NONE),
        packet(0xF0, b"\x18", METHOD),
        PINGREQ,
        b"\xe0\x00",
    ]
)
FRAMED = st.builds(packet, st.integers(0, 255), st.binary(max_size=40))
MUTATED = st.builds(
    lambda data, at, byte: data[: at % len(data)] + bytes((byte,)) + data[at % len(data) + 1 :],
    KNOWN,
    st.integers(0, 300),
    st.integers(0, 255),
)
STREAM = st.lists(st.one_of(KNOWN, FRAMED, MUTATED, st.binary(max_size=10)), max_size=12).map(b"".join)


@settings(deadline=None)
@given(st.sampled_from([0, 4, 5]), STREAM, st.lists(st.integers(0, 400), max_size=30))
def test_any_bytes_in_any_cut_give_the_same(version: int, data: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in pairwise(edges)]
    expected = parse(data, version=version)
    assert parse(*pieces, version=version) == expected
    assert parse(*(data[i : i + 1] for i in range(len(data))), version=version) == expected


LEGAL = {
    4: [publish("a/b"), packet(0x32, string("a"), short(3), bytes(200)), packet(0x82, short(1), string("+"), b"\1")],
    5: [publish("a/b"), packet(0x32, string("a"), short(3), NONE, bytes(200)), packet(0xF0, b"\x18", METHOD)],
}


@settings(deadline=None)
@given(st.sampled_from(VERSIONS), st.lists(st.integers(0, 4), max_size=8), st.lists(st.integers(1, 300), max_size=12))
def test_each_packet_is_there_as_soon_as_its_last_byte_is(version: int, which: list[int], sizes: list[int]) -> None:
    stream = [HELLO[version], *([*LEGAL[version], PINGREQ, b"\x40\x02\0\1"][each] for each in which)]
    data, parser, at, found = b"".join(stream), Parser(LIMIT), 0, 0
    for size in (*sizes, len(data)):
        more = parser.feed(data[at : at + size])
        while more:
            found += len(more)
            more = parser.feed()
        at += size
        complete = [each for each in range(len(stream) + 1) if len(b"".join(stream[:each])) <= at]
        assert found == complete[-1]


@settings(deadline=None)
@given(st.sampled_from(VERSIONS), KNOWN, st.integers(1, 300))
def test_a_packet_whose_length_lies_never_reads_the_next_one(version: int, data: bytes, shorter: int) -> None:
    """The same packets whatever lies behind them in the buffer."""
    body = data[2:] if data[1] < 0x80 else data[3:]
    lying = packet(data[0], body[: max(0, len(body) - shorter)])
    alone = parse(lying, version=version)
    for following in (b"\0" * 400, b"\xff" * 400, b"a" * 400):
        assert parse(lying, following, version=version)[0][:1] == alone[0]
        both = parse(lying + following, version=version)
        assert both[0][:1] == alone[0]
        assert alone[0] or both[1] == alone[1]
