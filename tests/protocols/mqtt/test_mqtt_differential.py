"""Whatever several clients say: they hear from our server what they hear from Mosquitto.

What may differ, and why, is in docs/mqtt-differences.md. ``MQTT_EXAMPLES=5000`` looks longer.
"""

import itertools
import os
from collections.abc import Iterator

import mqtt_raw as raw
import mqtt_stage as stage
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mqtt_peer import Recorder
from mqtt_raw import Packet, Raw
from mqtt_stage import Stage, Step
from mqtt_thread import Threaded
from servers.mosquitto import mosquitto

EXAMPLES = int(os.environ.get("MQTT_EXAMPLES", "250"))

LINES = (
    "persistence false",
    "set_tcp_nodelay true",
    "sys_interval 0",
    "max_inflight_messages 0",
    "max_queued_messages 0",
    "allow_duplicate_messages true",
)


@pytest.fixture(scope="module")
def theirs() -> Iterator[int]:
    with mosquitto(lines=LINES) as broker:
        yield broker.port


@pytest.fixture(scope="module")
def ours() -> Iterator[int]:
    with Threaded(Recorder(), sys_interval=0, max_session_expiry=10**9) as server:
        yield server.port


# 3.1.1, 5.0, and one of either.
names = st.sampled_from(["ann", "bob", "cat"])
topics = st.sampled_from(["a", "a/b", "a/b/c", "b", "b/", "/b"])
filters = st.sampled_from(["#", "+", "a", "a/#", "a/+", "+/b", "a/b", "+/+/c", "b/+", "+/b/#", "/b"])
yes = st.just(True)
qos = st.integers(0, 2)
options = st.builds(
    lambda qos, local, published, handling: qos | local << 2 | published << 3 | handling << 4,
    qos, st.booleans(), st.booleans(), st.integers(0, 2),
)  # fmt: skip
properties = st.lists(
    st.sampled_from(
        [
            ("PayloadFormatIndicator", 1),
            ("MessageExpiryInterval", 1000),
            ("ContentType", "text/plain"),
            ("ResponseTopic", "answers/1"),
            ("CorrelationData", b"\x00\xff"),
            ("UserProperty", [("a", "1"), ("b", ""), ("a", "2")]),
        ]
    ),
    unique_by=lambda each: each[0],
    max_size=3,
).map(tuple)
steps = st.lists(
    st.one_of(
        st.builds(
            stage.Connect,
            names,
            clean=st.booleans(),
            expiry=st.sampled_from([0, 1000]),
            will=st.none() | st.tuples(topics, qos, st.booleans()),
            answers=st.booleans(),
        ),
        st.builds(
            stage.Subscribe,
            names,
            st.lists(st.tuples(filters, options), min_size=1, max_size=3).map(tuple),
            st.integers(0, 3),
        ),
        st.builds(stage.Unsubscribe, names, st.lists(filters, min_size=1, max_size=2).map(tuple)),
        st.builds(stage.Publish, names, topics, qos, retain=st.booleans(), again=st.booleans(), properties=properties),
        st.builds(stage.Publish, names, topics, qos, retain=yes, empty=yes),
        st.builds(stage.Answer, names),
        st.builds(stage.Disconnect, names, st.booleans(), st.booleans()),
        st.builds(stage.Cut, names),
    ),
    max_size=25,
)
_prefixes = map("d{}".format, itertools.count())
EVERYBODY: list[Step] = [stage.Connect(name) for name in ("ann", "bob", "cat")]


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="MQTT_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(said=steps, version=st.sampled_from([4, 5]))
def test_the_same_conversation(said: list[Step], version: int, ours: int, theirs: int) -> None:
    conversation = EVERYBODY + said
    prefix, versions = next(_prefixes), {"ann": 4, "bob": 5, "cat": version}
    expected = Stage(theirs, prefix, versions).play(conversation)
    heard = Stage(ours, prefix, versions).play(conversation)
    for step, their, our in zip(conversation, expected, heard, strict=True):
        assert stage.same(step, our) == stage.same(step, their), step


# Where the two differ, ours is as docs/mqtt-differences.md says.

VERSIONS = {"ann": 4, "bob": 5, "cat": 5}


def published(heard: stage.Heard, client: str) -> list[Packet]:
    return [packet for packet in heard[client] if packet.kind == "PUBLISH"]


def play(port: int, *steps: Step) -> list[stage.Heard]:
    """What is heard at the steps, after everybody has connected."""
    return Stage(port, next(_prefixes), VERSIONS).play([*EVERYBODY, *steps])[len(EVERYBODY) :]


def test_3_several_filters_one_copy(ours: int) -> None:
    *_, heard = play(
        ours,
        stage.Subscribe("bob", (("a/#", 1),), 1),
        stage.Subscribe("bob", (("+/b", 2),), 2),
        stage.Publish("ann", "a/b", 2),
    )
    (message,) = published(heard, "bob")
    assert message.qos == 2
    assert sorted(dict(message.properties)["SubscriptionIdentifier"]) == [1, 2]


def test_4_who_is_taken_over_is_told(ours: int) -> None:
    (heard,) = play(ours, stage.Connect("bob"))
    assert [(packet.kind, packet.codes) for packet in heard["bob"]] == [("DISCONNECT", (0x8E,)), ("CONNACK", (0,))]


def test_5_a_subscription_is_replaced_with_all_its_options(ours: int) -> None:
    with Raw(ours, 5) as connection:
        connection.say(raw.connect(5, "again"), raw.subscribe(5, 1, [("again", 0)]))
        connection.say(raw.subscribe(5, 2, [("again", 4)]), raw.publish(5, "again", b""), raw.PINGREQ)
        assert "PUBLISH" not in [packet.kind for packet in connection.until("PINGRESP")]


def test_6_the_will_of_a_client_that_is_taken_over(ours: int) -> None:
    with Raw(ours, 5) as watcher, Raw(ours, 5) as first, Raw(ours, 5) as second:
        watcher.say(raw.connect(5, "watcher"), raw.subscribe(5, 1, [("wills", 0)]))
        watcher.until("SUBACK")
        life = {"SessionExpiryInterval": 1000}
        first.say(raw.connect(5, "twice", will=("wills", b"gone", 0, False), properties=life))
        first.until("CONNACK")
        second.say(raw.connect(5, "twice", clean=False))
        assert second.until("CONNACK")[-1].present
        watcher.say(raw.PINGREQ)
        assert [packet.payload for packet in watcher.until("PINGRESP")] == [b"gone", b""]


def test_7_qos_2_is_delivered_when_it_comes(ours: int) -> None:
    with Raw(ours, 4) as connection:
        connection.say(raw.connect(4, "early"), raw.subscribe(4, 1, [("early", 0)]), raw.publish(4, "early", b"", 2, 9))
        assert "PUBLISH" in [packet.kind for packet in connection.until("PUBREC")]
