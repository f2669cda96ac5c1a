"""What is promised outlives the process: random conversations, commits at random moments, and sudden ends."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

import mqtt5_wire as wire
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from mqtt5_wire import read
from mqtt_memory import Client, Clock

from protocols.mqtt.broker.broker import Broker
from protocols.mqtt.broker.journal import Journal
from protocols.mqtt.broker.journal_writer import JournalWriter
from protocols.mqtt.settings import MQTTSettings

SUBSCRIBERS = ("sub 1", "sub 2")
PUBLISHERS = ("pub 1", "pub 2")
TOPICS = ("a", "b")
EXPIRY = 10_000


class Sent:
    """One message of a publisher: sent until it is over."""

    def __init__(self, topic: str, payload: bytes, qos: int, retain: bool, audience: "list[Subscriber]") -> None:
        self.topic, self.payload, self.qos, self.retain = topic, payload, qos, retain
        self.audience = audience
        """The subscribers when it was sent first: a repetition at QoS 2 that is recognized goes to nobody new."""
        self.received = False
        """PUBREC has come."""


class Publisher:
    """The client's side of its session: this is what does not die with the server."""

    def __init__(self, client_id: str, expiry: int) -> None:
        self.client_id = client_id
        self.expiry = expiry
        self.client: Client | None = None
        self.sent: dict[int, Sent] = {}
        self.waiting: set[int] = set()
        """What the application has not acknowledged."""

    def say(self, packet_id: int, dup: bool) -> bytes:
        sent = self.sent[packet_id]
        if sent.received:
            return wire.pubrel(packet_id)
        return wire.publish(sent.topic, sent.payload, sent.qos, packet_id, dup=dup, retain=sent.retain)


class Subscriber:
    def __init__(self, client_id: str) -> None:
        self.client_id = client_id
        self.client: Client | None = None
        self.wanted = False
        """It has subscribed, and its SUBACK has come."""
        self.held: set[int] = set()
        """QoS 2, received and not released, by identifier."""
        self.answers: list[bytes] = []
        """What it will say."""
        self.owed: set[bytes] = set()
        """Acknowledged to their publishers, and sent when it had subscribed."""
        self.got: list[tuple[int, bytes]] = []


