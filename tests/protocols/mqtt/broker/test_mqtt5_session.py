"""MQTT 5.0, and 3.1.1 where the same holds, as conversations in memory: a rule of the standard for each test."""

from typing import Any

import mqtt5_wire as wire
import pytest
from mqtt5_wire import Heard, read
from mqtt_memory import Client, Clock

from protocols.errors import Disconnected, LocalProtocolError, RemoteProtocolError
from protocols.mqtt.broker.broker import Broker
from protocols.mqtt.broker.message import OVERHEAD
from protocols.mqtt.broker.timers import Timers
from protocols.mqtt.connection.exactly_once import UNRELEASED
from protocols.mqtt.settings import MQTTSettings
from protocols.mqtt.wire.aliases import ALIASES

VERSIONS = pytest.mark.parametrize("version", [4, 5])
WEEK = 7 * 86400


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def broker(clock: Clock) -> Broker:
    return Broker(MQTTSettings(), clock=clock)


def small(clock: Clock, **settings: Any) -> Broker:
    return Broker(MQTTSettings(**settings), clock=clock)


def hears(client: Client) -> list[Heard]:
    return [read(data, client.version) for data in client.heard()]


def messages(client: Client) -> list[bytes]:
    return [each.payload for each in hears(client) if each.kind == "PUBLISH"]


def kinds(client: Client) -> list[tuple[str, int, int]]:
    return [(each.kind, each.id, each.code) for each in hears(client)]


def join(broker: Broker, client_id: str = "ann", version: int = 5, **options: Any) -> Client:
    """Connected; its CONNACK is heard."""
    settings = options.pop("settings", {})
    client = Client(broker, wire.connect(client_id, version, **options), **settings)
    assert hears(client)[0].code == 0
    return client


def stay(broker: Broker, client_id: str = "ann", version: int = 5, expiry: int = 100, **options: Any) -> Client:
    """One that keeps its session."""
    if version == 5:
        options["session_expiry_interval"] = expiry
    return join(broker, client_id, version, clean=False, **options)


def subscribed(broker: Broker, *filters: str, client_id: str = "sub", **options: Any) -> Client:
    client = join(broker, client_id)
    client.say(wire.subscribe(*(filters or ("#",)), **options))
    client.heard()
    return client


# QoS 2 from the client.


@VERSIONS
def test_qos_2_is_one_event_whatever_is_repeated(broker: Broker, version: int) -> None:
    bob, ann = subscribed(broker), join(broker, version=version)
    said = wire.publish("a", b"x", 2, 7, version)
    again = wire.publish("a", b"x", 2, 7, version, dup=True)
    (event,) = ann.say(said)
    assert event["event"]
    assert ann.say(again) == []  # its handler runs
    ann.acknowledge(7)
    assert ann.say(again, again) == []
    assert kinds(ann) == [("PUBREC", 7, 0)] * 3
    assert ann.say(wire.pubrel(7)) == []
    assert kinds(ann) == [("PUBCOMP", 7, 0)]
    assert messages(bob) == [b"x"]
    assert ann.say(said)[0]["event"] != event["event"]


@VERSIONS
def test_pubrel_for_nothing(broker: Broker, version: int) -> None:
    ann = join(broker, version=version)
    ann.say(wire.pubrel(9))
    assert kinds(ann) == [("PUBCOMP", 9, 0x92 if version == 5 else 0)]


def test_pubrel_before_pubrec_breaks_the_exchange(broker: Broker) -> None:
    ann = join(broker)
    ann.say(wire.publish("a", b"x", 2, 7))
    with pytest.raises(RemoteProtocolError, match="PUBREC"):
        ann.say(wire.pubrel(7))
    ann.acknowledge(7)  # and the application is not hurt


@VERSIONS
def test_pubrec_with_an_error_is_the_end_in_5_0_and_unknown_in_3_1_1(broker: Broker, version: int) -> None:
    ann = join(broker, version=version)
    said = wire.publish("a", b"x", 2, 7, version)
    (first,) = ann.say(said)
    ann.acknowledge(7, reason_code=0x97, properties={"reason_string": "full"})
    if version == 5:
        assert hears(ann) == [Heard("PUBREC", 7, 0x97, properties={"reason_string": "full"})]
        (second,) = ann.say(said)
        assert second["event"] != first["event"]
    else:
        assert kinds(ann) == [("PUBREC", 7, 0)]
        assert ann.say(said) == []


@VERSIONS
def test_the_late_answer_of_an_application_is_for_the_next_connection(broker: Broker, version: int) -> None:
    bob, ann = subscribed(broker), stay(broker, version=version)
    ann.say(wire.publish("a", b"x", 2, 7, version))
    ann.cut()
    ann.acknowledge(7)
    back = stay(broker, version=version)
    assert back.say(wire.publish("a", b"x", 2, 7, version, dup=True)) == []
    assert kinds(back) == [("PUBREC", 7, 0)]
    assert messages(bob) == [b"x"]


@VERSIONS
def test_an_earlier_application_that_answers_while_the_client_is_back(broker: Broker, version: int) -> None:
    ann = stay(broker, version=version)
    ann.say(wire.publish("a", b"x", 2, 7, version))
    back = stay(broker, version=version)
    assert ann.ended == "taken over"
    again = wire.publish("a", b"x", 2, 7, version, dup=True)
    assert back.say(again) == []
    ann.acknowledge(7)
    assert kinds(back) == [("PUBREC", 7, 0)]
    assert back.say(again, wire.pubrel(7)) == []
    assert kinds(back) == [("PUBREC", 7, 0), ("PUBCOMP", 7, 0)]
    ann.connection.abandon()
    assert back.told == []


