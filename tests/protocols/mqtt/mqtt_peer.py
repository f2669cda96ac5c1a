"""A client on a raw socket that says whatever it is told to, and the applications that the tests run."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, Self

from argon2 import PasswordHasher
from mqtt_bytes import packet, short, string

from protocols.mqtt import MQTTServer, MQTTSettings
from protocols.mqtt.broker.journal import Changes, Persistence

LIMIT = 5.0
"""Seconds that any wait here may take."""

CONNACK = b"\x20\x02\x00\x00"
CONNACK_PRESENT = b"\x20\x02\x01\x00"
PINGREQ, PINGRESP = b"\xc0\x00", b"\xd0\x00"
DISCONNECT = b"\xe0\x00"

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
"""Hashes that cost a test nothing."""


def connect(
    client_id: str = "t1", *, clean: bool = True, keepalive: int = 0, will: tuple[str, bytes] | None = None
) -> bytes:
    flags = clean << 1 | (0x0C if will else 0)
    fields = string(client_id) + (string(will[0]) + string(will[1]) if will else b"")
    return packet(0x10, string("MQTT") + bytes((4, flags)) + short(keepalive) + fields)


def publish(
    topic: str | bytes, payload: bytes = b"", *, packet_id: int = 0, retain: bool = False, dup: bool = False
) -> bytes:
    """At QoS 1 with a packet identifier, at QoS 0 without."""
    number = short(packet_id) if packet_id else b""
    return packet(0x30 | bool(packet_id) << 1 | dup << 3 | retain, string(topic) + number + payload)


def puback(packet_id: int) -> bytes:
    return b"\x40\x02" + short(packet_id)


def subscribe(*filters: tuple[str, int], packet_id: int = 1) -> bytes:
    return packet(0x82, short(packet_id) + b"".join(string(name) + bytes((qos,)) for name, qos in filters))


def unsubscribe(*filters: str, packet_id: int = 1) -> bytes:
    return packet(0xA2, short(packet_id) + b"".join(map(string, filters)))


class Peer:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def say(self, *packets: bytes) -> None:
        self._writer.write(b"".join(packets))
        with contextlib.suppress(OSError):
            await self._writer.drain()

    async def hear(self) -> bytes:
        """The next packet; empty when the server has closed the connection."""
        async with asyncio.timeout(LIMIT):
            try:
                head = await self._reader.readexactly(2)
                size = head[1] & 0x7F
                shift = 7
                while head[-1] & 0x80:
                    head += await self._reader.readexactly(1)
                    size |= (head[-1] & 0x7F) << shift
                    shift += 7
                return head + await self._reader.readexactly(size)
            except (asyncio.IncompleteReadError, ConnectionResetError):
                return b""

    async def expect(self, *expected: bytes) -> None:
        for each in expected:
            assert await self.hear() == each

    async def ask(self, said: bytes, expected: bytes) -> None:
        await self.say(said)
        await self.expect(expected)

    def hang_up_gently(self) -> None:
        """What was said still arrives."""
        self._writer.close()

    def hang_up(self) -> None:
        """Without a word: the connection is reset."""
        self._writer.transport.abort()


async def dial(server: MQTTServer) -> Peer:
    host, _, port = server.address.rpartition(":")
    return Peer(*await asyncio.open_connection(host, int(port)))


@contextlib.asynccontextmanager
async def connected(server: MQTTServer, client_id: str = "t1", **options: Any) -> AsyncIterator[Peer]:
    """A client that was accepted without a session."""
    async with await dial(server) as peer:
        await peer.ask(connect(client_id, **options), CONNACK)
        yield peer


class Recorder:
    """An application that accepts everybody, acknowledges everything, and keeps what it was told."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.scopes: list[dict[str, Any]] = []
        self._news = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "mqtt":
            raise NotImplementedError
        self.scopes.append(scope)
        while True:
            event = await receive()
            self.events.append({**event, "client_id": scope["client_id"]})
            self._news.set()
            if event["type"] == "mqtt.disconnect":
                return
            await self.answer(event, send)

    async def answer(self, event: dict[str, Any], send: Any) -> None:
        if event["type"] == "mqtt.connect":
            await send({"type": "mqtt.accept"})
        elif event["id"] is not None:
            await send({"type": "mqtt.ack", "id": event["id"]})

    async def seen(self, kind: str, count: int = 1) -> Sequence[dict[str, Any]]:
        """Wait for ``count`` events of a type; all of that type."""
        async with asyncio.timeout(LIMIT):
            while len(found := [event for event in self.events if event["type"] == kind]) < count:
                self._news.clear()
                await self._news.wait()
        return found


class Kept(Persistence):
    """State that outlives a server, in this process."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    async def load(self) -> dict[str, bytes]:
        return dict(self.values)

    async def commit(self, changes: Changes) -> None:
        for key, value in changes.items():
            if value is None:
                self.values.pop(key, None)
            else:
                self.values[key] = value


@contextlib.asynccontextmanager
async def serving(app: Any, persistence: Persistence | None = None, **settings: Any) -> AsyncIterator[MQTTServer]:
    own = MQTTSettings(bind="127.0.0.1:0", persistence=persistence is not None, **settings)
    server = MQTTServer(app, own, state={}, persistence=persistence)
    async with asyncio.timeout(6 * LIMIT), server:
        yield server
