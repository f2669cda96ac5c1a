"""Properties: the table beside paho's, each rule of section 2.2.2, and both directions against paho's code."""

import re
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mqtt_bytes import length, pair, properties, string
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from protocols.errors import RemoteProtocolError
from protocols.mqtt.wire.properties import Kind, decode, encode

MALFORMED, PROTOCOL_ERROR = 0x81, 0x82
KINDS: tuple[Kind, ...] = get_args(Kind)
MAX_VARIABLE = 0x0FFF_FFFF


def paho(kind: Kind) -> Properties:
    return Properties(PacketTypes.WILLMESSAGE if kind == "WILL" else getattr(PacketTypes, kind))


TABLE = {
    name.replace(" ", "_").lower(): (identifier, *paho("CONNECT").properties[identifier])
    for name, identifier in paho("CONNECT").names.items()
}
"""Paho's: our name -> identifier, index of the type, packet types."""

SAMPLES: tuple[bytes, ...] = (b"\1", b"\0\1", b"\0\0\0\1", b"\1", b"\0\1x", b"\0\1x", b"\0\1x\0\1y")
"""A value of each of paho's types, in its order, that no property refuses."""
VALUES: tuple[Any, ...] = (1, 1, 1, 1, b"x", "x", ("x", "y"))


def value_of(kind: Kind, name: str, value: Any) -> Any:
    many = name == "user_property" or (kind, name) == ("PUBLISH", "subscription_identifier")
    return [value] if many else value


def refused(data: bytes, kind: Kind) -> tuple[str, Any]:
    with pytest.raises(RemoteProtocolError) as caught:
        decode(data, 0, len(data), kind)
    return str(caught.value), caught.value.answer


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TABLE)
def test_each_property_is_where_the_standard_has_it_and_nowhere_else(kind: Kind, name: str) -> None:
    identifier, type_, packets = TABLE[name]
    data = properties(bytes((identifier,)) + SAMPLES[type_])
    value = value_of(kind, name, VALUES[type_])
    if paho(kind).packetType in packets:
        assert decode(data, 0, len(data), kind) == ({name: value}, len(data))
        assert encode({name: value}, kind) == data
    else:
        error, code = refused(data, kind)
        assert code == MALFORMED
        assert name in error
        with pytest.raises(ValueError, match=f"{kind} has no property '{name}'"):
            encode({name: value}, kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("identifier", [0x00, 0x04, 0x2B, 0x7F, 0x80, MAX_VARIABLE])
def test_an_unknown_property_is_malformed(kind: Kind, identifier: int) -> None:
    assert refused(properties(length(identifier), bytes(8)), kind)[1] == MALFORMED


@pytest.mark.parametrize("name", TABLE)
def test_what_may_be_there_once_is_there_once(name: str) -> None:
    identifier, type_, packets = TABLE[name]
    one = bytes((identifier,)) + SAMPLES[type_]
    for kind in (each for each in KINDS if paho(each).packetType in packets):
        value = value_of(kind, name, VALUES[type_])
        if isinstance(value, list):
            assert decode(properties(one, one), 0, 99, kind)[0] == {name: value * 2}
            assert encode({name: value * 2}, kind) == properties(one, one)
        else:
            error, code = refused(properties(one, one), kind)
            assert code == PROTOCOL_ERROR
            assert f"{name} more than once" in error


FLAGS = {
    "WILL": ["payload_format_indicator"],
    "PUBLISH": ["payload_format_indicator"],
    "CONNECT": ["request_problem_information", "request_response_information"],
    "CONNACK": [
        "maximum_qos",
        "retain_available",
        "wildcard_subscription_available",
        "subscription_identifier_available",
        "shared_subscription_available",
    ],
}
OUT_OF_RANGE: list[tuple[Kind, str, bytes, Any]] = [
    *((kind, name, b"\2", 2) for kind, names in FLAGS.items() for name in names),
    *((kind, "receive_maximum", b"\0\0", 0) for kind in ("CONNECT", "CONNACK")),
    *((kind, "maximum_packet_size", bytes(4), 0) for kind in ("CONNECT", "CONNACK")),
    ("PUBLISH", "topic_alias", b"\0\0", 0),
    ("PUBLISH", "subscription_identifier", b"\0", [0]),
    ("SUBSCRIBE", "subscription_identifier", b"\0", 0),
    ("PUBLISH", "response_topic", string("a/+"), "a/+"),
    ("WILL", "response_topic", string("#"), "#"),
    ("PUBLISH", "response_topic", string(""), ""),
]


@pytest.mark.parametrize(("kind", "name", "raw", "value"), OUT_OF_RANGE)
def test_a_value_out_of_its_range(kind: Kind, name: str, raw: bytes, value: Any) -> None:
    error, code = refused(properties(bytes((TABLE[name][0],)) + raw), kind)
    assert code == PROTOCOL_ERROR
    assert name in error
    with pytest.raises(ValueError, match=name):
        encode({name: value}, kind)


@pytest.mark.parametrize(
    ("kind", "name", "raw", "value"),
    [
        ("CONNECT", "session_expiry_interval", bytes(4), 0),
        ("CONNECT", "session_expiry_interval", b"\xff" * 4, 0xFFFFFFFF),
        ("CONNECT", "receive_maximum", b"\xff\xff", 65535),
        ("CONNECT", "topic_alias_maximum", b"\0\0", 0),
        ("CONNECT", "maximum_packet_size", b"\xff" * 4, 0xFFFFFFFF),
        ("CONNACK", "server_keep_alive", b"\0\0", 0),
        ("CONNACK", "maximum_qos", b"\0", 0),
        ("CONNACK", "assigned_client_identifier", b"\0\0", ""),
        ("PUBLISH", "correlation_data", b"\xff\xff" + bytes(65535), bytes(65535)),
        ("PUBLISH", "content_type", b"\0\4\xef\xbb\xbfa", "\ufeffa"),
        ("SUBSCRIBE", "subscription_identifier", b"\xff\xff\xff\x7f", MAX_VARIABLE),
        ("AUTH", "user_property", b"\0\0\0\0", [("", "")]),
    ],
)
def test_the_ends_of_the_ranges(kind: Kind, name: str, raw: bytes, value: Any) -> None:
    data = properties(bytes((TABLE[name][0],)) + raw)
    assert decode(data, 0, len(data), kind) == ({name: value}, len(data))
    assert encode({name: value}, kind) == data


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"", "middle of a field"),
        (b"\x80", "middle of a field"),
        (b"\x05\x23\0\1", "middle of a field"),
        (b"\x01\x23\0\1", "middle of a field"),
        (b"\x02\x23\0\1", "middle of a field"),
        (b"\x01\x03\0\1a", "middle of a field"),
        (b"\x03\x03\0\1a", "middle of a field"),
        (b"\x80\x00", "MQTT-1.5.5-1"),
        (b"\xff\xff\xff\xff\x01", "1.5.5"),
        (b"\x02\xa6\x00", "MQTT-1.5.5-1"),
        (b"\x03\x0b\x81\x00", "MQTT-1.5.5-1"),
        (b"\x05\x0b\xff\xff\xff\xff", "1.5.5"),
        (properties(b"\x03\0\1\xff"), "MQTT-1.5.3-1, 5.0: 1.5.4-1"),
        (properties(b"\x03\0\3\xed\xa0\x80"), "1.5.4-1"),
        (properties(b"\x03" + string("a\0")), "1.5.4-2"),
        (properties(pair("a\n", "b")), "1.5.4-2"),
        (properties(pair("a", "b\x85")), "1.5.4-2"),
        (properties(b"\x26" + string("a")), "middle of a field"),
    ],
)
def test_what_cannot_be_read_is_malformed(data: bytes, rule: str) -> None:
    error, code = refused(data, "PUBLISH")
    assert code == MALFORMED
    assert rule in error


