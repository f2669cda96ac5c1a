"""Operations on messages; :mod:`gateway.store.operations` says what an operation is."""

import json
import logging
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from gateway.store import story
from gateway.store.calls import DeadLetter, Finish, Retry, Take
from gateway.store.priority import FIRST_TIME, STEPS
from gateway.store.rows import DAMAGED, MESSAGE, message_of, message_values, text
from gateway.store.sqlite.sql import claims, outgoing
from gateway.store.sqlite.sql.put import KEYED
from gateway.store.sqlite.sql.rows import listed
from gateway.store.states import BEHIND, DEAD, GONE, RUNNING, WAITING
from gateway.store.values import Message

logger = logging.getLogger(__name__)

Database = sqlite3.Connection

TAKE_BYTES = 64 * 1024 * 1024
"""Content that one ``take`` brings into memory, at least one message."""


def take(db: Database, calls: Sequence[Take]) -> list[list[Message]]:
    db.execute(_RANK, [max(call.now for call in calls)])
    return [_take(db, call) for call in calls]


_RANK = f"""UPDATE messages INDEXED BY messages_later SET due = -priority / {STEPS}
    WHERE priority <> 0 AND state = 0 AND due >= {FIRST_TIME} AND due <= ?"""
"""Messages of a priority that were due later, and are by now."""


def _take(db: Database, call: Take) -> list[Message]:
    while chosen := _chosen(db, call):
        if taken := _start(db, call.owner, chosen):
            return taken
    return []  # not while what was due was only damaged: there may be more behind it


def _chosen(db: Database, call: Take) -> list[int]:
    """Choose the oldest message that a process had when it died, if no other such message runs; otherwise choose from
    the rest."""
    suspects = {state for (state,) in db.execute(_SUSPECTS)}
    if WAITING in suspects and RUNNING not in suspects:
        one = replace(call, limit=min(call.limit, 1))
        return _free(db, one, _SUSPECT) or _free(db, call, _UNSUSPECTED)
    return _free(db, call, _UNSUSPECTED)


_SUSPECTS = f"SELECT DISTINCT state FROM messages INDEXED BY messages_alone WHERE alone AND state < {BEHIND}"


def _free(db: Database, call: Take, candidates: str) -> list[int]:
    """Return the candidates before which there is no older or running message of their key."""
    chosen: list[int] = []
    passed: list[int] = []  # only until the next take: what runs may have to wait again, and then moves nothing on
    while found := _candidates(db, call, candidates, room=call.limit - len(chosen), without=chosen + passed):
        behind = [seq for seq, key in found if key is not None and _is_behind(db, seq, key)]
        halted = [seq for seq, key in found if key is not None and seq not in behind and _is_running(db, key)]
        sql = f"UPDATE messages SET state = {BEHIND} WHERE seq IN (SELECT value FROM json_each(?))"
        db.execute(sql, [listed(behind)])
        passed += halted
        chosen += [seq for seq, _ in found if seq not in behind and seq not in halted]
        if not behind and not halted:
            break
    return chosen


_DUE = f"""SELECT seq, CASE WHEN {KEYED} THEN key END AS key, length(content) AS size, %s AS rank
    FROM messages INDEXED BY %s
    WHERE state = {WAITING} AND %s AND key NOT IN (SELECT value FROM json_each(:busy))
    AND seq NOT IN (SELECT value FROM json_each(:without))
    AND (:full IS NULL OR type || ' ' || route NOT IN (SELECT value FROM json_each(:full))) ORDER BY %s LIMIT :room"""


def _first(*sources: str) -> str:
    union = " UNION ALL ".join(f"SELECT * FROM ({source})" for source in sources)
    return f"SELECT json_group_array(json_array(seq, key, size)) FROM ({union} ORDER BY rank, seq LIMIT :room)"


_UNSUSPECTED = _first(
    _DUE % ("due", "messages_due", f"due < {FIRST_TIME} AND NOT alone", "due, seq"),
    _DUE % ("0.0", "messages_due", f"due >= {FIRST_TIME} AND due <= :now AND NOT alone", "due"),
)
"""Messages with a rank, in its order, and those that were due later and are due now. Each further source would make
every take slower."""
_SUSPECT = _first(_DUE % ("0.0", "messages_alone", f"alone AND state < {BEHIND} AND due <= :now", "seq"))


