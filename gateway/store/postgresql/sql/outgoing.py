"""Operations on outgoing items; :mod:`gateway.store.operations` says what an operation is."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from gateway.store import story
from gateway.store.calls import LATE, Failed, Take
from gateway.store.postgresql.sql import history, wake
from gateway.store.postgresql.sql.me import ME, owner_of
from gateway.store.postgresql.sql.rows import columns, indexed, portions, unnested
from gateway.store.postgresql.sql.schema import Database
from gateway.store.rows import (
    DAMAGED,
    OUTGOING,
    outgoing_checksum,
    outgoing_of,
    outgoing_values,
    text,
)
from gateway.store.states import DEAD, RUNNING, WAITING
from gateway.store.summaries import standing_item
from gateway.store.values import Outgoing

logger = logging.getLogger(__name__)

_TYPES = (*["text"] * 5, "bytea", "bigint", "integer", "double precision", "text", "text", "double precision")
_NAMES = f"({OUTGOING}, state, place)"
_INSERT = f"""INSERT INTO gateway_outgoing ({OUTGOING}, state)
    SELECT {OUTGOING}, state FROM {unnested(*_TYPES, "smallint")} AS new {_NAMES} ORDER BY place"""
_PUT = f"{_INSERT} ON CONFLICT (id) DO NOTHING"


def put(db: Database, items: Sequence[Outgoing]) -> None:
    """An item with a known id is the same item, and is kept once."""
    if items:
        for portion in portions(items, lambda item: len(item.content)):
            db.execute(_PUT, columns([(*_values(item), WAITING) for item in portion]))
        wake.wake(db, wake.OUTGOING)


def _values(item: Outgoing) -> tuple[Any, ...]:
    """The values of the columns ``OUTGOING``."""
    *fields, due, error, recipient, since = outgoing_values(replace(item, lane=indexed(item.lane)))
    return (*fields, float(due), error, recipient, float(since))


def put_all(db: Database, calls: Sequence[Sequence[Outgoing]]) -> list[None]:
    put(db, [item for items in calls for item in items])
    return [None] * len(calls)


def take(db: Database, calls: Sequence[Take]) -> list[list[Outgoing]]:
    return [_take(db, call) for call in calls]


def _take(db: Database, call: Take) -> list[Outgoing]:
    while rows := _started(db, call):
        read = [(*row[:2], *outgoing_of(row[2:])) for row in rows]
        for _, _, item, sound in read:
            if not sound:
                _put_aside(db, item)
        if taken := [item for *_, item, sound in sorted(read, key=lambda each: int(each[1])) if sound]:
            return taken
    return []


def _started(db: Database, call: Take) -> list[tuple[Any, ...]]:
    """Rows that are the caller's now, at most ``limit``."""
    limit = max(0, call.limit)
    resting = dict(db.execute("SELECT lane, until FROM gateway_resting").fetchall())
    values = {"owner": int(call.owner or 0), "now": call.now, "limit": limit, "without": [*call.busy, *resting]}
    values |= {"late": list(call.late), "before": call.now - LATE}
    rows = db.execute(_TAKE, values).fetchall() if limit else []
    asking = [lane for lane, until in resting.items() if until <= call.now and lane not in call.busy]
    for lane in _locked(db, asking, call.now):
        if len(rows) < limit:
            rows += db.execute(_ASK, values | {"lane": lane}).fetchall()
    return rows


def _locked(db: Database, lanes: Sequence[str], now: float) -> list[str]:
    """The resting ``lanes`` that no other process has locked."""
    if not lanes:
        return []
    sql = "SELECT lane FROM gateway_resting WHERE lane = ANY(%s) AND until <= %s FOR UPDATE SKIP LOCKED"
    return [lane for (lane,) in db.execute(sql, (lanes, now))]


_FREE = "NOT EXISTS (SELECT 1 FROM gateway_outgoing AS first WHERE first.id = item.behind AND item.behind <> '')"
_START = f"""UPDATE gateway_outgoing AS item SET state = {RUNNING}, owner = %(owner)s, attempts = attempts + 1
    FROM chosen WHERE item.id = chosen.id AND item.state = {WAITING}
    RETURNING item.due, item.seq, {", ".join(f"item.{name}" for name in OUTGOING.split(", "))}"""
