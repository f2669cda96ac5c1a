"""Operations on outgoing items; :mod:`gateway.store.operations` says what an operation is."""

import logging
import math
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from gateway.store import story
from gateway.store.calls import LATE, Failed, Take
from gateway.store.rows import DAMAGED, OUTGOING, outgoing_checksum, outgoing_of, outgoing_values, text
from gateway.store.sqlite.sql import history
from gateway.store.sqlite.sql.rows import listed
from gateway.store.states import DEAD, RUNNING, WAITING
from gateway.store.summaries import standing_item
from gateway.store.values import Outgoing

logger = logging.getLogger(__name__)

Database = sqlite3.Connection


_INSERT = f"INTO outgoing ({OUTGOING}, state) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)"


def put(db: Database, items: Sequence[Outgoing]) -> None:
    """An item with a known id is the same item, and is kept once."""
    for item in items:
        db.execute(f"INSERT OR IGNORE {_INSERT}", (*outgoing_values(item), WAITING))


def put_all(db: Database, calls: Sequence[Sequence[Outgoing]]) -> list[None]:
    for items in calls:
        put(db, items)
    return [None] * len(calls)


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
    """Chosen lane by lane, so that items that wait in a busy lane cost nothing, however many there are."""
    limit = max(0, call.limit)
    resting = dict(db.execute("SELECT lane, until FROM resting").fetchall())
    lanes = [lane for (lane,) in db.execute(_LANES) if lane is not None and lane not in call.busy]
    due = [
        row for lane in lanes if lane not in resting for row in db.execute(_DUE, (lane, *_bounds(call, lane), limit))
    ]
    asking = [lane for lane in lanes if resting.get(lane, call.now + 1) <= call.now]
    due += [row for lane in asking for row in db.execute(_ASK, (lane, call.now))]
    return [seq for _, seq in sorted(due)[:limit]]


def _bounds(call: Take, lane: str) -> tuple[float, float]:
    """Until when an item has to be due, and put there."""
    return (call.now - LATE, call.now - LATE) if lane in call.late else (call.now, math.inf)


_LANES = f"""WITH RECURSIVE lanes(lane) AS (
    SELECT min(lane) FROM outgoing WHERE state = {WAITING}
    UNION ALL SELECT (SELECT min(lane) FROM outgoing WHERE state = {WAITING} AND lane > lanes.lane)
    FROM lanes WHERE lanes.lane IS NOT NULL)
    SELECT lane FROM lanes"""
_DUE = f"""SELECT due, seq FROM outgoing AS item WHERE state = {WAITING} AND lane = ? AND due <= ?
    AND since <= ? AND NOT EXISTS (SELECT 1 FROM outgoing WHERE id = item.behind) ORDER BY due, seq LIMIT ?"""
_ASK = f"""SELECT 0.0, seq FROM outgoing AS item WHERE state = {WAITING} AND lane = ?1 AND due <= ?2
    AND NOT EXISTS (SELECT 1 FROM outgoing WHERE state = {RUNNING} AND lane = ?1)
    AND NOT EXISTS (SELECT 1 FROM outgoing WHERE id = item.behind) ORDER BY due, seq LIMIT 1"""
"""Chooses the one item of a resting lane that tries whether the account is repaired. It is another item each time,
because the item may be what is wrong. An item that fails for now has its backoff as in any lane."""


def _put_aside(db: Database, item: Outgoing) -> None:
    """A damaged item is kept and not sent, and the history of its message says so."""
    logger.error("%s: what a handler sends is %s; it is kept and not sent", item.id, DAMAGED)
    dead_letter(db, [Failed(item.id, DAMAGED)])


def finish(db: Database, calls: Sequence[str]) -> list[None]:
    for id_ in map(text, calls):
        for message, lane in db.execute("DELETE FROM outgoing WHERE id = ? RETURNING message, lane", [id_]).fetchall():
            history.note(db, message, story.line(f"sent {id_}"))
            _end_rest(db, lane)
    return [None] * len(calls)


