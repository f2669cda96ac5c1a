"""The cases of the public interoperability lists for 3.1.1 and 5.0, with paho's client, or raw where it has no word for
them."""

import itertools
from collections.abc import Iterator
from typing import Any

import mqtt_raw as raw
import pytest
from mqtt_paho import Paho, properties
from mqtt_peer import Recorder
from mqtt_raw import Raw
from mqtt_thread import LOOPS, Threaded

from protocols.mqtt.access.acl import Rule

ACL = (
    Rule(deny="subscribe", topic="test/nosubscribe"),
    Rule(allow="all", topic="#"),
    Rule(allow="all", topic="$SYS/#"),
)
AWAY = 1000
"""Seconds that a session outlives its connection, where it is to."""


@pytest.fixture(scope="module", params=LOOPS, ids=["asyncio", "uvloop"])
def server(request: pytest.FixtureRequest) -> Iterator[Threaded]:
    settings = {"max_packet": 2000, "max_keepalive": 120.0, "max_unacked": 10, "sys_interval": 0}
    with Threaded(Recorder(), request.param, acl=ACL, **settings) as running:
        yield running


@pytest.fixture
def port(server: Threaded) -> int:
    return server.port


@pytest.fixture(params=[4, 5], ids=["3.1.1", "5.0"])
def version(request: pytest.FixtureRequest) -> int:
    number: int = request.param
    return number


_numbers = itertools.count()


@pytest.fixture
def here() -> str:
    """The first level of this test's topics and the beginning of its client identifiers."""
    return f"t{next(_numbers)}"


# Both versions.


def test_every_quality(port: int, version: int, here: str) -> None:
    with Paho(port, here, version) as ann:
        assert (ann.present, ann.code) == (False, 0)
        assert ann.subscribe(f"{here}/#") == [2]
        for qos in (0, 1, 2):
            assert ann.publish(f"{here}/{qos}", b"%d" % qos, qos) == 0
        assert sorted(ann.hear() for _ in range(3)) == [(f"{here}/{qos}", b"%d" % qos, qos, False) for qos in (0, 1, 2)]


def test_the_same_client_connects_twice(port: int, version: int, here: str) -> None:
    with Paho(port, here, version) as first, Paho(port, here, version) as second:
        assert first.lost.get(timeout=raw.LIMIT) != 0
        second.subscribe(here)
        second.publish(here, b"", 1)
        assert second.hear() == (here, b"", 1, False)


def test_connect_twice_on_one_connection(port: int, version: int, here: str) -> None:
    with Raw(port, version) as peer:
        peer.say(raw.connect(version, here))
        peer.until("CONNACK")
        peer.say(raw.connect(version, here))
        assert [(each.kind, each.codes) for each in peer.until("")] == [("DISCONNECT", (0x82,))] * (version == 5)


def test_another_protocol(port: int, version: int, here: str) -> None:
    with Raw(port, version) as peer:
        peer.say(raw.connect(version, here).replace(b"MQTT", b"MQTX"))
        assert peer.until("") == []


def test_a_zero_length_client_identifier(port: int) -> None:
    with Paho(port, "", 4) as ann:
        assert ann.code == 0
    with Raw(port, 4) as peer:
        peer.say(raw.connect(4, "", clean=False))
        assert [each.codes for each in peer.until("")] == [(2,)]


def test_an_assigned_client_identifier(port: int) -> None:
    with Paho(port, "", 5) as ann, Paho(port, "", 5) as bob:
        names = {each.told["AssignedClientIdentifier"] for each in (ann, bob)}
        assert len(names) == 2
        ann.leave()
        with Paho(port, ann.told["AssignedClientIdentifier"], 5) as again:
            assert "AssignedClientIdentifier" not in again.told


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_will(port: int, version: int, here: str, qos: int) -> None:
    with Paho(port, f"{here}bob", version) as bob:
        bob.subscribe(here)
        with Paho(port, here, version, will=(here, b"gone", qos, True)) as ann:
            ann.cut()
            assert bob.hear() == (here, b"gone", qos, False)
    with Paho(port, here, version) as ann:
        ann.subscribe(here)
        assert ann.hear() == (here, b"gone", qos, True)
        ann.publish(here, b"", 1, retain=True)


