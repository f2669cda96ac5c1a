"""Histories; :mod:`gateway.store.story` says how they are written."""

import sqlite3
from collections.abc import Sequence

from gateway.store import story
from gateway.store.calls import Told
from gateway.store.rows import checksum, text
from gateway.store.states import DONE
from gateway.store.values import HistoryEntry

_READ = "SELECT received, story FROM claims WHERE id = ?1 UNION ALL SELECT received, story FROM messages WHERE id = ?1"


def read(db: sqlite3.Connection, calls: Sequence[str]) -> list[list[HistoryEntry]]:
    return [story.told(db.execute(_READ, [text(event)]).fetchall()) for event in calls]


def note(db: sqlite3.Connection, message: str, step: str) -> bool:
    """Add a step to the history of ``message``, once: a message of the inbox has a claim, too. Return whether it has a
    history."""
    for table in ("messages", "claims"):
        sql = f"UPDATE {table} SET story = substr(story || ?, ?) WHERE id = ?"
        if db.execute(sql, (step, -story.LONGEST, message)).rowcount:
            return True
    return False


def add(db: sqlite3.Connection, calls: Sequence[Told]) -> list[None]:
    for call in calls:
        if not note(db, text(call.event), step := story.line(call.what)):
            _begin(db, call, step)
    return [None] * len(calls)


_BEGIN = f"""INSERT OR IGNORE INTO claims (key, id, state, owner, attempts, received, expires, result, checksum, story)
    VALUES (?, ?, {DONE}, '', 0, ?, ?, ?, ?, ?)"""


def _begin(db: sqlite3.Connection, call: Told, step: str) -> None:
    """Begin a history. It belongs to a message or a claim: this claim is settled from the start, and its key is never
    looked up."""
    key, id_ = f"sent:{text(call.event)}", text(call.event)
    total = checksum(b"", key, id_, story.NOT_RECEIVED)
    db.execute(_BEGIN, (key, id_, story.NOT_RECEIVED, call.expires, b"", total, step))
