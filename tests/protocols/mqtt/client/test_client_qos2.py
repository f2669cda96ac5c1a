"""QoS 2 in the client role, step by step with a scripted broker, and with Mosquitto."""

import asyncio
from typing import Any

import pytest
from client_desk import LIMIT, App, Peer, client, ready, scripted
from servers.mosquitto import mosquitto
from waiting import until

from protocols.errors import Disconnected, NotSent
from protocols.mqtt.client.session import ClientSession

PUBREC, PUBREL, PUBCOMP = 0x50, 0x62, 0x70
QUIET: dict[str, Any] = {"subscribe": (), "qos": 2}


def step(first: int, id_: int, code: int = 0) -> bytes:
    """PUBREC, PUBREL or PUBCOMP, without its length."""
    return bytes((first,)) + id_.to_bytes(2, "big") + (bytes((code,)) if code else b"")


async def test_pubrec_leaves_after_the_handler() -> None:
    running, release = asyncio.Event(), asyncio.Event()

    async def handle(event: Any, send: Any) -> None:
        running.set()
        await release.wait()

    async def first(peer: Peer) -> None:
        await peer.welcome()
        peer.publish(7, b"one")
        await running.wait()
        peer.publish(7, b"one", dup=True)  # 3.1.1 brokers do that; it is in hand
        assert await peer.silent()
        release.set()
        assert await peer.read() == step(PUBREC, 7)
        peer.say(PUBREL, b"\0\7")
        assert await peer.read() == step(PUBCOMP, 7)
        peer.say(PUBREL, b"\0\7")
        assert await peer.read() == step(PUBCOMP, 7, 0x92)

    app = App(handle)
    async with scripted(first) as (url, over), client(app, url, **QUIET):
        await asyncio.wait_for(over.wait(), LIMIT)
    assert app.payloads() == [b"one"]


@pytest.mark.parametrize("kept", [True, False])
async def test_what_was_handled_when_the_connection_went_is_not_handled_again(kept: bool) -> None:
    """Where the broker kept the session; where it did not, the id is a new message's."""
    running, gone = asyncio.Event(), asyncio.Event()

    async def handle(event: Any, send: Any) -> None:
        running.set()
        await gone.wait()
        await asyncio.sleep(0.02)  # the client hears of the loss while this handler runs

    async def first(peer: Peer) -> None:
        await peer.welcome()
        peer.publish(7, b"one")
        await running.wait()
        gone.set()

    async def second(peer: Peer) -> None:
        await peer.welcome(session=kept)
        peer.publish(7, b"one", dup=True)
        assert await peer.read() == step(PUBREC, 7)
        peer.say(PUBREL, b"\0\7")
        assert await peer.read() == step(PUBCOMP, 7)
        peer.publish(7, b"two")
        assert await peer.read() == step(PUBREC, 7)

    app = App(handle)
    async with scripted(first, second) as (url, over), client(app, url, **QUIET):
        await asyncio.wait_for(over.wait(), LIMIT)
    assert app.payloads() == ([b"one", b"two"] if kept else [b"one", b"one", b"two"])


@pytest.mark.parametrize("dup", [False, True], ids=["sent for the first time", "sent before, too"])
async def test_a_session_whose_loss_nobody_told_us_has_new_messages(dup: bool) -> None:
    """The CONNACK that said that there is none was lost; the next one finds the session that it began."""

    async def first(peer: Peer) -> None:
        await peer.welcome()
        peer.publish(7, b"one")
        assert await peer.read() == step(PUBREC, 7)

    async def second(peer: Peer) -> None:
        assert (await peer.read())[0] == 0x10

    async def third(peer: Peer) -> None:
        await peer.welcome(session=True)
        peer.publish(7, b"two", dup=dup)
        assert await peer.read() == step(PUBREC, 7)

    app = App()
    async with scripted(first, second, third) as (url, over), client(app, url, **QUIET):
        await asyncio.wait_for(over.wait(), LIMIT)
    assert app.payloads() == [b"one", b"two"]