class Conversations(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.disk: dict[str, bytes] = {}
        self.taken: list[tuple[int, Any]] = []
        self.publishers = {name: Publisher(name, EXPIRY * (name == "pub 1")) for name in PUBLISHERS}
        self.subscribers = {name: Subscriber(name) for name in SUBSCRIBERS}
        self.events: dict[bytes, set[str]] = {}
        self.retained: dict[str, bytes] = {}
        """By topic: what was acknowledged, where nothing else was said since."""
        self.last: dict[str, Sent | None] = {}
        """By topic: what was said last to be retained; None where that is open."""
        self.numbers = 0
        self.start()

    def start(self) -> None:
        self.journal = Journal(lambda: None)
        self.broker = Broker(MQTTSettings(), journal=self.journal, clock=self.clock)
        self.broker.restore(self.disk)

    # The server's end.

    @rule(whole=st.booleans())
    def take(self, whole: bool) -> None:
        self.taken.append(self.journal.take())
        while self.taken and whole:
            self.commit()

    @precondition(lambda self: self.taken)
    @rule()
    def commit(self) -> None:
        position, changes = self.taken.pop(0)
        for key, value in changes.items():
            if value is None:
                self.disk.pop(key, None)
            else:
                self.disk[key] = value
        self.journal.kept(position)
        self.listen()

    @precondition(lambda self: self.taken)
    @rule()
    def fail(self) -> None:
        """The disk is full: the writer puts the changes back."""
        while self.taken:
            self.journal.put_back(self.taken.pop()[1])

    @rule(again=st.booleans())
    def kill(self, again: bool) -> None:
        self.listen()
        self.close_connections()
        self.taken.clear()
        for publisher in self.publishers.values():
            publisher.client = None
            publisher.waiting.clear()
            if not publisher.expiry:
                publisher.sent.clear()
        for subscriber in self.subscribers.values():
            subscriber.client = None
            subscriber.answers.clear()
        self.start()
        if again:
            self.everybody()

    def close_connections(self) -> None:
        """A process that is killed does nothing."""

    def everybody(self) -> None:
        for name in SUBSCRIBERS:
            self.subscriber_comes(name)
        for name in PUBLISHERS:
            self.publisher_comes(name)

    @rule(seconds=st.integers(0, 100))
    def pass_time(self, seconds: int) -> None:
        self.clock.now += seconds
        self.broker.tick()

    # Publishers.

    @rule(name=st.sampled_from(PUBLISHERS))
    def publisher_comes(self, name: str) -> None:
        publisher = self.publishers[name]
        if publisher.client is not None:
            self.publisher_leaves(name)
        hello = wire.connect(name, clean=False, session_expiry_interval=publisher.expiry)
        publisher.client = Client(self.broker, hello)
        self.listen()
        for packet_id in publisher.sent:
            self.publish(publisher, packet_id, dup=True)

    @rule(name=st.sampled_from(PUBLISHERS))
    def publisher_leaves(self, name: str) -> None:
        publisher = self.publishers[name]
        if publisher.client is not None:
            publisher.client.cut()
            publisher.client.connection.abandon()
            publisher.client = None
            publisher.waiting.clear()
            if not publisher.expiry:  # its session is over, and with it what it was about to say
                publisher.sent.clear()

    @rule(name=st.sampled_from(PUBLISHERS), topic=st.sampled_from(TOPICS), qos=st.integers(0, 2), retain=st.booleans())
    def publisher_speaks(self, name: str, topic: str, qos: int, retain: bool) -> None:
        publisher = self.publishers[name]
        if publisher.client is None:
            self.publisher_comes(name)
        self.numbers += 1
        payload = b"%d" % self.numbers
        if not qos:
            if retain:
                self.retain(topic, None)
            publisher.client.say(wire.publish(topic, payload, retain=retain))
        else:
            packet_id = self.numbers % 5000 + 1
            audience = [subscriber for subscriber in self.subscribers.values() if subscriber.wanted]
            publisher.sent[packet_id] = Sent(topic, payload, qos, retain, audience)
            self.publish(publisher, packet_id, dup=False)
        self.listen()

    def publish(self, publisher: Publisher, packet_id: int, *, dup: bool) -> None:
        client = publisher.client
        assert client is not None
        sent = publisher.sent[packet_id]
        if sent.retain:  # a repetition at QoS 2 may be the first that arrives, or not
            self.retain(sent.topic, None if dup and sent.qos == 2 else sent)
        self.hear_events(publisher, client.say(publisher.say(packet_id, dup)))

    def retain(self, topic: str, sent: Sent | None) -> None:
        self.retained.pop(topic, None)
        self.last[topic] = sent

    def hear_events(self, publisher: Publisher, events: list[Any]) -> None:
        for event in events:
            if event["id"] is None:
                continue
            publisher.waiting.add(event["id"])
            if event["qos"] == 2:
                self.events.setdefault(event["payload"], set()).add(event["event"])

    @rule(name=st.sampled_from(PUBLISHERS), data=st.data())
    def application_acknowledges(self, name: str, data: st.DataObject) -> None:
        publisher = self.publishers[name]
        self.listen()
        if publisher.waiting and publisher.client is not None:
            packet_id = data.draw(st.sampled_from(sorted(publisher.waiting)))
            publisher.waiting.discard(packet_id)
            publisher.client.acknowledge(packet_id)
            self.listen()

    # Subscribers.

    @initialize(kept=st.booleans())
    def begin(self, kept: bool) -> None:
        self.everybody()
        if kept:
            self.take(whole=True)

    @rule(name=st.sampled_from(SUBSCRIBERS))
    def subscriber_comes(self, name: str) -> None:
        subscriber = self.subscribers[name]
        self.listen()
        subscriber.answers.clear()
        subscriber.client = Client(self.broker, wire.connect(name, clean=False, session_expiry_interval=EXPIRY))
        present = read(subscriber.client.outgoing.data[0]).present
        assert present or not subscriber.wanted
        if not subscriber.wanted:
            subscriber.client.say(wire.subscribe("#", packet_id=1))
        self.listen()

    @rule(name=st.sampled_from(SUBSCRIBERS))
    def subscriber_leaves(self, name: str) -> None:
        subscriber = self.subscribers[name]
        self.listen()
        if subscriber.client is not None:
            subscriber.client.cut()
            subscriber.client = None
            subscriber.answers.clear()

    @rule(name=st.sampled_from(SUBSCRIBERS), count=st.integers(1, 5))
    def subscriber_answers(self, name: str, count: int) -> None:
        subscriber = self.subscribers[name]
        self.listen()
        if subscriber.client is not None:
            said, subscriber.answers = subscriber.answers[:count], subscriber.answers[count:]
            subscriber.client.say(*said)
            self.listen()

    # What all of them hear.

    def listen(self) -> None:
        for publisher in self.publishers.values():
            if publisher.client is not None:
                told, publisher.client.told = publisher.client.told, []
                self.hear_events(publisher, told)
                for data in publisher.client.heard():
                    self.publisher_hears(publisher, read(data))
        for subscriber in self.subscribers.values():
            if subscriber.client is not None:
                for data in subscriber.client.heard():
                    self.subscriber_hears(subscriber, read(data))

    def publisher_hears(self, publisher: Publisher, heard: wire.Heard) -> None:
        sent = publisher.sent.get(heard.id)
        if heard.kind == "CONNACK" or sent is None:
            return
        if heard.kind in ("PUBACK", "PUBREC"):
            self.acknowledged(sent)
        if heard.kind == "PUBREC" and publisher.client is not None:
            sent.received = True
            publisher.client.say(wire.pubrel(heard.id))
        else:
            assert heard.kind in ("PUBACK", "PUBCOMP")
            del publisher.sent[heard.id]

    def acknowledged(self, sent: Sent) -> None:
        for subscriber in sent.audience:
            subscriber.owed.add(sent.payload)
        if self.last.get(sent.topic) is sent:
            self.retained[sent.topic] = sent.payload

    def subscriber_hears(self, subscriber: Subscriber, heard: wire.Heard) -> None:
        if heard.kind == "SUBACK":
            subscriber.wanted = True
        elif heard.kind == "PUBREL":
            subscriber.held.discard(heard.id)
            subscriber.answers.append(wire.pubcomp(heard.id))
        elif heard.kind == "PUBLISH":
            if heard.qos < 2 or heard.id not in subscriber.held:
                subscriber.got.append((heard.qos if not heard.retain else 0, heard.payload))
            if heard.qos == 1:
                subscriber.answers.append(wire.puback(heard.id))
            elif heard.qos == 2:
                subscriber.held.add(heard.id)
                subscriber.answers.append(wire.pubrec(heard.id))

    # What holds.

    @invariant()
    def qos_2_has_one_event_id(self) -> None:
        assert all(len(ids) == 1 for ids in self.events.values())

    @invariant()
    def qos_2_comes_once(self) -> None:
        for subscriber in self.subscribers.values():
            twice = [payload for qos, payload in subscriber.got if qos == 2]
            assert len(twice) == len(set(twice))

    def teardown(self) -> None:
        """Everybody comes, everything is answered: what was promised has arrived, and nothing is left."""
        self.kill(again=True)
        for _ in range(6 + 2 * self.numbers):
            self.settle()
        for subscriber in self.subscribers.values():
            assert subscriber.wanted
            assert subscriber.owed <= {payload for _, payload in subscriber.got}
        assert not any(publisher.sent for publisher in self.publishers.values())
        for topic, payload in self.retained.items():
            assert self.disk_retained(topic) == payload
        left = {key.partition(" ")[0] for key in self.disk}
        assert left <= {"session", "retained"}
        assert sum(key.startswith("session ") for key in self.disk) == 3  # the others' end with their connections

    def disk_retained(self, topic: str) -> bytes | None:
        late = Broker(MQTTSettings(), clock=self.clock)
        late.restore(self.disk)
        client = Client(late, wire.connect("late"))
        client.say(wire.subscribe(topic))
        payloads = [read(data).payload for data in client.heard() if read(data).kind == "PUBLISH"]
        return payloads[0] if payloads else None

    def settle(self) -> None:
        for publisher in self.publishers.values():
            for packet_id in sorted(publisher.waiting):
                publisher.waiting.discard(packet_id)
                assert publisher.client is not None
                publisher.client.acknowledge(packet_id)
        for name in SUBSCRIBERS:
            self.subscriber_answers(name, 1000)
        self.take(whole=True)


class HandedOver(Conversations):
    """A broker without a journal, which gives what it has to its successor."""

    def start(self) -> None:
        before: Broker | None = getattr(self, "broker", None)
        self.broker = Broker(MQTTSettings(), clock=self.clock)
        self.broker.restore(dict(before.records()) if before is not None else {})

    def close_connections(self) -> None:
        clients = [each.client for each in self.publishers.values()]
        for client in clients + [each.client for each in self.subscribers.values()]:
            if client is not None:
                client.cut()

    def take(self, whole: bool) -> None:
        self.disk = dict(self.broker.records())


Conversations.TestCase.settings = HandedOver.TestCase.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],  # to shrink takes longer than a test may
)
TestConversations = Conversations.TestCase
TestHandedOver = HandedOver.TestCase