@pytest.mark.parametrize("dup", [True, False], ids=["DUP", "DUP forgotten"])
@pytest.mark.parametrize("repeated_first", [True, False])
def test_an_earlier_application_that_ends_without_an_answer(broker: Broker, repeated_first: bool, dup: bool) -> None:
    bob, ann = subscribed(broker), stay(broker)
    (event,) = ann.say(wire.publish("a", b"x", 2, 7))
    back = stay(broker)
    again = wire.publish("a", b"x", 2, 7, dup=dup)
    if repeated_first:
        assert back.say(again) == []
        ann.connection.abandon()
        (heard,) = back.told
    else:
        ann.connection.abandon()
        (heard,) = back.say(again)
    assert (heard["event"], heard["dup"]) == (event["event"], True)
    back.acknowledge(7)
    assert kinds(back) == [("PUBREC", 7, 0)]
    assert messages(bob) == [b"x"]


@pytest.mark.parametrize("ended", [True, False])
def test_a_client_that_comes_back_without_the_message_gives_it_up(broker: Broker, ended: bool) -> None:
    """A client whose process was restarted has the packet identifier only, as ours does. That is not a fault."""
    bob, ann = subscribed(broker), stay(broker)
    ann.say(wire.publish("a", b"x", 2, 7))
    back = stay(broker)
    if ended:
        ann.connection.abandon()
    assert back.say(wire.pubrel(7)) == []
    assert kinds(back) == [("PUBCOMP", 7, 0x92)]
    (event,) = back.say(wire.publish("a", b"y", 2, 7))
    with pytest.raises(Disconnected):
        ann.acknowledge(7)
    back.acknowledge(event["id"])
    assert back.say(wire.pubrel(7)) == []
    assert kinds(back) == [("PUBREC", 7, 0), ("PUBCOMP", 7, 0)]
    assert messages(bob) == [b"x", b"y"]


def test_an_application_that_ends_while_nobody_is_there_leaves_the_message_to_the_next(broker: Broker) -> None:
    ann = stay(broker)
    (event,) = ann.say(wire.publish("a", b"x", 2, 7))
    second = stay(broker)
    again = wire.publish("a", b"x", 2, 7, dup=True)
    assert second.say(again) == []
    second.cut()
    ann.connection.abandon()
    third = stay(broker)
    (heard,) = third.say(again)
    assert heard["event"] == event["event"]


def test_the_answer_for_a_session_that_is_over_comes_too_late(broker: Broker) -> None:
    ann = join(broker)
    ann.say(wire.publish("a", b"x", 2, 7), wire.publish("a", b"x", 1, 8))
    ann.cut()
    for packet_id in (7, 8):
        with pytest.raises(Disconnected):
            ann.acknowledge(packet_id)


def test_an_identifier_in_use_is_not_taken_for_another_quality(broker: Broker) -> None:
    for first, second in ((1, 2), (2, 1)):
        ann = join(broker)
        ann.say(wire.publish("a", b"x", first, 7))
        with pytest.raises(RemoteProtocolError, match=r"2\.2\.1-3") as caught:
            ann.say(wire.publish("a", b"y", second, 7))
        assert caught.value.answer == 0x82  # 0x91 is no DISCONNECT's reason code


# QoS 2 to the client.


@VERSIONS
def test_qos_2_to_a_client(broker: Broker, version: int) -> None:
    ann = join(broker, version=version)
    ann.say(wire.subscribe("a", version=version), wire.publish("a", b"x", 2, 1, version))
    assert hears(ann)[1:] == [Heard("PUBLISH", 1, topic="a", payload=b"x", qos=2)]
    ann.say(wire.pubrec(1), wire.pubrec(1))
    assert kinds(ann) == [("PUBREL", 1, 0)] * 2
    ann.say(wire.pubcomp(1), wire.pubcomp(1))
    assert ann.heard() == []
    assert not ann.connection.session.inflight
    ann.say(wire.pubrec(1))
    assert kinds(ann) == [("PUBREL", 1, 0x92 if version == 5 else 0)]


@VERSIONS
def test_each_step_is_taken_again_on_the_next_connection(broker: Broker, version: int) -> None:
    ann = stay(broker, version=version)
    ann.say(wire.subscribe("a", version=version))
    ann.say(*(wire.publish("a", b"%d" % each, 2, each, version) for each in (1, 2)))
    ann.say(wire.pubrec(1))
    ann.cut()
    back = Client(broker, wire.connect("ann", version, clean=False))
    assert hears(back)[1:] == [Heard("PUBREL", 1), Heard("PUBLISH", 2, topic="a", payload=b"2", qos=2, dup=True)]


def test_a_client_that_refuses_is_not_asked_again(broker: Broker) -> None:
    ann = stay(broker)
    ann.say(wire.subscribe("a"), wire.publish("a", b"1", 2, 1), wire.publish("a", b"2", 1, 2))
    ann.heard()
    ann.say(wire.pubrec(1, 0x83, reason_string="no"), wire.puback(2, 0x97))
    assert ann.heard() == []
    ann.cut()
    assert messages(stay(broker)) == []


# Flow control.


def test_the_clients_receive_maximum(broker: Broker) -> None:
    ann = join(broker, receive_maximum=2)
    ann.say(wire.subscribe("a"))
    ann.say(*(wire.publish("a", b"%d" % each, 1 + each % 2, each) for each in range(1, 6)))
    assert messages(ann) == [b"1", b"2"]
    ann.say(wire.pubrec(1))
    assert messages(ann) == []
    ann.say(wire.pubcomp(1), wire.puback(2))
    assert messages(ann) == [b"3", b"4"]
    ann.say(wire.pubrec(3, 0x80))
    assert messages(ann) == [b"5"]


def test_a_late_pubcomp_is_no_answer_to_a_new_message_of_the_same_identifier(broker: Broker) -> None:
    ann = stay(broker)
    ann.say(wire.subscribe("a"), wire.publish("a", b"1", 2, 1))
    assert messages(ann) == [b"1"]
    ann.say(wire.pubcomp(1))
    assert list(broker.sessions["ann"].inflight) == [1]
    ann.say(wire.pubrec(1), wire.pubcomp(1))
    assert not broker.sessions["ann"].inflight


