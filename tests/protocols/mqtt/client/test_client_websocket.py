"""The client over WebSocket: Mosquitto, our own server behind our own HTTP server, and what is not a broker."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import websockets
from client_desk import App, client, ready
from servers.certificates import make
from servers.mosquitto import Mosquitto, mosquitto
from servers.ports import free_port
from waiting import until

from protocols import HTTPServer, HTTPSettings
from protocols.mqtt import MQTTServer, MQTTSettings


@pytest.fixture
def broker() -> Iterator[tuple[Mosquitto, str]]:
    """Mosquitto, and its URL for websockets."""
    port = free_port()
    with mosquitto(lines=(f"listener {port} 127.0.0.1", "protocol websockets")) as broker:
        yield broker, f"ws://127.0.0.1:{port}"


@pytest.mark.parametrize("version", ["5.0", "3.1.1"])
async def test_both_ways_through_mosquitto(broker: tuple[Mosquitto, str], version: str) -> None:
    async def handle(event: Any, send: Any) -> None:
        await send({"type": "mqtt.send", "topic": "out", "payload": event["payload"], "qos": event["qos"]})

    mosquitto, url = broker
    app = App(handle)
    with mosquitto.subscriber("out", 3, "-q", "2") as heard:
        async with client(app, f"{url}/mqtt", version=version, qos=2) as server:
            await ready(server)
            for qos in ("0", "1", "2"):
                mosquitto.publish("t", qos, "-q", qos)
                await until(lambda qos=qos: app.payloads()[-1:] == [qos.encode()])
            output, _ = await asyncio.to_thread(heard.communicate, None, 10)
    assert [line for line in output.splitlines() if line in (b"0", b"1", b"2")] == [b"0", b"1", b"2"]
    [scope] = app.scopes
    assert (scope["transport"], scope["extensions"]) == ("websocket", {})
    assert scope["client"][0] == "127.0.0.1"
    assert scope["server"][0] == "127.0.0.1"


async def test_large_messages_and_many(broker: tuple[Mosquitto, str]) -> None:
    mosquitto, url = broker
    app = App()
    async with client(app, url, max_unacked=2) as server:
        await ready(server)
        mosquitto.publish("t", "x" * 100_000, "-q", "1")
        await asyncio.to_thread(mosquitto.publish_lines, "t", [str(number) for number in range(200)])
        await until(lambda: len(app.payloads()) == 201)
    assert app.payloads() == [b"x" * 100_000, *(str(number).encode() for number in range(200))]


async def test_a_message_that_is_too_large_does_not_hold_up_the_next(
    broker: tuple[Mosquitto, str], caplog: pytest.LogCaptureFixture
) -> None:
    """A broker of 3.1.1 does not know how much we take, and a frame holds all of it."""
    mosquitto, url = broker
    app = App()
    async with client(app, url, version="3.1.1", max_packet=1000) as server:
        await ready(server)
        mosquitto.publish("t/large", "x" * 100_000, "-q", "1")
        mosquitto.publish("t/small", "x", "-q", "1")
        await until(app.payloads)
    assert app.payloads() == [b"x"]
    assert "a message to 't/large' is lost: its 100011 bytes are more than max_packet, 1000" in caplog.text


async def test_a_killed_broker_is_found_again(broker: tuple[Mosquitto, str], caplog: pytest.LogCaptureFixture) -> None:
    mosquitto, url = broker
    app = App()
    async with client(app, url) as server:
        await ready(server)
        mosquitto.stop(signal.SIGKILL)
        await until(lambda: "connection refused; next try in" in server.status.detail)
        assert app.events[-1]["clean"] is False
        mosquitto.start()
        await ready(server)
        mosquitto.publish("t", "after", "-q", "1")
        await until(lambda: app.payloads() == [b"after"])
    assert not [record for record in caplog.records if record.exc_info]


async def test_tls(tmp_path: Path) -> None:
    pair = make(tmp_path)
    port = free_port()
    lines = (f"listener {port} 127.0.0.1", "protocol websockets", f"certfile {pair.certificate}", f"keyfile {pair.key}")
    with mosquitto(lines=lines) as broker:
        async with client(App(), f"wss://localhost:{port}") as server:
            await until(lambda: server.status.detail.startswith("TLS: "))
        app = App()
        async with client(app, f"wss://localhost:{port}/mqtt", ca=pair.certificate) as server:
            await ready(server)
            broker.publish("t", "x", "-q", "1")
            await until(app.payloads)
        assert app.scopes[0]["extensions"] == {"tls": {}}


@contextlib.asynccontextmanager
async def our_own() -> AsyncIterator[str]:
    async with MQTTServer(App(), MQTTSettings(bind="127.0.0.1:0"), state={}) as server:

        async def mount(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "websocket" and scope["path"] == "/mqtt":
                await server.websocket(scope, receive, send)
            elif scope["type"] == "http":
                await send({"type": "http.response.start", "status": 404, "headers": []})
                await send({"type": "http.response.body", "body": b""})
            elif scope["type"] == "websocket":
                await receive()
                await send({"type": "websocket.close"})

        async with HTTPServer(mount, HTTPSettings(bind="127.0.0.1:0")) as web:
            yield web.address


async def test_our_own_server_is_a_broker_too() -> None:
    app = App()
    async with our_own() as address, client(app, f"ws://{address}/mqtt", qos=2) as server:
        await ready(server)
        for qos in (0, 1, 2):
            await server.publish({"type": "mqtt.send", "topic": "t", "payload": b"%d" % qos, "qos": qos})
            await until(lambda qos=qos: app.payloads()[-1:] == [b"%d" % qos])
    assert app.payloads() == [b"0", b"1", b"2"]


async def test_what_is_no_broker_is_one_sentence(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="protocols")

    async def other(socket: Any) -> None:
        await socket.wait_closed()

    async def babble(socket: Any) -> None:
        await socket.send("text")
        await socket.wait_closed()

    async with our_own() as address, websockets.serve(other, "127.0.0.1", 0) as plain:
        port = plain.sockets[0].getsockname()[1]
        async with websockets.serve(babble, "127.0.0.1", 0, subprotocols=["mqtt"]) as texts:
            for url, sentence in (
                (f"ws://{address}/other", "there is no WebSocket (HTTP 403)"),
                (f"ws://127.0.0.1:{port}", "there is a WebSocket, but no MQTT over it"),
                (f"ws://127.0.0.1:{texts.sockets[0].getsockname()[1]}", "the connection is lost"),
                (f"ws://127.0.0.1:{free_port()}", "connection refused"),
                ("ws://no-such-host.invalid/mqtt", "there is no host 'no-such-host.invalid'"),
            ):
                async with client(App(), url) as server:
                    await until(lambda server=server: "next try" in server.status.detail)
                    assert server.status.detail.startswith(sentence), url
    assert "Traceback" not in caplog.text
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_broker_that_does_not_read_does_not_hold_up_the_end() -> None:
    """What waits to be sent is let go."""

    async def silent(socket: Any) -> None:
        await socket.recv()
        await socket.send(b"\x20\x03\0\0\0")
        socket.transport.pause_reading()
        await socket.wait_closed()

    broker = websockets.serve(silent, "127.0.0.1", 0, subprotocols=["mqtt"], close_timeout=0.1)
    async with broker as listener:
        url = f"ws://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        async with client(App(), url, subscribe=(), timeout=0.2) as server:
            await ready(server)
            event = {"type": "mqtt.send", "topic": "t", "payload": b"x" * 1_000_000, "qos": 0}
            with pytest.raises(OSError, match="does not read"):
                for _ in range(100):
                    await server.publish(event)
            await until(lambda: "next try" in server.status.detail or server.status.state == "ready")