def test_no_will_after_a_goodbye(port: int, version: int, here: str) -> None:
    with Paho(port, f"{here}bob", version) as bob:
        bob.subscribe(here)
        with Paho(port, here, version, will=(here, b"gone", 1, False)) as ann:
            ann.leave()
        assert bob.heard(bob) == []


def test_retained(port: int, version: int, here: str) -> None:
    with Paho(port, here, version) as ann:
        for qos in (0, 1, 2):
            ann.publish(f"{here}/{qos}", b"old", qos, retain=True)
            ann.publish(f"{here}/{qos}", b"%d" % qos, qos, retain=True)
        ann.subscribe(f"{here}/+")
        kept = [ann.hear() for _ in range(3)]
        assert sorted(kept) == [(f"{here}/{qos}", b"%d" % qos, qos, True) for qos in (0, 1, 2)]
        for qos in (0, 1, 2):
            ann.publish(f"{here}/{qos}", b"", qos, retain=True)
            assert ann.hear() == (f"{here}/{qos}", b"", qos, False)
        ann.subscribe(f"{here}/+")
        assert ann.heard(ann) == []


def test_messages_for_a_client_that_is_away(port: int, version: int, here: str) -> None:
    with Paho(port, here, version, clean=False, expiry=AWAY) as ann:
        ann.subscribe(f"{here}/#")
    with Paho(port, f"{here}bob", version) as bob:
        for qos in (0, 1, 2):
            bob.publish(f"{here}/{qos}", b"%d" % qos, qos)
        with Paho(port, here, version, clean=False, expiry=AWAY) as ann:
            assert ann.present
            assert ann.heard(bob) == [(f"{here}/1", b"1", 1, False), (f"{here}/2", b"2", 2, False)]
    with Paho(port, here, version) as ann:
        assert not ann.present


def test_overlapping_filters_are_one_message_at_the_higher_quality(port: int, version: int, here: str) -> None:
    with Paho(port, here, version) as ann:
        ann.subscribe(f"{here}/#", qos=2)
        ann.subscribe(f"{here}/+", qos=1)
        ann.publish(f"{here}/a", b"x", 2)
        assert ann.heard(ann) == [(f"{here}/a", b"x", 2, False)]


def test_keep_alive(port: int, version: int, here: str) -> None:
    with Paho(port, f"{here}bob", version) as bob, Raw(port, version) as silent:
        bob.subscribe(here)
        silent.say(raw.connect(version, here, keepalive=1, will=(here, b"silent", 1, False)))
        assert bob.hear() == (here, b"silent", 1, False)
        assert [each.codes for each in silent.until("")] == [(0,), (0x8D,)][: 2 if version == 5 else 1]


def test_redelivery(port: int, version: int, here: str) -> None:
    with Paho(port, f"{here}bob", version) as bob, Paho(port, here, version, expiry=AWAY, acknowledges=False) as ann:
        ann.subscribe(here)
        bob.publish(here, b"x", 1)
        assert not ann.message().dup
        ann.cut()
        with Paho(port, here, version, clean=False, expiry=AWAY) as again:
            assert again.present
            message = again.message()
            assert (message.payload, message.qos, message.dup) == (b"x", 1, True)
        with Paho(port, here, version, clean=False) as again:
            assert again.present
            assert again.heard(bob) == []


