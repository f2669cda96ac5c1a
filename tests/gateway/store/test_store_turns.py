"""Processes that share a file and write without pause: each gets its turn."""

import asyncio
import contextlib
import fcntl
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.store import Counts, Message, StoreUnavailable
from gateway.store.sqlite import SQLiteStore
from gateway.store.sqlite.file import connection

COMMITTING = Path(__file__).with_name("committing.py")
ENOUGH = 50
"""Commits that each process has to get, and the fewest that all have made while it waited."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway.db"


def a_message(event: str) -> Message:
    return Message(event, "mqtt", "ours", event, 1.0, b"x")


@contextlib.contextmanager
def committing(path: Path, *names: str) -> Iterator[list["subprocess.Popen[bytes]"]]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    running = [
        subprocess.Popen([sys.executable, COMMITTING, path, name, "50"], env=environment, stderr=subprocess.PIPE)
        for name in names
    ]
    try:
        yield running
    finally:
        for process in running:
            process.kill()
            process.communicate(timeout=10)


def commits(path: Path) -> Counter[str]:
    """By process."""
    if not path.exists():
        return Counter()
    with contextlib.closing(sqlite3.connect(path, timeout=5)) as database:
        with contextlib.suppress(sqlite3.OperationalError):  # no table yet
            return Counter(dict(database.execute("SELECT route, count(*) FROM messages GROUP BY route").fetchall()))
        return Counter()


async def all_have_committed(path: Path, names: list[str], running: list["subprocess.Popen[bytes]"]) -> None:
    before = commits(path)
    async with asyncio.timeout(40):
        while any(commits(path)[name] < before[name] + ENOUGH for name in names):
            ended = [process for process in running if process.poll() is not None]
            assert not ended, ended[0].communicate()[1].decode()
            await asyncio.sleep(0.05)


async def test_three_that_never_pause(path: Path) -> None:
    """Two that are there from the start, and one that opens the file while they write."""
    with committing(path, "a", "b") as running:
        await all_have_committed(path, ["a", "b"], running)
        store = SQLiteStore(path)
        assert await store.open() == ""
        before = commits(path)
        for number in range(ENOUGH):
            await store.put(a_message(f"m{number}"))
        meanwhile = commits(path) - before
        assert meanwhile["ours"] == ENOUGH
        assert meanwhile["a"]
        assert meanwhile["b"]
        await all_have_committed(path, ["a", "b"], running)
        await store.close()


async def test_opening_and_reading_do_not_wait_for_who_writes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BUSY", 0.05)
    first = SQLiteStore(path)
    await first.open()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        second = SQLiteStore(path)
        assert await second.open() == ""
        with pytest.raises(StoreUnavailable, match="locked"):
            await second.put(a_message("m"))
        assert (await second.counts(), await second.dead(), await second.find("m")) == (Counts(0, 0, 0, 0), [], [])
        other.execute("ROLLBACK")
    await second.put(a_message("m"))
    await second.close()
    await first.close()


async def test_one_that_was_stopped_while_it_was_next(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BUSY", 0.05)
    store = SQLiteStore(path)
    await store.open()
    with path.with_name("gateway.db.next.lock").open("rb") as turnstile:
        fcntl.flock(turnstile, fcntl.LOCK_EX)
        await store.put(a_message("m"))
        other = SQLiteStore(path)
        assert await other.open() == ""
        await other.put(a_message("n"))
        await other.close()
    await store.close()
