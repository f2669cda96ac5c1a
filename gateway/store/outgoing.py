"""What is done with what handlers send, in SQL; see :mod:`gateway.store.messages` for the shape of an operation."""

# ruff: noqa: S608 -- only our own constants are written into SQL

import logging
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway.store import story
from gateway.store.engine import Outgoing
from gateway.store.rows import DAMAGED, OUTGOING, listed, outgoing_checksum, outgoing_of, outgoing_values, text
from gateway.store.schema import DEAD, RUNNING, WAITING

logger = logging.getLogger(__name__)

Database = sqlite3.Connection


def put(db: Database, items: Sequence[Outgoing]) -> None:
    """An id that is known is the same thing to send: once."""
    sql = f"""INSERT OR IGNORE INTO outgoing (id, message, kind, lane, behind, content, checksum, attempts, due, state)
        VALUES (?,?,?,?,?,?,?,?,?,{WAITING})"""
    for item in items:
        db.execute(sql, outgoing_values(item))


@dataclass(frozen=True, slots=True)
class Take:
    owner: str
    limit: int
    now: float
    busy: Sequence[str]


def take(db: Database, calls: Sequence[Take]) -> list[list[Outgoing]]:
    return [_take(db, call) for call in calls]


def _take(db: Database, call: Take) -> list[Outgoing]:
    while rows := db.execute(_TAKE, (call.owner, listed(_chosen(db, call)))).fetchall():
        read = [outgoing_of(row[1:]) for row in sorted(rows, key=lambda row: int(row[0]))]
        for item, sound in read:
            if not sound:
                _put_aside(db, item)
        if taken := [item for item, sound in read if sound]:
            return taken
    return []


_TAKE = f"""UPDATE outgoing SET state = {RUNNING}, owner = ?, attempts = attempts + 1
    WHERE seq IN (SELECT value FROM json_each(?)) RETURNING seq, {OUTGOING}"""


def _chosen(db: Database, call: Take) -> list[int]:
    """Lane by lane, so that what waits in a busy one costs nothing, however much it is."""
    limit = max(0, call.limit)
    lanes = [lane for (lane,) in db.execute(_LANES) if lane is not None and lane not in call.busy]
    due = [row for lane in lanes for row in db.execute(_DUE, (lane, call.now, limit))]
    return [seq for _, seq in sorted(due)[:limit]]


_LANES = f"""WITH RECURSIVE lanes(lane) AS (
    SELECT min(lane) FROM outgoing WHERE state = {WAITING}
    UNION ALL SELECT (SELECT min(lane) FROM outgoing WHERE state = {WAITING} AND lane > lanes.lane)
    FROM lanes WHERE lanes.lane IS NOT NULL)
    SELECT lane FROM lanes"""
_DUE = f"""SELECT due, seq FROM outgoing AS item WHERE state = {WAITING} AND lane = ? AND due <= ?
    AND NOT EXISTS (SELECT 1 FROM outgoing WHERE id = item.behind) ORDER BY due, seq LIMIT ?"""


def _put_aside(db: Database, item: Outgoing) -> None:
    """Damaged: it is kept, not sent, and the story of its message says so."""
    logger.error("%s: what a handler sends is %s; it is kept and not sent", item.id, DAMAGED)
    db.execute(f"UPDATE outgoing SET state = {DEAD}, owner = '', error = ? WHERE id = ?", (DAMAGED, item.id))
    _tell(db, item.message, story.line(f"not sent, damaged: {item.id}"))


def _tell(db: Database, message: str, told: str) -> None:
    for table in ("messages", "claims"):
        sql = f"UPDATE {table} SET story = substr(story || ?, ?) WHERE id = ?"
        db.execute(sql, (told, -story.LONGEST, message))


def sent(db: Database, calls: Sequence[str]) -> list[None]:
    for id_ in map(text, calls):
        row = db.execute("DELETE FROM outgoing WHERE id = ? RETURNING message", [id_]).fetchall()
        for (message,) in row:
            _tell(db, message, story.line(f"sent {id_}"))
    return [None] * len(calls)


def postpone(db: Database, calls: Sequence[tuple[str, float, str, bytes | None]]) -> list[None]:
    sql = f"UPDATE outgoing SET state = {WAITING}, owner = '', due = ?, error = ? WHERE id = ? RETURNING message"
    for id_, due, error, content in calls:
        for (message,) in db.execute(sql, (max(0.0, due), text(error), text(id_))).fetchall():
            _tell(db, message, story.failed(f"not sent {id_}: {error}", due))
        if content is not None:
            _replace(db, text(id_), content)
    return [None] * len(calls)


def _replace(db: Database, id_: str, content: bytes) -> None:
    for fields in db.execute("SELECT id, message, kind, lane, behind FROM outgoing WHERE id = ?", [id_]).fetchall():
        values = (content, outgoing_checksum(content, *fields), id_)
        db.execute("UPDATE outgoing SET content = ?, checksum = ? WHERE id = ?", values)


def give_back(db: Database, calls: Sequence[Sequence[Outgoing]]) -> list[None]:
    """Taken, and then whoever asked was gone: no attempt was begun."""
    sql = f"""UPDATE outgoing SET state = {WAITING}, owner = '', attempts = attempts - 1
        WHERE state = {RUNNING} AND id IN (SELECT value FROM json_each(?))"""
    for taken in calls:
        db.execute(sql, [listed(item.id for item in taken)])
    return [None] * len(calls)


def revive(db: Database, calls: Sequence[Sequence[str]]) -> list[int]:
    sql = f"""UPDATE outgoing SET due = 0.0, attempts = 0 WHERE state = {WAITING}
        AND id IN (SELECT value FROM json_each(?)) RETURNING id, message"""
    return [_said(db, db.execute(sql, [listed(map(text, ids))]).fetchall(), "to be sent now") for ids in calls]


def drop(db: Database, calls: Sequence[Sequence[str]]) -> list[int]:
    sql = f"""DELETE FROM outgoing WHERE state <> {RUNNING}
        AND id IN (SELECT value FROM json_each(?)) RETURNING id, message"""
    return [_said(db, db.execute(sql, [listed(map(text, ids))]).fetchall(), "dropped, not sent") for ids in calls]


def _said(db: Database, rows: Sequence[tuple[str, str]], what: str) -> int:
    for id_, message in rows:
        _tell(db, message, story.line(f"{what}: {id_}"))
    return len(rows)


def get(db: Database, calls: Sequence[str]) -> list[Outgoing | None]:
    rows = [db.execute(f"SELECT {OUTGOING} FROM outgoing WHERE id = ?", [text(id_)]).fetchone() for id_ in calls]
    return [None if row is None else outgoing_of(row)[0] for row in rows]


def number(db: Database) -> int:
    """How many have not left."""
    return int(db.execute("SELECT count(*) FROM outgoing").fetchone()[0])


def recover(db: Database, owners: Sequence[str]) -> int:
    sql = f"""UPDATE outgoing SET state = {WAITING}, owner = ''
        WHERE state = {RUNNING} AND owner IN (SELECT value FROM json_each(?))"""
    return db.execute(sql, [listed(owners)]).rowcount


def owners(db: Database) -> set[Any]:
    return {row[0] for row in db.execute(f"SELECT DISTINCT owner FROM outgoing WHERE state = {RUNNING}")}
