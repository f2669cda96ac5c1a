"""Operations on messages that are kept; :mod:`gateway.store.operations` says what an operation is."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace

from gateway.store import story
from gateway.store.calls import DeadLetter, Finish, Retry
from gateway.store.postgresql.sql import claims, keys, outgoing, wake
from gateway.store.postgresql.sql.arrays import integers, texts
from gateway.store.postgresql.sql.me import owner_of
from gateway.store.postgresql.sql.rows import indexed
from gateway.store.postgresql.sql.schema import Database
from gateway.store.postgresql.sql.take import take
from gateway.store.priority import FIRST_TIME, STEPS, time_of
from gateway.store.rows import MESSAGE, message_of, message_values, text
from gateway.store.states import DEAD, GONE, RUNNING, WAITING
from gateway.store.values import Message
from gateway.store.writer import is_single

__all__ = ["dead_letter", "drop", "finish", "get", "give_back", "is_known", "next_due", "requeue", "retry", "take"]

logger = logging.getLogger(__name__)

_FINISH = f"""WITH ended AS (UPDATE gateway_messages SET state = {GONE}, due = %(now)s, content = '', owner = 0,
    story = story || %(step)s WHERE id = ANY(%(ids)b) AND state = {RUNNING} AND owner = %(owner)s RETURNING id, key),
    moved AS ({keys.MOVE_ON}) SELECT id FROM ended"""


@is_single(lambda calls: not any(call.outgoing for call in calls))
def finish(db: Database, calls: Sequence[Finish]) -> list[None]:
    ids = [text(id_) for call in calls for id_ in call.ids]
    values = {"now": calls[-1].now, "step": story.line("done"), "ids": texts(ids), "owner": int(calls[0].owner)}
    ended = {id_ for (id_,) in db.execute(_FINISH, values).fetchall()}
    _tell_of_lost(id_ for id_ in ids if id_ not in ended)
    outgoing.put(db, [item for call in calls if {*map(text, call.ids)} <= ended for item in call.outgoing])
    return [None] * len(calls)


def _tell_of_lost(ids: Iterable[str]) -> None:
    for id_ in ids:
        logger.warning("%s: this process no longer has the message, so the outcome of this attempt is ignored", id_)


_RETRY = f"""UPDATE gateway_messages SET state = {WAITING}, owner = 0, error = %(error)s,
    due = CASE WHEN %(due)s >= {FIRST_TIME} THEN %(due)s ELSE -priority / {STEPS} END,
    story = right(story || %(step)s, {story.LONGEST}), attempts = attempts - %(uncounted)s, alone = false
    WHERE id = %(id)s AND state = {RUNNING} AND owner = %(owner)s"""


def retry(db: Database, calls: Sequence[Retry]) -> list[None]:
    for call in calls:
        step = story.failed(call.error, call.due + call.forward)
        values = {"due": float(call.due), "error": text(call.error), "step": step, "id": text(call.id)}
        values |= {"uncounted": int(not call.counted), "owner": int(call.owner)}
        if not db.execute(_RETRY, values).rowcount:
            _tell_of_lost([call.id])
    return [None] * len(calls)


_GIVE_BACK = f"""UPDATE gateway_messages AS m SET state = {WAITING}, owner = 0, attempts = m.attempts - 1,
    story = story || %(step)s FROM unnest(%(ids)b, %(attempts)b) AS taken (id, attempts)
    WHERE m.id = taken.id AND m.attempts = taken.attempts AND state = {RUNNING}
    AND m.owner = %(owner)s"""


def give_back(db: Database, calls: Sequence[Sequence[Message]]) -> list[None]:
    """Taken for a caller that had gone: no attempt was begun."""
    if taken := [message for messages in calls for message in messages]:
        ids, attempts = [text(each.id) for each in taken], [each.attempts for each in taken]
        db.execute(
            _GIVE_BACK,
            {
                "owner": owner_of(db),
                "step": story.line("not begun"),
                "ids": texts(ids),
                "attempts": integers(attempts),
            },
        )
    return [None] * len(calls)


_DEAD_LETTER = f"""INSERT INTO gateway_messages AS m
    (id, type, route, key, subject, received, content, checksum, attempts, due, state, error, story)
    VALUES (%s, %s, %s, %s, %s, %s, %b, %s, %s, %s, {DEAD}, %s, %s)
    ON CONFLICT (id) DO UPDATE SET state = {DEAD}, due = 0, owner = 0, alone = false, error = excluded.error,
    type = excluded.type, route = excluded.route, key = excluded.key, subject = excluded.subject,
    received = excluded.received, content = excluded.content, checksum = excluded.checksum,
    attempts = excluded.attempts, story = right(m.story || excluded.story, {story.LONGEST})
    WHERE m.state = {RUNNING} AND m.owner = %s"""


def dead_letter(db: Database, calls: Sequence[DeadLetter]) -> list[None]:
    for call in calls:
        values = message_values(replace(call.message, key=indexed(call.message.key), due=0.0))
        step = story.failed(call.error) + story.line("dead")
        if db.execute(_DEAD_LETTER, (*values, text(call.error), step, int(call.owner))).rowcount:
            keys.move_on(db, [values[3]] if call.message.is_ordered else [])
        else:
            _tell_of_lost([call.message.id])
    claims.hand_over(db, [call.claim for call in calls if call.claim is not None], begun=True)
    return [None] * len(calls)


def is_known(db: Database, calls: Sequence[str]) -> list[bool]:
    found = db.execute("SELECT id FROM gateway_messages WHERE id = ANY(%b)", [texts(list(map(text, calls)))]).fetchall()
    known = {id_ for (id_,) in found}
    return [text(id_) in known for id_ in calls]


def next_due(db: Database, calls: Sequence[None]) -> list[float | None]:
    sql = f"SELECT due FROM gateway_messages WHERE state = {WAITING} ORDER BY due, seq LIMIT 1"
    row = db.execute(sql).fetchone()
    return [None if row is None else time_of(row[0])] * len(calls)


def requeue(db: Database, calls: Sequence[Sequence[str]]) -> list[int]:
    sql = f"""UPDATE gateway_messages SET state = {WAITING}, attempts = 0, due = -priority / {STEPS}, error = '',
        story = story || %s
        WHERE state = {DEAD} AND id = ANY(%b)"""
    counts = [db.execute(sql, (story.line("tried again"), texts(list(map(text, ids))))).rowcount for ids in calls]
    if any(counts):
        wake.wake(db, wake.MESSAGES)
    return counts


def drop(db: Database, calls: Sequence[tuple[Sequence[str], float]]) -> list[int]:
    sql = f"""UPDATE gateway_messages SET state = {GONE}, due = %s, content = '', story = story || %s
        WHERE state = {DEAD} AND id = ANY(%b)"""
    step = story.line("dropped")
    return [db.execute(sql, (now, step, texts(list(map(text, ids))))).rowcount for ids, now in calls]


def get(db: Database, calls: Sequence[str]) -> list[Message | None]:
    sql = f"SELECT {MESSAGE} FROM gateway_messages WHERE id = %s AND state < {GONE}"
    rows = [db.execute(sql, [text(id_)]).fetchone() for id_ in calls]
    return [None if row is None else message_of(row)[0] for row in rows]


_RECOVER = f"""WITH had AS MATERIALIZED (SELECT id FROM gateway_messages
        WHERE state = {RUNNING} AND owner = ANY(%(owners)b) FOR UPDATE SKIP LOCKED)
    UPDATE gateway_messages AS m SET state = {WAITING}, owner = 0, alone = true, story = story || %(step)s
    FROM had WHERE m.id = had.id"""


def recover(db: Database, owners: Sequence[str]) -> int:
    """Give back what ``owners`` had; how many. What a transaction has locked stays."""
    values = {"owners": integers(list(map(int, owners))), "step": story.line("its process ended; given back")}
    return db.execute(_RECOVER, values).rowcount
