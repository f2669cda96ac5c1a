"""No room, or nothing may be written: StoreUnavailable, said once, and it works again when there is room."""

import asyncio
import contextlib
import logging
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.small_disk import small_disk as mounted_disk

from gateway.store import Message, StoreUnavailable
from gateway.store.sqlite import SQLiteStore

pytestmark = pytest.mark.fault


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted_disk(tmp_path / "disk"):
        yield tmp_path / "disk"


def a_message(event: str, size: int = 200) -> Message:
    return Message(event, "mqtt", "route", event, 1.0, b"x" * size)


def fill(disk: Path) -> Path:
    """To the last byte."""
    ballast = disk / "ballast"
    descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while os.write(descriptor, b"\0" * 4096):
            pass
    os.close(descriptor)
    return ballast


def remount(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], check=True, timeout=10)


async def test_a_full_disk_refuses_and_works_again(small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"\0" * 1024 * 1024)
    store = SQLiteStore(small_disk / "gateway.db")
    await store.open()
    kept: set[str] = set()
    refused = 0
    for number in range(200):
        try:
            await store.put(a_message(f"m{number}", 20_000))
            kept.add(f"m{number}")
        except StoreUnavailable:
            refused += 1
    assert refused > 20
    assert kept
    complaints = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [record.message for record in complaints] == ["the store is unavailable: database or disk is full"]
    assert await store.get("m0") == a_message("m0", 20_000), "what is kept can still be read"
    ballast.unlink()
    await asyncio.gather(*(store.put(a_message(f"again{number}")) for number in range(100)))
    kept |= {f"again{number}" for number in range(100)}
    await store.close()
    store = SQLiteStore(small_disk / "gateway.db")
    assert await store.open() == ""
    assert {message.id for message in await store.take(1000, now=2.0)} == kept
    await store.close()


async def test_a_large_one_that_does_not_fit_does_not_take_the_small_ones_along(small_disk: Path) -> None:
    store = SQLiteStore(small_disk / "gateway.db")
    await store.open()
    with pytest.raises(StoreUnavailable):
        await store.put(a_message("large", 4 * 1024 * 1024))
    await store.put(a_message("small"))
    assert [message.id for message in await store.take(9, now=2.0)] == ["small"]
    await store.close()


async def test_no_room_even_to_open(small_disk: Path) -> None:
    ballast = fill(small_disk)
    store = SQLiteStore(small_disk / "gateway.db")
    with pytest.raises(StoreUnavailable):
        await store.open()
    ballast.unlink()
    await store.open()
    await store.put(a_message("m"))
    await store.close()


async def test_a_read_only_disk_refuses_in_one_sentence(small_disk: Path) -> None:
    store = SQLiteStore(small_disk / "gateway.db")
    await store.open()
    await store.put(a_message("m"))
    await store.close()
    remount(small_disk, "ro")
    with pytest.raises(StoreUnavailable, match=r"gateway\.db: .*[Rr]ead-only"):
        await SQLiteStore(small_disk / "gateway.db").open()
    remount(small_disk, "rw")
    assert await store.open() == ""
    assert await store.get("m") is not None
    await store.close()


async def test_a_folder_that_is_a_file() -> None:
    with pytest.raises(StoreUnavailable, match=r"null/gateway\.db: (File exists|Not a directory)"):
        await SQLiteStore("/dev/null/gateway.db").open()


async def test_closed_is_unavailable(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "gateway.db")
    with pytest.raises(StoreUnavailable, match="is not open"):
        await store.put(a_message("m"))
    await store.open()
    await store.close()
    await store.close()
    with pytest.raises(StoreUnavailable, match="is not open"):
        await store.take(1, now=1.0)
