"""Puts messages into the table: waiting, or begun in the same commit."""

import sqlite3
from collections.abc import Sequence

from gateway.store import story
from gateway.store.calls import Begun, Put, PutOnce
from gateway.store.placing import as_taken, put_claimed, states_of
from gateway.store.rows import message_values, text
from gateway.store.sqlite.sql import claims
from gateway.store.sqlite.sql.many import execute_values
from gateway.store.sqlite.sql.rows import listed
from gateway.store.states import BEHIND, DEAD, RUNNING, WAITING, StoredState
from gateway.store.values import Message

Database = sqlite3.Connection

KEYED = "key <> '' AND key <> id"
"""A message whose key is empty, or its own id, has no order to keep."""


def put(db: Database, calls: Sequence[Put]) -> list[list[Message]]:
    """The messages of each call that are begun. Raises ValueError if an id is already kept."""
    if not any(call.begin for call in calls) or _others_go_first(db, max(call.now for call in calls)):
        states = [[WAITING] * len(call.messages) for call in calls]
    else:
        taken = _keys(db, calls)
        states = [list(states_of(call, taken, call.begin, text)) for call in calls]
    placed = [(call, list(zip(call.messages, of, strict=True))) for call, of in zip(calls, states, strict=True)]
    _insert(db, [_row(message, state, call.owner) for call, messages in placed for message, state in messages])
    _note_priorities(db, calls)
    return [[as_taken(message, text) for message, state in messages if state == RUNNING] for _, messages in placed]


def put_once(db: Database, calls: Sequence[PutOnce]) -> list[Begun]:
    """The claim, and the message where it is begun."""
    return put_claimed(db, calls, claims, put)


_DUE = f"SELECT 1 FROM messages INDEXED BY messages_due WHERE state = {WAITING} AND due <= ?"
_SUSPECT = f"SELECT 1 FROM messages INDEXED BY messages_alone WHERE alone AND state < {BEHIND}"


def _others_go_first(db: Database, now: float) -> bool:
    """Whether an older message is due, or one that a dead process had is not handled yet: that one runs alone."""
    return bool(db.execute(f"SELECT EXISTS({_DUE}) OR EXISTS({_SUSPECT})", [now]).fetchone()[0])


def _keys(db: Database, calls: Sequence[Put]) -> set[str]:
    """The keys that have a message which is not gone yet."""
    keys = {text(message.key) for call in calls for message in call.messages if message.is_ordered}
    if not keys:
        return set()
    sql = f"""SELECT DISTINCT key FROM messages
        WHERE key IN (SELECT value FROM json_each(?)) AND {KEYED} AND state < {DEAD}"""
    return {key for (key,) in db.execute(sql, [listed(keys)])}


def _note_priorities(db: Database, calls: Sequence[Put]) -> None:
    """Set priorities. Most messages have no priority, and cost nothing here."""
    given = [(message.priority, text(message.id)) for call in calls for message in call.messages if message.priority]
    if given:
        db.executemany("UPDATE messages SET priority = ? WHERE id = ?", given)


def _row(message: Message, state: StoredState, owner: str) -> tuple[object, ...]:
    if state != RUNNING:
        return (*message_values(message), state, "", "")
    *values, attempts, due = message_values(message)
    return (*values, attempts + 1, due, state, owner, story.line(f"attempt {attempts + 1}"))


_PUT = """INSERT INTO messages
    (id, type, route, key, subject, received, content, checksum, attempts, due, state, owner, story) VALUES"""


def _insert(db: Database, rows: Sequence[tuple[object, ...]]) -> None:
    try:
        execute_values(db, _PUT, rows)
    except sqlite3.IntegrityError as error:
        raise ValueError(f"not stored: {error}") from error
