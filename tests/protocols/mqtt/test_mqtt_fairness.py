"""What one client does, and how much of it is done before others have their turn of the event loop."""

import asyncio
import gc
import random
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import mqtt5_wire as wire
import pytest
import websockets
from client_desk import App, client, scripted
from client_desk import Peer as Broker5
from mqtt5_wire import Heard, read
from mqtt_memory import Client, Clock
from mqtt_peer import (
    CONNACK,
    DISCONNECT,
    PINGREQ,
    PINGRESP,
    Kept,
    Recorder,
    connect,
    connected,
    dial,
    puback,
    publish,
    serving,
    subscribe,
)
from test_mqtt_websocket import serving as serving_websocket
from turns import LONGEST, Turns, counted
from waiting import until

from protocols.errors import RemoteProtocolError
from protocols.mqtt import MQTTSettings
from protocols.mqtt.broker.broker import Broker
from protocols.mqtt.broker.fan_out import AT_ONCE
from protocols.mqtt.broker.grant import Grant
from protocols.mqtt.broker.message import ApplicationMessage
from protocols.mqtt.broker.retained import Retained
from protocols.mqtt.broker.session import SLICE, Session
from protocols.mqtt.broker.share import Share
from protocols.mqtt.broker.subscriptions import Subscriptions
from protocols.mqtt.client.broker_connection import TURN as CLIENT_TURN
from protocols.mqtt.client.run import MQTTClientRun
from protocols.mqtt.connection.accepted import MOST_DELIVERIES
from protocols.mqtt.connection.client_socket import TURN
from protocols.mqtt.qos import PUBACK
from protocols.mqtt.wire.parser import BATCH, Parser

MANY = 10_000
"""Small packets, which one read of a socket may bring."""
A_TURN = 2 * TURN + 2 * BATCH
"""Of one device: what it may have worked through, and what waited for its application before."""


class Remembering(Recorder):
    def payloads(self) -> list[bytes]:
        return [event["payload"] for event in self.events if event["type"] == "mqtt.receive"]