def _end_rest(db: Database, lane: str) -> None:
    """The account of this lane works."""
    db.execute("DELETE FROM resting WHERE lane = ?", [lane])


def retry(db: Database, calls: Sequence[Failed]) -> list[None]:
    sql = f"""UPDATE outgoing SET state = {WAITING}, owner = '', due = ?, error = ?, attempts = attempts - ?
        WHERE id = ? RETURNING message, lane"""
    for call in calls:
        due, id_ = max(0.0, call.due), text(call.id)
        values = (call.asked if call.rests else due, text(call.error), call.uncounted, id_)
        for message, lane in db.execute(sql, values).fetchall():
            history.note(db, message, story.failed(f"not sent {id_}: {call.error}", due + call.forward))
            if call.rests:
                db.execute("INSERT OR REPLACE INTO resting VALUES (?,?,?)", (lane, due, text(call.error)))
        _split(db, call)
    return [None] * len(calls)


_CHAIN = """WITH RECURSIVE chain(id) AS (VALUES(?1) UNION
    SELECT next.id FROM outgoing AS next JOIN chain ON next.behind = chain.id AND next.behind <> '')"""
_DEAD_LETTER = f"""{_CHAIN} UPDATE outgoing SET state = {DEAD}, owner = '', due = 0.0,
    error = CASE id WHEN ?1 THEN ?2 ELSE ?3 END WHERE id IN chain RETURNING id, message, lane"""


def dead_letter(db: Database, calls: Sequence[Failed]) -> list[None]:
    """Make an item a dead letter, and with it the items behind it, which would be a text without its beginning."""
    for call in calls:
        id_, error = text(call.id), text(call.error)
        rows = db.execute(_DEAD_LETTER, (id_, error, f"the part before it was not sent ({id_}): {error}")).fetchall()
        for dead, message, lane in rows:
            history.note(db, message, story.failed(f"not sent, dead: {dead}: {error}"))
            if call.answered and dead == id_:
                _end_rest(db, lane)
        _split(db, call)
    return [None] * len(calls)


def _split(db: Database, call: Failed) -> None:
    """The item becomes what is left of it; what was refused of it is dead, under a new id."""
    if call.left is not None:
        _replace(db, text(call.id), call.left)
    if call.refused is not None:
        dead = replace(call.refused, id=_free(db, text(call.id)), due=0.0)
        db.execute(f"INSERT {_INSERT}", (*outgoing_values(dead), DEAD))
        history.note(db, text(dead.message), story.failed(f"not sent, dead: {dead.id}: {dead.error}"))


def _free(db: Database, id_: str) -> str:
    numbers = (f"{id_}.{number}" for number in count(1))
    return next(each for each in numbers if not db.execute("SELECT 1 FROM outgoing WHERE id = ?", [each]).fetchone())


def _replace(db: Database, id_: str, left: Outgoing) -> None:
    for fields in db.execute("SELECT id, message, kind, lane, behind FROM outgoing WHERE id = ?", [id_]).fetchall():
        values = (left.content, outgoing_checksum(left.content, *fields), text(left.recipient), id_)
        db.execute("UPDATE outgoing SET content = ?, checksum = ?, recipient = ? WHERE id = ?", values)


def wake_lanes(db: Database, calls: Sequence[None]) -> list[None]:
    db.execute("UPDATE resting SET until = 0.0")
    return [None] * len(calls)


def give_back(db: Database, calls: Sequence[Sequence[Outgoing]]) -> list[None]:
    """Taken for a caller that had gone: no attempt was begun."""
    sql = f"""UPDATE outgoing SET state = {WAITING}, owner = '', attempts = attempts - 1
        WHERE state = {RUNNING} AND id IN (SELECT value FROM json_each(?))"""
    for taken in calls:
        db.execute(sql, [listed(item.id for item in taken)])
    return [None] * len(calls)


