"""Files that earlier versions wrote."""

import contextlib
import sqlite3
from pathlib import Path

from gateway.store import Outgoing, SQLiteStore
from gateway.store.rows import checksum
from gateway.store.schema import FIRST

NOW = 1_800_000_000.0


async def test_what_a_file_without_lanes_holds_leaves(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as old:
        old.executescript(f"{FIRST} PRAGMA user_version = 1;")
        sql = (
            "INSERT INTO outgoing (id, message, kind, content, checksum, state, attempts, due) VALUES (?,?,?,?,?,0,2,0)"
        )
        old.execute(sql, ("e-0", "e", "sms", b"text", checksum(b"text", "e-0", "e", "sms")))
    path.chmod(0o600)
    store = SQLiteStore(path)
    assert await store.open() == ""
    assert await store.take_outgoing(9, now=NOW) == [Outgoing("e-0", "e", "sms", b"text", attempts=3)]
    await store.close()