class Counting(Remembering):
    """Counts what it handles in each turn."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = Turns()

    async def answer(self, event: dict[str, Any], send: Any) -> None:
        self.turns.count()
        await super().answer(event, send)


def flood(qos: int = 0) -> list[bytes]:
    return [publish("t", b"%d" % each, packet_id=qos and each % 100 + 1) for each in range(MANY)]


def numbers(count: int = MANY) -> list[bytes]:
    return [b"%d" % each for each in range(count)]


async def test_a_flood_is_worked_through_in_slices_and_in_order() -> None:
    app = Counting()
    async with counted() as app.turns, serving(app) as server, connected(server) as peer:
        await peer.say(*flood(), PINGREQ)
        assert await peer.hear() == PINGRESP
        await app.seen("mqtt.receive", MANY)
    assert app.payloads() == numbers()
    assert app.turns.most <= A_TURN


async def test_another_client_is_answered_in_between() -> None:
    app = Counting()
    async with serving(app) as server, connected(server, "quiet") as quiet, connected(server) as peer:
        await quiet.ask(PINGREQ, PINGRESP)
        saying = asyncio.ensure_future(peer.say(*flood()))
        await app.seen("mqtt.receive")
        await quiet.ask(PINGREQ, PINGRESP)
        assert len(app.payloads()) < MANY
        await saying
        await app.seen("mqtt.receive", MANY)


async def test_one_websocket_frame_is_worked_through_in_slices() -> None:
    packets = b"".join(flood()[:8000])
    async with counted() as turns, serving_websocket() as (server, address, _):
        broker, count = server.broker, turns.count

        def message(*fields: Any, **options: Any) -> ApplicationMessage:
            count()
            return Broker.message(broker, *fields, **options)

        broker.message = message
        url = f"ws://{address}/mqtt"
        async with websockets.connect(url, subprotocols=["mqtt"], max_size=None) as socket:
            await socket.send(connect("w"))
            assert await socket.recv() == CONNACK
            await socket.send(subscribe(("t", 1)))
            await socket.recv()
            await socket.send(packets + PINGREQ)
            heard = b""
            while not heard.endswith(PINGRESP):
                heard += bytes(await socket.recv())
    assert heard == packets + PINGRESP
    assert 0 < turns.most <= A_TURN


async def test_deliveries_count_as_much_as_packets(monkeypatch: pytest.MonkeyPatch) -> None:
    async with counted() as turns:
        app, deliver, count = Recorder(), Session.deliver, turns.count

        def counting(session: Session, *fields: Any, **options: Any) -> None:
            count()
            deliver(session, *fields, **options)

        monkeypatch.setattr(Session, "deliver", counting)
        async with serving(app) as server, connected(server) as peer:
            for number in range(100):
                session, _ = server.broker.open(str(number), clean=True, expiry=0, will=None, outgoing=Deaf())
                server.broker.subscribe(session, "t", wire_options(0), ())
            await peer.say(*flood()[:400], PINGREQ)
            assert await peer.hear() == PINGRESP
    assert MOST_DELIVERIES <= turns.most <= MOST_DELIVERIES + 100


async def test_what_a_client_said_before_it_left_is_heard_in_slices_and_before_it_comes_back() -> None:
    app = Counting()
    async with counted() as app.turns, serving(app) as server, await dial(server) as peer:
        await peer.ask(connect(), CONNACK)
        sent = 3000
        await peer.say(*flood()[:sent])
        peer.hang_up_gently()
        async with connected(server):
            assert app.payloads() == numbers(sent)
            assert app.events[-2]["type"] == "mqtt.disconnect"
    assert app.turns.most <= A_TURN + BATCH


class Laborious(Remembering):
    """Keeps the processor busy with each message, so that others have their turns in between."""

    async def answer(self, event: dict[str, Any], send: Any) -> None:
        until = time.monotonic() + 0.0005
        while time.monotonic() < until:
            pass
        await super().answer(event, send)


@pytest.mark.parametrize("goodbye", [b"", DISCONNECT])
async def test_an_application_that_takes_its_turns_hears_of_the_end_before_the_client_comes_back(
    goodbye: bytes,
) -> None:
    app = Laborious()
    async with serving(app) as server, await dial(server) as peer:
        await peer.ask(connect(), CONNACK)
        await peer.say(*flood()[:300], goodbye)
        peer.hang_up_gently()
        async with connected(server):
            assert [event["type"] for event in app.events[-2:]] == ["mqtt.disconnect", "mqtt.connect"]
    assert app.payloads() == numbers(300)


class Slow(Recorder):
    """Handles nothing until it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may = asyncio.Event()

    async def answer(self, event: dict[str, Any], send: Any) -> None:
        if event["type"] == "mqtt.receive":
            await self.may.wait()
        await super().answer(event, send)


async def test_the_end_of_a_connection_does_not_wait_for_a_slow_handler() -> None:
    app = Slow()
    async with serving(app) as server, await dial(server) as peer:
        await peer.ask(connect("slow", will=("will", b"gone")), CONNACK)
        async with connected(server, "other") as other:
            await other.ask(subscribe(("will", 0)), b"\x90\x03\x00\x01\x00")
            await peer.say(*flood()[:3000])
            await app.seen("mqtt.receive")
            peer.hang_up_gently()
            assert await other.hear() == publish("will", b"gone")
            app.may.set()
    assert [event["payload"] for event in app.events if event["type"] == "mqtt.receive"] == numbers(3000)


async def test_goodbye_after_a_flood_is_a_goodbye() -> None:
    app = Counting()
    async with counted() as app.turns, serving(app) as server, await dial(server) as peer:
        await peer.ask(connect(will=("will", b"gone")), CONNACK)
        await peer.say(*flood()[:3000], DISCONNECT)
        peer.hang_up_gently()
        (event,) = await app.seen("mqtt.disconnect")
    assert event["clean"]
    assert app.payloads() == numbers(3000)