async def test_a_task_that_outlives_its_application_acknowledges_nothing() -> None:
    """The message may be in hand again, or the session may be another."""
    running, late, outcomes = asyncio.Event(), asyncio.Event(), []

    async def acknowledge(id_: int, send: Any) -> None:
        await late.wait()
        try:
            await send({"type": "mqtt.ack", "id": id_})
        except Disconnected as error:
            outcomes.append(error)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (event := await receive())["type"] != "mqtt.disconnect":
            if event["type"] == "mqtt.connect":
                await send({"type": "mqtt.accept"})
            else:
                handled.append(asyncio.ensure_future(acknowledge(event["id"], send)))
                running.set()

    async def first(peer: Peer) -> None:
        await peer.welcome()
        peer.publish(7, b"one")
        await running.wait()

    async def second(peer: Peer) -> None:
        await peer.welcome(session=True)
        late.set()
        await until(lambda: outcomes)
        peer.publish(7, b"one", dup=True)
        assert await peer.read() == step(PUBREC, 7)

    handled: list[Any] = []
    async with scripted(first, second) as (url, over), client(app, url, **QUIET):
        await asyncio.wait_for(over.wait(), LIMIT)
    assert len(handled) == 2


async def test_what_was_not_handled_when_the_connection_went_is_handled() -> None:
    async def handle(event: Any, send: Any) -> None:
        if len(app.payloads()) == 1:
            raise RuntimeError("handler")

    async def first(peer: Peer) -> None:
        await peer.welcome()
        peer.publish(7, b"one")
        assert (await peer.read())[0] == 0xE0

    async def second(peer: Peer) -> None:
        await peer.welcome(session=True)
        peer.publish(7, b"one", dup=True)
        assert await peer.read() == step(PUBREC, 7)

    app = App(handle)
    async with scripted(first, second) as (url, over), client(app, url, **QUIET):
        await asyncio.wait_for(over.wait(), LIMIT)
    assert app.payloads() == [b"one", b"one"]


async def test_a_reason_code_travels_and_one_that_refuses_ends_it() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (event := await receive())["type"] != "mqtt.disconnect":
            if event["type"] == "mqtt.connect":
                await send({"type": "mqtt.accept"})
            else:
                await send({"type": "mqtt.ack", "id": event["id"], "reason_code": int(event["payload"], 16)})

    async def first(peer: Peer) -> None:
        await peer.welcome()
        for _ in range(2):  # the id is free again at once
            peer.publish(7, b"97")
            assert await peer.read() == step(PUBREC, 7, 0x97)
        peer.publish(8, b"10", qos=1)
        assert await peer.read() == step(0x40, 8, 0x10)
        peer.publish(9, b"83", qos=1)
        assert await peer.read() == step(0x40, 9, 0x83)

    async with scripted(first) as (url, over), client(app, url, **QUIET):
        await asyncio.wait_for(over.wait(), LIMIT)


class Sender(App):
    """Publishes once at QoS 2, when it has accepted, and remembers what came of it."""

    def __init__(self, **more: Any) -> None:
        super().__init__()
        self.event = {"type": "mqtt.send", "topic": "out", "payload": b"x", "qos": 2, "wait": True, **more}
        self.outcomes: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "mqtt.accept"})
        if not self.outcomes:
            try:
                await send(self.event)
                self.outcomes.append("taken")
            except (NotSent, Disconnected) as error:
                self.outcomes.append(type(error).__name__)
        while (await receive())["type"] != "mqtt.disconnect":
            pass


async def test_mqtt_send_returns_when_all_is_said() -> None:
    async def first(peer: Peer) -> None:
        await peer.welcome()
        assert (await peer.read())[:1] == b"\x34"
        peer.say(PUBREC, b"\0\1")
        assert await peer.read() == step(PUBREL, 1)
        assert app.outcomes == []
        peer.say(PUBCOMP, b"\0\1")
        await until(lambda: app.outcomes)

    app = Sender()
    async with scripted(first) as (url, over), client(app, url, **QUIET):
        await asyncio.wait_for(over.wait(), LIMIT)
    assert app.outcomes == ["taken"]


async def test_a_broker_that_refuses_is_not_asked_to_release() -> None:
    async def first(peer: Peer) -> None:
        await peer.welcome()
        await peer.read()
        peer.say(PUBREC, b"\0\1\x97")
        await until(lambda: app.outcomes)
        assert await peer.silent()

    app = Sender()
    async with scripted(first) as (url, over), client(app, url, **QUIET):
        await asyncio.wait_for(over.wait(), LIMIT)
    assert app.outcomes == ["NotSent"]


