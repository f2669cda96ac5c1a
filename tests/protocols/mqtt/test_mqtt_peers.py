"""Other people's clients against our server: Mosquitto's, paho, gmqtt."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import gmqtt
import pytest
from mqtt_paho import Paho
from mqtt_peer import LIMIT, Recorder, serving
from servers.programs import program
from waiting import until

from protocols.mqtt import MQTTServer


@pytest.fixture
async def server() -> AsyncIterator[MQTTServer]:
    async with serving(Recorder()) as server:
        yield server


def port(server: MQTTServer) -> str:
    return server.address.rpartition(":")[2]


def number(server: MQTTServer) -> int:
    return int(port(server))


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


async def test_paho(server: MQTTServer) -> None:
    def talk() -> None:
        with Paho(number(server), "ann", 4) as ann, Paho(number(server), "bob", 4) as bob:
            assert not ann.present
            ann.client.subscribe([("a/#", 1), ("b", 2), ("c", 0)])
            assert ann.subacks.get(timeout=LIMIT) == [1, 2, 0]
            for topic, qos in (("a", 1), ("a/b", 0), ("b", 1), ("c", 1)):
                bob.publish(topic, b"x", qos)
            assert sorted(ann.hear() for _ in range(4)) == [
                ("a", b"x", 1, False),
                ("a/b", b"x", 0, False),
                ("b", b"x", 1, False),
                ("c", b"x", 0, False),
            ]

    await asyncio.to_thread(talk)


async def test_paho_session_and_takeover(server: MQTTServer) -> None:
    def ann() -> Paho:
        return Paho(number(server), "ann", 4, clean=False)

    def talk() -> None:
        with ann() as first, Paho(number(server), "bob", 4) as bob:
            first.subscribe("a", qos=1)
            first.leave()
            bob.publish("a", b"missed", 1)
            with ann() as again:
                assert again.present
                assert again.hear() == ("a", b"missed", 1, False)
                with ann() as third:
                    assert third.present
                    assert again.lost.get(timeout=LIMIT) != 0

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
