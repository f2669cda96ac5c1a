"""Several instances of the application over one connection to a broker."""

import asyncio
import logging
from collections.abc import Iterator
from typing import Any
from zlib import crc32

import pytest
from client_desk import LIMIT, Peer, client, lines, ready, scripted, settings
from servers.mosquitto import Mosquitto, mosquitto
from waiting import until

from protocols.mqtt.client.client import MQTTClient


@pytest.fixture
def broker() -> Iterator[Mosquitto]:
    with mosquitto() as broker:
        yield broker


class Team:
    """An application that remembers, instance by instance, what it got."""

    def __init__(self, handle: Any = None) -> None:
        self.handle = handle
        self.scopes: list[Any] = []
        self.events: list[list[Any]] = []

    def messages(self) -> list[list[tuple[str, bytes]]]:
        return [
            [(event["topic"], event["payload"]) for event in events if event["type"] == "mqtt.receive"]
            for events in self.events
        ]

    def count(self) -> int:
        return sum(len(each) for each in self.messages())

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        events: list[Any] = []
        self.events.append(events)
        while True:
            event = await receive()
            events.append(event)
            if event["type"] == "mqtt.connect":
                await send({"type": "mqtt.accept"})
            if event["type"] == "mqtt.disconnect":
                return
            if event["type"] == "mqtt.receive":
                if self.handle is not None:
                    await self.handle(event)
                if event["id"] is not None:
                    await send({"type": "mqtt.ack", "id": event["id"]})


def fill(broker: Mosquitto, topics: int, each: int) -> None:
    for topic in range(topics):
        broker.publish_lines(f"t/{topic}", [str(number) for number in range(each)])


@pytest.mark.parametrize("version", ["5.0", "3.1.1"])
async def test_a_topic_has_its_instance_and_its_order(broker: Mosquitto, version: str) -> None:
    team = Team()
    async with client(team, broker.url, parallel=4, max_unacked=4, version=version) as server:
        await ready(server)
        assert server.status.detail == f"{version}; 1 subscription, 4 instances"
        await asyncio.to_thread(fill, broker, 12, 10)
        await until(lambda: team.count() == 120)
        await until(lambda: server.active() == {})
    assert len(team.scopes) == 4
    assert all(scope == team.scopes[0] for scope in team.scopes)
    assert len({id(scope) for scope in team.scopes}) == 4
    homes = [{topic for topic, _ in messages} for messages in team.messages()]
    assert sum(len(home) for home in homes) == 12  # no topic has two
    assert len([home for home in homes if home]) > 1
    for messages in team.messages():
        for topic in {topic for topic, _ in messages}:
            assert [int(payload) for name, payload in messages if name == topic] == list(range(10))
    for events in team.events:
        assert events[0]["type"] == "mqtt.connect"
        assert events[-1] == {"type": "mqtt.disconnect", "reason_code": 0, "reason": "the gateway stops", "clean": True}
        assert [event["type"] for event in events].count("mqtt.disconnect") == 1


async def test_instances_work_at_the_same_time(broker: Mosquitto) -> None:
    together = asyncio.Barrier(2)

    async def handle(event: Any) -> None:
        async with asyncio.timeout(LIMIT):
            await together.wait()

    team = Team(handle)
    async with client(team, broker.url, parallel=2) as server:
        await ready(server)
        for number in range(2):
            topic = next(topic for topic in map("t/{}".format, range(100)) if crc32(topic.encode()) % 2 == number)
            broker.publish(topic, "x", "-q", "1")
        await until(lambda: team.count() == 2 and not server.active())
    assert [len(messages) for messages in team.messages()] == [1, 1]


async def test_a_crash_of_one_ends_all_and_nothing_is_lost(broker: Mosquitto, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="protocols")
    broken = [True]

    async def handle(event: Any) -> None:
        if event["payload"] == b"5" and broken and broken.pop():
            raise RuntimeError("handler")

    team = Team(handle)
    async with client(team, broker.url, parallel=3) as server:
        await ready(server)
        await asyncio.to_thread(fill, broker, 6, 10)
        handled = {(f"t/{topic}", str(number).encode()) for topic in range(6) for number in range(10)}
        await until(lambda: {each for messages in team.messages() for each in messages} == handled)
        await until(lambda: server.active() == {})
        await ready(server)
    assert len(team.scopes) == 6
    assert [events[-1]["type"] for events in team.events].count("mqtt.disconnect") == 5
    assert any("the application failed (RuntimeError); next try in" in line for line in lines(caplog))


async def test_nothing_is_read_before_all_have_accepted(broker: Mosquitto) -> None:
    accepted, late = [], asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        accepted.append(True)
        if len(accepted) == 3:
            await late.wait()
        await send({"type": "mqtt.accept"})
        while (await receive())["type"] != "mqtt.disconnect":
            pass

    async with client(app, broker.url, parallel=3) as server:
        await until(lambda: len(accepted) == 3)
        await asyncio.sleep(0.05)
        assert server.status.state == "connecting"
        late.set()
        await ready(server)


async def test_one_that_rejects_ends_all(broker: Mosquitto) -> None:
    ended: list[str] = []
    begun: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        begun.append(scope)
        await receive()
        await send({"type": "mqtt.reject" if len(begun) % 3 == 0 else "mqtt.accept"})
        ended.append((await receive())["type"])

    async with client(app, broker.url, parallel=3, retry=5.0) as server:
        await until(lambda: server.status.detail.startswith("the application rejected the connection; next try in"))
    assert ended == ["mqtt.disconnect"] * 3


async def test_one_full_inbox_stops_the_reading() -> None:
    release = asyncio.Event()
    other = next(topic for topic in (b"b", b"c", b"d", b"e") if crc32(topic) % 2 != crc32(b"a") % 2)

    async def handle(event: Any) -> None:
        if event["topic"] == "a":
            await release.wait()

    async def first(peer: Peer) -> None:
        connect = await peer.read()
        assert b"\x21\0\x08" in connect  # receive maximum: two inboxes of 4
        peer.say(0x20, b"\0\0\0")
        await ready(server)
        for id_ in range(1, 6):
            peer.publish(id_, b"x", qos=1, topic=b"a")
        [connection] = server._connections
        await until(lambda: connection.broker.paused)
        peer.publish(6, b"x", qos=1, topic=other)
        assert await peer.silent()
        release.set()
        answers = {(await peer.read())[1:3] for _ in range(6)}
        assert answers == {id_.to_bytes(2, "big") for id_ in range(1, 7)}

    team = Team(handle)
    async with scripted(first) as (url, over):
        server = MQTTClient(team, settings(url, parallel=2, max_unacked=4, subscribe=()), state={})
        async with server:
            await asyncio.wait_for(over.wait(), LIMIT)
    assert team.count() == 6