def test_redelivery_at_qos_2(port: int, version: int, here: str) -> None:
    def dial() -> tuple[Raw, list[raw.Packet]]:
        """What the client has not acknowledged."""
        there = Raw(port, version)
        given = {"SessionExpiryInterval": AWAY}
        there.say(raw.connect(version, here, clean=False, properties=given), raw.PINGREQ)
        return there, there.until("PINGRESP")[1:-1]

    first, _ = dial()
    first.say(raw.subscribe(version, 1, [(here, 2)]), raw.publish(version, here, b"x", 0), raw.PINGREQ)
    first.say(raw.publish(version, here, b"y", 2, 7))
    (*_, once) = (each for each in first.until("PUBREC") if each.kind == "PUBLISH")
    first.close()
    second, (again,) = dial()
    assert (again.payload, again.qos, again.id, again.dup) == (b"y", 2, once.id, True)
    second.say(raw.acknowledgement(0x50, once.id))
    second.until("PUBREL")
    second.close()
    third, (release,) = dial()
    assert (release.kind, release.id) == ("PUBREL", once.id)
    third.say(raw.acknowledgement(0x70, once.id), raw.PINGREQ)
    third.until("PINGRESP")
    third.close()
    fourth, left = dial()
    assert left == []
    fourth.close()


def test_dollar_topics(port: int, version: int) -> None:
    with Paho(port, "dollar", version) as ann:
        ann.subscribe("+/dollar", "$SYS/#")
        for topic in ("$SYS/dollar", "$other/dollar", "a/dollar"):
            ann.publish(topic, b"", 1)
        assert ann.heard(ann) == [("a/dollar", b"", 1, False)]


def test_unsubscribe(port: int, version: int, here: str) -> None:
    with Paho(port, here, version) as ann:
        ann.subscribe(f"{here}/a", f"{here}/b", f"{here}/c")
        assert ann.unsubscribe(f"{here}/a", f"{here}/never") == ([0x00, 0x11] if version == 5 else [])
        for topic in ("a", "b", "c"):
            ann.publish(f"{here}/{topic}", b"", 1)
        assert ann.heard(ann) == [(f"{here}/b", b"", 1, False), (f"{here}/c", b"", 1, False)]


def test_a_subscription_that_is_refused(port: int, version: int) -> None:
    with Paho(port, "refused", version) as ann:
        assert ann.subscribe("test/nosubscribe") == [0x87 if version == 5 else 0x80]
        ann.publish("test/nosubscribe", b"", 1)
        assert ann.heard(ann) == []


# 5.0.


@pytest.mark.parametrize(("handling", "first", "second"), [(0, True, True), (1, True, False), (2, False, False)])
def test_retain_handling(port: int, here: str, handling: int, first: bool, second: bool) -> None:
    with Paho(port, here, 5) as ann:
        ann.publish(here, b"kept", 1, retain=True)
        for expected in (first, second):
            ann.subscribe(here, retainHandling=handling)
            assert ann.heard(ann) == [(here, b"kept", 1, True)] * expected


def test_retain_as_published(port: int, here: str) -> None:
    with Paho(port, here, 5) as ann, Paho(port, f"{here}bob", 5) as bob:
        ann.subscribe(here, retainAsPublished=True)
        bob.subscribe(here)
        bob.publish(here, b"x", 1, retain=True)
        bob.publish(here, b"y", 1)
        assert ann.heard(bob) == [(here, b"x", 1, True), (here, b"y", 1, False)]
        assert bob.heard(bob) == [(here, b"x", 1, False), (here, b"y", 1, False)]


def test_no_local(port: int, here: str) -> None:
    with Paho(port, here, 5) as ann, Paho(port, f"{here}bob", 5) as bob:
        ann.subscribe(here, noLocal=True)
        ann.publish(here, b"own", 1)
        bob.publish(here, b"other", 1)
        assert ann.heard(bob) == [(here, b"other", 1, False)]