def test_an_unknown_record_is_an_error() -> None:
    with pytest.raises(ValueError, match="unknown kind 'other'"):
        Broker(MQTTSettings()).restore({"other 1": b""})


def test_what_a_group_was_to_get_is_the_groups_after_a_restart() -> None:
    clock, journal = Clock(), Journal(lambda: None)
    broker = Broker(MQTTSettings(), journal=journal, clock=clock)
    for name, expiry in (("short", 10), ("long", 100)):
        client = Client(broker, wire.connect(name, session_expiry_interval=expiry))
        client.say(wire.subscribe("$share/g/a", qos=1))
        client.cut()
    for each in range(4):
        broker.send({"topic": "a", "payload": b"%d" % each, "qos": 1})
    disk = {key: value for key, value in journal.take()[1].items() if value is not None}
    after = Broker(MQTTSettings(), journal=Journal(lambda: None), clock=clock)
    after.restore(disk)
    clock.now += 10
    after.tick()
    back = Client(after, wire.connect("long", clean=False))
    assert sorted(read(data).payload for data in back.heard()[1:]) == [b"0", b"1", b"2", b"3"]


def test_a_repetition_is_not_answered_before_its_answer_is_kept() -> None:
    journal = Journal(lambda: None)
    broker = Broker(MQTTSettings(), journal=journal)
    hello, said = wire.connect("ann", clean=False, session_expiry_interval=9), wire.publish("a", b"x", 2, 7, dup=True)
    ann = Client(broker, hello)
    ann.say(said)
    ann.acknowledge(7)
    back = Client(broker, hello)
    back.say(said)
    assert [read(data).kind for data in back.heard()] == ["CONNACK"]
    journal.kept(journal.take()[0])
    assert {read(data).kind for data in back.heard()} == {"PUBREC"}


