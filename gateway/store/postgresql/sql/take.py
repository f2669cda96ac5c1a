"""Takes messages that are due, for an owner."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gateway.store import story
from gateway.store.calls import Take
from gateway.store.postgresql.sql import keys
from gateway.store.postgresql.sql.arrays import texts
from gateway.store.postgresql.sql.me import ME
from gateway.store.postgresql.sql.schema import Database
from gateway.store.priority import FIRST_TIME, STEPS
from gateway.store.rows import DAMAGED, MESSAGE, message_of, text
from gateway.store.states import BEHIND, DEAD, RUNNING, WAITING
from gateway.store.values import Message

logger = logging.getLogger(__name__)

TAKE_BYTES = 64 * 1024 * 1024
"""Content that one ``take`` brings into memory, at least one message."""
SUSPECTS = 0x6761746577617901
"""The advisory lock of a transaction that takes what a dead process had: "gateway" in ASCII, and 1."""


def take(db: Database, calls: Sequence[Take]) -> list[list[Message]]:
    return [_take(db, call) for call in calls]


def _take(db: Database, call: Take) -> list[Message]:
    if call.limit <= 0:
        return []
    while rows := _started(db, call, _UNSUSPECTED) or _suspect(db, call):
        if taken := _sound(db, rows):
            return taken
    return []  # not while what was due was only damaged: there may be more behind it


def _suspect(db: Database, call: Take) -> list[tuple[Any, ...]]:
    """Start the oldest message that a process had when it died, if no other such message runs; otherwise of the
    rest."""
    suspects = {state for (state,) in db.execute(_SUSPECTS).fetchall()}
    if WAITING not in suspects:
        return []
    alone = RUNNING not in suspects and bool(_one(db, "SELECT pg_try_advisory_xact_lock(%s)", SUSPECTS))
    if alone and RUNNING in {state for (state,) in db.execute(_SUSPECTS).fetchall()}:  # since the first look
        alone = False
    return (_started(db, replace(call, limit=1), _SUSPECT) if alone else []) or _started(db, call, _BESIDE)


_SUSPECTS = f"SELECT DISTINCT state FROM gateway_messages WHERE alone AND state < {BEHIND}"
_MAY_GO = f"""m.key <> ALL(%(busy)b) AND (cardinality(%(full)b) = 0 OR m.type || ' ' || m.route <> ALL(%(full)b))
        AND (m.key = '' OR m.key = m.id OR NOT EXISTS (SELECT FROM gateway_messages AS e
        WHERE e.key = m.key AND e.state < {BEHIND} AND e.key <> '' AND e.key <> e.id
        AND (e.state = {RUNNING} OR e.seq < m.seq)))"""
"""Whether there is no older message of its key in front, and none runs. It can be a younger one that runs, if this one
was requeued."""
_NONE_SUSPECT = f"NOT EXISTS (SELECT FROM gateway_messages WHERE alone AND state < {BEHIND} AND state = {WAITING})"


_RANK = f"CASE WHEN m.due < {FIRST_TIME} THEN m.due ELSE -m.priority / {STEPS} END"
_IS_LATER = f"m.due >= {FIRST_TIME} AND m.due <= %(now)s"


def _due(which: str, order: str) -> str:
    return f"""SELECT m.id, m.seq, length(m.content) AS size, {_RANK} AS rank FROM gateway_messages AS m, me
        WHERE m.state = {WAITING} AND {which} AND {_MAY_GO}
        ORDER BY {order} LIMIT %(limit)s FOR UPDATE OF m SKIP LOCKED"""


def _oldest(only: str) -> str:
    """A statement that starts the oldest that are due and not suspect."""
    return f"""WITH {ME},
        new AS MATERIALIZED ({_due(f"m.due < {FIRST_TIME} AND NOT m.alone AND {only}", "m.due, m.seq")}),
        later AS MATERIALIZED ({_due(f"{_IS_LATER} AND m.priority = 0 AND NOT m.alone AND {only}", "m.due, m.seq")}),
        ranked AS MATERIALIZED ({_due(f"{_IS_LATER} AND m.priority <> 0 AND NOT m.alone AND {only}", "rank, m.seq")}),
        due AS (SELECT * FROM new UNION ALL SELECT * FROM later UNION ALL SELECT * FROM ranked), {_START}"""


_START = f"""chosen AS MATERIALIZED (SELECT id FROM (
        SELECT id, row_number() OVER first AS place, sum(size) OVER first AS total FROM due
        WINDOW first AS (ORDER BY rank, seq)) AS placed
        WHERE place <= %(limit)s AND (place = 1 OR total <= {TAKE_BYTES}))
    UPDATE gateway_messages AS m SET state = {RUNNING}, owner = %(owner)s, attempts = m.attempts + 1,
        story = story || %(step)s || (m.attempts + 1) || chr(10)
    FROM chosen WHERE m.id = chosen.id
    RETURNING {_RANK}, m.seq, m.alone, {", ".join(f"m.{name}" for name in MESSAGE.split(", "))}"""
_UNSUSPECTED = _oldest(_NONE_SUSPECT)
_BESIDE = _oldest("true")
_SUSPECT = f"""WITH {ME},
    due AS MATERIALIZED ({_due(f"m.alone AND m.state < {BEHIND} AND m.due <= %(now)s", "m.seq")}), {_START}"""


def _started(db: Database, call: Take, sql: str) -> list[tuple[Any, ...]]:
    """Rows that run from now on, in the order in which they are to be begun."""
    step = story.line("attempt ").rstrip("\n")
    values = {"owner": int(call.owner), "limit": call.limit, "now": call.now, "busy": texts(call.busy), "step": step}
    values["full"] = texts(call.full)
    return sorted(db.execute(sql, values).fetchall(), key=lambda row: row[:2])


def _sound(db: Database, rows: Sequence[tuple[Any, ...]]) -> list[Message]:
    """The messages that are as they were put. Others are put aside."""
    sound: list[Message] = []
    for _, _, alone, *columns in rows:
        message, is_sound = message_of(tuple(columns))
        if is_sound:
            sound.append(replace(message, alone=True) if alone else message)
        else:
            _put_aside(db, message)
    return sound


_PUT_ASIDE = f"""UPDATE gateway_messages SET state = {DEAD}, due = 0, owner = 0, error = %s, story = story || %s
    WHERE id = %s RETURNING key"""


def _put_aside(db: Database, message: Message) -> None:
    """Make a damaged message a dead letter. Its content stays as it is, so that its checksum still shows the damage."""
    logger.error("%s %s: %s; now among the dead letters", message.id, message.subject, DAMAGED)
    db.execute(_PUT_ASIDE, (text(message.error), story.line("dead: damaged"), message.id))
    keys.move_on(db, [message.key])


def _one(db: Database, sql: str, value: object) -> Any:
    row = db.execute(sql, [value]).fetchone()
    return None if row is None else row[0]