def test_session_expiry(port: int, here: str) -> None:
    with Paho(port, here, 5, expiry=AWAY) as ann:
        ann.subscribe(here)
    for expiry, present in ((AWAY, True), (AWAY, True), (0, True), (0, False)):
        with Paho(port, here, 5, clean=False, expiry=expiry) as ann:
            assert ann.present is present
    with Paho(port, f"{here}bob", 5) as bob:
        bob.subscribe(here)
        will = (here, b"over", 1, False)
        with Paho(port, here, 5, expiry=1, will=will, will_delay=AWAY) as ann:
            ann.cut()  # the end of the session does not wait for the will's delay, and comes by itself
        assert bob.hear() == (here, b"over", 1, False)
    with Paho(port, here, 5, clean=False) as ann:
        assert not ann.present


def test_a_disconnect_says_how_long_the_session_lives(port: int, here: str) -> None:
    with Paho(port, here, 5, expiry=AWAY) as ann:
        ann.leave(SessionExpiryInterval=0)
    with Paho(port, here, 5, clean=False, expiry=1) as ann:
        assert not ann.present
        ann.leave(SessionExpiryInterval=AWAY)
    with Paho(port, here, 5, clean=False) as ann:
        assert ann.present


def test_shutdown() -> None:
    with Threaded(Recorder()) as server, Paho(server.port, "ann", 5) as ann:
        server.stop()
        assert ann.lost.get(timeout=raw.LIMIT) == 0x8B


def test_properties_travel(port: int, here: str) -> None:
    given: dict[str, Any] = {
        "PayloadFormatIndicator": 1,
        "ContentType": "text/plain",
        "ResponseTopic": "answers",
        "CorrelationData": b"\x00\xff",
        "UserProperty": [("a", "2"), ("c", "3"), ("a", "1")],
    }
    with Paho(port, here, 5) as ann:
        ann.subscribe(here)
        for qos in (0, 1, 2):
            ann.publish(here, "é".encode(), qos, **given)
            message = ann.message()
            assert message.properties is not None
            for name, value in given.items():
                assert getattr(message.properties, name) == value


def test_a_client_takes_packets_of_so_many_bytes(port: int, here: str) -> None:
    with Paho(port, here, 5, MaximumPacketSize=64) as ann, Paho(port, f"{here}bob", 5) as bob:
        ann.subscribe(here)
        for qos in (0, 1, 2):
            bob.publish(here, bytes(65), qos)
            bob.publish(here, b"short", qos)
        assert ann.heard(bob) == [(here, b"short", qos, False) for qos in (0, 1, 2)]


def test_the_server_takes_packets_of_so_many_bytes(port: int, here: str) -> None:
    with Paho(port, here, 5) as ann:
        assert ann.told["MaximumPacketSize"] == 2000
        ann.publish(here, bytes(1900), 1)
        ann.client.publish(here, bytes(2001), 1)
        assert ann.lost.get(timeout=raw.LIMIT) == 0x95


@pytest.mark.parametrize("asked", [60, 120, 121])
def test_the_servers_keep_alive(port: int, here: str, asked: int) -> None:
    with Paho(port, here, 5, keepalive=asked) as ann:
        assert ann.told.get("ServerKeepAlive") == (120 if asked > 120 else None)


def test_flow_control_to_the_client(port: int, here: str) -> None:
    with Paho(port, f"{here}bob", 5) as bob, Raw(port, 5) as ann:
        ann.say(raw.connect(5, here, properties={"ReceiveMaximum": 2}), raw.subscribe(5, 1, [(here, 2)]))
        ann.until("SUBACK")
        for number in range(4):
            bob.publish(here, b"%d" % number, 1 + number % 2)

        def heard() -> list[raw.Packet]:
            ann.say(raw.PINGREQ)
            return ann.until("PINGRESP")[:-1]

        first, second = heard()
        assert (first.payload, second.payload) == (b"0", b"1")
        ann.say(raw.acknowledgement(0x40, first.id))
        assert [each.payload for each in heard()] == [b"2"]
        ann.say(raw.acknowledgement(0x50, second.id))  # the exchange is not over with PUBREC (4.9)
        assert [each.kind for each in heard()] == ["PUBREL"]
        ann.say(raw.acknowledgement(0x70, second.id))
        assert [each.payload for each in heard()] == [b"3"]


