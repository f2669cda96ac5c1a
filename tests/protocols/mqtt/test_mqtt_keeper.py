"""A disk that takes nothing for a while: nobody is told that anything was kept, and it is all kept in the end."""

import asyncio
import contextlib
from collections.abc import Mapping

import pytest

from protocols.mqtt import keeper as module
from protocols.mqtt.keeper import Keeper


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
    keeper = Keeper(disk, "devices")
    told: list[str] = []
    keeper.journal.put("a", b"1")
    keeper.journal.when(keeper.journal.position, lambda: told.append("a"))
    running = asyncio.ensure_future(keeper.run())
    async with asyncio.timeout(5):
        await disk.refused_twice.wait()
        assert told == []
        keeper.journal.put("a", b"2")
        disk.room = True
        await keeper.kept()
    assert told == ["a"]
    assert disk.kept == {"a": b"2"}
    [line] = caplog.messages
    assert "devices: its state cannot be kept: no space left on device; nothing that depends on it" in line
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
