"""What the tests of the MQTT client share: an application that remembers, and a broker that follows a script."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from waiting import until

from protocols.mqtt.client.client import MQTTClient, MQTTClientSettings

LIMIT = 10.0


class App:
    """Accepts, remembers, and acknowledges what ``handle`` (if any) did not crash on."""

    def __init__(self, handle: Callable[[Any, Any], Any] | None = None) -> None:
        self.handle = handle
        self.scopes: list[Any] = []
        self.events: list[Any] = []

    def payloads(self) -> list[bytes]:
        return [event["payload"] for event in self.events if event["type"] == "mqtt.receive"]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "mqtt":
            return
        self.scopes.append(scope)
        while True:
            event = await receive()
            self.events.append(event)
            if event["type"] == "mqtt.connect":
                await send({"type": "mqtt.accept"})
            if event["type"] == "mqtt.disconnect":
                return
            if event["type"] == "mqtt.receive":
                if self.handle is not None:
                    await self.handle(event, send)
                if event["id"] is not None:
                    await send({"type": "mqtt.ack", "id": event["id"]})


def lines(log: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    return [record.getMessage() for record in log.records if record.levelno >= level]


def settings(url: str, **changes: Any) -> MQTTClientSettings:
    return MQTTClientSettings(url=url, **{"subscribe": ("t/#",), "retry": 0.02, "retry_max": 0.2, **changes})


@contextlib.asynccontextmanager
async def client(app: Any, url: str, **changes: Any) -> AsyncIterator[MQTTClient]:
    async with MQTTClient(app, settings(url, **changes), name="plant", state={"answer": 42}) as server:
        yield server


async def ready(server: MQTTClient) -> None:
    await until(lambda: server.status.state == "ready")


class Peer:
    """A broker's end of one connection, packet by packet."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        """The next packet, without its length; PINGREQ is passed over."""
        first = (await self._reader.readexactly(1))[0]
        length = shift = 0
        while True:
            byte = (await self._reader.readexactly(1))[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 128:
                break
        body = await self._reader.readexactly(length)
        return bytes((first,)) + body if first != 0xC0 else await self.read()

    def say(self, first: int, body: bytes = b"") -> None:
        assert len(body) < 128
        self._writer.write(bytes((first, len(body))) + body)

    def say_all(self, packets: bytes) -> None:
        self._writer.write(packets)

    async def close(self) -> None:
        """What was said still arrives."""
        self._writer.close()
        await self._writer.wait_closed()

    async def welcome(self, *, session: bool = False, properties: bytes = b"") -> None:
        """CONNECT and CONNACK."""
        assert (await self.read())[0] == 0x10
        self.say(0x20, bytes((session, 0, len(properties))) + properties)

    def publish(self, id_: int, payload: bytes, *, qos: int = 2, dup: bool = False, topic: bytes = b"t") -> None:
        head = bytes((0, len(topic))) + topic + id_.to_bytes(2, "big") + b"\0"
        self.say(0x30 | dup << 3 | qos << 1, head + payload)

    async def silent(self) -> bool:
        """Whether the client says nothing for a while."""
        try:
            async with asyncio.timeout(0.1):
                await self.read()
        except TimeoutError:
            return True
        return False


@contextlib.asynccontextmanager
async def scripted(*script: Callable[[Peer], Awaitable[None]]) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """A broker whose connections follow the steps of ``script``, one each; its URL, and the end of the last one.

    A connection is closed when its step has ended. What a step raises fails the test.
    """
    steps, over, errors = list(script), asyncio.Event(), []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(LIMIT):
                if steps:
                    await steps.pop(0)(Peer(reader, writer))
        except Exception as error:
            errors.append(error)
            over.set()
        finally:
            if not steps:
                over.set()
            writer.transport.abort()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
        yield f"mqtt://127.0.0.1:{listener.sockets[0].getsockname()[1]}", over
    if errors:
        raise errors[0]