_LATE = "lanes.lane = ANY(%(late)s::text[])"
_TAKE = f"""WITH RECURSIVE {ME}, lanes(lane) AS (
    (SELECT lane FROM gateway_outgoing WHERE state = {WAITING} ORDER BY lane LIMIT 1)
    UNION ALL SELECT (SELECT next.lane FROM gateway_outgoing AS next WHERE next.state = {WAITING}
        AND next.lane > lanes.lane ORDER BY next.lane LIMIT 1) FROM lanes WHERE lanes.lane IS NOT NULL),
    chosen AS MATERIALIZED (SELECT due.id FROM lanes, LATERAL (SELECT item.id, item.due, item.seq
        FROM gateway_outgoing AS item WHERE item.state = {WAITING} AND item.lane = lanes.lane
        AND item.due <= CASE WHEN {_LATE} THEN %(before)s ELSE %(now)s END
        AND (item.since <= %(before)s OR NOT {_LATE}) AND {_FREE} AND EXISTS (SELECT 1 FROM me)
        ORDER BY item.due, item.seq LIMIT %(limit)s FOR UPDATE OF item SKIP LOCKED) AS due
        WHERE lanes.lane <> ALL(%(without)s::text[]) ORDER BY due.due, due.seq LIMIT %(limit)s)
    {_START}"""
"""Chooses lane by lane, so that items that wait in a busy lane cost nothing, however many there are."""
_ASK = f"""WITH {ME}, chosen AS MATERIALIZED (SELECT item.id FROM gateway_outgoing AS item
    WHERE item.state = {WAITING} AND item.lane = %(lane)s AND item.due <= %(now)s AND {_FREE}
    AND EXISTS (SELECT 1 FROM me)
    AND NOT EXISTS (SELECT 1 FROM gateway_outgoing WHERE state = {RUNNING} AND lane = %(lane)s)
    ORDER BY item.due, item.seq LIMIT 1 FOR UPDATE OF item SKIP LOCKED)
    {_START}"""
"""Takes the one item of a resting lane that tries whether the account is repaired. It is another item each time,
because the item may be what is wrong. An item that fails for now has its backoff as in any lane."""


def _put_aside(db: Database, item: Outgoing) -> None:
    """A damaged item is kept and not sent, and the history of its message says so."""
    logger.error("%s: what a handler sends is %s; it is kept and not sent", item.id, DAMAGED)
    dead_letter(db, [Failed(item.id, DAMAGED)])


def finish(db: Database, calls: Sequence[str]) -> list[None]:
    sql = "DELETE FROM gateway_outgoing WHERE id = ANY(%s) RETURNING id, message, lane"
    rows = db.execute(sql, [list(map(text, calls))]).fetchall()
    _note(db, ((message, story.line(f"sent {id_}")) for id_, message, _ in sorted(rows)))
    _end_rest(db, {lane for _, _, lane in rows})
    return [None] * len(calls)


def _note(db: Database, steps: Iterable[tuple[str, str]]) -> None:
    """Steps in the histories of messages; several of one message are kept in their order."""
    told: dict[str, str] = {}
    for message, step in steps:
        told[message] = told.get(message, "") + step
    history.note(db, told)


def _end_rest(db: Database, lanes: Iterable[str]) -> None:
    """The accounts of these lanes work."""
    if lanes := list(lanes):
        db.execute("DELETE FROM gateway_resting WHERE lane = ANY(%s)", [lanes])


_OURS = "(item.owner = %(owner)s OR %(owner)s = 0)"
"""An item of a process that was declared dead belongs to another one by now, which decides what becomes of it."""
_RETRY = f"""UPDATE gateway_outgoing AS item SET state = {WAITING}, owner = 0, due = %(due)s, error = %(error)s,
    attempts = attempts - %(uncounted)s WHERE id = %(id)s AND {_OURS} RETURNING message, lane"""