def test_a_smaller_receive_maximum_holds_for_what_is_sent_again(broker: Broker) -> None:
    ann = stay(broker)
    ann.say(wire.subscribe("a"), *(wire.publish("a", b"%d" % each, 2, each) for each in range(1, 5)))
    ann.say(wire.pubrec(1))
    ann.cut()
    back = Client(broker, wire.connect("ann", clean=False, receive_maximum=2, session_expiry_interval=100))
    assert kinds(back)[1:] == [("PUBREL", 1, 0), ("PUBLISH", 2, 0)]
    broker.send({"topic": "a", "payload": b"5", "qos": 1})
    assert back.heard() == []
    back.say(wire.pubcomp(1), wire.pubrec(4, 0x80))
    assert kinds(back) == [("PUBLISH", 3, 0)]
    back.say(wire.pubrec(2), wire.pubcomp(2), wire.pubrec(3), wire.pubcomp(3))
    assert [each for each in kinds(back) if each[0] == "PUBLISH"] == [("PUBLISH", 5, 0)]


def test_the_servers_receive_maximum(clock: Clock) -> None:
    settings = {"max_unacked": 2}
    broker = small(clock, **settings)
    ann = Client(broker, wire.connect(), **settings)
    assert hears(ann)[0].properties["receive_maximum"] == 2
    ann.say(wire.publish("a", b"1", 2, 1), wire.publish("a", b"2", 2, 2))
    ann.acknowledge(1)
    with pytest.raises(RemoteProtocolError) as caught:  # PUBREC does not give it back
        ann.say(wire.publish("a", b"3", 2, 3))
    assert caught.value.answer == 0x93
    ann.say(wire.pubrel(1), wire.publish("a", b"3", 2, 3))
    ann.acknowledge(2, reason_code=0x80)
    ann.say(wire.publish("a", b"4", 2, 4))
    old = Client(broker, wire.connect("old", 4), **settings)
    assert len(old.say(*(wire.publish("a", b"x", 1, each, 4) for each in range(1, 51)))) == 50


# Sessions.


@VERSIONS
def test_a_session_ends_in_time(broker: Broker, clock: Clock, version: int) -> None:
    stay(broker, version=version).cut()
    clock.now += (100 if version == 5 else WEEK) - 1
    broker.tick()
    assert broker.kept("ann")
    clock.now += 1
    broker.tick()
    assert not broker.sessions


def test_a_session_without_a_life_ends_with_its_connection(broker: Broker) -> None:
    join(broker, clean=False).cut()
    assert not broker.sessions
    join(broker, "old", 4).cut()
    assert not broker.sessions


def test_the_longest_life_is_told(clock: Clock) -> None:
    settings = {"max_session_expiry": 50.0}
    broker = small(clock, **settings)
    for asked in (51, 0xFFFFFFFF):
        hello = wire.connect(session_expiry_interval=asked)
        assert hears(Client(broker, hello, **settings))[0].properties["session_expiry_interval"] == 50
    for asked in (0, 50):
        hello = wire.connect(session_expiry_interval=asked)
        assert "session_expiry_interval" not in hears(Client(broker, hello, **settings))[0].properties


def test_for_ever(clock: Clock) -> None:
    settings = {"max_session_expiry": 1e10}
    broker = small(clock, **settings)
    ann = Client(broker, wire.connect(session_expiry_interval=0xFFFFFFFF), **settings)
    assert "session_expiry_interval" not in hears(ann)[0].properties
    ann.cut()
    clock.now += 100 * 365 * 86400
    broker.tick()
    assert broker.kept("ann")


@pytest.mark.parametrize(("first", "last", "lives"), [(100, 0, False), (100, 10, True), (1, 10, True)])
def test_disconnect_changes_the_life(broker: Broker, clock: Clock, first: int, last: int, lives: bool) -> None:
    stay(broker, expiry=first).quit(wire.disconnect(session_expiry_interval=last))
    clock.now += 9
    broker.tick()
    assert broker.kept("ann") is lives
    clock.now += 1
    broker.tick()
    assert not broker.kept("ann")


def test_disconnect_cannot_give_a_life(broker: Broker) -> None:
    ann = join(broker)
    with pytest.raises(RemoteProtocolError) as caught:
        ann.say(wire.disconnect(session_expiry_interval=10))
    assert caught.value.answer == 0x82


@VERSIONS
def test_a_clean_start_forgets_everything(broker: Broker, version: int) -> None:
    ann = stay(broker, version=version)
    ann.say(wire.subscribe("a", version=version), wire.publish("a", b"x", 2, 1, version))
    ann.cut()
    back = Client(broker, wire.connect("ann", version, session_expiry_interval=9))
    (connack,) = hears(back)
    assert not connack.present
    assert len(back.say(wire.publish("a", b"x", 2, 1, version))) == 1
    assert back.heard() == []


@VERSIONS
def test_session_present(broker: Broker, version: int) -> None:
    for present in (False, True):
        ann = Client(broker, wire.connect("ann", version, clean=False, session_expiry_interval=9))
        assert hears(ann)[0].present is present
        ann.cut()


def test_flapping_costs_no_memory(broker: Broker, clock: Clock) -> None:
    for _ in range(500):
        stay(broker, will=("w", b"x", 0), will_properties={"will_delay_interval": 50}).cut()
        broker.send({"topic": "r", "payload": b"x", "retain": True, "properties": {"message_expiry_interval": 9999}})
    assert len(broker._timers) <= 3
    assert len(broker._timers._heap) < 100


# Wills.


WILL = ("will", b"gone", 1)


