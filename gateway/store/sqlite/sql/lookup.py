"""What an operator looks up. Nothing here writes; :mod:`gateway.store.operations` says what an operation is.

A content may have many megabytes, and a traceback may be long: neither is read into memory for a list.
"""

import sqlite3
from collections.abc import Sequence

from gateway.store.calls import Page
from gateway.store.rows import as_str, text
from gateway.store.sqlite.sql import messages
from gateway.store.sqlite.sql import outgoing as outgoing_items
from gateway.store.sqlite.sql.outgoing import REST
from gateway.store.states import DEAD, GONE
from gateway.store.summaries import counts_of, outgoing_summary_of, summary_of
from gateway.store.values import LONGEST_ERROR, Counts, OutgoingSummary, Search, Summary

Database = sqlite3.Connection

_ERROR = f"substr(error, -{LONGEST_ERROR})"
_MESSAGE = (
    f"SELECT id, type, route, key, subject, received, length(content), state, attempts, due, {_ERROR} FROM messages"
)
_BEHIND = "seq > coalesce((SELECT seq FROM messages WHERE id = ?4), 0)"


def dead(db: Database, calls: Sequence[Page]) -> list[list[Summary]]:
    return [_page(db, f"state = {DEAD} AND due = 0.0", call) for call in calls]


def waiting(db: Database, calls: Sequence[Page]) -> list[list[Summary]]:
    return [_page(db, f"+state < {DEAD}", call) for call in calls]  # +: along seq; by state, each page would be sorted


def _page(db: Database, state: str, call: Page) -> list[Summary]:
    sql = f"""{_MESSAGE} WHERE {state} AND (?1 IS NULL OR type = ?1) AND (?2 IS NULL OR route = ?2)
        AND {_BEHIND} ORDER BY seq LIMIT ?3"""
    return [summary_of(row) for row in db.execute(sql, (call.type, call.route, call.limit, text(call.after)))]


def summary(db: Database, calls: Sequence[str]) -> list[Summary | None]:
    sql = f"{_MESSAGE} WHERE id = ? AND state < {GONE}"
    rows = [db.execute(sql, [text(id_)]).fetchone() for id_ in calls]
    return [None if row is None else summary_of(row) for row in rows]


_CAUSE = "SELECT {} FROM messages WHERE messages.id = item.message"
_OUTGOING = f"""SELECT id, message, kind, lane, behind,
    coalesce(({_CAUSE.format("route")}), ''), coalesce(({_CAUSE.format("subject")}), ''), recipient,
    coalesce(nullif(since, 0.0), ({_CAUSE.format("received")}),
        (SELECT received FROM claims WHERE claims.id = item.message LIMIT 1)),
    length(content), state, attempts, due, {_ERROR},
    {REST}
    FROM outgoing AS item WHERE (?1 IS NULL OR kind = ?1) AND (?2 IS NULL OR message = ?2)
    AND (?5 IS NULL OR (state = {DEAD}) = ?5) AND id > ?4 ORDER BY id LIMIT ?3"""


def outgoing(db: Database, calls: Sequence[Page]) -> list[list[OutgoingSummary]]:
    """List items in the order of their ids: an item that leaves between two pages must not cut the second one short."""
    return [
        [
            outgoing_summary_of(row)
            for row in db.execute(_OUTGOING, (call.type, call.message, call.limit, text(call.after), call.dead))
        ]
        for call in calls
    ]


_RANGE = "id >= ?1 AND id < ?1 || char(1114111)"
"""Begins with ?1, by the index: nothing sorts behind the last of Unicode."""
_FIND = {
    Search.EVENTS: f"""SELECT * FROM (SELECT id FROM messages WHERE {_RANGE} ORDER BY id LIMIT ?2)
        UNION SELECT * FROM (SELECT DISTINCT id FROM claims WHERE {_RANGE} ORDER BY id LIMIT ?2)
        UNION SELECT * FROM (SELECT DISTINCT message FROM outgoing WHERE {_RANGE} LIMIT ?2) ORDER BY 1 LIMIT ?2""",
    Search.DEAD: f"SELECT id FROM messages WHERE {_RANGE} AND state = {DEAD} ORDER BY id LIMIT ?2",
    Search.OUTGOING: f"SELECT id FROM outgoing WHERE {_RANGE} ORDER BY id LIMIT ?2",
    Search.DEAD_OUTGOING: f"SELECT id FROM outgoing WHERE {_RANGE} AND state = {DEAD} ORDER BY id LIMIT ?2",
}


def find(db: Database, calls: Sequence[tuple[str, Search, int]]) -> list[list[str]]:
    rows = [db.execute(_FIND[within], (text(prefix), limit)).fetchall() for prefix, within, limit in calls]
    return [[as_str(id_) for (id_,) in found] for found in rows]


def counts(db: Database, calls: Sequence[None]) -> list[Counts]:
    counted = counts_of(messages.count_by_state(db), outgoing_items.count_by_state(db))
    return [counted] * len(calls)
