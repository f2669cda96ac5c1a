"""Bytes <-> packets: what the standard allows, each rule that it sets, and any bytes in any cut."""

from itertools import pairwise
from typing import Any

import mqtt_peer as wire
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import RemoteProtocolError
from protocols.mqtt import packets
from protocols.mqtt.packets import Parser

LIMIT = 1000


def parse(*pieces: bytes) -> tuple[list[packets.Packet], str]:
    """All packets of ``pieces`` fed one by one, and the error that ended them."""
    parser, found = Parser(LIMIT), []
    try:
        for piece in pieces:
            more = parser.feed(piece)
            while more:
                found += more
                more = parser.feed()
    except RemoteProtocolError as error:
        return found, f"{error} {error.answer!r}"
    return found, ""


def one(data: bytes) -> packets.Packet:
    found, error = parse(data)
    assert not error
    assert len(found) == 1
    return found[0]


def message(
    topic: str, payload: bytes, packet_id: int | None = None, *, retain: bool, dup: bool = False
) -> dict[str, Any]:
    keys = {"topic": topic, "payload": payload, "retain": retain, "dup": dup, "id": packet_id}
    return {"type": "mqtt.receive", "qos": int(packet_id is not None), "properties": {}, **keys}


def error(data: bytes) -> str:
    found, error = parse(data)
    assert not found
    return error


def test_connect_with_everything() -> None:
    fields = b"".join(map(wire.string, ("dev", "status", "gone", "ann", b"\x00secret")))
    found = one(wire.packet(0x10, wire.string("MQTT") + bytes((4, 0xEE, 0, 60)) + fields))
    will = {"topic": "status", "payload": b"gone", "qos": 1, "retain": True, "properties": {}}
    assert found == packets.Connect("dev", True, 60, "ann", b"\x00secret", will, {})  # noqa: FBT003


def test_publish_at_both_qualities() -> None:
    assert one(wire.publish("a/b", b"x", retain=True)) == message("a/b", b"x", retain=True)
    assert one(wire.publish("a/b", b"x", packet_id=513, dup=True)) == message("a/b", b"x", 513, retain=False, dup=True)
    assert one(wire.publish("ü/☃", b"")) == message("ü/☃", b"", retain=False)


def test_the_other_packets() -> None:
    assert one(wire.puback(7)) == packets.Puback(7)
    assert one(wire.subscribe(("a/#", 2), ("+", 0), ("a#", 1))) == packets.Subscribe(
        1, [("a/#", 2), ("+", 0), (None, 1)]
    )
    assert one(wire.unsubscribe("a/#", "b")) == packets.Unsubscribe(1, ["a/#", "b"])
    assert isinstance(one(wire.PINGREQ), packets.Pingreq)
    assert isinstance(one(wire.DISCONNECT), packets.Disconnect)


def test_a_string_may_begin_with_a_byte_order_mark() -> None:
    """MQTT-1.5.3-3: it is kept."""
    assert one(wire.publish("\ufeffa", b"")) == message("\ufeffa", b"", retain=False)