@pytest.mark.parametrize("code", [0x04, 0x80, 0x81, 0x93])
def test_a_goodbye_that_is_no_success_publishes_the_will(broker: Broker, code: int) -> None:
    bob = subscribed(broker)
    join(broker, will=WILL).quit(wire.disconnect(code))
    assert messages(bob) == [b"gone"]


def test_a_goodbye_discards_the_will(broker: Broker) -> None:
    bob = subscribed(broker)
    for version in (4, 5):
        join(broker, version=version, will=WILL).quit(wire.disconnect(version=version))
    assert messages(bob) == []


def delayed(broker: Broker, delay: int = 10, expiry: int = 100, **options: Any) -> Client:
    return stay(broker, expiry=expiry, will=WILL, will_properties={"will_delay_interval": delay}, **options)


def test_a_will_is_delayed(broker: Broker, clock: Clock) -> None:
    bob = subscribed(broker)
    delayed(broker).cut()
    clock.now += 9.9
    broker.tick()
    assert messages(bob) == []
    clock.now += 0.1
    broker.tick()
    clock.now += 1000
    broker.tick()
    assert messages(bob) == [b"gone"]


def test_a_client_that_returns_in_time_has_not_died(broker: Broker, clock: Clock) -> None:
    bob = subscribed(broker)
    delayed(broker).cut()
    clock.now += 9
    stay(broker)
    clock.now += 1000
    broker.tick()
    assert messages(bob) == []


def test_a_will_is_published_at_the_sessions_end_at_the_latest(broker: Broker, clock: Clock) -> None:
    bob = subscribed(broker)
    delayed(broker, delay=50, expiry=10).cut()
    clock.now += 10
    broker.tick()
    assert messages(bob) == [b"gone"]
    delayed(broker, expiry=0).cut()
    assert messages(bob) == [b"gone"]
    delayed(broker).cut()
    join(broker)  # a clean start ends the session (3.1.4)
    assert messages(bob) == [b"gone"]
    delayed(broker, client_id="other")
    delayed(broker, client_id="other")
    assert messages(bob) == []  # taken over, and it goes on


def test_a_takeover_publishes_a_will_without_delay(broker: Broker) -> None:
    bob = subscribed(broker)
    stay(broker, will=WILL)
    stay(broker)
    assert messages(bob) == [b"gone"]


def test_a_will_has_its_properties_and_begins_to_live_when_it_is_published(broker: Broker, clock: Clock) -> None:
    bob = subscribed(broker)
    given = {"content_type": "t", "user_property": [("a", "1"), ("a", "2")], "message_expiry_interval": 5}
    ann = join(broker, will=WILL, will_retain=True, will_properties=given)
    clock.now += 1000
    ann.cut()
    (heard,) = hears(bob)
    assert (heard.topic, heard.payload, heard.qos, heard.properties) == ("will", b"gone", 1, given)
    assert [each.retain for each in hears(late(broker))] == [True]
    clock.now += 5
    assert hears(late(broker)) == []


def late(broker: Broker, **options: Any) -> Client:
    """Subscribes now, and has heard all but what is retained."""
    client = join(broker, "late")
    client.say(wire.subscribe("#", **options))
    out = client.outgoing
    out.data = out.data[1:] if read(out.data[0]).kind == "SUBACK" else out.data
    return client


def test_a_will_goes_nowhere_at_a_dollar_topic(broker: Broker) -> None:
    bob = subscribed(broker, "$SYS/#")
    join(broker, will=("$SYS/broker/uptime", b"fake", 0), will_retain=True).cut()
    assert messages(bob) == []
    assert not broker.retained


# Retained messages.


def test_retained_messages_expire(broker: Broker, clock: Clock) -> None:
    ann = join(broker)
    ann.say(wire.publish("a", b"1", retain=True, message_expiry_interval=10), wire.publish("b", b"2", retain=True))
    clock.now += 4
    assert sorted((each.payload, each.properties.get("message_expiry_interval")) for each in hears(late(broker))) == [
        (b"1", 6),
        (b"2", None),
    ]
    clock.now += 6
    assert messages(late(broker)) == [b"2"]
    broker.tick()
    assert len(broker.retained) == 1
    ann.say(wire.publish("b", b"3", retain=True, message_expiry_interval=10), wire.publish("b", b"4", retain=True))
    clock.now += 10
    broker.tick()
    assert messages(late(broker)) == [b"4"]


def test_retain_handling(broker: Broker) -> None:
    join(broker, "source").say(wire.publish("a", b"x", retain=True))
    ann = join(broker)
    for handling, count in ((1, 1), (1, 0), (0, 1), (2, 0)):
        ann.say(wire.subscribe("a", handling=handling))
        assert len(messages(ann)) == count
    ann.say(wire.unsubscribe("a"), wire.subscribe("a", handling=2))
    assert messages(ann) == []


def test_retain_as_published(broker: Broker) -> None:
    plain, kept = subscribed(broker), subscribed(broker, client_id="kept", as_published=True)
    join(broker).say(wire.publish("a", b"1", retain=True), wire.publish("a", b"2"))
    assert [each.retain for each in hears(plain)] == [False, False]
    assert [each.retain for each in hears(kept)] == [True, False]


def test_what_is_retained_comes_at_the_pace_of_the_client(clock: Clock) -> None:
    settings = {"max_inflight": 2, "max_queued": 600}
    broker = small(clock, **settings)
    source = join(broker, "source")
    for each in range(10):
        source.say(wire.publish(f"a/{each}", b"%d" % each, 1, each + 1, retain=True))
    ann = Client(broker, wire.connect(), **settings)
    ann.say(*[wire.subscribe("a/#")] * 50)
    heard: set[bytes] = set()
    for _ in range(200):
        found = [each for each in hears(ann) if each.kind == "PUBLISH"]
        heard |= {each.payload for each in found}
        ann.say(*(wire.puback(each.id) for each in found))
    assert heard == {b"%d" % each for each in range(10)}
    assert not ann.ended
    assert not ann.connection.session._replays