_REST = """INSERT INTO gateway_resting (lane, until, error) VALUES (%s, %s, %s)
    ON CONFLICT (lane) DO UPDATE SET until = excluded.until, error = excluded.error"""


def retry(db: Database, calls: Sequence[Failed]) -> list[None]:
    for call in calls:
        due, error, id_ = max(0.0, call.due), text(call.error), text(call.id)
        values = {"id": id_, "owner": int(call.owner or 0), "error": error, "uncounted": int(call.uncounted)}
        row = db.execute(_RETRY, values | {"due": call.asked if call.rests else due}).fetchone()
        if row is None:
            _lost(call)
            continue
        message, lane = row
        history.note(db, {message: story.failed(f"not sent {id_}: {error}", due + call.forward)})
        if call.rests:
            db.execute(_REST, (lane, due, error))
        _split(db, call)
    return [None] * len(calls)


def _lost(call: Failed) -> None:
    logger.warning(
        "%s: the outcome of this attempt is ignored, because the item was sent or another process has it: %s",
        call.id,
        text(call.error),
    )


_CHAIN = """WITH RECURSIVE chain(id) AS (
    SELECT id FROM gateway_outgoing AS item WHERE id = %(id)s AND {ours}
    UNION SELECT next.id FROM gateway_outgoing AS next JOIN chain ON next.behind = chain.id AND next.behind <> '')"""
_DEAD_LETTER = f"""{_CHAIN.format(ours=_OURS)} UPDATE gateway_outgoing AS item SET state = {DEAD}, owner = 0, due = 0,
    error = CASE WHEN item.id = %(id)s THEN %(error)s ELSE %(follows)s END
    FROM chain WHERE item.id = chain.id RETURNING item.id, item.message, item.lane"""


def dead_letter(db: Database, calls: Sequence[Failed]) -> list[None]:
    """Make an item a dead letter, and with it the items behind it, which would be a text without its beginning."""
    for call in calls:
        id_, error = text(call.id), text(call.error)
        follows = f"the part before it was not sent ({id_}): {error}"
        values = {"id": id_, "owner": int(call.owner or 0), "error": error, "follows": follows}
        rows = db.execute(_DEAD_LETTER, values).fetchall()
        if not rows:
            _lost(call)
            continue
        _note(db, ((message, story.failed(f"not sent, dead: {dead}: {error}")) for dead, message, _ in sorted(rows)))
        if call.answered:
            _end_rest(db, [lane for dead, _, lane in rows if dead == id_])
        _split(db, call)
    return [None] * len(calls)


def _split(db: Database, call: Failed) -> None:
    """The item becomes what is left of it; what was refused of it is dead, under a new id."""
    if call.left is not None:
        _replace(db, text(call.id), call.left)
    if call.refused is not None:
        dead = replace(call.refused, id=_free(db, text(call.id)), due=0.0)
        db.execute(_INSERT, columns([(*_values(dead), DEAD)]))
        history.note(db, {text(dead.message): story.failed(f"not sent, dead: {dead.id}: {dead.error}")})


def _free(db: Database, id_: str) -> str:
    numbers = (f"{id_}.{number}" for number in count(1))
    sql = "SELECT 1 FROM gateway_outgoing WHERE id = %s"
    return next(each for each in numbers if not db.execute(sql, [each]).fetchone())


def _replace(db: Database, id_: str, left: Outgoing) -> None:
    row = db.execute("SELECT id, message, kind, lane, behind FROM gateway_outgoing WHERE id = %s", [id_]).fetchone()
    if row is not None:
        values = (left.content, outgoing_checksum(left.content, *row), text(left.recipient), id_)
        sql = "UPDATE gateway_outgoing SET content = %s, checksum = %s, recipient = %s WHERE id = %s"
        db.execute(sql, values)


def wake_lanes(db: Database, calls: Sequence[None]) -> list[None]:
    db.execute("UPDATE gateway_resting SET until = 0")
    return [None] * len(calls)


