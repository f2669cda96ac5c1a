"""The store's clock: Unix time as it was when the store was first opened since the machine started, and from then on
the machine's own seconds.

Somebody, or NTP, may set a machine's clock back by an hour; what is to be tried again in 4 s is tried again in 4 s. All
processes of one machine that have the store open have the same clock, the command line's too.
"""

import sqlite3
import time
from pathlib import Path

from gateway.store.sqlite.sql.schema import BEHIND, BUSY, GONE, WAITING
from gateway.store.values import LONGEST_WAIT, LONGEST_WINDOW

_BOOT = Path("/proc/sys/kernel/random/boot_id")


def elapsed() -> float:
    """Seconds since the machine started, those in which it slept included where the system counts them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def boot() -> str:
    """Since which start of the machine; empty where the system does not say."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


def ahead(db: sqlite3.Connection) -> float:
    """What is to be added to :func:`elapsed`."""
    return float(db.execute("SELECT ahead FROM clock").fetchone()[0])


def set_clock(db: sqlite3.Connection) -> None:
    """Once for all who open the file until the machine starts again. Where that has another time then, earlier than
    the store was seen last, what was due later is due earlier by as much."""
    known = db.execute("SELECT boot, seen FROM clock").fetchone()
    if known is not None and known[0] and known[0] == boot():
        return
    now = time.time()
    back = 0.0 if known is None else max(0.0, known[1] - now)
    db.execute("BEGIN IMMEDIATE")
    db.execute("DELETE FROM clock")
    db.execute("INSERT INTO clock (boot, ahead, seen) VALUES (?, ?, ?)", (boot(), now - elapsed(), now))
    for table, state, column, longest in _LATER:
        sql = f"UPDATE {table} SET {column} = min(max({column} - ?, ?), ?) WHERE {state} AND {column} > ?"
        db.execute(sql, (back, now, now + longest, now))
    db.execute("COMMIT")


_LATER = (
    ("messages", f"state IN ({WAITING}, {BEHIND})", "due", LONGEST_WAIT),
    ("outgoing", f"state = {WAITING}", "due", LONGEST_WAIT),
    ("resting", "TRUE", "until", LONGEST_WAIT),
    ("claims", f"state <> {BUSY}", "expires", LONGEST_WINDOW),
    ("messages", f"state = {GONE}", "due", 0.0),
    ("outgoing", "TRUE", "since", 0.0),
)


def seen(db: sqlite3.Connection, now: float) -> None:
    """The store was in use at ``now``."""
    db.execute("UPDATE clock SET seen = max(seen, ?)", [now])
