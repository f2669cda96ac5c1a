"""What an operator looks up, in SQL: all that is kept, without its content.

A content may be of many megabytes, and a traceback long: neither is read into memory for a list. Nothing here writes.
See :mod:`gateway.store.messages` for the shape of an operation.
"""

# ruff: noqa: S608 -- only our own constants are written into SQL

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gateway.store.engine import LONGEST_ERROR, Among, OutgoingSummary, Summary
from gateway.store.outgoing import REST, standing
from gateway.store.rows import as_float, as_int, as_str, text
from gateway.store.schema import DEAD, GONE, RUNNING

Database = sqlite3.Connection

_ERROR = f"substr(error, -{LONGEST_ERROR})"
_MESSAGE = (
    f"SELECT id, type, route, key, subject, received, length(content), state, attempts, due, {_ERROR} FROM messages"
)
_STATES: dict[int, Literal["running", "dead"]] = {RUNNING: "running", DEAD: "dead"}
_BEHIND = "seq > coalesce((SELECT seq FROM messages WHERE id = ?4), 0)"


@dataclass(frozen=True, slots=True)
class Which:
    type: str | None
    route: str | None
    limit: int
    after: str


def dead(db: Database, calls: Sequence[Which]) -> list[list[Summary]]:
    return [_page(db, f"state = {DEAD} AND due = 0.0", call) for call in calls]


def waiting(db: Database, calls: Sequence[Which]) -> list[list[Summary]]:
    return [_page(db, f"+state < {DEAD}", call) for call in calls]  # +: along seq; by state, each page would be sorted


def _page(db: Database, state: str, call: Which) -> list[Summary]:
    sql = f"""{_MESSAGE} WHERE {state} AND (?1 IS NULL OR type = ?1) AND (?2 IS NULL OR route = ?2)
        AND {_BEHIND} ORDER BY seq LIMIT ?3"""
    return [_summary(row) for row in db.execute(sql, (call.type, call.route, call.limit, text(call.after)))]


def summary(db: Database, calls: Sequence[str]) -> list[Summary | None]:
    sql = f"{_MESSAGE} WHERE id = ? AND state < {GONE}"
    rows = [db.execute(sql, [text(id_)]).fetchone() for id_ in calls]
    return [None if row is None else _summary(row) for row in rows]


def _summary(row: tuple[Any, ...]) -> Summary:
    *names, received, size, state, attempts, due, error = row
    id_, type_, route, key, subject = map(as_str, names)
    return Summary(
        id=id_, type=type_, route=route, key=key, subject=subject, received=as_float(received), size=as_int(size),
        state=_STATES.get(state, "waiting"), attempts=as_int(attempts), due=as_float(due), error=as_str(error),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class WhichOutgoing:
    type: str | None
    message: str | None
    limit: int
    after: str
    dead: bool | None = None


_CAUSE = "SELECT {} FROM messages WHERE messages.id = item.message"
_OUTGOING = f"""SELECT id, message, kind, lane, behind,
    coalesce(({_CAUSE.format("route")}), ''), coalesce(({_CAUSE.format("subject")}), ''), recipient,
    coalesce(nullif(since, 0.0), ({_CAUSE.format("received")}),
        (SELECT received FROM claims WHERE claims.id = item.message LIMIT 1)),
    length(content), state, attempts, due, {_ERROR},
    {REST}
    FROM outgoing AS item WHERE (?1 IS NULL OR kind = ?1) AND (?2 IS NULL OR message = ?2)
    AND (?5 IS NULL OR (state = {DEAD}) = ?5) AND id > ?4 ORDER BY id LIMIT ?3"""


def outgoing(db: Database, calls: Sequence[WhichOutgoing]) -> list[list[OutgoingSummary]]:
    """In the order of their ids: one that leaves between two pages must not break the second off."""
    return [
        [
            _outgoing(row)
            for row in db.execute(_OUTGOING, (call.type, call.message, call.limit, text(call.after), call.dead))
        ]
        for call in calls
    ]


def _outgoing(row: tuple[Any, ...]) -> OutgoingSummary:
    *names, received, size, state, attempts, due, error, until, refusal = row
    id_, message, type_, lane, behind, route, subject, recipient = map(as_str, names)
    told, due, error = standing(state, as_float(due), as_str(error), until, refusal)
    return OutgoingSummary(
        id=id_, message=message, type=type_, lane=lane, behind=behind, route=route, subject=subject,
        received=None if received is None else as_float(received), size=as_int(size),
        state=told, attempts=as_int(attempts), due=due, error=error[-LONGEST_ERROR:], recipient=recipient,
    )  # fmt: skip


_RANGE = "id >= ?1 AND id < ?1 || char(1114111)"
"""Begins with ?1, by the index: nothing sorts behind the last of Unicode."""
_FIND: dict[Among, str] = {
    "events": f"""SELECT * FROM (SELECT id FROM messages WHERE {_RANGE} ORDER BY id LIMIT ?2)
        UNION SELECT * FROM (SELECT DISTINCT id FROM claims WHERE {_RANGE} ORDER BY id LIMIT ?2)
        UNION SELECT * FROM (SELECT DISTINCT message FROM outgoing WHERE {_RANGE} LIMIT ?2) ORDER BY 1 LIMIT ?2""",
    "dead": f"SELECT id FROM messages WHERE {_RANGE} AND state = {DEAD} ORDER BY id LIMIT ?2",
    "outgoing": f"SELECT id FROM outgoing WHERE {_RANGE} ORDER BY id LIMIT ?2",
    "dead outgoing": f"SELECT id FROM outgoing WHERE {_RANGE} AND state = {DEAD} ORDER BY id LIMIT ?2",
}


@dataclass(frozen=True, slots=True)
class Beginning:
    prefix: str
    among: Among
    limit: int


def find(db: Database, calls: Sequence[Beginning]) -> list[list[str]]:
    rows = [db.execute(_FIND[call.among], (text(call.prefix), call.limit)).fetchall() for call in calls]
    return [[as_str(id_) for (id_,) in found] for found in rows]
