"""The store's clock: the Unix time at which the store was first opened since the machine started, plus the seconds that
the machine has counted since.

If a person or NTP sets the machine's clock back by an hour, a message that is due in 4 s is still due in 4 s. All
processes of one machine that have the store open have the same clock, and so has the command line.
"""

import sqlite3
import time
from pathlib import Path

from gateway.store.elapsed import elapsed
from gateway.store.states import BEHIND, BUSY, GONE, WAITING
from gateway.store.values import LONGEST_WAIT, LONGEST_WINDOW

_BOOT = Path("/proc/sys/kernel/random/boot_id")


def boot() -> str:
    """The id of this start of the machine; empty if the system has none."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


def ahead(db: sqlite3.Connection) -> float:
    """The seconds to add to :func:`gateway.store.elapsed.elapsed`. A process that only takes part in a transaction may
    come before the first that opens the store, which then sets the clock to this."""
    known = db.execute("SELECT ahead FROM clock WHERE boot = ?", [boot()]).fetchone()
    return time.time() - elapsed() if known is None else float(known[0])


def set_clock(db: sqlite3.Connection) -> None:
    """Set the clock for all processes that open the file until the machine starts again. If the machine then has an
    earlier time than the store was last seen at, everything that is due later moves back by the difference."""
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
