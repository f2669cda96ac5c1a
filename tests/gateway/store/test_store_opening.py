"""One process opens the file at a time, and nobody waits for it for ever."""

import asyncio
import fcntl
from pathlib import Path

import pytest
from waiting import until

from gateway.store import StoreUnavailable
from gateway.store.sqlite import SQLiteStore
from gateway.store.sqlite.file.owner import others_alive


async def test_one_that_is_stopped_while_it_opens_does_not_hold_the_others_up_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.store.sqlite.file.owner.OPENING", 0.1)
    store = SQLiteStore(tmp_path / "gateway.db")
    with (tmp_path / "gateway.db.open.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StoreUnavailable, match=r"gateway\.db: another process has been opening it for 0\.1 s"):
            await store.open()
    assert await store.open() == ""
    await store.close()


async def test_one_that_is_cancelled_while_it_opens_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    opening = asyncio.create_task(SQLiteStore(path).open())
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await until(lambda: path.exists() and not others_alive(path, ""))