@pytest.mark.parametrize("persistent", [False, True])
async def test_qos_1_is_acknowledged_after_everybody_has_it(persistent: bool) -> None:
    app, subscribers = Recorder(), AT_ONCE + 500
    async with (
        serving(app, Kept() if persistent else None) as server,
        connected(server) as peer,
    ):
        outlets = [Deaf() for _ in range(subscribers)]
        for number, outlet in enumerate(outlets):
            session, _ = server.broker.open(str(number), clean=True, expiry=60, will=None, outgoing=outlet)
            server.broker.subscribe(session, "t", wire_options(1), ())
        await peer.say(publish("t", b"one", packet_id=1), publish("other", b"two", packet_id=2))
        assert await peer.hear() == puback(1)
        assert [len(outlet.got) for outlet in outlets] == [1] * subscribers
        assert await peer.hear() == puback(2)


async def test_an_application_waits_until_everybody_has_what_it_sends() -> None:
    class Telling(Recorder):
        async def answer(self, event: dict[str, Any], send: Any) -> None:
            if event["type"] == "mqtt.receive":
                await send({"type": "mqtt.send", "topic": "t", "payload": b"x"})
                missing.append(sum(not outlet.got for outlet in outlets))
            await super().answer(event, send)

    missing: list[int] = []
    outlets = [Deaf() for _ in range(3 * AT_ONCE)]
    async with serving(Telling()) as server, connected(server) as peer:
        for number, outlet in enumerate(outlets):
            session, _ = server.broker.open(str(number), clean=True, expiry=0, will=None, outgoing=outlet)
            server.broker.subscribe(session, "t", wire_options(0), ())
        await peer.ask(publish("other", b"", packet_id=1), puback(1))
        await server.publish({"topic": "t", "payload": b"y"})
        assert missing == [0]
        assert {len(outlet.got) for outlet in outlets} == {2}


@pytest.mark.parametrize(("most", "answer"), [(4096, b"\x90"), (4097, b"\xe0")])
async def test_filters_of_one_packet_are_bounded(most: int, answer: bytes) -> None:
    async with serving(Recorder()) as server, await dial(server) as peer:
        await peer.say(wire.connect("many", 5))
        assert (await peer.hear())[0] == 0x20
        await peer.say(wire.subscribe(*(f"{each % 50}" for each in range(most))))
        said = await peer.hear()
    assert said[:1] == answer
    assert said[0] == 0x90 or said[2] == 0x97


def test_user_properties_of_one_packet_are_bounded() -> None:
    parser = Parser(2**20)
    parser.version = 5
    assert len(parser.feed(wire.publish("t", b"", user_property=[("", "")] * 4096))) == 1
    with pytest.raises(RemoteProtocolError) as caught:
        parser.feed(wire.publish("t", b"", user_property=[("", "")] * 4097))
    assert caught.value.answer == 0x97


# The client of a broker.


def pieces(data: bytes, seed: int) -> Iterator[bytes]:
    dice = random.Random(seed)
    while data:
        size = dice.choice((100, 700, 3000, 8000, 60_000)) if seed else len(data)
        yield data[:size]
        data = data[size:]