@pytest.mark.parametrize("recorded", [True, False])
async def test_the_next_connection_releases_what_this_one_could_not(recorded: bool) -> None:
    async def first(peer: Peer) -> None:
        await peer.welcome()
        await peer.read()
        if recorded:
            peer.say(PUBREC, b"\0\1")
            assert await peer.read() == step(PUBREL, 1)

    async def second(peer: Peer) -> None:
        await peer.welcome(session=True)
        assert await peer.read() == step(PUBREL, 1)
        peer.say(PUBCOMP, b"\0\1")
        assert await peer.silent()

    async def third(peer: Peer) -> None:
        await peer.welcome(session=True)
        assert await peer.silent()

    app = Sender()
    async with scripted(first, second, third) as (url, over), client(app, url, **QUIET):
        await asyncio.wait_for(over.wait(), LIMIT)
    assert app.outcomes == ["Disconnected"]


async def test_an_id_that_an_earlier_process_may_have_used_is_cleared_first() -> None:
    async def first(peer: Peer) -> None:
        await peer.welcome(session=True)
        assert await peer.read() == step(PUBREL, 1)
        peer.say(PUBCOMP, b"\0\1\x92")
        assert (await peer.read())[:8] == b"\x34\0\3out\0\1"
        peer.say(PUBREC, b"\0\1")
        assert await peer.read() == step(PUBREL, 1)
        peer.say(PUBCOMP, b"\0\1")
        await until(lambda: app.outcomes)

    app = Sender()
    async with scripted(first) as (url, over), client(app, url, **QUIET):
        await asyncio.wait_for(over.wait(), LIMIT)
    assert app.outcomes == ["taken"]


@pytest.mark.parametrize(
    ("properties", "event"),
    [
        (b"\x24\1", {}),  # maximum QoS 1
        (b"\x24\0", {"qos": 1}),
        (b"\x27\0\0\0\x20", {"payload": b"x" * 40}),  # maximum packet size 32
        (b"\x27\0\0\0\x20", {"payload": b"x" * 40, "qos": 0}),
        (b"\x25\0", {"retain": True}),  # retain not available: it would close the connection
    ],
)
async def test_what_the_broker_does_not_take_is_not_sent(properties: bytes, event: dict[str, Any]) -> None:
    async def first(peer: Peer) -> None:
        await peer.welcome(properties=properties)
        await until(lambda: app.outcomes)
        assert await peer.silent()

    app = Sender(**event)
    async with scripted(first) as (url, over), client(app, url, **QUIET):
        await asyncio.wait_for(over.wait(), LIMIT)
    assert app.outcomes == ["PermanentFailure"]


@pytest.mark.parametrize("version", ["5.0", "3.1.1"])
async def test_both_ways_through_mosquitto(version: str) -> None:
    async def handle(event: Any, send: Any) -> None:
        await send({**event, "type": "mqtt.send", "topic": "out", "dup": False})

    app = App(handle)
    with mosquitto() as broker, broker.subscriber("out", 20, "-q", "2", "-F", "%q %p") as heard:
        async with client(app, broker.url, version=version, qos=2) as server:
            await ready(server)
            for number in range(20):
                broker.publish("t", str(number), "-q", "2")
            output, _ = await asyncio.to_thread(heard.communicate, None, LIMIT)
            await until(lambda: server.active() == {})
    assert app.payloads() == [str(number).encode() for number in range(20)]
    assert {event["qos"] for event in app.events if event["type"] == "mqtt.receive"} == {2}
    said = [line for line in output.splitlines() if line.startswith(b"2 ")]
    assert said == [b"2 %d" % number for number in range(20)]


def test_a_session_of_ours_has_no_doubtful_ids() -> None:
    session = ClientSession()
    session.begin(present=False)
    session.begin(present=True)
    assert not session.is_doubtful(1)


def test_a_session_that_is_found_is_in_doubt_until_it_is_cleared_or_gone() -> None:
    session = ClientSession()
    session.begin(present=True)
    session.begin(present=True)
    assert session.is_doubtful(1)
    session.clear(1)
    assert not session.is_doubtful(1)
    assert session.is_doubtful(2)
    session.handle(1, 0, b"")
    session.unreleased.add(3)
    session.begin(present=False)
    assert not session.is_doubtful(2)
    assert (session.handled, session.unreleased) == ({}, set())
