"""Other people's MQTT 5 clients against our server: Mosquitto's, paho, gmqtt; and amqtt's for 3.1.1."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import gmqtt
import pytest
from amqtt.client import MQTTClient
from mqtt_paho import Paho
from mqtt_peer import LIMIT, Recorder, serving
from test_mqtt_peers import number, port, run, subscriber
from waiting import until

from protocols.mqtt import MQTTServer

V5 = ("-V", "5")
OK = (0, "")


@pytest.fixture
async def server() -> AsyncIterator[MQTTServer]:
    async with serving(Recorder()) as server:
        yield server


async def publish(server: MQTTServer, *arguments: str) -> None:
    assert await run("mosquitto_pub", server, *V5, *arguments) == OK


@pytest.mark.parametrize("qos", ["0", "1", "2"])
async def test_mosquitto_to_mosquitto(server: MQTTServer, qos: str) -> None:
    async with subscriber(server, *V5, "-t", "a/+/c", "-q", qos, "-F", "%t %q %p", "-C", "2") as heard:
        for topic, text in (("a/b/c", "one"), ("a/b", "other"), ("a/x/c", "two")):
            await publish(server, "-t", topic, "-m", text, "-q", qos)
        assert await heard == (0, f"a/b/c {qos} one\na/x/c {qos} two\n")


@pytest.mark.parametrize("qos", ["1", "2"])
async def test_mosquitto_many(server: MQTTServer, qos: str) -> None:
    async with subscriber(server, *V5, "-t", "a", "-q", qos, "-C", "300") as heard:
        await publish(server, "-t", "a", "-m", "m", "-q", qos, "--repeat", "300")
        assert await heard == (0, "m\n" * 300)


async def test_mosquitto_properties(server: MQTTServer) -> None:
    form = "%t %p %C %R %D %P %E"
    async with subscriber(server, *V5, "-t", "a", "-q", "1", "-F", form, "-C", "1") as heard:
        given = ("content-type text", "response-topic re/ply", "correlation-data c1", "message-expiry-interval 77")
        properties = [word for each in given for word in ("-D", "publish", *each.split())]
        pair = ("-D", "publish", "user-property", "key", "value")
        await publish(server, "-t", "a", "-m", "x", "-q", "1", *properties, *pair)
        assert await heard == (0, "a x text re/ply c1 key:value 77\n")


async def test_mosquitto_retained(server: MQTTServer) -> None:
    await publish(server, "-t", "a", "-m", "kept", "-r", "-q", "2")
    await publish(server, "-t", "b", "-m", "gone", "-r", "-q", "1", "-D", "publish", "message-expiry-interval", "0")
    heard = ("-t", "#", "-F", "%t %p %r", "-C", "1")
    assert await run("mosquitto_sub", server, *V5, *heard) == (0, "a kept 1\n")


async def test_mosquitto_session_expiry(server: MQTTServer) -> None:
    session = (*V5, "-i", "keeper", "-c", "-q", "2", "-t", "a")
    for life, text in (("100", "two\n"), ("0", "")):
        assert await run("mosquitto_sub", server, *session, "-x", life, "-E") == OK
        await publish(server, "-t", "a", "-m", "two", "-q", "2")
        assert bool("keeper" in server.broker.sessions) is bool(text)
        if text:
            assert await run("mosquitto_sub", server, *session, "-x", "100", "-C", "1") == (0, text)


async def test_mosquitto_will_delay(server: MQTTServer) -> None:
    will = ("--will-topic", "will", "--will-payload", "gone", "-D", "will", "will-delay-interval", "1", "-x", "50")
    async with subscriber(server, *V5, "-t", "will", "-C", "1") as heard:
        assert await run("mosquitto_sub", server, *V5, "-i", "dying", "-t", "never", *will, wait=0.5) == (None, "")
        assert await heard == (0, "gone\n")


async def test_mosquitto_shared(server: MQTTServer) -> None:
    shared = (*V5, "-t", "$share/g/a", "-q", "1", "-C", "2")
    async with subscriber(server, *shared) as one, subscriber(server, *shared) as two:
        for each in range(4):
            await publish(server, "-t", "a", "-m", str(each), "-q", "1")
        heard = sorted([*(await one)[1].split(), *(await two)[1].split()])
        assert heard == ["0", "1", "2", "3"]


async def test_mosquitto_asks_and_is_answered() -> None:
    class Answering(Recorder):
        async def answer(self, event: dict[str, Any], send: Any) -> None:
            await super().answer(event, send)
            if event["type"] == "mqtt.receive" and "response_topic" in event["properties"]:
                given = event["properties"]
                reply = {"topic": given["response_topic"], "payload": event["payload"][::-1], "qos": 1}
                data = given.get("correlation_data")
                await send({"type": "mqtt.send", **reply, "properties": {"correlation_data": data} if data else {}})

    async with serving(Answering()) as server:
        asking = ("-t", "ask", "-e", "re/1", "-m", "abc", "-q", "1", "-D", "publish", "correlation-data", "c")
        assert await run("mosquitto_rr", server, *V5, *asking) == (0, "cba\n")


async def test_paho(server: MQTTServer) -> None:
    def talk() -> None:
        with (
            Paho(number(server), "ann", 5, TopicAliasMaximum=5, ReceiveMaximum=2) as ann,
            Paho(number(server), "bob", 5) as bob,
        ):
            assert not ann.present
            assert [ann.subscribe("a/#", identifier=7), ann.subscribe("a/+", identifier=9, qos=1)] == [[2], [1]]
            pairs = [("k", "1"), ("k", "2")]
            bob.publish("a/b", b"x", 2, UserProperty=pairs, ContentType="t", CorrelationData=b"\0c")
            heard = ann.message()
            assert (heard.topic, heard.payload, heard.qos) == ("a/b", b"x", 2)
            told: Any = heard.properties
            assert (told.UserProperty, told.ContentType) == (pairs, "t")
            assert sorted(told.SubscriptionIdentifier) == [7, 9]
            for each in range(50):
                bob.publish("a/b", b"%d" % each, each % 3)
            bob.publish("a/b", b"last", 2)
            found = [ann.message().payload for _ in range(51)]
            assert set(found) == {b"last", *(b"%d" % each for each in range(50))}

    await asyncio.to_thread(talk)


async def test_paho_retained_and_options(server: MQTTServer) -> None:
    def talk() -> None:
        with Paho(number(server), "ann", 5) as ann:
            ann.publish("a", b"old", 2, retain=True)
            ann.subscribe("a", qos=1, noLocal=True, retainHandling=0)
            old = ann.message()
            assert (old.payload, old.retain) == (b"old", True)
            ann.publish("a", b"mine", 2)
            ann.subscribe("b", qos=1, retainAsPublished=True)
            ann.publish("b", b"new", 2, retain=True)
            new = ann.message()
            assert (new.payload, new.retain) == (b"new", True)

    await asyncio.to_thread(talk)


async def test_paho_session(server: MQTTServer) -> None:
    def talk() -> None:
        with Paho(number(server), "ann", 5, clean=False, SessionExpiryInterval=100) as ann:
            ann.subscribe("a", qos=2)
        with Paho(number(server), "bob", 5) as bob:
            bob.publish("a", b"missed", 2)
        with Paho(number(server), "ann", 5, clean=False, SessionExpiryInterval=0) as ann:
            assert ann.present
            assert ann.message().payload == b"missed"

    await asyncio.to_thread(talk)
    await until(lambda: not server.broker.sessions)


async def test_gmqtt(server: MQTTServer) -> None:
    heard: asyncio.Queue[tuple[str, bytes, int, Any]] = asyncio.Queue()
    subscribed = asyncio.Event()

    async def on_message(client: Any, topic: str, payload: bytes, qos: int, properties: Any) -> int:
        heard.put_nowait((topic, payload, qos, properties.get("user_property")))
        return 0

    client = gmqtt.Client("ann", session_expiry_interval=60)
    client.on_message = on_message
    client.on_subscribe = lambda *_: subscribed.set()
    async with asyncio.timeout(2 * LIMIT):
        await client.connect("127.0.0.1", int(port(server)), version=5)
        client.subscribe("a/#", qos=2)
        await subscribed.wait()
        for qos in (0, 1, 2):
            client.publish("a/1", b"%d" % qos, qos=qos, user_property=[("k", "v")])
        found = sorted([await heard.get() for _ in range(3)], key=lambda each: each[1])
        await client.disconnect()
    assert [each[:3] for each in found] == [("a/1", b"%d" % qos, qos) for qos in (0, 1, 2)]
    assert all(("k", "v") in [tuple(pair) for pair in each[3]] for each in found)


async def test_amqtt(server: MQTTServer) -> None:
    """3.1.1, at QoS 0 to 2, both ways."""
    async with asyncio.timeout(3 * LIMIT):
        client = MQTTClient(client_id="ann", config={"auto_reconnect": False})
        await client.connect(f"mqtt://127.0.0.1:{port(server)}/")
        assert await client.subscribe([("a/#", 2)]) == [2]
        for qos in (0, 1, 2):
            await client.publish(f"a/{qos}", b"%d" % qos, qos=qos)
        found = set()
        for _ in range(3):
            message = await client.deliver_message()
            assert message is not None
            found.add((message.topic, bytes(message.data or b""), message.qos))
        await client.disconnect()
    assert found == {(f"a/{qos}", b"%d" % qos, qos) for qos in (0, 1, 2)}
