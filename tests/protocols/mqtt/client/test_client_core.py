"""Our end of a connection to a broker, without sockets: a conversation is a list of bytes and events."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.mqtt.client.connect_options import ConnectOptions
from protocols.mqtt.client.core import Answered, ClientCore, Connected, Dropped, Ended
from protocols.mqtt.client.keepalive import KeepAlive
from protocols.mqtt.client.refused import Refused
from protocols.mqtt.client.session import ClientSession
from protocols.mqtt.wire import packets
from protocols.mqtt.wire.parser import BATCH

LIMIT = 1000


def core(version: str = "5.0", session: ClientSession | None = None, **changes: Any) -> ClientCore:
    given = {"max_packet": LIMIT, "version": version, **changes}
    made = ClientCore(ConnectOptions("mqtt://h", "h", 1883, "c", **given), session or ClientSession(), 0.0)
    assert made.data_to_send(0.0)[0] == 0x10
    return made


def connected(version: str = "5.0", session: ClientSession | None = None, **properties: Any) -> ClientCore:
    made = core(version, session)
    level = 5 if version == "5.0" else 4
    assert hear(made, packets.connack(level, 0, session is not None, properties)) == [Connected(0)]
    return made


def hear(core: ClientCore, *chunks: bytes) -> list[Any]:
    """All events of ``chunks``."""
    events: list[Any] = []
    for chunk in chunks:
        events += core.receive(chunk)
        while core.more:
            events += core.receive()
    return events


def publish(version: str, payload: bytes, qos: int = 0, packet_id: int = 0, **more: Any) -> bytes:
    return packets.publish(5 if version == "5.0" else 4, "t", payload, qos, packet_id, **more)


def said(core: ClientCore) -> bytes:
    return core.data_to_send(0.0)


# Any bytes, any split.


@st.composite
def pieces(draw: st.DrawFn) -> bytes:
    """What a broker may say, and what it may not."""
    number = draw(st.integers(1, 3)).to_bytes(2, "big")
    choices = [
        st.binary(max_size=12),
        st.sampled_from([b"\xd0\0", b"\xe0\0", b"\xe0\1\x8e", b"\x20\3\0\0\0", b"\xf0\0", b"\x90\4\0\1\0\0"]),
        st.sampled_from([bytes((first, 2)) + number for first in (0x40, 0x50, 0x62, 0x70)]),
        st.sampled_from([publish("5.0", bytes(size), qos, 1) for size in (0, 5, 300, 1200) for qos in (0, 1, 2)]),
        st.sampled_from(
            [publish("3.1.1", bytes(size), qos, 2, dup=qos > 0) for size in (0, 1200) for qos in (0, 1, 2)]
        ),
        st.sampled_from([packets.publish(5, "", b"x", properties={"topic_alias": alias}) for alias in (1, 40)]),
    ]
    return draw(st.one_of(choices))


def outcome(core: ClientCore, *chunks: bytes) -> tuple[list[Any], bytes]:
    events = hear(core, *chunks)
    return events, said(core)


@pytest.mark.parametrize("version", ["5.0", "3.1.1"])
@pytest.mark.parametrize("first", [b"", b"\x20\3\0\0\0", b"\x20\2\1\0"], ids=["nothing", "CONNACK 5", "CONNACK"])
@given(heard=st.lists(pieces(), max_size=8), cuts=st.lists(st.integers(0, 3000), max_size=12))
def test_any_bytes_in_any_pieces_are_the_same_events(version: str, first: bytes, heard: Any, cuts: Any) -> None:
    data = first + b"".join(heard)
    whole = outcome(core(version), data)
    ends = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    cut = outcome(core(version), *(data[start:end] for start, end in itertools.pairwise(ends)))
    assert cut == whole
    events, _ = whole
    assert [type(event) for event in events[:-1]].count(Ended) == 0
    if events and isinstance(events[-1], Ended):
        assert "\n" not in events[-1].reason
        assert events[-1].reason.startswith("the broker ")


@given(st.binary(max_size=300))
def test_any_bytes_alone(data: bytes) -> None:
    made = connected()
    hear(made, data)
    assert made.unread <= LIMIT + 300


def test_events_come_some_dozens_at_a_time() -> None:
    made = connected()
    events = made.receive(b"\x30\5\0\1t\0x" * 1000)
    assert len(events) == BATCH
    assert made.more
    assert len(hear(made, b"")) == 1000 - BATCH


# What ends it.


@pytest.mark.parametrize(
    ("said_by_broker", "rule", "code"),
    [
        (b"\x10\0", "CONNECT from a server", 0x82),
        (b"\x20\3\0\0\0", "a second CONNACK", 0x82),
        (b"\x30\3\0\5t", "ends in the middle", 0x81),
        (b"\x32\6\0\1t\0\0\0", "packet identifier 0", 0x82),
        (b"\x62\2\0\1", "", 0),
        (b"\x90\x80\x80\x01" + bytes(9), "max_packet: 1000", 0x95),
        (b"\x32\6\0\1t\0\1\0\x32\6\0\1t\0\1\0", "packet identifier in use", 0x82),
        (b"\x34\6\0\1t\0\1\0\x62\2\0\1", "PUBREL before there was a PUBREC", 0x82),
        (b"\xf0\0", "AUTH that is not expected", 0x82),
    ],
)
def test_a_rule_that_is_broken_is_named_and_told(said_by_broker: bytes, rule: str, code: int) -> None:
    made = connected()
    events = hear(made, said_by_broker)
    if not rule:
        assert events == []
        return
    assert isinstance(events[-1], Ended)
    assert rule in events[-1].reason
    assert events[-1].code == code
    assert said(made).endswith(packets.disconnect(code))
    assert hear(made, b"\x30\5\0\1t\0x") == []


def test_a_publish_before_connack() -> None:
    [ended] = hear(core(), b"\x30\5\0\1t\0x")
    assert "PUBLISH before CONNACK" in ended.reason


@pytest.mark.parametrize("code", [1, 5, 0x84, 0x87])
def test_a_refused_connect(code: int) -> None:
    made = core()
    assert hear(made, bytes((0x20, 2, 0, code))) == [Connected(code)]
    assert made.ended is not None
    assert hear(made, b"\xd0\0") == []


# Messages that are too large.


@pytest.mark.parametrize("version", ["5.0", "3.1.1"])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_message_that_is_too_large_is_dropped_and_acknowledged(version: str, qos: int) -> None:
    session = ClientSession()
    made = connected(version, session)
    said(made)
    large, small = publish(version, bytes(5000), qos, 7), publish(version, b"x")
    events = hear(made, large[:100], large[100:] + small)
    assert events[0] == Dropped("t", len(large) - 3)
    assert events[1]["payload"] == b"x"
    refusal = b"\x03\0\7\x97" if version == "5.0" else b"\x02\0\7"
    assert said(made) == {0: b"", 1: b"\x40" + refusal, 2: b"\x50" + refusal}[qos]
    if qos == 2 and version == "3.1.1":
        assert hear(made, b"\x62\2\0\7") == []
        assert said(made) == b"\x70\2\0\7"
    assert session.handled == {}


def test_of_a_message_that_is_too_large_little_is_kept() -> None:
    made = connected()
    large = b"\x30\xff\xff\xff\x7f\0\1t\0"
    assert hear(made, large) == []
    for _ in range(100):
        assert made.receive(bytes(2**20)) == []
    assert made.unread == 0
    assert made._oversize is not None
    assert len(made._oversize._head) <= 128 * 1024


def test_an_alias_that_a_dropped_message_names_counts() -> None:
    made = connected()
    large = packets.publish(5, "named", bytes(5000), properties={"topic_alias": 3})
    events = hear(made, large, packets.publish(5, "", b"x", properties={"topic_alias": 3}))
    assert [events[0][0], events[1]["topic"], events[1]["properties"]] == ["named", "named", {}]


# What we send.


@pytest.mark.parametrize(
    ("version", "ask", "short"),
    [
        ("3.1.1", lambda core: core.subscribe([("a", 1), ("b", 1)]), packets.suback(4, 1, b"\1")),
        ("5.0", lambda core: core.subscribe([("a", 1), ("b", 1)]), packets.suback(5, 1, b"\1")),
        ("5.0", lambda core: core.unsubscribe(["a", "b"]), packets.unsuback(5, 1, b"\0")),
    ],
)
def test_an_answer_to_fewer_filters_than_were_named_grants_none(version: str, ask: Any, short: bytes) -> None:
    made = connected(version)
    assert ask(made) == 1
    (end,) = hear(made, short)
    assert isinstance(end, Ended)
    assert "1 reason codes for 2 filters [MQTT-3.8.4-6" in end.reason


def test_ids_are_used_again() -> None:
    made = connected()
    first, second = made.reserve(), made.reserve()
    for packet_id in (first, second):
        made.publish("t", b"", 1, packet_id, retain=False, properties={})
    assert hear(made, b"\x40\2\0\1") == [Answered(1, (0,))]
    assert (first, second, made.reserve(), made.reserve()) == (1, 2, 1, 3)


def test_an_id_that_is_given_up_while_it_is_cleared_is_free_after_that() -> None:
    made = connected(session=ClientSession())
    packet_id = made.reserve()
    assert made.clear(packet_id)
    made.free(packet_id)
    assert made.reserve() == 2
    assert hear(made, b"\x70\2\0\1") == [Answered(1, (0,))]
    assert made.reserve() == 1


def test_acknowledgements_leave_after_what_their_handlers_sent() -> None:
    made = connected()
    said(made)
    for packet_id in (7, 8):
        hear(made, publish("5.0", b"x", 1, packet_id))
        made.acknowledge(packet_id)
        made.publish("out", b"y", 0, 0, retain=False, properties={})
        if packet_id == 8:
            made.disconnect()
        goodbye = b"\xe0\0" if packet_id == 8 else b""
        assert said(made) == packets.publish(5, "out", b"y") + b"\x40\2\0" + bytes((packet_id,)) + goodbye


def test_what_is_larger_than_the_broker_takes_is_refused() -> None:
    made = connected(maximum_packet_size=20)
    with pytest.raises(Refused, match="packet too large"):
        made.publish("t", bytes(20), 0, 0, retain=False, properties={})
    assert said(made) == b""


def test_late_answers_change_nothing() -> None:
    made = connected()
    assert hear(made, b"\x40\2\0\1", b"\x70\2\0\1", b"\x90\4\0\1\0\0", b"\xb0\4\0\1\0\0") == []
    assert said(made) == b""
    assert hear(made, b"\x50\2\0\1") == []
    assert said(made) == b"\x62\3\0\1\x92"


def test_a_late_pubcomp_is_no_answer_to_a_new_message() -> None:
    """A PUBREL that was sent twice has two PUBCOMPs, and the first of them frees the packet identifier."""
    made = connected()
    packet_id = made.reserve()
    made.publish("t", b"x", 2, packet_id, retain=False, properties={})
    assert hear(made, b"\x70\3\0\1\x92") == []
    assert hear(made, b"\x50\2\0\1", b"\x70\2\0\1") == [Answered(packet_id, (0,))]


# The clock.


def test_a_silent_connection_is_probed_and_then_given_up() -> None:
    made = core(keepalive=10)
    hear(made, b"\x20\3\0\0\0")
    assert made.keepalive.due == 10
    assert made.tick(9.0) == []
    assert made.data_to_send(9.0) == b""
    assert made.tick(10.0) == []
    assert made.data_to_send(10.0) == packets.PINGREQ
    assert made.keepalive.due == 20
    [ended] = made.tick(20.0)
    assert ended.reason == "the broker has said nothing for 20 s"
    assert made.tick(21.0) == []


def test_a_broker_that_talks_all_the_time_is_probed_too() -> None:
    """It has to hear from us: we say nothing else at QoS 0."""
    keepalive = KeepAlive(10, 0.0)
    for now in range(1, 10):
        keepalive.heard(float(now))
    assert not keepalive.asks(9.0)
    assert keepalive.asks(10.0)


def test_the_broker_may_say_how_often() -> None:
    made = connected(server_keep_alive=3)
    assert made.keepalive.due == 3
    assert KeepAlive(0, 0.0).due is None