def test_flow_control_to_the_server(here: str) -> None:
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        """Accepts, and acknowledges nothing."""
        while (event := await receive())["type"] != "mqtt.disconnect":
            if event["type"] == "mqtt.connect":
                await send({"type": "mqtt.accept"})

    with Threaded(slow, max_unacked=3) as server, Raw(server.port, 5) as ann:
        ann.say(raw.connect(5, here))
        assert dict(ann.until("CONNACK")[0].properties)["ReceiveMaximum"] == 3
        ann.say(*(raw.publish(5, here, b"", 1 + number % 2, number) for number in range(1, 4)), raw.PINGREQ)
        assert [each.kind for each in ann.until("PINGRESP")] == ["PINGRESP"]
        ann.say(raw.publish(5, here, b"", 1, 4))
        assert [(each.kind, each.codes) for each in ann.until("")] == [("DISCONNECT", (0x93,))]


def test_a_will_that_waits(port: int, here: str) -> None:
    with Paho(port, f"{here}cat", 5) as cat:
        cat.subscribe(f"{here}/#")
        with Paho(port, here, 5, expiry=AWAY, will=(f"{here}/1", b"early", 1, False), will_delay=3) as ann:
            ann.cut()
            with Paho(port, here, 5, clean=False, will=(f"{here}/2", b"late", 1, False), will_delay=3) as again:
                assert again.present  # in time: the first will is not published, and nothing else ends its wait
                again.cut()  # its session ends with it: the second one is published now
                assert cat.hear() == (f"{here}/2", b"late", 1, False)
        with Paho(port, f"{here}bob", 5, expiry=AWAY, will=(f"{here}/3", b"last", 1, False), will_delay=3) as bob:
            bob.cut()
            assert cat.hear() == (f"{here}/3", b"last", 1, False)
        assert cat.heard(cat) == []


def test_a_goodbye_with_will(port: int, here: str) -> None:
    with Paho(port, f"{here}bob", 5) as bob, Paho(port, here, 5, will=(here, b"bye", 1, False)) as ann:
        bob.subscribe(here)
        ann.leave(4)
        assert bob.hear() == (here, b"bye", 1, False)


def test_subscription_identifiers(port: int, here: str) -> None:
    with Paho(port, here, 5) as ann:
        ann.subscribe(f"{here}/a", identifier=456789)
        ann.subscribe(f"{here}/+", identifier=2)
        ann.subscribe(f"{here}/b")
        for topic, expected in (("a", [2, 456789]), ("b", [2])):
            ann.publish(f"{here}/{topic}", b"", 1)
            assert sorted(ann.message().properties.SubscriptionIdentifier) == expected
        ann.unsubscribe(f"{here}/+")
        ann.publish(f"{here}/b", b"", 1)
        assert not hasattr(ann.message().properties, "SubscriptionIdentifier")


def test_request_and_response(port: int, here: str) -> None:
    with Paho(port, f"{here}ann", 5) as ann, Paho(port, f"{here}bob", 5) as bob:
        ann.subscribe(f"{here}/answers")
        bob.subscribe(f"{here}/questions")
        ann.publish(f"{here}/questions", b"2+2", 1, ResponseTopic=f"{here}/answers", CorrelationData=b"334")
        asked = bob.message().properties
        bob.publish(asked.ResponseTopic, b"4", 1, CorrelationData=asked.CorrelationData)
        answer = ann.message()
        assert (answer.payload, answer.properties.CorrelationData) == (b"4", b"334")