# Subscriptions.


def test_no_local(broker: Broker) -> None:
    ann, bob = join(broker), subscribed(broker)
    ann.say(wire.subscribe("a", no_local=True), wire.publish("a"))
    assert messages(ann) == []
    assert messages(bob) == [b"x"]
    bob.say(wire.publish("a"))
    assert messages(ann) == [b"x"]
    ann.say(wire.subscribe("b", no_local=True), wire.subscribe("#"), wire.publish("b"))
    assert messages(ann) == [b"x"]


def test_subscription_identifiers_of_all_filters_that_match(broker: Broker) -> None:
    ann = join(broker)
    ann.say(wire.subscribe("a/#", subscription_identifier=7), wire.subscribe("a/b", qos=1, subscription_identifier=9))
    ann.say(wire.subscribe("+/b", qos=0))
    ann.heard()
    ann.say(wire.publish("a/b", b"x", 2, 1))
    (heard,) = hears(ann)
    assert sorted(heard.properties["subscription_identifier"]) == [7, 9]
    assert heard.qos == 2
    ann.say(wire.subscribe("a/#"), wire.unsubscribe("a/b"), wire.publish("a/b"))
    assert hears(ann)[-1].properties == {}


def test_an_identifier_comes_with_what_is_retained_and_what_waited(broker: Broker) -> None:
    join(broker, "source").say(wire.publish("a", b"r", retain=True))
    ann = stay(broker)
    ann.say(wire.subscribe("a", subscription_identifier=5))
    assert [each.properties for each in hears(ann) if each.kind == "PUBLISH"] == [{"subscription_identifier": [5]}]
    ann.cut()
    broker.send({"topic": "a", "payload": b"x", "qos": 1})
    back = Client(broker, wire.connect("ann", clean=False))
    assert hears(back)[1].properties == {"subscription_identifier": [5]}


def test_unsubscribe_says_what_there_was(broker: Broker) -> None:
    ann = join(broker)
    ann.say(wire.subscribe("a"), wire.unsubscribe("a", packet_id=2), wire.unsubscribe("a", packet_id=3))
    assert kinds(ann)[1:] == [("UNSUBACK", 2, 0), ("UNSUBACK", 3, 0x11)]


def test_suback_says_why(clock: Clock) -> None:
    settings = {"max_subscriptions": 1}
    ann = Client(small(clock, **settings), wire.connect(), **settings)
    ann.say(wire.subscribe("a#"), wire.subscribe("a", qos=1), wire.subscribe("b"))
    assert [each.code for each in hears(ann)[1:]] == [0x8F, 1, 0x97]


@pytest.mark.parametrize("topic", ["$SYS/x", "$other"])
def test_dollar_topics_are_kept_apart(broker: Broker, topic: str) -> None:
    ann = subscribed(broker, "#", "+/x", topic, client_id="ann")
    ann.say(wire.publish(topic, b"fake", 2, 1, retain=True))
    assert messages(ann) == []
    broker.send({"topic": topic, "payload": b"true"})
    assert messages(ann) == [b"true"]


# Shared subscriptions.


@VERSIONS
def test_a_group_takes_turns(broker: Broker, version: int) -> None:
    members = [join(broker, name, version) for name in "abc"]
    for member in members:
        member.say(wire.subscribe("$share/g/t/#", version=version))
        member.heard()
    alone = subscribed(broker, "t/#")
    source = join(broker, "source")
    source.say(*(wire.publish("t/1", b"%d" % each, 1, each) for each in range(1, 7)))
    assert [messages(member) for member in members] == [[b"1", b"4"], [b"2", b"5"], [b"3", b"6"]]
    assert len(messages(alone)) == 6
    members[0].cut()
    members[1].say(wire.unsubscribe("$share/g/t/#", version=version))
    # What it had not acknowledged: its session is over.
    assert [messages(member) for member in members[1:]] == [[b"1"], [b"4"]]
    source.say(wire.publish("t", b"7"))
    assert messages(members[2]) == [b"7"]
    members[2].cut()
    assert broker.subscriptions == 1


def test_groups_are_apart_and_get_nothing_retained(broker: Broker) -> None:
    source = join(broker, "source")
    source.say(wire.publish("t", b"old", retain=True))
    one, two = subscribed(broker, "$share/g/t", client_id="1"), subscribed(broker, "$share/h/t", client_id="2")
    source.say(wire.publish("t"))
    assert messages(one) == messages(two) == [b"x"]


def test_members_who_are_away_come_last(broker: Broker) -> None:
    away = stay(broker, "away")
    away.say(wire.subscribe("$share/g/t"))
    away.cut()
    there = subscribed(broker, "$share/g/t")
    source = join(broker, "source")
    source.say(*(wire.publish("t", b"%d" % each, 1, each) for each in (1, 2)))
    assert messages(there) == [b"1", b"2"]
    there.say(wire.puback(1), wire.puback(2))
    there.cut()
    source.say(wire.publish("t", b"3", 1, 3))
    assert messages(Client(broker, wire.connect("away", clean=False))) == [b"3"]


def test_what_a_member_leaves_is_the_others_but_for_qos_2(broker: Broker, clock: Clock) -> None:
    leaver = stay(broker, "leaver", expiry=10, receive_maximum=2)
    leaver.say(wire.subscribe("$share/g/t"))
    source = join(broker, "source")
    for each, qos in ((1, 1), (2, 2), (3, 2), (4, 1)):  # two are sent, two wait
        source.say(wire.publish("t", b"%d" % each, qos, each))
    other = subscribed(broker, "$share/g/t")
    leaver.cut()
    assert messages(other) == []
    clock.now += 10
    broker.tick()
    assert messages(other) == [b"1", b"3", b"4"]  # MQTT-4.8.2-5: 2 was on its way