def test_the_packet_s_end_is_theirs_too() -> None:
    data = b"????" + properties(b"\x23\0\7") + b"rest"
    assert decode(data, 4, len(data), "PUBLISH") == ({"topic_alias": 7}, 8)
    for stop in range(4, 8):
        with pytest.raises(RemoteProtocolError):
            decode(data, 4, stop, "PUBLISH")


def test_none_are_a_dict_of_ones_own() -> None:
    first, _ = decode(b"\0", 0, 1, "PUBLISH")
    first["content_type"] = "mine"
    assert decode(b"\0", 0, 1, "PUBLISH") == ({}, 1)
    assert encode({}, "PUBLISH") == encode(None, "PUBLISH") == b"\0"


@pytest.mark.parametrize(
    ("given_", "sentence"),
    [
        ({"colour": "red"}, "PUBLISH has no property 'colour'"),
        ({"content-type": "text/plain"}, "PUBLISH has no property 'content-type'"),
        ({7: 1}, "PUBLISH has no property 7"),
        ({"topic_alias": "7"}, "the property topic_alias is not an integer from 1 to 65535"),
        ({"topic_alias": 1.0}, "the property topic_alias is not an integer from 1 to 65535"),
        ({"topic_alias": 65536}, "the property topic_alias is not an integer from 1 to 65535"),
        (
            {"message_expiry_interval": -1},
            "the property message_expiry_interval is not an integer from 0 to 4294967295",
        ),
        ({"message_expiry_interval": None}, "the property message_expiry_interval is not an integer"),
        ({"payload_format_indicator": 2}, "the property payload_format_indicator is not an integer from 0 to 1"),
        ({"content_type": b"text"}, "the property content_type is not text"),
        ({"content_type": "a\0"}, "the property content_type is not text without control characters"),
        ({"content_type": "a\n"}, "the property content_type is not text without control characters"),
        ({"content_type": "\ud800"}, "the property content_type is not text"),
        ({"content_type": "ü" * 32768}, "the property content_type is not text without"),
        ({"correlation_data": "x"}, "the property correlation_data is not bytes, 65535 at most"),
        ({"correlation_data": bytes(65536)}, "the property correlation_data is not bytes, 65535 at most"),
        ({"response_topic": 7}, "the property response_topic is not a topic name"),
        ({"response_topic": "a\n"}, "the property response_topic is not a topic name"),
        ({"subscription_identifier": 7}, "the property subscription_identifier is not a list"),
        ({"subscription_identifier": [7, 0]}, "is not a list, each an integer from 1 to 268435455"),
        ({"subscription_identifier": [MAX_VARIABLE + 1]}, "is not a list, each an integer from 1 to 268435455"),
        ({"user_property": {"a": "b"}}, "the property user_property is not a list"),
        ({"user_property": "ab"}, "the property user_property is not a list"),
        ({"user_property": ["ab"]}, "the property user_property is not a list, each a pair of texts"),
        ({"user_property": [("a",)]}, "the property user_property is not a list, each a pair of texts"),
        ({"user_property": [("a", 1)]}, "the property user_property is not a list, each a pair of texts"),
        ([("content_type", "a")], "the properties of PUBLISH are not a dict"),
    ],
)
def test_an_application_s_mistake_is_one_sentence_without_the_value(given_: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)) as caught:
        encode(given_, "PUBLISH")
    assert "\n" not in str(caught.value)