def test_a_broker_is_restored_with_a_pause_after_each_record_and_each_session() -> None:
    journal, count = Journal(lambda: None), 5
    broker = Broker(MQTTSettings(), journal=journal)
    for number in range(count):
        client = Client(broker, wire.connect(f"c{number}", session_expiry_interval=9, will=("w", b"gone", 0)))
        client.say(wire.publish("a", b"x", 2, 7))
        client.connection.end(with_will=True, absence=9)
    kept = {key: value for key, value in journal.take()[1].items() if value is not None}
    after = Broker(MQTTSettings(), journal=Journal(lambda: None))
    steps, before = 0, (0, 0, 0, 0)
    for _ in after.restoring(kept):
        inbound = sum(len(session.inbound) for session in after.sessions.values())
        now = (len(after.sessions), inbound, len(after.left_wills), len(after._away))
        assert sum(now) - sum(before) <= 1
        steps, before = steps + 1, now
    assert before == (count, count, count, count)
    assert steps == 2 * len(kept) + count, "each record is sorted and read, and each session has left"


def test_more_sessions_than_are_kept_after_a_restart() -> None:
    """The limit is a lower one now: a will of one that goes is still for the others, and numbers are not used twice."""
    clock, journal = Clock(), Journal(lambda: None)
    broker = Broker(MQTTSettings(), journal=journal, clock=clock)
    for name in ("one", "two", "three"):
        will: Any = {"will": ("a", b"will", 1), "will_properties": {"will_delay_interval": 50}} if name == "one" else {}
        client = Client(broker, wire.connect(name, session_expiry_interval=100, **will))
        client.say(wire.subscribe("a", qos=1))
        client.cut()
        clock.now += 1
    broker.send({"topic": "a", "payload": b"x", "qos": 1})
    disk = {key: value for key, value in journal.take()[1].items() if value is not None}
    journal = Journal(lambda: None)
    after = Broker(MQTTSettings(max_sessions=2), journal=journal, clock=clock)
    after.restore(disk)
    assert sorted(after.sessions) == ["three", "two"]
    assert not set(journal.take()[1]) & {key for key in disk if key.startswith("out ")} - {"out 2"}
    back = Client(after, wire.connect("two", clean=False))
    assert [read(data).payload for data in back.heard()[1:]] == [b"x", b"will"]