@pytest.mark.parametrize("seed", [0, 5, 9])
@pytest.mark.parametrize("count", [10, 20_000])
async def test_what_a_broker_sends_is_looked_at_in_slices(
    count: int, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it, and why the broker closed the connection, although it did so at once. ``seed``: in which pieces it
    arrives; 0, as one."""
    arrived = MQTTClientRun.arrived
    sent = b"".join(b"\x30\x09\0\1t\0%05d" % each for each in range(count)) + b"\xe0\2\x8b\0"

    async def flood(broker: Broker5) -> None:
        await broker.welcome()
        assert (await broker.read())[0] == 0x82
        broker.say(0x90, b"\0\1\0\0")
        for piece in pieces(sent, seed):
            broker.say_all(piece)
            await asyncio.sleep(0)
        await broker.close()

    async with counted() as turns, scripted(flood) as (url, _):

        def counting(run: MQTTClientRun, event: Any) -> None:
            turns.count()
            arrived(run, event)

        monkeypatch.setattr(MQTTClientRun, "arrived", counting)
        app = App()
        async with client(app, url, retry=60, retry_max=60):
            await until(lambda: app.events and app.events[-1]["type"] == "mqtt.disconnect")
    assert app.payloads() == [b"%05d" % each for each in range(count)]
    assert app.events[-1]["reason_code"] == 0x8B
    assert turns.most <= 2 * CLIENT_TURN * BATCH  # what was left of the turn before, and this one's


# Fan-out, without sockets.


class Deaf:
    """A connection that takes everything."""

    version, max_packet, aliases, congested, published = 4, 0, None, False, 0

    def __init__(self) -> None:
        self.got: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.got.append(data)

    def offer(self, data: bytes) -> bool:
        self.write(data)
        return True

    def end(self, reason_code: int) -> None:
        raise AssertionError("overflow")

    def taken_over(self) -> None:
        raise AssertionError("taken over")

    def messages(self) -> list[Heard]:
        return [read(data, 4) for data in self.got]


def wire_options(qos: int) -> Any:
    (packet,) = Client(Broker(MQTTSettings()), wire.connect("x")).parser.feed(wire.subscribe("t", qos=qos))
    return packet.filters[0][1]


@pytest.fixture
def broker() -> Broker:
    return Broker(MQTTSettings(max_queued=2**30), clock=Clock())


def group(broker: Broker, count: int, qos: int = 0, topic_filter: str = "t") -> list[Deaf]:
    options, outlets = wire_options(qos), [Deaf() for _ in range(count)]
    for number, outlet in enumerate(outlets):
        session, _ = broker.open(f"g{number}", clean=True, expiry=0, will=None, outgoing=outlet)
        broker.subscribe(session, topic_filter, options, ())
    return outlets


def say(broker: Broker, payload: bytes, topic: str = "t", *, retain: bool = False) -> Any:
    return broker.publish(broker.message(topic, payload, 1, retain=retain, properties=None))


def finish(broker: Broker) -> int:
    """How many slices it took."""
    slices = 1
    while broker.backlog.run():
        slices += 1
    return slices


def test_one_topics_messages_reach_all_subscribers_in_one_order(broker: Broker) -> None:
    outlets = group(broker, 3 * AT_ONCE)
    done: list[str] = []
    say(broker, b"1").when_done(lambda: done.append("1"))
    broker.backlog.run()
    assert 0 < sum(bool(outlet.got) for outlet in outlets) <= AT_ONCE
    assert not done
    second = say(broker, b"2")
    second.when_done(lambda: done.append("2"))
    assert say(broker, b"elsewhere", "other") is None  # another topic does not wait
    assert finish(broker) > 3
    assert done == ["1", "2"]
    second.when_done(lambda: done.append("at once"))
    assert done[-1] == "at once"
    assert {tuple(each.payload for each in outlet.messages()) for outlet in outlets} == {(b"1", b"2")}
    assert say(broker, b"3", "other") is None


def test_who_subscribes_and_unsubscribes_meanwhile(broker: Broker) -> None:
    outlets = group(broker, 3 * AT_ONCE)
    say(broker, b"1", retain=True)
    broker.backlog.run()
    broker.unsubscribe(broker.sessions[f"g{3 * AT_ONCE - 1}"], "t")
    late = Client(broker, wire.connect("late", 4))
    late.say(wire.subscribe("t", version=4))
    finish(broker)
    assert outlets[-1].got == []
    assert all(len(outlet.got) == 1 for outlet in outlets[:-1])
    heard = [read(data, 4) for data in late.heard()]
    assert [(each.payload, each.retain) for each in heard if each.kind == "PUBLISH"] == [(b"1", True)]  # once


def test_a_subscriber_with_a_fault_does_not_keep_a_message_from_the_others(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    outlets = group(broker, 2 * AT_ONCE)
    outlets[5].offer = outlets[5].end
    say(broker, b"1")
    say(broker, b"2")
    finish(broker)
    assert {len(outlet.got) for outlet in outlets[6:]} == {2}
    assert "a message to t" in caplog.text


# Retained messages.


def retain(broker: Broker, count: int) -> None:
    for number in range(count):
        say(broker, b"old", f"r/{number}/x", retain=True)


def replayed(client: Client) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    for each in (read(data, client.version) for data in client.heard()):
        if each.kind == "PUBLISH":
            found.setdefault(each.topic, []).append(each.payload)
    return found


def test_retained_messages_are_sent_in_slices_and_as_they_are_by_then(broker: Broker) -> None:
    retain(broker, 1000)
    client = Client(broker, wire.connect("late", 4))
    client.say(wire.subscribe("#", qos=0, version=4))
    first = replayed(client)
    assert 0 < len(first) <= SLICE
    behind = next(f"r/{number}/x" for number in range(999, -1, -1) if f"r/{number}/x" not in first)
    gone = next(f"r/{number}/x" for number in range(1000) if f"r/{number}/x" not in {*first, behind})
    say(broker, b"new", behind, retain=True)
    say(broker, b"", gone, retain=True)
    say(broker, b"added", "r/another", retain=True)
    finish(broker)
    rest = replayed(client)
    assert rest[behind][-1] == b"new"  # and never the old one after it
    assert b"old" not in rest[behind]
    assert rest[gone] == [b""]  # that it was removed, and nothing before or after that
    assert rest["r/another"][0] == b"added"
    assert len(first) + len(rest) == 1001


def test_a_search_that_finds_nothing_takes_turns_too(broker: Broker) -> None:
    retain(broker, 5000)
    slices = []
    for name in ("ann", "bob"):
        client = Client(broker, wire.connect(name, 4))
        client.say(wire.subscribe("+/+/nothing", version=4))
        slices.append(client)
    assert finish(broker) >= 2
    assert all(replayed(client) == {} for client in slices)


def test_steps_of_a_search_are_bounded_where_it_finds_nothing() -> None:
    retained: Retained[str] = Retained(10**9)
    for number in range(10_000):
        retained.set(f"{number}/x", "value", 1)
    found = list(retained.match("+/nothing"))
    assert set(found) == {None}
    assert len(found) >= 100


def test_searches_that_begin_together_share_what_they_hold() -> None:
    """Also of what is at the root; a topic that comes is found by those who ask after that."""
    retained: Retained[str] = Retained(10**9)
    for number in range(10_000):
        retained.set(f"{number}", "value", 1)
        retained.set(f"a/{number}", "value", 1)
    tracemalloc.start()
    searches = [retained.match(topic_filter) for topic_filter in ("+", "#", "a/+", "a/#") * 25]
    for search in searches:
        next(search)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 100 * 8 * 10_000 / 10
    retained.set("a/new", "new", 1)
    assert "new" in retained.match("a/+")
    retained.remove("a/new")
    retained.set("a/other", "other", 1)  # as many as before
    assert "other" in retained.match("a/+")
    searches.clear()
    del search
    gc.collect()
    assert not retained._children


def test_a_client_that_does_not_read_gets_the_rest_when_it_does(broker: Broker) -> None:
    retain(broker, 500)
    client = Client(broker, wire.connect("late", 4))
    client.outgoing.congested = True
    client.say(wire.subscribe("#", qos=0, version=4))
    finish(broker)
    assert replayed(client) == {}
    client.outgoing.congested = False
    client.connection.session.pump()
    finish(broker)
    assert len(replayed(client)) == 500


def test_retained_messages_that_expire_together_end_in_slices() -> None:
    clock = Clock()
    broker = Broker(MQTTSettings(), clock=clock)
    for number in range(1000):
        life = {"message_expiry_interval": 5}
        broker.publish(broker.message(f"r/{number}", b"x", 0, retain=True, properties=life))
    clock.now += 6
    broker.tick()
    assert 0 < len(broker.retained) < 1000
    finish(broker)
    assert not broker.retained


async def test_a_million_records_would_be_read_in_slices() -> None:
    kept = Kept()
    async with serving(Recorder(), kept) as server:
        for number in range(20_000):
            say(server.broker, b"x", f"r/{number}", retain=True)
    async with counted() as turns, serving(Recorder(), kept) as server:
        assert len(server.broker.retained) >= 20_000
    assert turns.longest < LONGEST


async def test_the_collector_does_not_look_at_what_was_read() -> None:
    kept = Kept()
    async with serving(Recorder(), kept) as server:
        for number in range(2000):
            say(server.broker, b"x", f"r/{number}", retain=True)
    before = gc.get_freeze_count()  # not while turns are measured: it counts them one by one, in 0.1 s where many exist
    async with serving(Recorder(), kept):
        found = gc.get_freeze_count()
    assert found > before


# What must not become slower with their number.


@pytest.fixture
def cpu() -> Callable[[], float]:
    began = time.process_time()
    return lambda: time.process_time() - began


def test_a_long_queue_is_drained_in_a_straight_line(cpu: Callable[[], float]) -> None:
    """A list from whose beginning they were taken takes six times as long as it took to fill it."""
    count = 200_000
    broker = Broker(MQTTSettings(max_queued=2**40, max_queued_all=2**40), clock=Clock())
    session, _ = broker.open("away", clean=False, expiry=60, will=None, outgoing=Deaf())
    broker.subscribe(session, "t", wire_options(1), ())
    broker.close(session, with_will=False)
    began = cpu()
    for _ in range(count):
        say(broker, b"x")
    filled, outlet = cpu(), Deaf()
    session, _ = broker.open("away", clean=False, expiry=60, will=None, outgoing=outlet)
    session.resume(outlet, 65535)
    while session.inflight:
        session.answered(next(iter(session.inflight)), PUBACK)
    assert len(outlet.got) == count
    assert cpu() - filled < 3 * (filled - began)


def test_what_was_sent_before_is_sent_again_in_a_straight_line(cpu: Callable[[], float]) -> None:
    count = 60_000
    broker = Broker(MQTTSettings(max_queued=2**40, max_queued_all=2**40, max_inflight=65535), clock=Clock())
    session, _ = broker.open("away", clean=False, expiry=60, will=None, outgoing=Deaf())
    session.resume(Deaf(), 65535)
    broker.subscribe(session, "t", wire_options(1), ())
    for _ in range(count):
        say(broker, b"x")
    broker.close(session, with_will=False)
    outlet = Deaf()
    session, _ = broker.open("away", clean=False, expiry=60, will=None, outgoing=outlet)
    session.resume(outlet, 100)  # it takes fewer now
    for packet_id in range(count, 100, -1):
        session.answered(packet_id, PUBACK)  # late ones, of the connection before
    finish(broker)
    assert len(session.inflight) == 100
    assert 100 <= len(outlet.got) <= 200
    assert cpu() < 5


def test_members_of_a_group_leave_in_a_straight_line(cpu: Callable[[], float]) -> None:
    share, members = Share("$share/g/t"), [Session.__new__(Session) for _ in range(40_000)]
    for member in members:
        member.outgoing = Deaf()
        share.add(member, Grant(0))
    for member in reversed(members):
        share.remove(member)
    assert not share
    assert cpu() < 1


def test_a_group_whose_members_are_away_does_not_look_at_each(broker: Broker) -> None:
    broker = Broker(MQTTSettings(), clock=Clock())
    here = Deaf()
    for number in range(200):
        session, _ = broker.open(f"m{number}", clean=False, expiry=60, will=None, outgoing=Deaf())
        broker.subscribe(session, "$share/g/t", wire_options(0), ())
        broker.close(session, with_will=False)
    session, _ = broker.open("m150", clean=False, expiry=60, will=None, outgoing=here)
    say(broker, b"1")
    assert len(here.got) == 1
    broker.close(session, with_will=False)
    say(broker, b"2")
    assert len(here.got) == 1


class Looking(Subscriptions[str]):
    """Counts what is looked up."""

    def __init__(self) -> None:
        super().__init__()
        self.looked: list[str] = []
        find = self._find

        def counting(topic: str) -> Any:
            self.looked.append(topic)
            return find(topic)

        self.matches._find = counting


@pytest.mark.parametrize(
    ("topic_filter", "forgotten"),
    [
        ("a/b/c", set()),
        ("x/y", set()),
        ("a/other/#", set()),
        ("a/b/+/d", {"a/b/c/d"}),
        ("$share-like/+", {"a/b/c/d", "a/c", "a"}),
        ("a/+", {"a/b/c/d", "a/c", "a"}),
        ("#", {"a/b/c/d", "a/c", "a"}),
        ("a/c", {"a/c"}),
    ],
)
def test_a_change_forgets_what_it_may_match(topic_filter: str, forgotten: set[str]) -> None:
    subscriptions, topics = Looking(), ["a/b/c/d", "a/c", "a"]
    subscriptions.add("a/c", "s", Grant(0)) if topic_filter != "a/c" else None
    for topic in topics:
        assert subscriptions.matches[topic] is subscriptions.matches[topic]
    for change in (subscriptions.add, lambda *fields: subscriptions.remove(*fields[:2])):
        subscriptions.looked.clear()
        change(topic_filter, "t", Grant(1))
        for topic in topics:
            assert ("t" in subscriptions.matches[topic]) is (
                change == subscriptions.add and topic in reached(topic_filter)
            )
        assert set(subscriptions.looked) == forgotten


def reached(topic_filter: str) -> set[str]:
    return {"a/c": {"a/c"}, "a/+": {"a/c"}, "a/b/+/d": {"a/b/c/d"}, "#": {"a/b/c/d", "a/c", "a"}}.get(
        topic_filter, set()
    )


def test_ten_thousand_subscribers_of_one_filter_are_neither_copied_nor_looked_up_again() -> None:
    subscriptions = Looking()
    for number in range(10_000):
        subscriptions.add("alarms", f"s{number}", Grant(0))
        assert len(subscriptions.matches["alarms"]) == number + 1
    assert subscriptions.looked == ["alarms"]
    subscriptions.remove("alarms", "s5")
    assert len(subscriptions.matches["alarms"]) == 9_999
    assert subscriptions.looked == ["alarms"]


def test_a_copy_of_several_filters_follows_each_of_them() -> None:
    subscriptions = Looking()
    subscriptions.add("a/b", "ann", Grant(0))
    subscriptions.add("a/+", "bob", Grant(0))
    assert subscriptions.matches["a/b"].keys() == {"ann", "bob"}
    subscriptions.add("a/+", "eve", Grant(1))
    assert subscriptions.matches["a/b"].keys() == {"ann", "bob", "eve"}
    subscriptions.add("a/b", "eve", Grant(2))
    assert subscriptions.matches["a/b"]["eve"].qos == 2
    subscriptions.remove("a/+", "bob")
    subscriptions.remove("a/b", "eve")
    assert subscriptions.matches["a/b"]["eve"].qos == 1
    subscriptions.add("other", "eve", Grant(2))
    subscriptions.looked.clear()
    assert subscriptions.matches["a/b"].keys() == {"ann", "eve"}
    assert subscriptions.looked == []


def test_what_the_cache_knows_of_copies_is_bounded() -> None:
    subscriptions = Looking()
    subscriptions.add("#", "ann", Grant(0))
    subscriptions.add("+/+/+", "bob", Grant(0))
    every = subscriptions._tree.get("#")
    assert every is not None
    for number in range(20_000):
        assert len(subscriptions.matches[f"a/b/{number}"]) == 2
        if number % 500 == 0:  # a filter that comes and goes lets the cache forget these topics, and it is never full
            subscriptions.add("a/b/+/x", "eve", Grant(0))
            subscriptions.remove("a/b/+/x", "eve")
    assert every.copies is not None
    assert len(every.copies) <= 4096
