"""What a server writes, byte by byte, and a whole conversation with paho: each reads what the other writes."""

import socket
from collections.abc import Iterator
from typing import Any, Self

import paho.mqtt.client as mqtt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mqtt_bytes import VERSIONS, length, packet, pair, properties, string
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from protocols.mqtt import events
from protocols.mqtt.wire import packets, reasons
from protocols.mqtt.wire.packets import (
    Connect,
    Disconnect,
    Options,
    Packet,
    Puback,
    Pubcomp,
    Pubrec,
    Pubrel,
    Subscribe,
    Unsubscribe,
)
from protocols.mqtt.wire.parser import Parser

LIMIT = 5.0
"""Seconds that any wait here may take."""

NONE = properties()
WHY = {"reason_string": "why", "user_property": [("a", "b")]}
WHY_BYTES = properties(b"\x1f" + string("why"), pair("a", "b"))


def test_connack() -> None:
    assert packets.connack(4, 0) == b"\x20\x02\x00\x00"
    assert packets.connack(4, 0, session_present=True, properties={"receive_maximum": 5}) == b"\x20\x02\x01\x00"
    assert packets.connack(5, 0) == b"\x20\x03\x00\x00\x00"
    assert packets.connack(5, 0, session_present=True) == b"\x20\x03\x01\x00\x00"
    assert packets.connack(5, 0, properties={"receive_maximum": 5}) == b"\x20\x06\x00\x00\x03\x21\x00\x05"
    assert packets.connack(5, reasons.BANNED, properties=WHY) == packet(0x20, b"\0\x8a", WHY_BYTES)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_refusal_has_no_session(version: int) -> None:
    assert packets.connack(version, reasons.NOT_AUTHORIZED, session_present=True)[2] == 0


@pytest.mark.parametrize(
    ("code", "return_code"),
    [(0x84, 1), (0x85, 2), (0x86, 4), (0x87, 5), (0x88, 3), (0x89, 3), (0x8A, 5), (0x8C, 4), (0x95, 3), (0x80, 3)],
)
def test_the_nearest_return_code_of_3_1_1(code: int, return_code: int) -> None:
    assert packets.connack(4, code) == bytes((0x20, 2, 0, return_code))


@pytest.mark.parametrize(
    ("write", "first"),
    [(packets.puback, 0x40), (packets.pubrec, 0x50), (packets.pubrel, 0x62), (packets.pubcomp, 0x70)],
)
def test_acknowledgements_are_as_short_as_they_may_be(write: Any, first: int) -> None:
    assert write(4, 513) == write(5, 513) == bytes((first, 2, 2, 1))
    assert write(4, 513, 0x92, WHY) == bytes((first, 2, 2, 1))
    assert write(5, 513, 0x92) == bytes((first, 3, 2, 1, 0x92))
    assert write(5, 513, 0x92, WHY) == packet(first, b"\2\1\x92", WHY_BYTES)
    assert write(5, 513, properties=WHY) == packet(first, b"\2\1\0", WHY_BYTES)
    with pytest.raises(ValueError, match="has no property 'topic_alias'"):
        write(5, 513, properties={"topic_alias": 1})


def test_many_pubacks_at_once() -> None:
    assert packets.pubacks([1, 513]) == packets.puback(5, 1) + packets.puback(4, 513)
    assert packets.pubacks([]) == b""


def test_suback_and_unsuback() -> None:
    codes = [0, 1, 2, 0x8F, 0x80]
    assert packets.suback(4, 9, codes) == b"\x90\x07\x00\x09\x00\x01\x02\x80\x80"
    assert packets.suback(5, 9, codes) == b"\x90\x08\x00\x09\x00\x00\x01\x02\x8f\x80"
    assert packets.suback(5, 9, iter([0]), WHY) == packet(0x90, b"\0\x09", WHY_BYTES, b"\0")
    assert packets.unsuback(4, 9, [0, 0x11]) == b"\xb0\x02\x00\x09"
    assert packets.unsuback(5, 9, [0, 0x11]) == b"\xb0\x05\x00\x09\x00\x00\x11"
    assert packets.unsuback(5, 9, [0], WHY) == packet(0xB0, b"\0\x09", WHY_BYTES, b"\0")


