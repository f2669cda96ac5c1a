"""MQTT: neither handlers nor peers keep the event loop from its turn."""

import asyncio
from typing import Any

import pytest
from client_desk import client, ready
from mqtt_peer import LIMIT, Recorder, connected, publish, serving
from turns import LONGEST, counted
from waiting import until

MANY = 20_000
SEND = {"type": "mqtt.send", "topic": "a/b", "payload": b"x", "qos": 0, "retain": False}


async def _flood(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "mqtt.accept"})
    for _ in range(MANY):
        await send(SEND)
    await receive()


async def test_a_handler_that_sends_on_and_on() -> None:
    done = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await _flood(scope, receive, send)
        done.set()

    async with serving(app) as server, counted() as turns, connected(server):
        await asyncio.sleep(0)
    async with asyncio.timeout(LIMIT):
        await done.wait()
    assert turns.longest < LONGEST


@pytest.mark.parametrize("role", ["server", "client"])
async def test_who_publishes_on_and_on_outside_a_connection(role: str) -> None:
    async with serving(Recorder()) as server, client(Recorder(), f"mqtt://{server.address}") as other:
        await ready(other)
        async with counted() as turns, asyncio.timeout(4 * LIMIT):
            for _ in range(MANY):
                await (server if role == "server" else other).publish(SEND)
    assert turns.longest < LONGEST


async def test_a_handler_that_sends_on_and_on_to_a_broker() -> None:
    done = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "mqtt.accept"})
        for _ in range(MANY):
            await send(SEND)
        done.set()
        await receive()

    async with serving(Recorder()) as server, counted() as turns, client(app, f"mqtt://{server.address}"):
        async with asyncio.timeout(4 * LIMIT):
            await done.wait()
    assert turns.longest < LONGEST


async def test_a_device_that_publishes_on_and_on() -> None:
    app = Recorder()
    async with serving(app) as server, counted() as turns, connected(server) as device:
        await device.say(*(publish("a", b"x") for _ in range(MANY)), publish("a", b"last", packet_id=1))
        await device.expect(b"\x40\x02\x00\x01")
    assert turns.longest < LONGEST


async def test_stop_tells_a_listener_before_it_cancels() -> None:
    """Whose handler is at work, and which listens beside it."""
    order: list[str] = []
    busy = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "mqtt.accept"})
        await receive()
        busy.set()
        try:
            order.append((await receive())["type"])
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            order.append("cancelled")
            raise

    async with serving(app) as server, connected(server) as device:
        await device.say(publish("a", b"x", packet_id=1))
        await busy.wait()
        await server.stop(0.05)
    assert order == ["mqtt.disconnect", "cancelled"]


@pytest.mark.parametrize("grace", [0.05, 0.0])
async def test_how_long_a_handler_goes_on_whose_device_has_left_is_a_setting(grace: float) -> None:
    ended: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "mqtt.accept"})
        ended.append("begun")
        try:
            await asyncio.sleep(0.3)
            ended.append("done")
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async with serving(app, disconnect_grace=grace) as server:
        async with connected(server) as device:
            device.hang_up()
        await until(lambda: len(ended) == 2)
    assert ended == ["begun", "cancelled" if grace else "done"]