def test_pairs_that_came_through_json_are_pairs() -> None:
    assert encode({"user_property": [["a", "b"]]}, "PUBLISH") == properties(pair("a", "b"))


# paho refuses a byte order mark, which the standard does not.
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff+#"), max_size=20)
TOPIC = TEXT.filter(bool)
BINARY = st.binary(max_size=20)
FLAG, SHORT, LONG = st.integers(0, 1), st.integers(0, 65535), st.integers(0, 0xFFFFFFFF)
MANY = {"user_property": st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=5)}
PUBLISH = {
    "payload_format_indicator": FLAG,
    "message_expiry_interval": LONG,
    "content_type": TEXT,
    "response_topic": TOPIC,
    "correlation_data": BINARY,
    "subscription_identifier": st.lists(st.integers(1, MAX_VARIABLE), min_size=1, max_size=4),
    "topic_alias": st.integers(1, 65535),
}
CONNACK = {
    "session_expiry_interval": LONG,
    "assigned_client_identifier": TEXT,
    "server_keep_alive": SHORT,
    "authentication_method": TEXT,
    "authentication_data": BINARY,
    "response_information": TEXT,
    "server_reference": TEXT,
    "reason_string": TEXT,
    "receive_maximum": st.integers(1, 65535),
    "topic_alias_maximum": SHORT,
    "maximum_packet_size": st.integers(1, MAX_VARIABLE),  # paho's own limit
    **dict.fromkeys(FLAGS["CONNACK"], FLAG),
}
GIVEN = st.one_of(
    st.tuples(st.just("PUBLISH"), st.fixed_dictionaries({}, optional=PUBLISH | MANY)),
    st.tuples(st.just("CONNACK"), st.fixed_dictionaries({}, optional=CONNACK | MANY)),
)


def read_by_paho(data: bytes, kind: Kind) -> dict[str, Any]:
    read, end = paho(kind).unpack(data)
    assert end == len(data)
    found = {name: getattr(read, "".join(name.split())) for name in read.names if hasattr(read, "".join(name.split()))}
    return {name.replace(" ", "_").lower(): value for name, value in found.items()}


@settings(deadline=None)
@given(GIVEN)
def test_what_is_written_paho_reads_and_so_do_we(given_: tuple[Kind, dict[str, Any]]) -> None:
    kind, some = given_
    data = encode(some, kind)
    assert read_by_paho(data, kind) == some
    assert decode(data, 0, len(data), kind) == (some, len(data))


@settings(deadline=None)
@given(GIVEN)
def test_what_paho_writes_is_read(given_: tuple[Kind, dict[str, Any]]) -> None:
    kind, some = given_
    written = paho(kind)
    for name in written.names:
        if name.replace(" ", "_").lower() in some:
            setattr(written, name, some[name.replace(" ", "_").lower()])
    data = bytes(written.pack())
    assert decode(data + b"after", 0, len(data) + 5, kind) == (some, len(data))


@settings(deadline=None)
@given(st.sampled_from(KINDS), st.binary(max_size=60), st.booleans())
def test_any_bytes_are_read_or_refused(kind: Kind, data: bytes, framed: bool) -> None:
    data = properties(data) if framed else data
    refusal, found, end = None, {}, 0
    try:
        found, end = decode(data, 0, len(data), kind)
    except RemoteProtocolError as error:
        refusal = error.answer
    assert refusal in (None, MALFORMED, PROTOCOL_ERROR)
    if refusal is None:
        assert decode(encode(found, kind), 0, end, kind) == (found, end)