def test_disconnect_auth_and_pingresp() -> None:
    assert packets.disconnect(0) == b"\xe0\x00"
    assert packets.disconnect(0x8E) == b"\xe0\x01\x8e"
    assert packets.disconnect(0, WHY) == packet(0xE0, b"\0", WHY_BYTES)
    assert packets.disconnect(0x9C, {"server_reference": "b"}) == b"\xe0\x06\x9c\x04\x1c\x00\x01b"
    assert packets.auth(0) == b"\xf0\x00"
    assert packets.auth(0x18, {"authentication_method": "m"}) == b"\xf0\x06\x18\x04\x15\x00\x01m"
    assert packets.PINGRESP == b"\xd0\x00"


def test_publish_byte_by_byte() -> None:
    assert packets.publish(4, "a", b"x") == b"\x30\x04\0\1ax"
    assert packets.publish(5, "a", b"x") == b"\x30\x05\0\1a\0x"
    assert packets.publish(4, "a", b"x", 1, 513, dup=True, retain=True) == b"\x3b\x06\0\1a\2\1x"
    assert packets.publish(5, "a", b"x", 2, 513) == b"\x34\x07\0\1a\2\1\0x"
    alias = {"topic_alias": 7}
    assert packets.publish(5, "", b"x", properties=alias) == b"\x30\x07\0\0\3\x23\0\7x"
    assert packets.publish(4, "a", b"x", properties={"never": "looked at"}) == b"\x30\x04\0\1ax"
    with pytest.raises(ValueError, match="PUBLISH has no property"):
        packets.publish_parts(5, "a", b"x", 1, properties={"never": "sent"})


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="+#"), min_size=1, max_size=50)
SOME = st.fixed_dictionaries(
    {}, optional={"content_type": TEXT, "user_property": st.lists(st.tuples(TEXT, TEXT), min_size=1)}
)


@settings(deadline=None)
@given(
    st.sampled_from(VERSIONS),
    TEXT,
    st.binary(max_size=300),
    st.integers(0, 2),
    st.booleans(),
    st.integers(1, 65535),
    SOME,
)
def test_what_the_server_publishes_a_parser_reads(
    version: int, topic: str, payload: bytes, qos: int, retain: bool, number: int, some: dict[str, Any]
) -> None:
    head, tail = packets.publish_parts(version, topic, payload, qos, retain=retain, dup=qos > 0, properties=some)
    raw = head + number.to_bytes(2, "big") + tail if qos else head + tail
    assert raw == packets.publish(version, topic, payload, qos, number, retain=retain, dup=qos > 0, properties=some)
    keys = {"qos": qos, "retain": retain, "dup": qos > 0, "id": number if qos else None}
    found = {"type": "mqtt.receive", "topic": topic, "payload": payload, "properties": some if version == 5 else {}}
    assert read(raw, version) == {**found, **keys}


def test_a_payload_is_not_copied_where_it_need_not_be() -> None:
    payload = bytes(100)
    for version, qos in ((4, 0), (5, 0)):
        assert packets.publish_parts(version, "a", payload, qos, properties={"topic_alias": 1})[1] is payload


def read(raw: bytes, version: int) -> Packet:
    parser = Parser(100_000)
    parser.version = version
    (found,) = parser.feed(raw)
    return found


def test_the_lengths_around_each_power_of_128() -> None:
    for size in (3, 127, 128, 16383, 16384, 2097151, 2097152):
        assert packets.publish(4, "a", bytes(size - 3))[:-size] == b"\x30" + length(size)