def test_what_a_member_refuses_is_gone(broker: Broker) -> None:
    ann, bob = subscribed(broker, "$share/g/t", client_id="a"), subscribed(broker, "$share/g/t", client_id="b")
    join(broker, "source").say(wire.publish("t", b"x", 1, 1))
    ann.say(wire.puback(1, 0x80))
    ann.cut()
    assert messages(bob) == []


# Topic aliases.


def test_a_clients_aliases(broker: Broker) -> None:
    bob, ann = subscribed(broker), join(broker)
    events = ann.say(
        wire.publish("a", topic_alias=1), wire.publish("", topic_alias=1), wire.publish("b", b"x", 1, 1, topic_alias=1)
    )
    events += ann.say(wire.publish("", b"x", 2, 2, topic_alias=1), wire.publish("c", topic_alias=ALIASES))
    assert [event["topic"] for event in events] == ["a", "a", "b", "b", "c"]
    assert [event["properties"] for event in events] == [{}] * 5
    assert [(each.topic, each.properties) for each in hears(bob)] == [(topic, {}) for topic in "aabbc"]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (wire.publish("", topic_alias=2), 0x82),
        (wire.publish("a", topic_alias=ALIASES + 1), 0x94),
        (wire.publish("a", topic_alias=65535), 0x94),
    ],
)
def test_aliases_that_are_none(broker: Broker, said: bytes, code: int) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        join(broker).say(said)
    assert caught.value.answer == code


def test_alias_zero_is_no_alias(broker: Broker) -> None:
    raw = wire.publish("a", topic_alias=1).replace(b"\x23\x00\x01", b"\x23\x00\x00")
    with pytest.raises(RemoteProtocolError):
        join(broker).say(raw)


def test_aliases_end_with_the_connection(broker: Broker) -> None:
    ann = stay(broker)
    ann.say(wire.publish("a", topic_alias=1))
    ann.cut()
    with pytest.raises(RemoteProtocolError):
        stay(broker).say(wire.publish("", topic_alias=1))


def test_our_aliases(broker: Broker) -> None:
    ann = join(broker, topic_alias_maximum=2)
    ann.say(wire.subscribe("#", qos=1))
    ann.heard()
    bob = join(broker, "bob")
    for number, topic in enumerate("aabbcc", 1):
        bob.say(wire.publish(topic, b"x", number % 2, number))
    assert [(each.topic, each.properties.get("topic_alias")) for each in hears(ann)] == [
        ("a", 1),
        ("", 1),
        ("b", 2),
        ("", 2),
        ("c", None),
        ("c", None),
    ]


def test_an_alias_is_known_when_it_was_sent(broker: Broker) -> None:
    ann = join(broker, topic_alias_maximum=5, maximum_packet_size=100)
    ann.say(wire.subscribe("#", qos=1))
    ann.heard()
    ann.outgoing.congested = True
    broker.send({"topic": "a", "payload": b"dropped"})
    ann.outgoing.congested = False
    broker.send({"topic": "a", "payload": bytes(200)})
    broker.send({"topic": "a", "payload": bytes(200), "qos": 1})
    assert ann.heard() == []
    broker.send({"topic": "a", "payload": b"x"})
    assert [(each.topic, each.properties) for each in hears(ann)] == [("a", {"topic_alias": 1})]


# The size of packets.


def test_a_client_gets_no_packet_longer_than_it_takes(broker: Broker) -> None:
    ann = join(broker, maximum_packet_size=40, session_expiry_interval=50)
    ann.say(wire.subscribe("#"))
    ann.heard()
    assert len(wire.publish("a", bytes(32), 1, 1)) == 40
    for payload in (bytes(33), bytes(32)):
        for qos in (1, 2):
            broker.send({"topic": "a", "payload": payload, "qos": qos})
    broker.send({"topic": "a", "payload": bytes(35), "qos": 0})
    broker.send({"topic": "a", "payload": bytes(34), "qos": 0})
    out = ann.heard()
    assert [len(data) for data in out] == [40, 40, 40]
    assert [read(data).qos for data in out] == [1, 2, 0]
    assert len(ann.connection.session.inflight) == 2  # what was too long is as if it had been delivered
    ann.cut()
    back = Client(broker, wire.connect("ann", clean=False, maximum_packet_size=30))
    back.heard()
    assert not back.connection.session.inflight


def test_what_is_for_people_is_left_out_of_a_packet_that_would_be_too_long(broker: Broker) -> None:
    ann = join(broker, maximum_packet_size=40)
    ann.say(wire.publish("a", b"x", 1, 1), wire.publish("a", b"x", 1, 2))
    ann.acknowledge(1, reason_code=0x80, properties={"reason_string": "x" * 100})
    ann.acknowledge(2, reason_code=0x80, properties={"reason_string": "x"})
    ann.connection.goodbye(0x9C, {"server_reference": "other", "reason_string": "x" * 100})
    assert [each.properties for each in hears(ann)] == [{}, {"reason_string": "x"}, {"server_reference": "other"}]


def test_properties_count_for_the_limits(clock: Clock) -> None:
    settings = {"max_queued": 20_000}
    broker = small(clock, **settings)
    ann = Client(broker, wire.connect("ann", clean=False, session_expiry_interval=9), **settings)
    ann.say(wire.subscribe("a"))
    ann.cut()
    pairs = [("", "")] * 50
    for _ in range(10):
        broker.send({"topic": "a", "payload": b"", "qos": 1, "properties": {"user_property": pairs}})
    assert ann.connection.session.dropped == 8


# Expiry and the other properties of a message.


