"""Counts what the store holds, along indexes alone: no row is read but that of the oldest message."""

import sqlite3
import time
from collections.abc import Sequence

from gateway.store.figures import Holdings
from gateway.store.rows import as_float, as_str
from gateway.store.states import BEHIND, DEAD, GONE, RUNNING, WAITING
from gateway.store.values import OutgoingState

_MESSAGES = f"SELECT state, count(*), min(seq) FROM messages WHERE state < {GONE} GROUP BY state"
_ARRIVED = "SELECT received FROM messages WHERE seq = ?"
_OUTGOING = "SELECT lane, state, count(*) FROM outgoing GROUP BY state, lane"
_RESTING = "SELECT count(*) FROM resting"
_STATES = {WAITING: OutgoingState.WAITING, RUNNING: OutgoingState.LEAVING, DEAD: OutgoingState.DEAD}


def holdings(db: sqlite3.Connection, calls: Sequence[None]) -> list[tuple[Holdings, float]]:
    """Return what there is, and the seconds that it took to count it."""
    began = time.perf_counter()
    found = _count(db)
    return [(found, time.perf_counter() - began)] * len(calls)


def _count(db: sqlite3.Connection) -> Holdings:
    number, first = {}, {}
    for state, count, seq in db.execute(_MESSAGES):
        number[state], first[state] = count, seq
    alive = [first[state] for state in (WAITING, RUNNING, BEHIND) if state in first]
    return Holdings(
        waiting=number.get(WAITING, 0) + number.get(BEHIND, 0),
        running=number.get(RUNNING, 0),
        dead=number.get(DEAD, 0),
        oldest=as_float(db.execute(_ARRIVED, [min(alive)]).fetchone()[0]) if alive else None,
        outgoing={
            (as_str(lane), _STATES[state]): count for lane, state, count in db.execute(_OUTGOING) if state in _STATES
        },
        resting=db.execute(_RESTING).fetchone()[0],
    )
