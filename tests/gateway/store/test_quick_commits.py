"""A claim waits for no disk; everything that a sender is told is on it. Both outlive the process."""

import asyncio
import contextlib
import resource
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from contract import LIMIT
from waiting import until

from gateway.store import Claim, ClaimState, Message, StoreUnavailable
from gateway.store.sqlite import SQLiteStore
from gateway.store.sqlite.file import connection
from gateway.store.sqlite.file.connection import FairConnection

TTL = 60.0


async def claimed(store: SQLiteStore, key: str) -> Claim:
    return await store.claim(key, id=f"event of {key}", now=store.now(), ttl=TTL)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway.db"


@contextlib.contextmanager
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """No sync ends until the event is set."""
    ready, sync = threading.Event(), FairConnection.sync

    def late(self: FairConnection) -> None:
        assert ready.wait(LIMIT)
        sync(self)

    monkeypatch.setattr(FairConnection, "sync", late)
    try:
        yield ready
    finally:
        ready.set()


async def test_a_claim_shares_a_commit_with_what_waits_for_the_disk_and_does_not_wait(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SQLiteStore(path)
    await store.open()
    before, turn = await claimed(store, "before"), threading.Event()

    def last(database: object, calls: Sequence[None]) -> Sequence[None]:
        assert turn.wait(LIMIT)
        return calls

    with slow_disk(monkeypatch) as disk:
        busy = asyncio.create_task(store._read(last, None))
        settled = asyncio.create_task(store.settle(before, result=b"accepted"))
        claim = asyncio.create_task(claimed(store, "new"))
        await asyncio.sleep(0)
        turn.set()
        async with asyncio.timeout(LIMIT):
            assert (await claim).state is ClaimState.OURS
        assert not settled.done()
        disk.set()
        await settled
        await busy
    await store.close()


async def test_an_outcome_of_another_process_is_told_once_it_is_on_disk(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, other = SQLiteStore(path), SQLiteStore(path)
    await ours.open()
    await other.open()
    message = Message("event", "mqtt", "route", "event", 1.0, b"x")

    async def is_committed() -> bool:
        return (await ours.counts()).waiting == 1  # what an operator looks up waits for no disk

    with slow_disk(monkeypatch) as disk:
        put = asyncio.create_task(other.put_once(message, key="key", now=other.now(), ttl=TTL))
        await until(is_committed)
        repeated, known = asyncio.create_task(claimed(ours, "key")), asyncio.create_task(ours.is_known("event"))
        await asyncio.wait([repeated, known], timeout=0.05)
        assert not any(each.done() for each in (put, repeated, known))
        disk.set()
        assert (await repeated).state is ClaimState.DONE
        assert await known
        await put
    await ours.close()
    await other.close()


async def test_what_is_told_survives_a_power_cut(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files as they are when a sync begins are all that a power cut leaves."""
    disk, sync = tmp_path / "disk", FairConnection.sync
    disk.mkdir()

    def copied(self: FairConnection) -> None:
        for file in (path, path.with_name("gateway.db-wal")):
            shutil.copy(file, disk)
        sync(self)

    store = SQLiteStore(path)
    await store.open()
    monkeypatch.setattr(FairConnection, "sync", copied)

    async def handle(number: int) -> None:
        for turn in range(10):
            claim = await claimed(store, f"{number}.{turn}")
            await store.settle(claim, result=b"accepted")

    await asyncio.gather(*(handle(number) for number in range(8)))
    monkeypatch.setattr(FairConnection, "sync", sync)
    left = SQLiteStore(disk / path.name)
    assert await left.open() == ""
    found = [await claimed(left, f"{number}.{turn}") for number in range(8) for turn in range(10)]
    assert {(claim.state, claim.result) for claim in found} == {(ClaimState.DONE, b"accepted")}
    await left.close()
    await store.close()


async def test_a_log_that_cannot_be_synced_is_emptied_before_anything_is_acknowledged(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "gateway.store")

    def broken(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(connection, "BUSY", 0.05)
    store = SQLiteStore(path)
    await store.open()
    first, second = await claimed(store, "first"), await claimed(store, "second")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM claims").fetchall()
        with monkeypatch.context() as patch:
            patch.setattr(connection, "_sync", broken)
            with pytest.raises(StoreUnavailable, match="another process reads it"):
                await store.settle(first, result=b"accepted")
        await claimed(store, "third")  # it waits for no disk, and does not show that the store works again
        assert await store.take(1, now=store.now()) == []  # so does a look that finds nothing
        assert await store.take_outgoing(1, now=store.now()) == []
        with pytest.raises(StoreUnavailable, match="another process reads it"):  # though a sync would now succeed
            await store.settle(second, result=b"accepted")
    await store.settle(second, result=b"accepted")
    said = [record.getMessage().partition(":")[0] for record in caplog.records]
    assert said[1:] == ["the store is unavailable", "the store works again"]
    assert path.with_name("gateway.db-wal").stat().st_size == 0
    assert (await claimed(store, "first")).state is ClaimState.DONE
    await store.close()


async def test_a_log_that_cannot_be_emptied_either_is_emptied_later_by_the_same_connection(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A new connection would sync it with success, and acknowledge what follows the part that is missing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def broken(fd: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # SQLite cannot write the database
        raise OSError(5, "Input/output error")

    store, other = SQLiteStore(path), SQLiteStore(path)
    await store.open()
    await other.open()  # so that nothing is moved when a connection is closed
    first, second = await claimed(store, "first"), await claimed(store, "second")
    with monkeypatch.context() as patch:
        patch.setattr(connection, "_sync", broken)
        try:
            with pytest.raises(StoreUnavailable, match="not be emptied: disk I/O error"):
                await store.settle(first, result=b"accepted")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    await store.settle(second, result=b"accepted")
    assert path.with_name("gateway.db-wal").stat().st_size == 0
    assert caplog.text.count("its log cannot be synced: Input/output error") == 1
    await store.close()
    await other.close()


@pytest.fixture
def linked(path: Path) -> Path:
    """The file to which the path is a symbolic link."""
    file = path.with_name("other.db")
    file.touch(0o600)
    path.symlink_to(file)
    return file


async def test_the_log_of_a_file_behind_a_symbolic_link_is_synced(
    path: Path, linked: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = SQLiteStore(path)
    await store.open()
    await store.settle(await claimed(store, "key"), result=b"accepted")
    assert linked.with_name("other.db-wal").stat().st_size > 0
    assert caplog.text == ""
    await store.close()


async def test_a_file_system_without_shared_memory_has_a_journal_that_syncs_by_itself(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """SQLite keeps the journal that it has where it cannot have a write-ahead log."""
    monkeypatch.setattr(FairConnection, "_first", ())
    opened = FairConnection(path)
    assert opened.execute("PRAGMA synchronous").fetchone() == (3,)
    opened.close()
    store = SQLiteStore(path)
    await store.open()
    await store.settle(await claimed(store, "key"), result=b"accepted")
    assert (await claimed(store, "key")).state is ClaimState.DONE
    assert caplog.text == ""
    await store.close()


async def test_who_comes_by_a_symbolic_link_meets_the_others(path: Path, linked: Path) -> None:
    by_link, by_name = SQLiteStore(path), SQLiteStore(linked)
    await by_link.open()
    await claimed(by_link, "key")
    await by_name.open()
    assert (await claimed(by_name, "key")).state is ClaimState.BUSY
    await by_name.close()
    await by_link.close()


CLAIMS = """
import asyncio, os, signal, sys
from gateway.store.sqlite import SQLiteStore

async def main():
    store = SQLiteStore(sys.argv[1])
    await store.open()
    claim = await store.claim("key", id="first", now=store.now(), ttl=60.0)
    assert claim.attempts == int(sys.argv[2])
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_claim_is_counted_though_its_process_is_killed_at_once(path: Path, anyio_backend: str) -> None:
    for attempt in (1, 2, 3):
        command = [sys.executable, "-c", CLAIMS, str(path), str(attempt)]
        done = await asyncio.to_thread(subprocess.run, command, timeout=LIMIT, capture_output=True)
        assert done.returncode == -9, done.stderr.decode()
    store = SQLiteStore(path)
    await store.open()
    claim = await store.claim("key", id="another", now=store.now(), ttl=TTL)
    assert (claim.state, claim.id, claim.attempts) == (ClaimState.OURS, "first", 4)
    await store.close()