def test_messages_expire_in_the_queue_and_tell_what_is_left(broker: Broker, clock: Clock) -> None:
    ann = stay(broker)
    ann.say(wire.subscribe("a"))
    ann.cut()
    bob = join(broker, "bob")
    for each, life in ((1, 10), (2, 20), (3, None)):
        properties = {"message_expiry_interval": life} if life else {}
        bob.say(wire.publish("a", b"%d" % each, 1, each, **properties))
    clock.now += 10
    back = Client(broker, wire.connect("ann", clean=False))
    assert [(each.payload, each.properties) for each in hears(back)[1:]] == [
        (b"2", {"message_expiry_interval": 10}),
        (b"3", {}),
    ]


def test_a_message_on_its_way_does_not_expire(broker: Broker, clock: Clock) -> None:
    ann = stay(broker)
    ann.say(wire.subscribe("a"), wire.publish("a", b"x", 1, 1, message_expiry_interval=5))
    ann.cut()
    clock.now += 6
    back = Client(broker, wire.connect("ann", clean=False))
    assert hears(back)[1].properties == {"message_expiry_interval": 0}


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_what_travels_with_a_message_is_unaltered(broker: Broker, qos: int) -> None:
    given = {
        "payload_format_indicator": 1,
        "content_type": "text/plain",
        "response_topic": "reply/1",
        "correlation_data": b"\0\xff",
        "user_property": [("b", "1"), ("a", "2"), ("b", "1")],
    }
    bob, old, ann = subscribed(broker), join(broker, "old", 4), join(broker)
    old.say(wire.subscribe("a", version=4))
    old.heard()
    (event,) = ann.say(wire.publish("a", b"x", qos, 5, retain=True, **given))
    assert event["properties"] == given
    assert hears(bob)[0].properties == given
    assert hears(late(broker))[0].properties == given
    assert hears(old)[0].payload == b"x"


# CONNACK.


def test_what_connack_says(clock: Clock) -> None:
    settings = {"max_keepalive": 60.0}
    broker = small(clock, **settings)
    ann = Client(broker, wire.connect("", keepalive=120), assigned=True, **settings)
    assert hears(ann)[0].properties == {
        "receive_maximum": 256,
        "maximum_packet_size": 256 * 1024,
        "topic_alias_maximum": ALIASES,
        "assigned_client_identifier": "auto-1",
        "server_keep_alive": 60,
    }
    for asked, kept in ((120, 60), (0, 60), (60, 60), (5, 5)):
        client = Client(broker, wire.connect(keepalive=asked), **settings)
        assert client.handshake.keepalive == kept
        assert ("server_keep_alive" in hears(client)[0].properties) is (asked != kept)
    assert Client(broker, wire.connect(version=4, keepalive=120), **settings).handshake.keepalive == 120


def test_the_application_adds_to_connack(broker: Broker, clock: Clock) -> None:
    more = {"user_property": [("a", "b")], "server_keep_alive": 7, "session_expiry_interval": 5}
    ann = Client(broker, wire.connect(), accept={"properties": more})
    assert more.items() <= hears(ann)[0].properties.items()
    assert ann.handshake.keepalive == 7
    ann.cut()
    assert broker.kept("ann")
    clock.now += 5
    broker.tick()
    assert not broker.sessions


def test_connack_has_no_property_of_another_packet(broker: Broker) -> None:
    ann = Client(broker, wire.connect(), accept=None)
    with pytest.raises(LocalProtocolError):
        ann.accept({"properties": {"topic_alias": 1}})
    assert not broker.sessions
    assert ann.outgoing.data == []
    ann.accept({})


@pytest.mark.parametrize("code", [0x9C, 0x9D])
def test_redirects(broker: Broker, code: int) -> None:
    refused = Client(broker, wire.connect(), accept=None)
    refused.handshake.refuse("mqtt.reject", code, {"server_reference": "other.example:1883", "reason_string": "moved"})
    assert hears(refused) == [
        Heard("CONNACK", code=code, properties={"server_reference": "other.example:1883", "reason_string": "moved"})
    ]
    ann = join(broker)
    ann.connection.goodbye(code, {"server_reference": "other"})
    assert hears(ann) == [Heard("DISCONNECT", code=code, properties={"server_reference": "other"})]


def test_request_problem_information(broker: Broker) -> None:
    for asked in (0, 1):
        ann = join(broker, request_problem_information=asked, authentication_method="m")
        ann.say(wire.publish("a", b"x", 1, 1), wire.publish("a", b"x", 2, 2))
        why = {"reason_string": "why", "user_property": [("a", "b")]}
        for packet_id in (1, 2):
            ann.acknowledge(packet_id, reason_code=0x83, properties=why)
        ann.phase.authenticate({"properties": why})
        heard = hears(ann)
        assert [each.code for each in heard] == [0x83, 0x83, 0x18]
        assert [("reason_string" in each.properties, "user_property" in each.properties) for each in heard] == [
            (bool(asked), bool(asked))
        ] * 3
        ann.connection.goodbye(0x80, why)
        assert hears(ann)[0].properties == why


# Extended authentication.


def test_a_client_authenticates(broker: Broker) -> None:
    hello = wire.connect(authentication_method="M", authentication_data=b"1", session_expiry_interval=9)
    ann = Client(broker, hello, accept=None)
    ann.phase.authenticate({"data": b"2"})
    assert hears(ann) == [
        Heard("AUTH", code=0x18, properties={"authentication_method": "M", "authentication_data": b"2"})
    ]
    (event,) = ann.say(wire.auth(0x18, authentication_method="M", authentication_data=b"3"))
    assert (event["type"], event["reason_code"], event["data"]) == ("mqtt.auth", 0x18, b"3")
    ann.accept({"properties": {"authentication_data": b"4"}})
    connack = hears(ann)[0]
    assert (connack.properties["authentication_method"], connack.properties["authentication_data"]) == ("M", b"4")
    (event,) = ann.say(wire.auth(0x19, authentication_method="M"))
    assert (event["reason_code"], event["data"]) == (0x19, None)
    ann.phase.authenticate({"reason_code": 0})
    assert hears(ann) == [Heard("AUTH", code=0, properties={"authentication_method": "M"})]


