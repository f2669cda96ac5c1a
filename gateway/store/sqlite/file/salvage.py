"""Copies what can be read of a damaged database into a new one, row by row."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from gateway.store import story
from gateway.store.rows import DAMAGED, MESSAGE, message_of, message_values
from gateway.store.states import BEHIND, DEAD, GONE, RUNNING, WAITING

Row = dict[str, Any]


@dataclass(slots=True)
class Salvaged:
    messages: int = 0
    damaged: int = 0
    """The number of damaged messages. What is left of them is among the dead letters."""
    others: int = 0
    """Claims, outgoing items, and the state of servers."""

    def __str__(self) -> str:
        damaged = f", {self.damaged} of them damaged and among the dead" if self.damaged else ""
        return f"{self.messages} messages{damaged}, and {self.others} other rows could be read"


def salvage(old: sqlite3.Connection, new: sqlite3.Connection) -> Salvaged:
    """Copy into ``new``, which is empty, in one commit."""
    result = Salvaged()
    new.execute("BEGIN IMMEDIATE")
    for row in _rows(old, new, "messages"):
        result.messages += 1
        result.damaged += not _message(new, row)
    for table in ("claims", "outgoing", "kept", "clock"):
        for row in _rows(old, new, table):
            result.others += _other(new, table, row)
    new.execute("COMMIT")
    return result


def _other(new: sqlite3.Connection, table: str, row: Row) -> int:
    sql = f"INSERT OR IGNORE INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"
    return new.execute(sql, tuple(row.values())).rowcount


def _message(new: sqlite3.Connection, row: Row) -> bool:
    """Keep the message; whether it is as it was put."""
    state, owner, steps = row["state"], row["owner"], row["story"]
    columns = [row[name] for name in MESSAGE.split(", ")]
    message, sound = message_of(tuple(columns))
    if state == GONE and not message.content:
        sound = True  # its content was forgotten; the checksum is that of what it was
    elif state == BEHIND:
        state = WAITING
    if not sound or state not in (WAITING, RUNNING, DEAD, GONE) or (state == GONE and message.content):
        state, owner, steps, sound = DEAD, "", f"{steps}{story.line('dead: damaged')}", False
    due = 0.0 if state == DEAD else message.due
    values = list(message_values(replace(message, due=due)))
    values[7] = columns[7] if sound else -1  # a checksum that never fits: it stays known as damaged
    error = message.error if sound or DAMAGED in message.error else DAMAGED
    sql = """INSERT OR IGNORE INTO messages
        (id, type, route, key, subject, received, content, checksum, attempts, due, error, state, owner, story)
        VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)"""
    new.execute(sql, (*values, error, state, str(owner), str(steps)))
    return sound


def _rows(old: sqlite3.Connection, new: sqlite3.Connection, table: str) -> Iterator[Row]:
    """Every readable row, in order: from the front to the first damage, then around it.

    By the columns' places: their names may be what is damaged.
    """
    names = [column[1] for column in new.execute(f"PRAGMA table_info({table})")]
    select = f"SELECT * FROM {table} NOT INDEXED"
    try:
        old.execute(f"EXPLAIN {select}")
    except sqlite3.Error:
        return  # not even the table is known any more
    for values in _between(old, select, 0, _last(old, table)):
        yield dict(list(zip(names, values, strict=False))[1:])


def _last(old: sqlite3.Connection, table: str) -> int:
    try:
        return int(old.execute(f"SELECT max(rowid) FROM {table}").fetchone()[0] or 0)
    except sqlite3.Error:
        return _MOST


_MOST = 2**40
"""The last number, if it cannot be read: more messages than a file can have had."""
_FAILURES = 20_000
"""Reads that may fail in one table before the rest of it is given up. A damaged page costs some dozens."""


def _between(old: sqlite3.Connection, select: str, low: int, high: int) -> Iterator[tuple[Any, ...]]:
    """Rows with ``low <= rowid <= high``. If reading breaks off, each half of the rest is read on its own."""
    ranges = [(low, high)]
    failures = 0
    while ranges and failures < _FAILURES:
        low, high = ranges.pop()
        try:
            for row in old.execute(f"{select} WHERE rowid BETWEEN ? AND ? ORDER BY rowid", (low, high)):
                yield row
                low = row[0] + 1
        except sqlite3.Error:
            failures += 1
            if low < high:
                middle = (low + high) // 2
                ranges += [(middle + 1, high), (low, middle)]
