"""Files that earlier versions wrote."""

import contextlib
import sqlite3
import time
from pathlib import Path
from typing import Any

from waiting import until

from gateway.delivery.outbox import Outbox
from gateway.delivery.service import Deliveries
from gateway.store import Outgoing, codec
from gateway.store.rows import DAMAGED, checksum
from gateway.store.sqlite import SQLiteStore
from gateway.store.sqlite.sql.schema import ALONE, FIRST, KEPT, LANES
from protocols.errors import NotSent

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
    before = time.time()
    assert await store.open() == ""
    [item] = await store.take_outgoing(9, now=NOW)
    assert item == Outgoing("e-0", "e", "sms", b"text", attempts=3, since=item.since)
    assert before - 2 < item.since <= time.time()
    await store.close()


async def test_what_0_1_0_tried_for_ever_has_an_end(tmp_path: Path) -> None:
    """Its life began when its message came: the next failure is its last. What was damaged stays damaged."""
    path = tmp_path / "gateway.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as old:
        old.executescript(f"{FIRST}{LANES}{KEPT}{ALONE} PRAGMA user_version = 4;")
        old.execute(
            "INSERT INTO messages (id, type, route, key, subject, received, content, checksum, state, attempts, due)"
            " VALUES ('e', 'email', 'r', 'e', 's', ?, x'', 0, 4, 1, ?)",
            (time.time() - 90 * 86400, time.time()),
        )
        sql = """INSERT INTO outgoing (id, message, kind, lane, content, checksum, state, attempts, due, error)
            VALUES (?,?,'email','email',?,?,?,700,?,?)"""
        content = codec.encode({"listener": "mail"}, [{"type": "email.send", "rcpt_to": ["b@x.org"]}])
        total = checksum(content, "e-0", "e", "email", "email")
        old.execute(sql, ("e-0", "e", content, total, 0, time.time() - 60, "550 no such user"))
        old.execute(sql, ("e-1", "e", b"damaged", 0, 3, 0, DAMAGED))
    store = SQLiteStore(path)
    await store.open()
    assert {item.id: item.state for item in await store.outgoing()} == {"e-0": "waiting", "e-1": "damaged"}

    async def away(listener: str, event: Any) -> None:
        raise NotSent("450 later")

    outbox = Outbox(Deliveries(store), {"email": away})
    outbox.start()

    async def nothing_leaves() -> bool:
        return (await store.counts()).outgoing == 0

    await until(nothing_leaves)
    await outbox.stop(1.0)
    [dead, _] = await store.outgoing()
    assert (dead.state, dead.attempts, dead.recipient) == ("dead", 701, "b@x.org")
    assert dead.error == "given up after 432000 s (outgoing.keep): 450 later"
    await store.close()
