"""Sessions and retained messages as an operator sees them, and what becomes of them when they are deleted."""

from typing import Any

import mqtt5_wire as wire
import pytest
from mqtt_memory import Client, Clock

from protocols.mqtt.broker import record, resources
from protocols.mqtt.broker.broker import Broker
from protocols.mqtt.broker.journal import Journal
from protocols.mqtt.settings import MQTTSettings
from protocols.resources import Resource


@pytest.fixture
def broker() -> Broker:
    return Broker(MQTTSettings(), clock=Clock())


class Disk:
    """What a journal has had made durable."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.journal = Journal(lambda: None)

    def sync(self) -> None:
        position, changes = self.journal.take()
        for key, value in changes.items():
            if value is None:
                self.kept.pop(key, None)
            else:
                self.kept[key] = value
        self.journal.kept(position)


def publish(broker: Broker, topic: str, payload: bytes, **more: Any) -> None:
    given: dict[str, Any] = {"retain": False, "properties": None} | more
    broker.publish(broker.message(topic, payload, given.pop("qos", 1), **given))


def sessions(broker: Broker) -> dict[str, Resource]:
    return {each.key: each for each in resources.sessions(broker)}


def retained(broker: Broker, topic_filter: str = "#") -> dict[str, Resource]:
    return {each.key: each for each in resources.retained(broker, topic_filter) if each is not None}


def test_a_session_of_a_client_that_is_away(broker: Broker) -> None:
    ann = Client(broker, wire.connect("ann", session_expiry_interval=60))
    ann.say(wire.subscribe("a/+", qos=1), wire.subscribe("b", qos=2, no_local=True))
    ann.cut()
    for number in range(3):
        publish(broker, "a/1", b"%d" % number)
    (session,) = sessions(broker).values()
    facts = session.facts()
    assert facts == {
        "client_id": "ann",
        "user": None,
        "connected": False,
        "expiry": 60.0,
        "expires": 1_000_060.0,
        "persistent": False,
        "subscriptions": 2,
        "queued": 3,
        "queued_bytes": facts["queued_bytes"],
        "inflight": 0,
        "dropped": 0,
    }
    assert facts["queued_bytes"] > 0
    details = session.details(0)
    assert [(each["filter"], each["qos"], each["no_local"]) for each in details["filters"]] == [
        ("a/+", 1, False),
        ("b", 2, True),
    ]
    assert (details["will"], details["inbound"], details["retained_to_send"]) == (None, 0, [])


def test_a_session_of_a_client_that_is_there(broker: Broker) -> None:
    ann = Client(broker, wire.connect("ann", will=("w", b"secret", 1), will_retain=True))
    ann.say(wire.subscribe("a", qos=1))
    publish(broker, "a", b"x")
    (session,) = sessions(broker).values()
    facts = session.facts()
    assert (facts["connected"], facts["expires"], facts["inflight"], facts["queued"]) == (True, None, 1, 0)
    will = {"topic": "w", "qos": 1, "retain": True, "delay": 0.0, "size": 6}
    assert session.details(0)["will"] == will, "its payload is content"
    assert session.details(3)["will"] == {**will, "payload": {"text": "sec", "whole": False}}


@pytest.mark.parametrize(
    ("subscribed", "asked", "may"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/c", False),
        ("a/b", "a", False),
        ("a/+", "a/b", True),
        ("a/+", "a/b/c", False),
        ("a/#", "a/b/c", True),
        ("a/#", "a", True),
        ("#", "x/y", True),
        ("a/+/c", "a/b/#", True),
        ("a/+/c", "+/b/d", False),
        ("$share/group/a/+", "a/b", True),
        ("a", "a/#", True),
        ("a", "a/+", False),
    ],
)
def test_who_may_get_messages_of_a_topic(broker: Broker, subscribed: str, asked: str, may: bool) -> None:
    Client(broker, wire.connect("ann")).say(wire.subscribe(subscribed))
    (session,) = sessions(broker).values()
    assert session.receives(asked) is may


def test_a_session_that_is_deleted_is_over(broker: Broker) -> None:
    ann = Client(broker, wire.connect("ann", session_expiry_interval=60))
    ann.say(wire.subscribe("a", qos=1))
    ann.cut()
    publish(broker, "a", b"x")
    session = sessions(broker)["ann"]
    session.remove()
    session.remove()
    assert (broker.sessions, broker.subscriptions, broker.queued.used, broker.away) == ({}, 0, 0, 0)


def test_the_one_that_came_since_stays(broker: Broker) -> None:
    ann = Client(broker, wire.connect("ann", session_expiry_interval=60))
    ann.cut()
    session = sessions(broker)["ann"]
    Client(broker, wire.connect("ann", clean=True, session_expiry_interval=60)).cut()
    session.remove()
    assert "ann" in broker.sessions


@pytest.mark.parametrize("with_will", [True, False])
def test_the_will_of_a_session_that_is_deleted(broker: Broker, with_will: bool) -> None:
    """3.1.3.2.2: it is published when the session ends, though its delay is not over."""
    bob = Client(broker, wire.connect("bob"))
    bob.say(wire.subscribe("w"))
    bob.heard()
    will: dict[str, Any] = {"will": ("w", b"gone", 0), "will_properties": {"will_delay_interval": 30}}
    ann = Client(broker, wire.connect("ann", session_expiry_interval=60, **will))
    ann.cut()
    assert not bob.heard()
    sessions(broker)["ann"].remove(with_will=with_will)
    assert [wire.read(data, 5).payload for data in bob.heard()] == ([b"gone"] if with_will else [])


def test_a_session_that_is_deleted_is_not_there_after_a_restart() -> None:
    disk = Disk()
    broker = Broker(MQTTSettings(), journal=disk.journal, clock=Clock())
    for name in ("ann", "bob"):
        client = Client(broker, wire.connect(name, session_expiry_interval=60))
        client.say(wire.subscribe("a", qos=1))
        client.cut()
    publish(broker, "a", b"x")
    disk.sync()
    sessions(broker)["ann"].remove()
    disk.sync()
    again = Broker(MQTTSettings(), clock=Clock())
    again.restore(disk.kept)
    assert {name: each.facts()["queued"] for name, each in sessions(again).items()} == {"bob": 1}
    assert not [key for key in disk.kept if "ann" in key]


def test_retained_messages(broker: Broker) -> None:
    publish(broker, "a/1", b"text", qos=2, retain=True, properties={"content_type": "text/plain"})
    publish(broker, "a/2", b"\xff\x00", retain=True, properties={"message_expiry_interval": 5})
    publish(broker, "b", b"x", retain=True)
    found = retained(broker, "a/#")
    assert found["a/1"].facts() == {"topic": "a/1", "size": 4, "qos": 2, "retained": 1_000_000.0, "expires": None}
    assert found["a/1"].details(2)["payload"] == {"text": "te", "whole": False}
    assert found["a/1"].details(0)["properties"] == ["content_type"]
    assert found["a/2"].facts()["expires"] == 1_000_005.0
    assert found["a/2"].details(10)["payload"] == {"hex": "ff00", "whole": True}
    assert found.keys() == {"a/1", "a/2"}


def test_retained_messages_that_have_expired_are_not_there(broker: Broker) -> None:
    publish(broker, "a", b"x", retain=True, properties={"message_expiry_interval": 5})
    clock: Any = broker.clock
    clock.now += 5
    assert not retained(broker)


@pytest.mark.parametrize("wrong", ["", "a/#/b", "a+", "$share/group/a"])
def test_what_is_no_filter(broker: Broker, wrong: str) -> None:
    with pytest.raises(ValueError, match="is not a topic filter; write one such as"):
        resources.retained(broker, wrong)


def test_subscribers_hear_nothing_of_a_retained_message_that_is_deleted(broker: Broker) -> None:
    ann = Client(broker, wire.connect("ann"))
    ann.say(wire.subscribe("a"))
    publish(broker, "a", b"x", retain=True)
    ann.heard()
    retained(broker)["a"].remove()
    assert (ann.heard(), len(broker.retained)) == ([], 0)


def test_a_retained_message_and_its_time_outlive_the_process() -> None:
    disk = Disk()
    broker = Broker(MQTTSettings(), journal=disk.journal, clock=Clock())
    publish(broker, "a", b"x", retain=True, properties={"user_property": [("k", "v")]})
    publish(broker, "b", b"x", retain=True)
    disk.sync()
    retained(broker)["b"].remove()
    disk.sync()
    clock = Clock()
    clock.now += 3600
    again = Broker(MQTTSettings(), clock=clock)
    again.restore(disk.kept)
    assert {topic: each.facts()["retained"] for topic, each in retained(again).items()} == {"a": 1_000_000.0}
    (message,) = again.retained.match("a")
    assert message is not None
    assert message.properties == {"user_property": [("k", "v")]}, "the time is none of its properties"


def test_a_retained_message_of_an_older_version_has_no_time(broker: Broker) -> None:
    kept = record.message(broker.message("a", b"x", 1, retain=True, properties=None))
    broker.restore({"retained a": kept})
    assert retained(broker)["a"].facts()["retained"] is None


def test_what_an_older_version_reads_of_a_retained_message(broker: Broker) -> None:
    publish(broker, "a", b"x", retain=True, properties={"content_type": "text/plain"})
    (message,) = broker.retained.match("a")
    assert message is not None
    read = record.read_message(record.retained(message))
    assert (read.topic, read.payload, read.properties) == ("a", b"x", {"content_type": "text/plain"})
