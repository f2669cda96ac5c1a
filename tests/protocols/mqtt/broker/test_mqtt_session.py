"""Sessions, the broker and one connection as conversations, without sockets or clocks."""

from typing import Any

import mqtt_peer as wire
import pytest
from mqtt_memory import Client

from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.mqtt.broker.broker import Broker
from protocols.mqtt.connection.errors import Goodbye
from protocols.mqtt.qos import PUBACK
from protocols.mqtt.settings import MQTTSettings


@pytest.fixture
def broker() -> Broker:
    return Broker(MQTTSettings())


def sub(number: int, code: int) -> bytes:
    return b"\x90\x03" + number.to_bytes(2, "big") + bytes((code,))


def test_a_publish_is_an_event_and_reaches_subscribers_at_the_lower_quality(broker: Broker) -> None:
    ann, bob = Client(broker, wire.connect("ann")), Client(broker, wire.connect("bob"))
    assert ann.say(wire.subscribe(("a/+", 1))) == []
    assert bob.say(wire.subscribe(("a/b", 0))) == []
    (event,) = bob.say(wire.publish("a/b", b"x", packet_id=9))
    assert event == {
        "type": "mqtt.receive",
        "topic": "a/b",
        "payload": b"x",
        "qos": 1,
        "retain": False,
        "dup": False,
        "id": 9,
        "properties": {},
    }
    assert ann.heard() == [wire.CONNACK, sub(1, 1), wire.publish("a/b", b"x", packet_id=1)]
    assert bob.heard() == [wire.CONNACK, sub(1, 0), wire.publish("a/b", b"x")]


def test_subscribe_grants_what_is_asked_for_and_refuses_what_is_no_filter(broker: Broker) -> None:
    ann = Client(broker, wire.connect())
    ann.say(wire.subscribe(("a", 2), ("a#", 1), ("b", 0), packet_id=3))
    assert ann.heard()[1:] == [b"\x90\x05\x00\x03\x02\x80\x00"]


def test_a_session_has_so_many_filters() -> None:
    broker = Broker(MQTTSettings(max_subscriptions=1))
    ann = Client(broker, wire.connect())
    ann.say(wire.subscribe(("a", 1), ("b", 1), ("a", 0)), wire.unsubscribe("a"), wire.subscribe(("b", 1)))
    assert ann.heard()[1:] == [b"\x90\x05\x00\x01\x01\x80\x00", b"\xb0\x02\x00\x01", sub(1, 1)]


def test_unsubscribed_is_not_told(broker: Broker) -> None:
    ann = Client(broker, wire.connect())
    ann.say(wire.subscribe(("a", 1)), wire.unsubscribe("a", "never"), wire.publish("a", b"x"))
    assert ann.heard()[1:] == [sub(1, 1), b"\xb0\x02\x00\x01"]


def test_retained_messages_come_with_their_flag_and_live_ones_without(broker: Broker) -> None:
    ann = Client(broker, wire.connect("ann"))
    ann.say(wire.publish("a/1", b"old", retain=True), wire.publish("a/1", b"new", packet_id=1, retain=True))
    ann.say(wire.subscribe(("a/#", 1)))
    assert ann.heard()[1:] == [sub(1, 1), wire.publish("a/1", b"new", packet_id=1, retain=True)]
    ann.say(wire.publish("a/1", b"newer", retain=True), wire.publish("a/1", b"", retain=True))
    assert ann.heard() == [wire.publish("a/1", b"newer"), wire.publish("a/1", b"")]
    bob = Client(broker, wire.connect("bob"))
    bob.say(wire.subscribe(("a/#", 1)))
    assert bob.heard()[1:] == [sub(1, 1)]


def test_dollar_topics_are_the_applications_alone(broker: Broker) -> None:
    ann = Client(broker, wire.connect())
    ann.say(wire.subscribe(("$SYS/#", 1)))
    (event,) = ann.say(wire.publish("$SYS/x", b"fake", retain=True))
    assert event["topic"] == "$SYS/x"
    assert ann.heard()[1:] == [sub(1, 1)]
    broker.send({"topic": "$SYS/x", "payload": b"true"})
    assert ann.heard() == [wire.publish("$SYS/x", b"true")]


def test_a_kept_session_gets_what_it_has_not_acknowledged_again_then_what_it_missed(broker: Broker) -> None:
    ann = Client(broker, wire.connect("ann", clean=False))
    ann.say(wire.subscribe(("a", 1)), wire.publish("a", b"1"), wire.publish("a", b"2", packet_id=1))
    ann.say(wire.publish("a", b"3", packet_id=2))
    ann.say(wire.puback(1))
    ann.connection.end(with_will=True)
    bob = Client(broker, wire.connect("bob"))
    bob.say(wire.publish("a", b"4", packet_id=1), wire.publish("a", b"lost at QoS 0"))
    assert broker.kept("ann")
    back = Client(broker, wire.connect("ann", clean=False))
    assert back.heard() == [
        wire.CONNACK_PRESENT,
        wire.publish("a", b"3", packet_id=2, dup=True),
        wire.publish("a", b"4", packet_id=3),
    ]


def test_a_clean_start_forgets(broker: Broker) -> None:
    ann = Client(broker, wire.connect("ann", clean=False))
    ann.say(wire.subscribe(("a", 1)))
    ann.connection.end(with_will=False)
    back = Client(broker, wire.connect("ann"))
    back.say(wire.publish("a", b"x"))
    assert back.heard() == [wire.CONNACK]
    back.connection.end(with_will=False)
    assert not broker.kept("ann")