@pytest.mark.parametrize("qos", [1, 2])
def test_what_was_sent_before_a_stop_is_sent_again_with_dup(qos: int) -> None:
    journal = Journal(lambda: None)
    broker = Broker(MQTTSettings(), journal=journal)
    hello = wire.connect("ann", clean=False, session_expiry_interval=9)
    ann = Client(broker, hello)
    ann.say(wire.subscribe("a", qos=qos))
    broker.send({"topic": "a", "payload": b"x", "qos": qos})
    ann.cut()
    broker.send({"topic": "a", "payload": b"y", "qos": qos})
    after = Broker(MQTTSettings())
    after.restore({key: value for key, value in journal.take()[1].items() if value is not None})
    back = [read(data) for data in Client(after, hello).heard()[1:]]
    assert [(each.payload, each.dup) for each in back] == [(b"x", True), (b"y", False)]


def test_the_servers_figures_are_not_kept() -> None:
    journal = Journal(lambda: None)
    broker = Broker(MQTTSettings(), journal=journal)
    broker.publish(broker.message("$SYS/broker/uptime", b"1", 0, retain=True, properties=None))
    broker.publish(broker.message("a", b"1", 0, retain=True, properties=None))
    assert list(journal.take()[1]) == ["retained a"]


class Disk:
    """Its commits wait for ``go``."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes | None] = {}
        self.go, self.begun = asyncio.Event(), asyncio.Event()

    async def load(self) -> Mapping[str, bytes]:
        return {}

    async def commit(self, changes: Mapping[str, bytes | None]) -> None:
        self.begun.set()
        await self.go.wait()
        self.kept.update(changes)


async def test_whoever_waits_goes_on_when_it_is_kept() -> None:
    disk = Disk()
    writer = JournalWriter(disk, "mqtt")
    writer.journal.put("a", b"1")
    running, waiting = asyncio.ensure_future(writer.run()), asyncio.ensure_future(writer.kept())
    await disk.begun.wait()
    assert not waiting.done()
    disk.go.set()
    async with asyncio.timeout(5):
        await waiting
    assert disk.kept == {"a": b"1"}
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_a_commit_that_the_stop_interrupts_is_made_again() -> None:
    disk = Disk()
    writer = JournalWriter(disk, "mqtt")
    writer.journal.put("a", b"1")
    running = asyncio.ensure_future(writer.run())
    await disk.begun.wait()
    writer.journal.put("b", b"2")
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    disk.go.set()
    await writer.close()
    assert disk.kept == {"a": b"1", "b": b"2"}