def test_nobody_authenticates_again_before_it_is_accepted(broker: Broker) -> None:
    ann = Client(broker, wire.connect("ann", authentication_method="M"), accept=None)
    with pytest.raises(RemoteProtocolError, match=r"4\.12\.0-3"):
        ann.say(wire.auth(0x19, authentication_method="M"))
    assert ann.handshake.state == "ask"  # the caller refuses


def test_nothing_but_auth_before_it_is_accepted(broker: Broker) -> None:
    ann = Client(broker, wire.connect(authentication_method="M"), accept=None)
    with pytest.raises(RemoteProtocolError, match=r"3\.1\.2-30"):
        ann.say(wire.publish("a"))


@pytest.mark.parametrize("hello", [wire.connect(), wire.connect(authentication_method="other")])
def test_auth_of_another_method(broker: Broker, hello: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        Client(broker, hello).say(wire.auth(0x19, authentication_method="M"))
    assert caught.value.answer == 0x82


def test_the_application_authenticates_only_who_asked_for_it(broker: Broker) -> None:
    with pytest.raises(LocalProtocolError, match=r"4\.12\.0-6"):
        join(broker).phase.authenticate({})


# The application decides about subscriptions.


@VERSIONS
def test_the_application_is_asked(broker: Broker, version: int) -> None:
    join(broker, "source").say(wire.publish("a", b"r", 2, 1, retain=True))
    ann = Client(broker, wire.connect(version=version), accept={"subscribe": True})
    ann.heard()
    (event,) = ann.say(wire.subscribe("a", "b", "c#", packet_id=5, version=version))
    assert (event["id"], event["filters"]) == (5, [("a", 2), ("b", 2), (None, 2)])
    assert ann.heard() == []
    ann.connection.granted({"id": 5, "reason_codes": [1, 0x87, 0]})
    suback, retained = ann.heard()
    assert suback[-3:] == (b"\x01\x87\x8f" if version == 5 else b"\x01\x80\x80")
    assert read(retained, version).qos == 1
    (event,) = ann.say(wire.unsubscribe("a", version=version))
    assert event == {"type": "mqtt.unsubscribe", "filters": ["a"], "properties": {}}
    assert ann.say(wire.subscribe("#a", version=version)) == []  # nothing to decide


@pytest.mark.parametrize("codes", [[], [0, 0]])
def test_the_applications_answer_has_a_code_for_each(broker: Broker, codes: list[int]) -> None:
    ann = Client(broker, wire.connect(), accept={"subscribe": True})
    ann.say(wire.subscribe("a", packet_id=5))
    with pytest.raises(LocalProtocolError):
        ann.connection.granted({"id": 5, "reason_codes": codes})
    with pytest.raises(LocalProtocolError):
        ann.connection.granted({"id": 6, "reason_codes": [0]})


def test_one_answer_is_not_taken_for_another_subscription(broker: Broker) -> None:
    ann = Client(broker, wire.connect(), accept={"subscribe": True})
    ann.say(wire.subscribe("public", packet_id=5))
    with pytest.raises(RemoteProtocolError, match=r"2\.2\.1-3"):
        ann.say(wire.subscribe("secret", packet_id=5))


def test_so_many_subscriptions_wait_for_an_answer(broker: Broker) -> None:
    ann = Client(broker, wire.connect(), accept={"subscribe": True})
    with pytest.raises(RemoteProtocolError) as caught:
        ann.say(*(wire.subscribe("a", packet_id=each) for each in range(1, 60)))
        ann.say(*(wire.subscribe("a", packet_id=each) for each in range(60, 100)))
    assert caught.value.answer == 0x97


# The timers.


def test_the_agenda_does_what_is_due_once_in_order() -> None:
    timers, done = Timers(), list[str]()
    for due, key in ((3.0, "c"), (1.0, "a"), (2.0, "b"), (2.5, "d")):
        timers.at(due, key, lambda key=key: done.append(key))
    timers.at(5.0, "a", lambda: done.append("later"))
    timers.cancel("d")
    timers.run(3.0)
    assert done == ["b", "c"]
    timers.run(9.0)
    timers.run(9.0)
    assert done == ["b", "c", "later"]
    assert len(timers) == 0


def test_a_client_that_never_releases_is_stopped(broker: Broker) -> None:
    ann = join(broker, version=4)
    for packet_id in range(1, UNRELEASED + 1):
        ann.say(wire.publish("a", version=4, qos=2, packet_id=packet_id))
        ann.connection.acknowledge({"id": packet_id})
    with pytest.raises(RemoteProtocolError, match="not released") as error:
        ann.say(wire.publish("a", version=4, qos=2, packet_id=UNRELEASED + 1))
    assert error.value.answer == 0x97


def test_all_queues_together_have_a_limit() -> None:
    broker = Broker(MQTTSettings(max_queued_all=3000))
    for name in ("one", "two"):
        stay(broker, name).say(wire.subscribe("#", qos=1))
    ann = join(broker, "pub")
    for client in list(broker.sessions.values()):
        if client.client_id != "pub":
            broker.close(client, with_will=False)
    for packet_id in range(1, 11):
        ann.say(wire.publish("a", bytes(500), 1, packet_id))
        ann.connection.acknowledge({"id": packet_id})
    sessions = [broker.sessions[name] for name in ("one", "two")]
    assert 0 < broker.queued.used <= 3000
    assert sum(session.dropped for session in sessions) == 20 - broker.queued.used // (500 + OVERHEAD)
    stay(broker, "one")
    assert sessions[0].inflight
    broker.open("two", clean=True, expiry=0.0, will=None, outgoing=ann)
    assert broker.queued.used == 0, "what was sent, and what was forgotten, takes no room"