def _candidates(db: Database, call: Take, sql: str, *, room: int, without: list[int]) -> list[tuple[int, str | None]]:
    """The oldest that are due, with the key whose order they keep."""
    if room <= 0:
        return []
    values = {"now": call.now, "busy": listed(call.busy), "without": listed(without), "room": room}
    values["full"] = listed(call.full) if call.full else None
    found: list[tuple[int, str | None]] = []
    size = 0
    for seq, key, length in json.loads(db.execute(sql, values).fetchone()[0]):
        size += length
        if size > TAKE_BYTES and (found or without):
            break
        found.append((seq, key))
    return found


def _is_behind(db: Database, seq: int, key: str) -> bool:
    """Whether an older message of ``key`` is not gone yet."""
    sql = f"SELECT EXISTS(SELECT 1 FROM messages WHERE key = ? AND {KEYED} AND state < {DEAD} AND seq < ?)"
    return bool(db.execute(sql, (key, seq)).fetchone()[0])


def _is_running(db: Database, key: str) -> bool:
    """Whether a message of ``key`` is running. It can be a younger one than the message in question, if that one was
    requeued."""
    sql = f"""SELECT EXISTS(SELECT 1 FROM messages INDEXED BY messages_due
        WHERE state = {RUNNING} AND key = ? AND {KEYED})"""
    return bool(db.execute(sql, [key]).fetchone()[0])


def _start(db: Database, owner: str, chosen: list[int]) -> list[Message]:
    sql = f"""UPDATE messages SET state = {RUNNING}, owner = ?, attempts = attempts + 1,
        story = story || ? || (attempts + 1) || char(10)
        WHERE seq IN (SELECT value FROM json_each(?)) RETURNING seq, alone, {MESSAGE}"""
    rows = db.execute(sql, (owner, story.line("attempt ").rstrip("\n"), listed(chosen))).fetchall()
    order = {seq: number for number, seq in enumerate(chosen)}
    read = [(bool(row[1]), *message_of(row[2:])) for row in sorted(rows, key=lambda row: order[row[0]])]
    for _, message, sound in read:
        if not sound:
            _put_aside(db, message)
    return [replace(message, alone=True) if alone else message for alone, message, sound in read if sound]


def _put_aside(db: Database, message: Message) -> None:
    """Make a damaged message a dead letter. Its content stays as it is, so that its checksum still shows the damage."""
    logger.error("%s %s: %s; now among the dead letters", message.id, message.subject, DAMAGED)
    _leave(db, [message.id], f"state = {DEAD}, due = 0.0, error = ?", text(message.error), story.line("dead: damaged"))


def finish(db: Database, calls: Sequence[Finish]) -> list[None]:
    outgoing.put(db, [item for call in calls for item in call.outgoing])
    ids = [text(id_) for call in calls for id_ in call.ids]
    change = f"state = {GONE}, due = ?, content = x''"
    _leave(db, ids, change, calls[-1].now, story.line("done"), only=RUNNING)
    return [None] * len(calls)


def _leave(db: Database, ids: list[str], change: str, value: object, step: str, *, only: int | None = None) -> None:
    """Messages that no longer wait: the next of each key may go on."""
    where = "id IN (SELECT value FROM json_each(?))" + ("" if only is None else f" AND state = {only}")
    keys = db.execute(f"SELECT DISTINCT key FROM messages WHERE {where} AND {KEYED}", [listed(ids)]).fetchall()
    sql = f"UPDATE messages SET {change}, owner = '', story = story || ? WHERE {where}"
    db.execute(sql, (value, step, listed(ids)))
    _move_on(db, (key for (key,) in keys))


def _move_on(db: Database, keys: Iterable[str]) -> None:
    sql = f"""UPDATE messages SET state = {WAITING} WHERE seq = (SELECT seq FROM messages
        WHERE key = ? AND {KEYED} AND state < {DEAD} AND state = {BEHIND} ORDER BY seq LIMIT 1)"""
    for key in keys:
        db.execute(sql, [key])


def retry(db: Database, calls: Sequence[Retry]) -> list[None]:
    sql = f"""UPDATE messages SET state = {WAITING}, owner = '',
        due = iif(?1 >= {FIRST_TIME}, ?1, -priority / {STEPS}), error = ?2, story = substr(story || ?3, ?4),
        attempts = attempts - ?5, alone = 0 WHERE id = ?6 AND state = {RUNNING}"""
    for call in calls:
        step = story.failed(call.error, call.due + call.forward)
        values = (call.due, text(call.error), step, -story.LONGEST, not call.counted, text(call.id))
        db.execute(sql, values)
    return [None] * len(calls)