def test_the_clients_topic_aliases(port: int, here: str) -> None:
    with Paho(port, here, 5) as ann:
        assert ann.told["TopicAliasMaximum"] > 1
        ann.subscribe(f"{here}/#")
        ann.publish(f"{here}/a", b"1", 1, TopicAlias=1)
        ann.publish("", b"2", 1, TopicAlias=1)
        ann.publish(f"{here}/b", b"3", 1, TopicAlias=1)
        ann.publish("", b"4", 1, TopicAlias=1)
        topics = [(topic.removeprefix(here), payload) for topic, payload, *_ in ann.heard(ann)]
        assert topics == [("/a", b"1"), ("/a", b"2"), ("/b", b"3"), ("/b", b"4")]
        ann.client.publish(f"{here}/a", b"", 1, properties=properties("PUBLISH", TopicAlias=60000))
        assert ann.lost.get(timeout=raw.LIMIT) == 0x94


def test_the_servers_topic_aliases(port: int, here: str) -> None:
    with Paho(port, here, 5, TopicAliasMaximum=1) as ann:
        ann.subscribe(f"{here}/#")
        for topic in ("a", "a", "b"):
            ann.publish(f"{here}/{topic}", b"", 1)
        first, second, other = (ann.message() for _ in range(3))
        assert (first.topic, first.properties.TopicAlias) == (f"{here}/a", 1)
        assert (second.topic, second.properties.TopicAlias) == ("", 1)
        assert other.topic == f"{here}/b"
        assert not hasattr(other.properties, "TopicAlias")


def test_messages_expire(port: int, here: str) -> None:
    with Paho(port, here, 5, expiry=AWAY) as ann:
        ann.subscribe(f"{here}/#")
    with Paho(port, f"{here}bob", 5) as bob:
        bob.subscribe(f"{here}bob/#")
        for qos in (1, 2):
            bob.publish(f"{here}/{qos}", b"short", qos, MessageExpiryInterval=1)
            bob.publish(f"{here}/{qos}", b"long", qos, MessageExpiryInterval=AWAY)
        bob.publish(f"{here}/kept", b"", 1, retain=True, MessageExpiryInterval=1)
        # Something else of one second, which begins later and ends audibly.
        will = (f"{here}bob/late", b"", 1, False)
        with Paho(port, f"{here}cat", 5, expiry=1, will=will, will_delay=AWAY) as cat:
            cat.cut()
        assert bob.hear()[0] == f"{here}bob/late"
        with Paho(port, here, 5, clean=False) as ann:
            left = [ann.message() for _ in range(2)]
            assert [(message.topic, message.payload) for message in left] == [
                (f"{here}/1", b"long"),
                (f"{here}/2", b"long"),
            ]
            assert all(0 < message.properties.MessageExpiryInterval < AWAY for message in left)
            ann.subscribe(f"{here}/kept")
            assert ann.heard(bob) == []


def test_shared_subscriptions(port: int, version: int, here: str) -> None:
    with (
        Paho(port, f"{here}ann", version) as ann,
        Paho(port, f"{here}bob", version) as bob,
        Paho(port, f"{here}cat", version) as cat,
    ):
        for member in (ann, bob):
            assert member.subscribe(f"$share/group/{here}/#") == [2]
        cat.subscribe(f"{here}/#")
        for number in range(10):
            cat.publish(f"{here}/{number}", b"%d" % number, number % 3)
        one, other, everything = (each.heard(cat) for each in (ann, bob, cat))
        assert sorted(one + other) == sorted(everything)
        assert len(everything) == 10
        assert one
        assert other
        ann.unsubscribe(f"$share/group/{here}/#")
        cat.publish(f"{here}/x", b"", 1)
        assert ann.heard(cat) == []
        assert bob.heard(cat) == [(f"{here}/x", b"", 1, False)]


@pytest.mark.parametrize("code", [0x9C, 0x9D])
def test_redirect(code: int) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(
            {"type": "mqtt.reject", "reason_code": code, "properties": {"server_reference": "other.example:1883"}}
        )

    with Threaded(app) as server, Paho(server.port, "ann", 5) as ann:
        assert (ann.code, ann.told["ServerReference"]) == (code, "other.example:1883")
