"""Work that is done in slices, and what ends in the middle of it: a process, a connection, a server."""

import asyncio
from typing import Any

import mqtt5_wire as wire
import pytest
from mqtt5_wire import read
from mqtt_bytes import string
from mqtt_memory import Client, Clock
from mqtt_peer import CHEAP, Kept, Recorder, connected, dial, serving
from test_mqtt_fairness import wire_options
from waiting import until

from protocols.mqtt.broker import fan_out, record
from protocols.mqtt.broker.broker import Broker
from protocols.mqtt.broker.fan_out import AT_ONCE
from protocols.mqtt.broker.journal import Journal
from protocols.mqtt.settings import MQTTSettings
from protocols.secret import Secret

MANY = 3 * AT_ONCE
LIMIT = 10.0


class Disk:
    """A journal, what is kept of it, and the broker of a process that may be killed."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.clock = Clock()
        self.start()

    def start(self) -> None:
        """After a kill, or for the first time."""
        self.journal = Journal(lambda: None)
        self.broker = Broker(MQTTSettings(), journal=self.journal, clock=self.clock)
        self.broker.restore(self.kept)
        self.work()

    def commit(self) -> None:
        position, changes = self.journal.take()
        for key, value in changes.items():
            if value is None:
                self.kept.pop(key, None)
            else:
                self.kept[key] = value
        self.journal.kept(position)

    def work(self) -> None:
        while self.broker.backlog.run():
            pass

    def client(self, name: str, **properties: Any) -> Client:
        return Client(self.broker, wire.connect(name, clean=False, session_expiry_interval=1000, **properties))


def subscribed(broker: Broker, qos: int) -> None:
    """Many, who then leave."""
    options, outlet = wire_options(qos), Client(broker, wire.connect("outlet"))
    for number in range(MANY):
        session, _ = broker.open(f"s{number}", clean=True, expiry=1000, will=None, outgoing=outlet)
        broker.subscribe(session, "t", options, ())
        broker.close(session, with_will=False)


def receivers(disk: Disk) -> set[str]:
    """Whom a message waits for, as it is kept."""
    return {record.read_outbound(value).client_id for key, value in disk.kept.items() if key.startswith("out ")}


def test_a_message_at_qos_2_reaches_everybody_though_the_process_is_killed_on_its_way() -> None:
    disk = Disk()
    subscribed(disk.broker, 2)
    said = wire.publish("t", b"x", 2, 7)
    publisher = disk.client("publisher")
    assert next(publisher.phase.handle(publisher.parser.feed(said))) is None  # others have their turn
    disk.broker.backlog.run()
    disk.commit()
    assert 0 < len(receivers(disk)) < MANY
    disk.start()  # killed
    publisher = disk.client("publisher")
    publisher.say(wire.publish("t", b"x", 2, 7, dup=True))
    disk.work()
    disk.commit()
    publisher.acknowledge(7)
    disk.commit()
    assert read(publisher.heard()[-1]).kind == "PUBREC"
    assert len(receivers(disk)) == MANY


def test_a_repetition_on_another_connection_waits_until_everybody_has_the_message() -> None:
    """Else it would be acknowledged before that, and lost to the others by a crash."""
    disk = Disk()
    subscribed(disk.broker, 2)
    publisher = disk.client("publisher")
    assert next(publisher.phase.handle(publisher.parser.feed(wire.publish("t", b"x", 2, 7)))) is None
    first = publisher.connection
    again = disk.client("publisher")  # it takes its session over
    first.abandon()
    events = again.phase.handle(again.parser.feed(wire.publish("t", b"x", 2, 7, dup=True)))
    assert next(events) is None
    done: list[bool] = []
    assert again.connection.fan_out is not None
    again.connection.fan_out.when_done(lambda: done.append(True))
    assert not done
    disk.work()
    assert done
    assert list(events) == []  # when it is kept
    disk.commit()
    assert [event["payload"] for event in again.told] == [b"x"]
    assert len(receivers(disk)) == MANY


async def test_a_will_reaches_everybody_though_the_server_stops_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fan_out, "AT_ONCE", 1)
    kept = Kept()
    async with serving(Recorder(), kept) as server:
        subscribed(server.broker, 1)
        async with connected(server, "dying", will=("t", b"x")):
            await server.stop(1.0)
    assert len([key for key in kept.values if key.startswith("out ")]) == MANY


def test_what_is_retained_reaches_a_subscriber_though_the_process_is_killed_on_its_way() -> None:
    disk = Disk()
    for number in range(300):
        disk.broker.send({"type": "mqtt.send", "topic": f"r/{number}", "payload": b"x", "qos": 1, "retain": True})
    subscriber = disk.client("subscriber", receive_maximum=10)
    subscriber.say(wire.subscribe("r/+", qos=1))
    disk.commit()
    assert [read(data).kind for data in subscriber.heard()].count("SUBACK") == 1
    disk.start()  # killed
    subscriber = disk.client("subscriber")
    got: set[str] = set()
    while heard := [each for each in map(read, subscriber.heard()) if each.kind == "PUBLISH"]:
        got |= {each.topic for each in heard}
        subscriber.say(*(wire.puback(each.id) for each in heard))
        disk.work()
    assert len(got) == 300


async def test_a_stop_does_not_wait_for_logins() -> None:
    """Neither for those whose turn has not come nor for the answer to a wrong one: they are told to come again."""
    users = {"ann": Secret(CHEAP.hash("right"))}
    async with serving(Recorder(), users=users) as server:
        server.access.logins._slowest = 30.0  # the answer to a wrong login comes after a minute
        async with await dial(server) as wrong:
            await wrong.say(connect_as("ann", "wrong"))
            await until(lambda: server.active())
            loop = asyncio.get_running_loop()
            began = loop.time()
            stopping = asyncio.ensure_future(server.stop(LIMIT / 2))
            assert await wrong.hear() == b"\x20\x02\x00\x03"
            await stopping
            assert loop.time() - began < LIMIT / 2


def connect_as(name: str, password: str) -> bytes:
    body = string("MQTT") + b"\x04\xc2\x00\x00" + string(name) + string(name) + string(password)
    return bytes((0x10, len(body))) + body
