"""A disk that takes nothing for a while: nobody is told that anything was kept, and it is all kept in the end."""

import asyncio
import contextlib
from collections.abc import Mapping

import pytest
from mqtt_bytes import packet, string
from mqtt_peer import (
    CONNACK,
    DISCONNECT,
    PINGREQ,
    PINGRESP,
    Kept,
    Recorder,
    connect,
    connected,
    dial,
    serving,
    subscribe,
)

from protocols.mqtt import MQTTServer
from protocols.mqtt.broker import journal_writer as module
from protocols.mqtt.broker.journal import Changes
from protocols.mqtt.broker.journal_writer import JournalWriter


class FullDisk:
    """Has room for nothing until ``room`` is set."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes | None] = {}
        self.room = False
        self.refused = 0
        self.refused_twice = asyncio.Event()

    async def load(self) -> Mapping[str, bytes]:
        return {}

    async def commit(self, changes: Mapping[str, bytes | None]) -> None:
        if not self.room:
            self.refused += 1
            if self.refused == 2:
                self.refused_twice.set()
            raise OSError("no space left on device")
        self.kept.update(changes)


async def test_nothing_is_acknowledged_while_the_disk_is_full(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.001)
    disk = FullDisk()
    writer = JournalWriter(disk, "devices")
    told: list[str] = []
    writer.journal.put("a", b"1")
    writer.journal.when(writer.journal.position, lambda: told.append("a"))
    running = asyncio.ensure_future(writer.run())
    async with asyncio.timeout(5):
        await disk.refused_twice.wait()
        assert told == []
        writer.journal.put("a", b"2")
        disk.room = True
        await writer.kept()
    assert told == ["a"]
    assert disk.kept == {"a": b"2"}
    [line] = caplog.messages
    assert "devices: its state cannot be kept: no space left on device; nothing that depends on it" in line
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


class SlowDisk(Kept):
    """Commits when it is let to."""

    def __init__(self) -> None:
        super().__init__()
        self.free = asyncio.Event()
        self.free.set()

    async def commit(self, changes: Changes) -> None:
        await self.free.wait()
        await super().commit(changes)


async def leave_a_subscriber(server: MQTTServer, qos: int) -> None:
    """Subscribe to the topic ``a`` and disconnect. The session stays, so a message is stored for it."""
    async with await dial(server) as subscriber:
        await subscriber.ask(connect("subscriber", clean=False), CONNACK)
        await subscriber.ask(subscribe(("a", qos)), b"\x90\x03\x00\x01" + bytes([qos]))
        await subscriber.say(DISCONNECT)


@pytest.mark.parametrize(("qos", "answer"), [(1, 0x40), (2, 0x50)], ids=["PUBACK", "PUBREC"])
async def test_an_acknowledgement_waits_for_the_disk_where_somebody_is_owed_the_message(qos: int, answer: int) -> None:
    disk, app = SlowDisk(), Recorder()
    async with serving(app, persistence=disk) as server:
        await leave_a_subscriber(server, qos)
        async with connected(server) as publisher:
            disk.free.clear()
            try:
                await publisher.say(packet(0x30 | qos << 1, string("a") + b"\x00\x07" + b"owed"))
                await app.seen("mqtt.receive")
                for _ in range(3):  # by now the handler's mqtt.ack has been looked at
                    await publisher.ask(PINGREQ, PINGRESP)
            finally:
                disk.free.set()
            await publisher.expect(bytes([answer, 2, 0, 7]))
        assert any(b"owed" in value for value in disk.values.values())


@pytest.mark.parametrize(("qos", "answer"), [(1, 0x40), (2, 0x50)], ids=["PUBACK", "PUBREC"])
async def test_a_server_that_stops_says_first_what_waits_for_the_disk(qos: int, answer: int) -> None:
    """Else the client sends a message again that has been handled."""
    disk, app = SlowDisk(), Recorder()
    async with serving(app, persistence=disk) as server:
        await leave_a_subscriber(server, qos)
        async with connected(server) as publisher:
            disk.free.clear()
            await publisher.say(packet(0x30 | qos << 1, string("a") + b"\x00\x07" + b"owed"))
            await app.seen("mqtt.receive")
            for _ in range(3):  # by now the handler's mqtt.ack has been looked at
                await publisher.ask(PINGREQ, PINGRESP)
            stopping = asyncio.ensure_future(server.stop(10.0))
            await asyncio.sleep(0)
            disk.free.set()
            await publisher.expect(bytes([answer, 2, 0, 7]))
            await stopping