MQTT = wire.string("MQTT")


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"\x10\x7f" + b"\x00\x04HTTP" + bytes(121), "MQTT-3.1.2-1"),
        (wire.packet(0x10, MQTT + b"\x04\x03\0\0" + wire.string("a")), "MQTT-3.1.2-3"),
        (wire.packet(0x10, MQTT + b"\x04\x22\0\0" + wire.string("a")), "MQTT-3.1.2-11"),
        (wire.packet(0x10, MQTT + b"\x04\x1e\0\0" + wire.string("a") * 3), "MQTT-3.1.2-14"),
        (wire.packet(0x10, MQTT + b"\x04\x42\0\0" + wire.string("a") * 2), "MQTT-3.1.2-22"),
        (wire.packet(0x10, MQTT + b"\x04\x06\0\0" + wire.string("a") + wire.string("w/#") * 2), "MQTT-3.3.2-2"),
        (wire.packet(0x10, MQTT + b"\x04\x02\0\0" + wire.string("a") + b"?"), "after its last field"),
        (wire.packet(0x10, MQTT + b"\x04\x82\0\0" + wire.string("a")), "middle of a field"),
        (wire.packet(0x10, b""), "middle of a field"),
        (b"\x11\x00", "MQTT-2.2.2-2"),
        (b"\x00\x00", "packet type 0"),
        (b"\xf0\x00", "packet type 15"),
        (b"\x20\x02\0\0", "CONNACK from a client"),
        (b"\x38\x03\0\1a", "MQTT-3.3.1-2"),
        (b"\x36\x05\0\1a\0\1", "MQTT-3.3.1-4"),
        (b"\x34\x05\0\1a\0\1", "QoS 2 is not served"),
        (b"\x62\x02\0\1", "PUBREL: QoS 2 is not served"),
        (b"\x41\x02\0\1", "MQTT-2.2.2-2"),
        (b"\x80\x02\0\1", "MQTT-2.2.2-2"),
        (b"\x30\x00", "middle of a field"),
        (b"\x30\x01\x00", "middle of a field"),
        (b"\x30\x03\x00\x02a", "middle of a field"),
        (b"\x32\x03\x00\x01a", "middle of a field"),
        (b"\x32\x04\x00\x01a\x01", "middle of a field"),
        (wire.publish("a")[:-1] + b"\xff", "MQTT-1.5.3-1"),
        (wire.publish(b"\xed\xa0\x80"), "MQTT-1.5.3-1"),
        (wire.publish("a\0b"), "MQTT-1.5.3-2"),
        (wire.publish("a\nb"), "MQTT-1.5.3-2"),
        (wire.publish(""), "MQTT-4.7.3-1"),
        (wire.publish("a/+"), "MQTT-3.3.2-2"),
        (wire.publish("#"), "MQTT-3.3.2-2"),
        (wire.publish("/" * 200), "MQTT-3.3.2-2"),
        (b"\x32\x05\0\1a\0\0", "MQTT-2.3.1-1"),
        (b"\x40\x02\0\0", "MQTT-2.3.1-1"),
        (b"\x40\x03\0\1\0", "3.4.1"),
        (b"\x82\x02\0\1", "middle of a field"),
        (wire.subscribe(("a", 3)), "MQTT-3.8.3-4"),
        (wire.subscribe(("a", 1), packet_id=0), "MQTT-2.3.1-1"),
        (b"\xa2\x02\0\1", "middle of a field"),
        (b"\xc0\x01\0", "after its last field"),
        (b"\xe0\x01\0", "after its last field"),
        (b"\x30\xff\xff\xff\xff\x01", "2.2.3"),
        (b"\x30\xe9\x07", "limit is 1000"),
    ],
)
def test_a_packet_that_breaks_a_rule_is_named_by_it(data: bytes, rule: str) -> None:
    assert rule in error(data)


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (wire.packet(0x10, MQTT + b"\x05\x02\0\0\0" + wire.string("a")), b"\x20\x03\x00\x84\x00"),
        (wire.packet(0x10, MQTT + b"\x03\x02\0\0" + wire.string("a")), b"\x20\x02\x00\x01"),
        (wire.packet(0x10, MQTT + b"\x84\x02\0\0" + wire.string("a")), b"\x20\x02\x00\x01"),
        (wire.packet(0x10, wire.string("MQIsdp") + b"\x03\x02\0\0" + wire.string("a")), b"\x20\x02\x00\x01"),
        (wire.connect("", clean=False), b"\x20\x02\x00\x02"),
        (wire.connect("x" * 257), b"\x20\x02\x00\x02"),
    ],
)
def test_a_connect_that_is_refused_with_a_word(data: bytes, answer: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        Parser(LIMIT).feed(data)
    assert caught.value.answer == answer


def test_what_came_before_an_error_is_not_lost() -> None:
    found, error = parse(wire.PINGREQ + wire.publish("a") + b"\x00\x00")
    assert found == [packets.Pingreq(), message("a", b"", retain=False)]
    assert error


def test_a_batch_is_bounded_and_the_rest_is_kept() -> None:
    parser = Parser(LIMIT)
    assert len(parser.feed(wire.PINGREQ * 100)) == packets.BATCH
    assert parser.waiting == 2 * (100 - packets.BATCH)
    assert len(parser.feed(most=1)) == 1
    assert len(parser.feed(wire.PINGREQ)) == 100 - packets.BATCH
    assert parser.waiting == 0


def test_the_longest_packet_arrives_byte_by_byte() -> None:
    data = wire.publish("a", bytes(LIMIT - 3))
    found, error = parse(*(data[i : i + 1] for i in range(len(data))))
    assert found == [message("a", bytes(LIMIT - 3), retain=False)]
    assert not error


KNOWN = st.sampled_from(
    [
        wire.connect(will=("w", b"x")),
        wire.publish("a/b", b"payload"),
        wire.publish("a/b", b"payload", packet_id=3),
        wire.publish("a", bytes(200), packet_id=4),
        wire.puback(3),
        wire.subscribe(("a/+", 1), ("x#", 0)),
        wire.unsubscribe("a"),
        wire.PINGREQ,
        wire.DISCONNECT,
    ]
)
FRAMED = st.builds(wire.packet, st.integers(0, 255), st.binary(max_size=40))
MUTATED = st.builds(
    lambda data, at, byte: data[: at % len(data)] + bytes((byte,)) + data[at % len(data) + 1 :],
    KNOWN,
    st.integers(0, 300),
    st.integers(0, 255),
)
STREAM = st.lists(st.one_of(KNOWN, FRAMED, MUTATED, st.binary(max_size=10)), max_size=12).map(b"".join)


@settings(deadline=None)
@given(STREAM, st.lists(st.integers(0, 400), max_size=30))
def test_any_bytes_in_any_cut_give_the_same(data: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in pairwise(edges)]
    assert parse(*pieces) == parse(data)
    assert parse(*(data[i : i + 1] for i in range(len(data)))) == parse(data)


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="+#"), min_size=1, max_size=50)


@settings(deadline=None)
@given(TEXT, st.binary(max_size=300), st.booleans(), st.booleans(), st.integers(1, 65535))
def test_what_the_server_writes_a_parser_reads(
    topic: str, payload: bytes, retain: bool, dup: bool, number: int
) -> None:
    assert one(packets.publish(topic, payload, retain=retain)) == message(topic, payload, retain=retain)
    head = packets.publish_head(topic, payload, retain=retain, dup=dup)
    assert one(head + number.to_bytes(2, "big") + payload) == message(topic, payload, number, retain=retain, dup=dup)


def test_the_answers() -> None:
    assert packets.connack(0, session_present=True) == b"\x20\x02\x01\x00"
    assert packets.pubacks([1, 513]) == b"\x40\x02\x00\x01\x40\x02\x02\x01"
    assert packets.suback(9, [0, 1, 0x80]) == b"\x90\x05\x00\x09\x00\x01\x80"
    assert packets.unsuback(9) == b"\xb0\x02\x00\x09"
