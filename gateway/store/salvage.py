"""A damaged database: row by row, what can still be read of it into a new one."""

# ruff: noqa: S608 -- only our own constants are written into SQL

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from gateway.store import story
from gateway.store.rows import DAMAGED, MESSAGE, message_of, message_values
from gateway.store.schema import BEHIND, DEAD, GONE, RUNNING, WAITING

Row = tuple[Any, ...]


@dataclass(slots=True)
class Salvaged:
    messages: int = 0
    damaged: int = 0
    """Of the messages: what is left of them is among the dead."""
    others: int = 0
    """Claims, and what handlers send."""

    def __str__(self) -> str:
        damaged = f", {self.damaged} of them damaged and among the dead" if self.damaged else ""
        return f"{self.messages} messages{damaged}, and {self.others} other rows could be read"


def salvage(old: sqlite3.Connection, new: sqlite3.Connection) -> Salvaged:
    """Into ``new``, which is empty, in one commit."""
    result = Salvaged()
    new.execute("BEGIN IMMEDIATE")
    for row in _rows(old, "messages", f"state, owner, story, {MESSAGE}"):
        result.messages += 1
        result.damaged += not _message(new, row)
    for table in ("claims", "outgoing"):
        names = [column[1] for column in new.execute(f"PRAGMA table_info({table})") if column[1] != "seq"]
        insert = f"INSERT OR IGNORE INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
        for row in _rows(old, table, ", ".join(names)):
            result.others += new.execute(insert, row).rowcount
    new.execute("COMMIT")
    return result


def _message(new: sqlite3.Connection, row: Row) -> bool:
    """Keep it; whether it is as it was put."""
    state, owner, told, *columns = row
    message, sound = message_of(tuple(columns))
    if state == GONE and not message.content:
        sound = True  # its content was forgotten; the checksum is that of what it was
    elif state == BEHIND:
        state = WAITING
    if not sound or state not in (WAITING, RUNNING, DEAD, GONE) or (state == GONE and message.content):
        state, owner, told, sound = DEAD, "", f"{told}{story.line('dead: damaged')}", False
    due = 0.0 if state == DEAD else message.due
    values = list(message_values(replace(message, due=due)))
    values[7] = columns[7] if sound else -1  # a checksum that never fits: it stays known as damaged
    error = message.error if sound or DAMAGED in message.error else DAMAGED
    sql = """INSERT OR IGNORE INTO messages
        (id, type, route, key, subject, received, content, checksum, attempts, due, error, state, owner, story)
        VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)"""
    new.execute(sql, (*values, error, state, str(owner), str(told)))
    return sound


def _rows(old: sqlite3.Connection, table: str, columns: str) -> Iterator[Row]:
    """Every readable row, in order: from the front to the first damage, then around it."""
    try:
        last = old.execute(f"SELECT max(seq) FROM {table}").fetchone()[0]
    except sqlite3.Error:
        last = None
    high = last if isinstance(last, int) else _most(old)
    return _between(old, f"SELECT seq, {columns} FROM {table} NOT INDEXED", 0, high)


def _most(old: sqlite3.Connection) -> int:
    """No table has more rows than its file has bytes: where the last number cannot be read, all may be tried."""
    try:
        return int(old.execute("PRAGMA page_count").fetchone()[0]) * 200
    except sqlite3.Error:
        return 0


def _between(old: sqlite3.Connection, select: str, low: int, high: int) -> Iterator[Row]:
    """Those with ``low <= seq <= high``; where reading breaks off, each half of the rest on its own."""
    ranges = [(low, high)]
    while ranges:
        low, high = ranges.pop()
        try:
            for seq, *row in old.execute(f"{select} WHERE seq BETWEEN ? AND ? ORDER BY seq", (low, high)):
                yield tuple(row)
                low = seq + 1
        except sqlite3.Error:
            if low < high:
                middle = (low + high) // 2
                ranges += [(middle + 1, high), (low, middle)]
