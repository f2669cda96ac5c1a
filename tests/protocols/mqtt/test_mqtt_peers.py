"""Other people's clients against our server: Mosquitto's, paho, gmqtt."""

import asyncio
import contextlib
import queue
from collections.abc import AsyncIterator
from typing import Any

import gmqtt
import pytest
from mqtt_peer import LIMIT, Recorder, serving
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from servers.programs import program
from waiting import until

from protocols.mqtt import MQTTServer


@pytest.fixture
async def server() -> AsyncIterator[MQTTServer]:
    async with serving(Recorder()) as server:
        yield server


def port(server: MQTTServer) -> str:
    return server.address.rpartition(":")[2]


async def run(name: str, server: MQTTServer, *arguments: str, wait: float = LIMIT) -> tuple[int | None, str]:
    """The exit code (None: killed after ``wait`` seconds) and what the program printed."""
    process = await asyncio.create_subprocess_exec(
        program(name), "-p", port(server), *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(wait):
            output, _ = await process.communicate()
        return process.returncode, output.decode()
    except TimeoutError:
        process.kill()
        output, _ = await process.communicate()
        return None, output.decode()


@contextlib.asynccontextmanager
async def subscriber(server: MQTTServer, *arguments: str) -> AsyncIterator[asyncio.Task[tuple[int | None, str]]]:
    """mosquitto_sub, subscribed."""
    program("mosquitto_sub")
    before = len(server.broker.matches["probe/x"])
    task = asyncio.ensure_future(run("mosquitto_sub", server, "-t", "probe/x", *arguments, wait=2 * LIMIT))
    await until(lambda: len(server.broker.matches["probe/x"]) > before)
    yield task
    await task


@pytest.mark.parametrize("qos", ["0", "1"])
async def test_mosquitto_to_mosquitto(server: MQTTServer, qos: str) -> None:
    async with subscriber(server, "-t", "a/+/c", "-q", qos, "-v", "-C", "2") as heard:
        assert await run("mosquitto_pub", server, "-t", "a/b/c", "-m", "one", "-q", qos) == (0, "")
        assert await run("mosquitto_pub", server, "-t", "a/b", "-m", "other", "-q", qos) == (0, "")
        assert await run("mosquitto_pub", server, "-t", "a/x/c", "-m", "two", "-q", qos) == (0, "")
        assert await heard == (0, "a/b/c one\na/x/c two\n")


async def test_mosquitto_retained(server: MQTTServer) -> None:
    for topic in ("house/a", "house/b", "garden"):
        assert await run("mosquitto_pub", server, "-t", topic, "-m", topic, "-r", "-q", "1") == (0, "")
    assert await run("mosquitto_pub", server, "-t", "house/b", "-n", "-r") == (0, "")
    code, output = await run("mosquitto_sub", server, "-t", "#", "-C", "2", "-F", "%t %p %r")
    assert code == 0
    assert sorted(output.splitlines()) == ["garden garden 1", "house/a house/a 1"]


async def test_mosquitto_will(server: MQTTServer) -> None:
    async with subscriber(server, "-t", "will", "-C", "1") as heard:
        # It subscribes, prints nothing and is killed.
        will = ("--will-topic", "will", "--will-payload", "gone", "--will-qos", "1")
        assert await run("mosquitto_sub", server, "-t", "never", *will, wait=0.5) == (None, "")
        assert await heard == (0, "gone\n")


async def test_mosquitto_session(server: MQTTServer) -> None:
    session = ("-i", "keeper", "-c", "-q", "1", "-t", "a")
    assert await run("mosquitto_sub", server, *session, "-E") == (0, "")
    for text in ("one", "two"):
        assert await run("mosquitto_pub", server, "-t", "a", "-m", text, "-q", "1") == (0, "")
    assert await run("mosquitto_sub", server, *session, "-C", "2") == (0, "one\ntwo\n")


async def test_mosquitto_big_and_many(server: MQTTServer) -> None:
    async with subscriber(server, "-t", "big", "-C", "1") as heard:
        assert await run("mosquitto_pub", server, "-t", "big", "-m", "x" * 100_000, "-q", "1") == (0, "")
        assert await heard == (0, "x" * 100_000 + "\n")
    assert await run("mosquitto_pub", server, "-t", "a", "-m", "m", "-q", "1", "--repeat", "500") == (0, "")


async def test_mosquitto_gets_no_puback_from_a_handler_that_raises() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "mqtt.receive":
            await send({"type": "mqtt.accept"})
        raise RuntimeError("broken")

    async with serving(app) as server:
        code, output = await run("mosquitto_pub", server, "-t", "a", "-m", "m", "-q", "1", wait=1)
    assert code != 0
    assert "connection was lost" in output


async def test_mosquitto_is_rejected() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        connect = await receive()
        assert (connect["username"], connect["password"]) == ("ann", b"wrong")
        await send({"type": "mqtt.reject", "reason_code": 0x86})

    async with serving(app) as server:
        credentials = ("-u", "ann", "-P", "wrong")
        code, output = await run("mosquitto_pub", server, *credentials, "-t", "a", "-m", "m", "-q", "1")
    assert code == 4
    assert "bad user name or password" in output.lower()


class Paho:
    """A paho client on a thread of its own; what it hears is in queues."""

    def __init__(self, server: MQTTServer, client_id: str, *, clean: bool = True) -> None:
        self.messages: queue.Queue[paho.MQTTMessage] = queue.Queue()
        self.events: queue.Queue[tuple[str, Any]] = queue.Queue()
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=clean)
        self.client.on_message = lambda client, data, message: self.messages.put(message)
        self.client.on_subscribe = lambda client, data, mid, codes, properties: self.events.put(("suback", codes))
        self.client.on_connect = lambda client, data, flags, code, properties: self.events.put(("connack", flags))
        self.client.on_disconnect = lambda client, data, flags, code, properties: self.events.put(("lost", code))
        self.port = int(port(server))

    def __enter__(self) -> "Paho":
        self.client.connect("127.0.0.1", self.port)
        self.client.loop_start()
        return self

    def __exit__(self, *error: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def event(self, kind: str) -> Any:
        name, value = self.events.get(timeout=LIMIT)
        assert name == kind
        return value

    def message(self) -> tuple[str, bytes, int, bool]:
        message = self.messages.get(timeout=LIMIT)
        return message.topic, message.payload, message.qos, message.retain


async def test_paho(server: MQTTServer) -> None:
    def talk() -> None:
        with Paho(server, "ann") as ann, Paho(server, "bob") as bob:
            assert not ann.event("connack").session_present
            ann.client.subscribe([("a/#", 1), ("b", 2), ("c", 0)])
            assert [code.value for code in ann.event("suback")] == [1, 2, 0]
            for topic, qos in (("a", 1), ("a/b", 0), ("b", 1), ("c", 1)):
                bob.client.publish(topic, b"x", qos).wait_for_publish(LIMIT)
            heard = sorted(ann.message() for _ in range(4))
            assert heard == [
                ("a", b"x", 1, False),
                ("a/b", b"x", 0, False),
                ("b", b"x", 1, False),
                ("c", b"x", 0, False),
            ]

    await asyncio.to_thread(talk)


async def test_paho_session_and_takeover(server: MQTTServer) -> None:
    def talk() -> None:
        with Paho(server, "ann", clean=False) as ann, Paho(server, "bob") as bob:
            ann.event("connack")
            ann.client.subscribe("a", 1)
            ann.event("suback")
            ann.client.disconnect()
            ann.event("lost")
            bob.client.publish("a", b"missed", 1).wait_for_publish(LIMIT)
            with Paho(server, "ann", clean=False) as again:
                assert again.event("connack").session_present
                assert again.message() == ("a", b"missed", 1, False)
                with Paho(server, "ann", clean=False) as third:
                    assert third.event("connack").session_present
                    assert again.event("lost").value != 0
                    again.client.disconnect()

    await asyncio.to_thread(talk)


async def test_gmqtt(server: MQTTServer) -> None:
    heard: asyncio.Queue[tuple[str, bytes, int]] = asyncio.Queue()
    subscribed = asyncio.Event()

    async def on_message(client: Any, topic: str, payload: bytes, qos: int, properties: Any) -> int:
        heard.put_nowait((topic, payload, qos))
        return 0

    client = gmqtt.Client("ann")
    client.on_message = on_message
    client.on_subscribe = lambda *_: subscribed.set()
    async with asyncio.timeout(2 * LIMIT):
        await client.connect("127.0.0.1", int(port(server)), version=4)
        client.subscribe("a/#", qos=1)
        await subscribed.wait()
        client.publish("a/1", b"x", qos=1)
        client.publish("a/2", b"y", qos=0)
        assert sorted([await heard.get(), await heard.get()]) == [("a/1", b"x", 1), ("a/2", b"y", 0)]
        await client.disconnect()