def test_a_second_connection_takes_the_session_over(broker: Broker) -> None:
    ann = Client(broker, wire.connect("ann", clean=False, will=("will", b"gone")))
    ann.say(wire.subscribe(("a", 1), ("will", 0)))
    back = Client(broker, wire.connect("ann", clean=False))
    assert ann.ended == "taken over"
    assert back.heard() == [wire.CONNACK_PRESENT]
    back.say(wire.publish("a", b"x"))
    assert back.heard() == [wire.publish("a", b"x")]


@pytest.mark.parametrize("clean", [True, False])
def test_the_will_is_published_unless_the_client_said_goodbye(broker: Broker, clean: bool) -> None:
    bob = Client(broker, wire.connect("bob"))
    bob.say(wire.subscribe(("will", 1)))
    ann = Client(broker, wire.connect("ann", will=("will", b"gone")))
    if clean:
        with pytest.raises(Goodbye):
            ann.say(wire.DISCONNECT)
    ann.connection.end(with_will=not clean)
    assert bob.heard()[2:] == [wire.publish("will", b"gone", packet_id=1)] * (not clean)


def test_in_flight_is_bounded_and_the_queue_follows_in_order() -> None:
    settings = {"max_inflight": 2, "max_queued": 300}
    broker = Broker(MQTTSettings(**settings))
    ann = Client(broker, wire.connect("ann"), **settings)
    ann.say(wire.subscribe(("a", 1)))
    bob = Client(broker, wire.connect("bob"))
    bob.say(*(wire.publish("a", b"%d" % i, packet_id=i) for i in range(1, 4)))
    assert ann.heard()[2:] == [wire.publish("a", b"%d" % i, packet_id=i) for i in (1, 2)]
    assert not ann.ended
    bob.say(wire.publish("a", b"4", packet_id=4))
    assert ann.ended == "overflow"
    ann.say(wire.puback(1), wire.puback(1), wire.puback(99))
    assert ann.heard() == [wire.publish("a", b"3", packet_id=3)]


def test_a_client_that_is_away_is_kept_so_much() -> None:
    settings = {"max_queued": 600}
    broker = Broker(MQTTSettings(**settings))
    ann = Client(broker, wire.connect("ann", clean=False), **settings)
    ann.say(wire.subscribe(("a", 1)))
    ann.connection.end(with_will=True)
    bob = Client(broker, wire.connect("bob"))
    bob.say(*(wire.publish("a", b"%d" % i, packet_id=i) for i in range(1, 6)))
    assert ann.connection.session.dropped == 3
    assert len(Client(broker, wire.connect("ann", clean=False)).heard()) == 3


def test_so_many_sessions_are_kept_and_the_oldest_goes() -> None:
    broker = Broker(MQTTSettings(max_sessions=2))
    for name in "abc":
        client = Client(broker, wire.connect(name, clean=False))
        client.say(wire.subscribe(("t", 1)))
        client.connection.end(with_will=True)
    assert [broker.kept(name) for name in "abc"] == [False, True, True]
    assert len(broker.matches["t"]) == 2


def test_identifiers_in_flight_are_not_used_again() -> None:
    broker = Broker(MQTTSettings(max_inflight=3))
    ann = Client(broker, wire.connect("ann"), max_inflight=3)
    ann.say(wire.subscribe(("a", 1)), wire.publish("a", b"held"))
    for i in range(70_000):
        broker.send({"topic": "a", "payload": b"", "qos": 1})
        ids = list(ann.connection.session.inflight)
        assert len(ids) == len(set(ids))
        if len(ids) == 2:
            ann.connection.session.answered(ids[1], PUBACK)
        assert 1 <= ids[-1] <= 65535, i


def test_a_message_that_comes_again_while_its_handler_runs_is_the_same(broker: Broker) -> None:
    ann = Client(broker, wire.connect())
    assert len(ann.say(wire.publish("a", packet_id=1), wire.publish("a", packet_id=1, dup=True))) == 1
    ann.connection.acknowledge({"id": 1})
    assert len(ann.say(wire.publish("a", packet_id=1, dup=True))) == 1


def test_a_new_message_under_an_identifier_in_use_is_an_error(broker: Broker) -> None:
    ann = Client(broker, wire.connect())
    with pytest.raises(RemoteProtocolError, match=r"MQTT-2\.2\.1-3"):
        ann.say(wire.publish("a", b"1", packet_id=1), wire.publish("a", b"2", packet_id=1))


def test_a_second_connect_is_an_error(broker: Broker) -> None:
    with pytest.raises(RemoteProtocolError, match=r"MQTT-3\.1\.0-2"):
        Client(broker, wire.connect()).say(wire.connect())


@pytest.mark.parametrize("packet_id", [1, 0, -1])
def test_the_application_may_only_acknowledge_what_waits(broker: Broker, packet_id: Any) -> None:
    with pytest.raises(LocalProtocolError, match=r"mqtt\.ack"):
        Client(broker, wire.connect()).connection.acknowledge({"id": packet_id})


def test_too_much_to_retain_is_delivered_and_counted() -> None:
    broker = Broker(MQTTSettings(max_retained=300))
    ann = Client(broker, wire.connect())
    ann.say(wire.subscribe(("#", 0)), wire.publish("a", b"1", retain=True), wire.publish("b", b"2", retain=True))
    assert ann.heard()[2:] == [wire.publish("a", b"1"), wire.publish("b", b"2")]
    assert broker.retained.refused == 1
