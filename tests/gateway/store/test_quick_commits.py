"""A claim waits for no disk; everything else is on it. Both outlive the process."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from contract import LIMIT

from gateway.store import ClaimState
from gateway.store.sqlite import SQLiteStore

FULL, NORMAL = 2, 1  # of PRAGMA synchronous; in WAL mode the first alone syncs at a commit


def synchronous(db: sqlite3.Connection, calls: Sequence[None]) -> list[int]:
    return [db.execute("PRAGMA synchronous").fetchone()[0] for _ in calls]


async def test_only_what_need_not_be_on_disk_is_committed_without_it(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "gateway.db")
    await store.open()
    for syncs, expected in ((False, NORMAL), (True, FULL), (False, NORMAL), (False, NORMAL), (True, FULL)):
        assert await store._run(synchronous, None, syncs=syncs) == expected
    both = [store._run(synchronous, None, syncs=syncs) for syncs in (True, False, True, False)]
    assert await asyncio.gather(*both) == [FULL, NORMAL, FULL, NORMAL]
    await store.close()


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
async def test_a_claim_is_counted_though_its_process_is_killed_at_once(tmp_path: Path, anyio_backend: str) -> None:
    path = tmp_path / "gateway.db"
    for attempt in (1, 2, 3):
        command = [sys.executable, "-c", CLAIMS, str(path), str(attempt)]
        done = await asyncio.to_thread(subprocess.run, command, timeout=LIMIT, capture_output=True)
        assert done.returncode == -9, done.stderr.decode()
    store = SQLiteStore(path)
    await store.open()
    claim = await store.claim("key", id="another", now=store.now(), ttl=60.0)
    assert (claim.state, claim.id, claim.attempts) == (ClaimState.OURS, "first", 4)
    await store.close()