_PARTS = """WITH RECURSIVE parts(id) AS (SELECT value FROM json_each(?)
    UNION SELECT next.id FROM parts JOIN outgoing AS next ON next.behind = parts.id AND next.behind <> ''
    UNION SELECT item.behind FROM parts JOIN outgoing AS item ON item.id = parts.id AND item.behind <> '')
    SELECT id FROM parts"""
"""The given items, and the parts of the same texts before and behind them."""
_REQUEUE = f"""UPDATE outgoing SET state = {WAITING}, due = 0.0, attempts = 0, since = ?
    WHERE id IN (SELECT value FROM json_each(?)) AND %s RETURNING id, message, lane"""
"""``+state`` keeps SQLite from the index by state: rows are found by their ids, however many have that state."""


def requeue(db: Database, calls: Sequence[tuple[Sequence[str], float]]) -> list[int]:
    return [_requeue(db, listed(map(text, ids)), now) for ids, now in calls]


def _requeue(db: Database, ids: str, now: float) -> int:
    parts = listed(id_ for (id_,) in db.execute(_PARTS, [ids]))
    dead = db.execute(_REQUEUE % f"+state = {DEAD} AND error <> ?", (now, parts, DAMAGED)).fetchall()
    waiting = set(db.execute(_REQUEUE % f"+state = {WAITING}", (now, ids)).fetchall())  # those that were dead, too
    lanes = listed({lane for _, _, lane in {*dead, *waiting}})
    db.execute("UPDATE resting SET until = 0.0 WHERE lane IN (SELECT value FROM json_each(?))", [lanes])
    return _noted(db, sorted((id_, message) for id_, message, _ in {*dead, *waiting}), "to be sent now")


def drop(db: Database, calls: Sequence[tuple[Sequence[str], bool]]) -> list[int]:
    """Drop items by their ids; each call also says whether to drop dead ones only."""
    return [_drop(db, f"= {DEAD}" if dead else f"<> {RUNNING}", ids) for ids, dead in calls]


def _drop(db: Database, state: str, ids: Sequence[str]) -> int:
    sql = f"DELETE FROM outgoing WHERE +state {state} AND id IN (SELECT value FROM json_each(?)) RETURNING id, message"
    return _noted(db, db.execute(sql, [listed(map(text, ids))]).fetchall(), "dropped, not sent")


def _noted(db: Database, rows: Sequence[tuple[str, str]], what: str) -> int:
    for id_, message in rows:
        history.note(db, message, story.line(f"{what}: {id_}"))
    return len(rows)


def get(db: Database, calls: Sequence[str]) -> list[Outgoing | None]:
    sql = f"SELECT state, {REST}, {OUTGOING} FROM outgoing AS item WHERE id = ?"
    rows = [db.execute(sql, [text(id_)]).fetchone() for id_ in calls]
    return [None if row is None else standing_item(*row) for row in rows]


REST = """(SELECT until FROM resting WHERE resting.lane = item.lane),
    (SELECT error FROM resting WHERE resting.lane = item.lane)"""


def count_by_state(db: Database) -> dict[int, int]:
    """How many there are, by the number of their state."""
    return dict(db.execute("SELECT state, count(*) FROM outgoing GROUP BY state").fetchall())


def recover(db: Database, owners: Sequence[str]) -> int:
    """What was leaving when its process died is sent first: the other side may have it already, and recognizes a
    repetition better the sooner it comes."""
    sql = f"""UPDATE outgoing SET state = {WAITING}, owner = '', due = 0.0
        WHERE state = {RUNNING} AND owner IN (SELECT value FROM json_each(?))"""
    return db.execute(sql, [listed(owners)]).rowcount


def owners(db: Database) -> set[Any]:
    return {row[0] for row in db.execute(f"SELECT DISTINCT owner FROM outgoing WHERE state = {RUNNING}")}