class Paho:
    """A paho client, its bytes on one side and what it understood on the other."""

    def __init__(self, version: int, client_id: str = "") -> None:
        clean = {"clean_session": True} if version == 4 else {}
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id,
            protocol=mqtt.MQTTProtocolVersion(version),
            reconnect_on_failure=False,
            **clean,
        )
        self.version = version
        self.heard: list[tuple[Any, ...]] = []
        self.client.on_connect = lambda _, __, flags, code, some: self._hear(flags.session_present, code, some)
        self.client.on_disconnect = lambda _, __, flags, code, some: self._hear(code, some)
        self.client.on_subscribe = lambda _, __, mid, codes, some: self._hear(mid, codes, some)
        self.client.on_unsubscribe = lambda _, __, mid, codes, some: self._hear(mid, codes, some)
        self.client.on_publish = lambda _, __, mid, code, some: self._hear(mid, code, some)
        self.client.on_message = lambda _, __, message: self._hear(message)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(LIMIT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.client.on_disconnect = None
        self.client.disconnect()
        self._connection.close()
        self._listener.close()
        self.client.loop_read()

    def _hear(self, *what: Any) -> None:
        self.heard.append(what)

    def connects(self, **options: Any) -> Packet:
        self.client.connect("127.0.0.1", self._listener.getsockname()[1], **options)
        self._connection, _ = self._listener.accept()
        self._connection.settimeout(LIMIT)
        return self.said()

    def said(self) -> Packet:
        """The next packet that it wrote, as our parser reads it."""
        parser = Parser(100_000)
        parser.version = self.version
        while not (found := parser.feed(self._connection.recv(1))):
            assert parser.waiting
        return found[0]

    def hears(self, data: bytes) -> tuple[Any, ...]:
        """What it makes of a packet."""
        self._connection.sendall(data)
        self.heard.clear()
        assert self.client.loop_read() == mqtt.MQTT_ERR_SUCCESS
        (what,) = self.heard
        return what


@pytest.fixture(params=VERSIONS)
def paho(request: pytest.FixtureRequest) -> Iterator[Paho]:
    with Paho(request.param) as client:
        client.connects()
        yield client


def some(kind: int, **each: Any) -> Properties:
    made = Properties(kind)
    for name, value in each.items():
        setattr(made, name, value)
    return made


def test_paho_connects() -> None:
    with Paho(5, "dev") as client:
        client.client.username_pw_set("ann", "secret")
        of_will = some(PacketTypes.WILLMESSAGE, WillDelayInterval=5, CorrelationData=b"\xff", UserProperty=("a", "1"))
        client.client.will_set("gone", b"bye", 1, retain=True, properties=of_will)
        own = some(
            PacketTypes.CONNECT, SessionExpiryInterval=60, ReceiveMaximum=9, UserProperty=[("a", "1"), ("a", "2")]
        )
        will_properties = {"will_delay_interval": 5, "correlation_data": b"\xff", "user_property": [("a", "1")]}
        will = {"topic": "gone", "payload": b"bye", "qos": 1, "retain": True, "properties": will_properties}
        expected = {"session_expiry_interval": 60, "receive_maximum": 9, "user_property": [("a", "1"), ("a", "2")]}
        assert client.connects(keepalive=33, clean_start=False, properties=own) == Connect(
            5,
            "dev",
            False,
            33,
            "ann",
            b"secret",
            will,
            expected,
        )
    with Paho(4, "dev") as client:
        assert client.connects(keepalive=33) == Connect(4, "dev", True, 33, None, None, None, {})


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_paho_publishes(paho: Paho, qos: int) -> None:
    mine = some(PacketTypes.PUBLISH, ContentType="text/plain", TopicAlias=3) if paho.version == 5 else None
    expected = {"content_type": "text/plain", "topic_alias": 3} if mine else {}
    info = paho.client.publish("ü", b"x" * 200, qos, retain=True, properties=mine)
    keys = {"qos": qos, "retain": True, "dup": False, "id": info.mid if qos else None, "properties": expected}
    assert paho.said() == {"type": "mqtt.receive", "topic": "ü", "payload": b"x" * 200, **keys}


def test_paho_subscribes_and_unsubscribes(paho: Paho) -> None:
    if paho.version == 4:
        _, mid = paho.client.subscribe([("a/+", 1), ("#", 2)])
        expected = [("a/+", Options(1, False, False, 0)), ("#", Options(2, False, False, 0))]
        assert paho.said() == Subscribe(mid, expected, {})
        _, mid = paho.client.unsubscribe(["a/+", "#"])
        assert paho.said() == Unsubscribe(mid, ["a/+", "#"], {})
        return
    options = SubscribeOptions(qos=2, noLocal=True, retainAsPublished=True, retainHandling=1)
    mine = some(PacketTypes.SUBSCRIBE, SubscriptionIdentifier=[300], UserProperty=("a", "b"))
    _, mid = paho.client.subscribe([("a/+", options)], properties=mine)
    properties_ = {"subscription_identifier": 300, "user_property": [("a", "b")]}
    assert paho.said() == Subscribe(mid, [("a/+", Options(2, True, True, 1))], properties_)
    _, mid = paho.client.unsubscribe(["a/+", "#"], some(PacketTypes.UNSUBSCRIBE, UserProperty=("a", "b")))
    assert paho.said() == Unsubscribe(mid, ["a/+", "#"], {"user_property": [("a", "b")]})


def test_paho_says_goodbye(paho: Paho) -> None:
    if paho.version == 4:
        paho.client.disconnect()
        assert paho.said() == Disconnect(0, {})
    else:
        why = some(PacketTypes.DISCONNECT, SessionExpiryInterval=5)
        paho.client.disconnect(ReasonCode(PacketTypes.DISCONNECT, "Disconnect with will message"), why)
        assert paho.said() == Disconnect(4, {"session_expiry_interval": 5})


def assert_said(paho: Paho, expected: Packet) -> None:
    """Tuples are equal whatever their type is."""
    said = paho.said()
    assert (type(said), said) == (type(expected), expected)


def json(properties_: Properties | None) -> dict[str, Any]:
    return properties_.json() if properties_ is not None else {}


def test_paho_hears_connack(paho: Paho) -> None:
    mine = {"receive_maximum": 9, "assigned_client_identifier": "you", "maximum_qos": 1, "user_property": [("a", "b")]}
    present, code, found = paho.hears(packets.connack(paho.version, 0, True, mine))
    expected = {"ReceiveMaximum": 9, "AssignedClientIdentifier": "you", "MaximumQoS": 1, "UserProperty": [("a", "b")]}
    assert (present, code, json(found)) == (True, "Success", expected if paho.version == 5 else {})


@pytest.mark.parametrize(
    ("code", "name"),
    [(0x86, "Bad user name or password"), (0x87, "Not authorized"), (0x88, "Server unavailable")],
)
def test_paho_hears_a_refusal(paho: Paho, code: int, name: str) -> None:
    data = packets.connack(paho.version, code)
    paho.client.on_connect = lambda _, __, flags, code, some: paho.heard.append((str(code),))
    paho.client.on_disconnect = None
    paho._connection.sendall(data)
    paho.client.loop_read()
    assert paho.heard == [(name,)]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_paho_hears_what_is_published_and_answers(paho: Paho, qos: int) -> None:
    paho.hears(packets.connack(paho.version, 0))
    mine = {"content_type": "text/plain", "subscription_identifier": [1, 300], "user_property": [("a", "b")]}
    data = packets.publish(paho.version, "ü/x", b"y" * 200, qos, 7, retain=True, properties=mine)
    if qos == 2:
        paho._connection.sendall(data)
        paho.client.loop_read()
        assert_said(paho, Pubrec(7, 0, {}))
        data = packets.pubrel(paho.version, 7)
    (message,) = paho.hears(data)
    assert (message.topic, message.payload, message.qos, message.retain) == ("ü/x", b"y" * 200, qos, True)
    expected = {"ContentType": "text/plain", "SubscriptionIdentifier": [1, 300], "UserProperty": [("a", "b")]}
    assert json(message.properties) == (expected if paho.version == 5 else {})
    if qos:
        assert_said(paho, (Puback if qos == 1 else Pubcomp)(7, 0, {}))


def test_paho_hears_acknowledgements(paho: Paho) -> None:
    paho.hears(packets.connack(paho.version, 0))
    mid = paho.client.publish("a", b"x", 1).mid
    found = paho.hears(packets.puback(paho.version, mid, 0x97, WHY))
    code, why = ("Quota exceeded", {"ReasonString": "why", "UserProperty": [("a", "b")]})
    assert (found[0], found[1], json(found[2])) == ((mid, code, why) if paho.version == 5 else (mid, "Success", {}))


def test_paho_hears_the_second_half_of_qos_2(paho: Paho) -> None:
    paho.hears(packets.connack(paho.version, 0))
    mid = paho.client.publish("a", b"x", 2).mid
    paho.said()
    paho._connection.sendall(packets.pubrec(paho.version, mid))
    paho.client.loop_read()
    assert_said(paho, Pubrel(mid, 0, {}))
    assert paho.hears(packets.pubcomp(paho.version, mid))[0] == mid


def test_paho_hears_suback_and_unsuback(paho: Paho) -> None:
    codes = [0, 2, 0x80]
    mid, names, found = paho.hears(packets.suback(paho.version, 7, codes, WHY))
    assert (mid, [each.value for each in names]) == (7, codes)
    expected = {"ReasonString": "why", "UserProperty": [("a", "b")]} if paho.version == 5 else {}
    assert json(found) == expected
    mid, names, found = paho.hears(packets.unsuback(paho.version, 7, [0, 0x11], WHY))
    assert (mid, [each.value for each in names]) == (7, [0, 0x11] if paho.version == 5 else [])
    assert json(found) == expected


@pytest.mark.parametrize("given_", [{}, WHY])
def test_paho_hears_goodbye(given_: dict[str, Any]) -> None:
    with Paho(5) as client:
        client.connects()
        client._connection.sendall(packets.disconnect(reasons.TAKEN_OVER, given_))
        client.client.loop_read()
        code, found = client.heard[0]
        assert code == "Session taken over"
        assert json(found) == ({"ReasonString": "why", "UserProperty": [("a", "b")]} if given_ else {})


def test_what_an_application_may_send_is_what_paho_takes_for_each_packet() -> None:
    """Except where paho's table differs from the standard: 3.2.2.2 (0x99), 3.14.2.1 (0x8C)."""

    def of(packet: int) -> set[int]:
        known = ReasonCode(PacketTypes.CONNACK).names.items()
        return {code for code, words in known if any(packet in packets for packets in words.values())}

    from_a_client = {reasons.DISCONNECT_WITH_WILL, reasons.REAUTHENTICATE}
    assert of(PacketTypes.CONNACK) - {reasons.SUCCESS} | {reasons.PAYLOAD_FORMAT_INVALID} == events.OF_CONNACK
    assert of(PacketTypes.PUBACK) == of(PacketTypes.PUBREC) == events.OF_PUBACK
    assert of(PacketTypes.SUBACK) == events.OF_SUBACK
    assert of(PacketTypes.DISCONNECT) - from_a_client - {reasons.BAD_AUTHENTICATION_METHOD} == events.OF_DISCONNECT
    assert of(PacketTypes.AUTH) - from_a_client == events.OF_AUTH


def test_the_reason_codes_are_paho_s() -> None:
    """Each constant has a value that paho knows, and each of paho's values has a constant."""
    named = {value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, int)}
    assert named == set(ReasonCode(PacketTypes.CONNACK).names)