def give_back(db: Database, calls: Sequence[Sequence[Message]]) -> list[None]:
    """Taken for a caller that had gone: no attempt was begun."""
    sql = f"""UPDATE messages SET state = {WAITING}, owner = '', attempts = attempts - 1, story = story || ?
        WHERE id IN (SELECT value FROM json_each(?)) AND state = {RUNNING}"""
    for taken in calls:
        db.execute(sql, (story.line("not begun"), listed(message.id for message in taken)))
    return [None] * len(calls)


_DEAD_LETTER = f"""INSERT INTO messages
    (id, type, route, key, subject, received, content, checksum, attempts, due, state, error, story)
    VALUES (?,?,?,?,?,?,?,?,?,?,{DEAD},?,?)
    ON CONFLICT (id) DO UPDATE SET state = {DEAD}, due = 0.0, owner = '', alone = 0, error = excluded.error,
    type = excluded.type, route = excluded.route, key = excluded.key, subject = excluded.subject,
    received = excluded.received, content = excluded.content, checksum = excluded.checksum,
    attempts = excluded.attempts, story = substr(story || excluded.story, {-story.LONGEST})"""


def dead_letter(db: Database, calls: Sequence[DeadLetter]) -> list[None]:
    for call in calls:
        values = message_values(replace(call.message, due=0.0))
        db.execute(_DEAD_LETTER, (*values, text(call.error), story.failed(call.error) + story.line("dead")))
        _move_on(db, [text(call.message.key)])
    claims.hand_over(db, [call.claim for call in calls if call.claim is not None], begun=True)
    return [None] * len(calls)


def is_known(db: Database, calls: Sequence[str]) -> list[bool]:
    sql = "SELECT 1 FROM messages WHERE id = ?"
    return [db.execute(sql, [text(id_)]).fetchone() is not None for id_ in calls]


def next_due(db: Database, calls: Sequence[None]) -> list[float | None]:
    due = db.execute(f"SELECT min(due) FROM messages WHERE state = {WAITING}").fetchone()[0]
    return [due] * len(calls)


def requeue(db: Database, calls: Sequence[Sequence[str]]) -> list[int]:
    sql = f"""UPDATE messages
        SET state = {WAITING}, attempts = 0, due = -priority / {STEPS}, error = '', story = story || ?
        WHERE state = {DEAD} AND id IN (SELECT value FROM json_each(?))"""
    return [db.execute(sql, (story.line("tried again"), listed(map(text, ids)))).rowcount for ids in calls]


def drop(db: Database, calls: Sequence[tuple[Sequence[str], float]]) -> list[int]:
    sql = f"""UPDATE messages SET state = {GONE}, due = ?, content = x'', story = story || ?
        WHERE state = {DEAD} AND id IN (SELECT value FROM json_each(?))"""
    return [db.execute(sql, (now, story.line("dropped"), listed(map(text, ids)))).rowcount for ids, now in calls]


def get(db: Database, calls: Sequence[str]) -> list[Message | None]:
    sql = f"SELECT {MESSAGE} FROM messages WHERE id = ? AND state < {GONE}"
    rows = [db.execute(sql, [text(id_)]).fetchone() for id_ in calls]
    return [None if row is None else message_of(row)[0] for row in rows]


def count_by_state(db: Database) -> dict[int, int]:
    """How many there are, by the number of their state."""
    counted = f"SELECT state, count(*) FROM messages WHERE state < {GONE} GROUP BY state"
    return dict(db.execute(counted).fetchall())


def recover(db: Database, owners: Sequence[str]) -> int:
    sql = f"""UPDATE messages SET state = {WAITING}, owner = '', alone = 1, story = story || ?
        WHERE state = {RUNNING} AND owner IN (SELECT value FROM json_each(?))"""
    return db.execute(sql, (story.line("its process ended; given back"), listed(owners))).rowcount


def owners(db: Database) -> set[Any]:
    return {row[0] for row in db.execute(f"SELECT DISTINCT owner FROM messages WHERE state = {RUNNING}")}


def purge(db: Database, before: float, keep: int, limit: int) -> int:
    """Forget at most ``limit`` of those gone: before the time ``before``, and the oldest where more than ``keep``."""
    sql = f"""DELETE FROM messages WHERE seq IN (SELECT seq FROM messages WHERE state = {GONE} AND due < max(?,
        coalesce((SELECT due FROM messages WHERE state = {GONE} ORDER BY due DESC LIMIT 1 OFFSET ?), 0)) LIMIT ?)"""
    return db.execute(sql, (before, keep, limit)).rowcount
