"""What an operator looks up. Nothing here writes; :mod:`gateway.store.operations` says what an operation is.

A content may have many megabytes, and a traceback may be long: neither is read into memory for a list.
"""

from collections import Counter
from collections.abc import Sequence

from gateway.store.calls import Page
from gateway.store.postgresql.sql.schema import KEPT, Database
from gateway.store.postgresql.sql.tally import items_by_lane, messages_by_state
from gateway.store.rows import text
from gateway.store.states import DEAD, GONE
from gateway.store.summaries import counts_of, outgoing_summary_of, summary_of
from gateway.store.values import LONGEST_ERROR, Counts, OutgoingSummary, Search, Summary

_ERROR = f"right(error, {LONGEST_ERROR})"
_MESSAGE = f"""SELECT id, type, route, key, subject, received, octet_length(content), state, attempts, due, {_ERROR}
    FROM gateway_messages"""
_PAGE = f"""{_MESSAGE} WHERE %s AND (%%(type)s::text IS NULL OR type = %%(type)s)
    AND (%%(route)s::text IS NULL OR route = %%(route)s)
    AND seq > coalesce((SELECT seq FROM gateway_messages WHERE id = %%(after)s), 0) ORDER BY seq LIMIT %%(limit)s"""
_DEAD, _WAITING = _PAGE % f"state = {DEAD}", _PAGE % KEPT


def dead(db: Database, calls: Sequence[Page]) -> list[list[Summary]]:
    return [_page(db, _DEAD, call) for call in calls]


def waiting(db: Database, calls: Sequence[Page]) -> list[list[Summary]]:
    return [_page(db, _WAITING, call) for call in calls]


def _page(db: Database, sql: str, call: Page) -> list[Summary]:
    values = {"type": call.type, "route": call.route, "limit": call.limit, "after": text(call.after)}
    return [summary_of(row) for row in db.execute(sql, values)]


def summary(db: Database, calls: Sequence[str]) -> list[Summary | None]:
    sql = f"{_MESSAGE} WHERE id = %s AND state < {GONE}"
    rows = [db.execute(sql, [text(id_)]).fetchone() for id_ in calls]
    return [None if row is None else summary_of(row) for row in rows]


_CAUSE = "(SELECT {} FROM gateway_messages AS cause WHERE cause.id = item.message)"
_REST = "(SELECT {} FROM gateway_resting AS resting WHERE resting.lane = item.lane)"
_OUTGOING = f"""SELECT id, message, kind, lane, behind,
    coalesce({_CAUSE.format("route")}, ''), coalesce({_CAUSE.format("subject")}, ''), recipient,
    coalesce(nullif(since, 0), {_CAUSE.format("received")},
        (SELECT received FROM gateway_claims AS claim WHERE claim.id = item.message LIMIT 1)),
    octet_length(content), state, attempts, due, {_ERROR}, {_REST.format("until")}, {_REST.format("error")}
    FROM gateway_outgoing AS item WHERE {{}} AND id > %(after)s ORDER BY id LIMIT %(limit)s"""
_IS_DEAD = {True: f"state = {DEAD}", False: f"state <> {DEAD}"}


def outgoing(db: Database, calls: Sequence[Page]) -> list[list[OutgoingSummary]]:
    """List items in the order of their ids: an item that leaves between two pages must not cut the second one short."""
    return [_outgoing(db, call) for call in calls]


def _outgoing(db: Database, call: Page) -> list[OutgoingSummary]:
    filters = {
        "kind = %(type)s": call.type,
        "message = %(message)s": call.message,
        _IS_DEAD[bool(call.dead)]: call.dead,
    }
    asked = [sql for sql, value in filters.items() if value is not None]
    values = {"type": call.type, "message": call.message, "after": text(call.after), "limit": call.limit}
    sql = _OUTGOING.format(" AND ".join(["TRUE", *asked]))
    return [outgoing_summary_of(row) for row in db.execute(sql, values)]


_RANGE = "{0} >= %(prefix)s AND {0} < %(prefix)s || chr(1114111)"
"""Begins with the prefix, by the index: nothing sorts behind the last of Unicode."""
_BY_ID = _RANGE.format("id")
_EVENTS = (
    f"SELECT id FROM gateway_messages WHERE {_BY_ID} ORDER BY id",
    f"SELECT DISTINCT id FROM gateway_claims WHERE {_BY_ID} ORDER BY id",
    f"SELECT DISTINCT message AS id FROM gateway_outgoing WHERE {_BY_ID} ORDER BY id",
)
_FIND = {
    Search.EVENTS: " UNION ".join(f"(SELECT id FROM ({each} LIMIT %(limit)s) AS found)" for each in _EVENTS),
    Search.DEAD: f"SELECT id FROM gateway_messages WHERE {_BY_ID} AND state = {DEAD}",
    Search.OUTGOING: f"SELECT id FROM gateway_outgoing WHERE {_BY_ID}",
    Search.DEAD_OUTGOING: f"SELECT id FROM gateway_outgoing WHERE {_BY_ID} AND state = {DEAD}",
}


def find(db: Database, calls: Sequence[tuple[str, Search, int]]) -> list[list[str]]:
    return [
        [id_ for (id_,) in db.execute(_FOUND[within], {"prefix": text(prefix), "limit": limit})]
        for prefix, within, limit in calls
    ]


_FOUND = {within: f"{sql} ORDER BY id LIMIT %(limit)s" for within, sql in _FIND.items()}


def counts(db: Database, calls: Sequence[None]) -> list[Counts]:
    items: Counter[int] = Counter()
    for (_, state), count in items_by_lane(db).items():
        items[state] += count
    counted = counts_of(messages_by_state(db), items)
    return [counted] * len(calls)