def give_back(db: Database, calls: Sequence[Sequence[Outgoing]]) -> list[None]:
    """Taken for a caller that had gone: no attempt was begun."""
    sql = f"""UPDATE gateway_outgoing SET state = {WAITING}, owner = 0, attempts = attempts - 1
        WHERE state = {RUNNING} AND id = ANY(%s) AND owner = %s"""
    db.execute(sql, ([item.id for taken in calls for item in taken], owner_of(db)))
    return [None] * len(calls)


_PARTS = """WITH RECURSIVE parts(id) AS (SELECT id FROM gateway_outgoing WHERE id = ANY(%s)
    UNION SELECT near.id FROM parts, LATERAL (
        SELECT next.id FROM gateway_outgoing AS next WHERE next.behind = parts.id AND next.behind <> ''
        UNION ALL SELECT item.behind FROM gateway_outgoing AS item WHERE item.id = parts.id AND item.behind <> ''
        ) AS near) SELECT id FROM parts"""
"""The given items, and the parts of the same texts before and behind them."""
_REQUEUE = f"""UPDATE gateway_outgoing SET state = {WAITING}, due = 0, attempts = 0, since = %s
    WHERE id = ANY(%s) AND %s RETURNING id, message, lane"""
_REQUEUE_DEAD = _REQUEUE.replace("AND %s", f"AND state = {DEAD} AND error <> '{DAMAGED}'")
_REQUEUE_WAITING = _REQUEUE.replace("AND %s", f"AND state = {WAITING}")


def requeue(db: Database, calls: Sequence[tuple[Sequence[str], float]]) -> list[int]:
    return [_requeue(db, list(map(text, ids)), now) for ids, now in calls]


def _requeue(db: Database, ids: list[str], now: float) -> int:
    parts = [id_ for (id_,) in db.execute(_PARTS, [ids])]
    dead = db.execute(_REQUEUE_DEAD, (now, parts)).fetchall()
    waiting = db.execute(_REQUEUE_WAITING, (now, ids)).fetchall()  # those that were dead, too
    found = {*dead, *waiting}
    db.execute("UPDATE gateway_resting SET until = 0 WHERE lane = ANY(%s)", [list({lane for *_, lane in found})])
    return _noted(db, [(id_, message) for id_, message, _ in found], "to be sent now")


def drop(db: Database, calls: Sequence[tuple[Sequence[str], bool]]) -> list[int]:
    """Drop items by their ids; each call also says whether to drop dead ones only."""
    return [_drop(db, f"= {DEAD}" if dead else f"<> {RUNNING}", ids) for ids, dead in calls]


def _drop(db: Database, state: str, ids: Sequence[str]) -> int:
    sql = f"DELETE FROM gateway_outgoing WHERE state {state} AND id = ANY(%s) RETURNING id, message"
    return _noted(db, db.execute(sql, [list(map(text, ids))]).fetchall(), "dropped, not sent")


def _noted(db: Database, rows: Sequence[tuple[str, str]], what: str) -> int:
    _note(db, ((message, story.line(f"{what}: {id_}")) for id_, message in sorted(rows)))
    return len(rows)


_GET = f"""SELECT state, (SELECT until FROM gateway_resting AS r WHERE r.lane = item.lane),
    (SELECT error FROM gateway_resting AS r WHERE r.lane = item.lane), {OUTGOING}
    FROM gateway_outgoing AS item WHERE id = %s"""


def get(db: Database, calls: Sequence[str]) -> list[Outgoing | None]:
    rows = [db.execute(_GET, [text(id_)]).fetchone() for id_ in calls]
    return [None if row is None else standing_item(*row) for row in rows]


def recover(db: Database, owners: Sequence[str]) -> int:
    """What was leaving when its process died is sent first: the other side may have it already, and recognizes a
    repetition better the sooner it comes."""
    sql = f"""UPDATE gateway_outgoing SET state = {WAITING}, owner = 0, due = 0
        WHERE state = {RUNNING} AND owner = ANY(%s)"""
    return db.execute(sql, [list(map(int, owners))]).rowcount
