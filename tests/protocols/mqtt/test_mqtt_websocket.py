"""MQTT over WebSocket: paho through our own HTTP server, and what is no MQTT."""

import asyncio
import contextlib
import queue
from collections.abc import AsyncIterator
from typing import Any

import httpx
import paho.mqtt.client as paho
import pytest
import websockets
from mqtt_peer import PINGREQ, PINGRESP, connect
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from waiting import until

from protocols import HTTPServer, HTTPSettings
from protocols.mqtt import MQTTServer, MQTTSettings
from protocols.mqtt.settings import MQTTWebSocket

LIMIT = 5.0


def browser(address: str) -> Any:
    """A WebSocket client that asks for MQTT."""
    return websockets.connect(f"ws://{address}/mqtt", subprotocols=["mqtt"])


@contextlib.asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[tuple[MQTTServer, str, list[Any]]]:
    scopes: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        while (event := await receive())["type"] != "mqtt.disconnect":
            if event["type"] == "mqtt.connect":
                await send({"type": "mqtt.accept"})
            elif event["id"] is not None:
                await send({"type": "mqtt.ack", "id": event["id"]})

    async with MQTTServer(app, MQTTSettings(bind="127.0.0.1:0", **settings), state={}) as server:

        async def mount(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "lifespan":
                await server.websocket(scope, receive, send)

        async with HTTPServer(mount, HTTPSettings(bind="127.0.0.1:0")) as web:
            yield server, web.address, scopes


def talk(address: str, version: MQTTProtocolVersion) -> list[tuple[str, bytes, int]]:
    heard: queue.Queue[Any] = queue.Queue()
    subscribed: queue.Queue[Any] = queue.Queue()
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="w", protocol=version, transport="websockets")
    client.ws_set_options("/mqtt")
    client.on_message = lambda client, data, message: heard.put(message)
    client.on_subscribe = lambda *_: subscribed.put("suback")
    host, _, port = address.rpartition(":")
    client.connect(host, int(port))
    client.loop_start()
    try:
        client.subscribe("a/#", 2)
        subscribed.get(timeout=LIMIT)
        sent = (("a/0", b"", 0), ("a/1", b"x" * 200_000, 1), ("a/2", b"y", 2))
        for topic, payload, qos in sent:
            client.publish(topic, payload, qos).wait_for_publish(LIMIT)
        got = [heard.get(timeout=LIMIT) for _ in sent]
        return sorted((message.topic, message.payload, message.qos) for message in got)
    finally:
        client.disconnect()
        client.loop_stop()


@pytest.mark.parametrize("version", [MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5])
async def test_paho(version: MQTTProtocolVersion) -> None:
    async with serving() as (_, address, scopes):
        heard = await asyncio.to_thread(talk, address, version)
    assert heard == [("a/0", b"", 0), ("a/1", b"x" * 200_000, 1), ("a/2", b"y", 2)]
    (scope,) = scopes
    assert (scope["transport"], scope["protocol_version"]) == ("websocket", "5.0" if version == 5 else "3.1.1")
    assert scope["client"][0] == "127.0.0.1"


async def test_frames_may_hold_any_part_of_packets() -> None:
    async with serving() as (_, address, _), browser(address) as peer:
        for byte in connect("slow") + PINGREQ:
            await peer.send(b"")
            await peer.send(bytes((byte,)))
        heard = b""
        while not heard.endswith(PINGRESP):
            data = await asyncio.wait_for(peer.recv(), LIMIT)
            assert isinstance(data, bytes)
            heard += data


async def test_text_is_no_mqtt() -> None:
    async with serving() as (_, address, _), browser(address) as peer:
        await peer.send("hello")
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await asyncio.wait_for(peer.recv(), LIMIT)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1003


async def test_what_is_no_mqtt_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as (_, address, _), browser(address) as peer:
        for _ in range(20):
            await peer.send(b"GET / HTTP/1.1")
        with pytest.raises(websockets.ConnectionClosed):
            await asyncio.wait_for(peer.recv(), LIMIT)
    (line,) = caplog.messages
    assert "not MQTT" in line
    assert line.endswith("(it looks like HTTP)")


async def test_who_does_not_speak_it_is_told() -> None:
    async with serving() as (_, address, _):
        with pytest.raises(websockets.InvalidStatus):
            await websockets.connect(f"ws://{address}/mqtt")
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"http://{address}/mqtt")).status_code == 426


@pytest.mark.parametrize(
    ("origin", "welcome"),
    [("http://HOST", True), ("https://HOST", True), ("https://app.example", True), ("https://evil.example", False)],
)
async def test_pages_of_other_sites_are_refused(origin: str, welcome: bool) -> None:
    place = MQTTWebSocket(on="web", origins=("https://app.example",))
    async with serving(websocket=place) as (_, address, _):
        page = origin.replace("HOST", address)
        connecting = websockets.connect(f"ws://{address}/mqtt", subprotocols=["mqtt"], origin=page)
        if welcome:
            async with connecting as peer:
                assert peer.subprotocol == "mqtt"
        else:
            with pytest.raises(websockets.InvalidStatus):
                await connecting


async def test_the_limit_of_connections_is_one() -> None:
    async with serving(max_connections=1) as (_, address, _), browser(address) as first:
        await first.send(connect("one"))
        await asyncio.wait_for(first.recv(), LIMIT)
        with pytest.raises(websockets.InvalidStatus):
            await browser(address)


async def test_a_client_that_leaves_has_left() -> None:
    async with serving() as (server, address, _), browser(address) as peer:
        await peer.send(connect("brief"))
        await asyncio.wait_for(peer.recv(), LIMIT)
        assert server.active() == {"mqtt": 1}
        await peer.close()
        await until(lambda: not server.active())
