"""Puts messages into the table: waiting, behind an older one of their key, or begun in the same commit."""

from collections.abc import Sequence
from dataclasses import replace

from psycopg import errors

from gateway.store import story
from gateway.store.calls import Begun, Put, PutOnce
from gateway.store.placing import as_taken, put_claimed, states_of
from gateway.store.postgresql.sql import claims, wake
from gateway.store.postgresql.sql.arrays import blobs, floats, integers, texts
from gateway.store.postgresql.sql.me import ME
from gateway.store.postgresql.sql.rows import STATEMENT_BYTES, indexed, portions
from gateway.store.postgresql.sql.schema import KEYED, ONE_RUNNING, Database
from gateway.store.rows import message_values
from gateway.store.states import BEHIND, RUNNING, WAITING, StoredState
from gateway.store.values import Message
from gateway.store.writer import is_single


def _only_inserts(calls: Sequence[Put]) -> bool:
    messages = [message for call in calls for message in call.messages]
    if any(call.begin for call in calls) or any(message.is_ordered for message in messages):
        return False
    return sum(len(message.content) for message in messages) <= STATEMENT_BYTES


@is_single(_only_inserts)
def put(db: Database, calls: Sequence[Put]) -> list[list[Message]]:
    """The messages of each call that are begun. An id that is already kept ends the transaction."""
    begins = any(call.begin for call in calls)
    keys = {indexed(message.key) for call in calls for message in call.messages if message.is_ordered}
    may_begin, taken = _look(db, calls, sorted(keys)) if begins or keys else (False, set[str]())
    states = [list(states_of(call, taken, call.begin if may_begin else 0, indexed)) for call in calls]
    placed = [(call, list(zip(call.messages, of, strict=True))) for call, of in zip(calls, states, strict=True)]
    tells = wake.is_heard(db) and any(state == WAITING for of in states for state in of)
    _insert_all(db, [(message, state, call.owner) for call, messages in placed for message, state in messages], tells)
    return [[as_taken(message, indexed) for message, state in messages if state == RUNNING] for _, messages in placed]


def put_once(db: Database, calls: Sequence[PutOnce]) -> list[Begun]:
    """The claim, and the message where it is begun."""
    return put_claimed(db, calls, claims, put)


_LOOK = f"""WITH {ME}
    SELECT EXISTS (SELECT FROM me)
        AND NOT EXISTS (SELECT FROM gateway_messages WHERE state = {WAITING} AND due <= %(now)s)
        AND NOT EXISTS (SELECT FROM gateway_messages WHERE alone AND state < {BEHIND}),
    ARRAY(SELECT key FROM unnest(%(keys)b) AS wanted (key)
        WHERE EXISTS (SELECT FROM gateway_messages AS m WHERE m.key = wanted.key AND state < {BEHIND} AND {KEYED})
        OR EXISTS (SELECT FROM gateway_messages AS m WHERE m.key = wanted.key AND state = {BEHIND} AND {KEYED}))"""
_LOOK = _LOOK.replace(KEYED, "m.key <> '' AND m.key <> m.id")


def _look(db: Database, calls: Sequence[Put], keys: Sequence[str]) -> tuple[bool, set[str]]:
    """Return whether messages may be begun, and the keys that have a message which is not gone yet. No message may be
    begun while an older one is due, or while the message of a dead process is there, which runs alone. A dead owner may
    begin no message either."""
    values = {"owner": int(calls[0].owner or 0), "now": max(call.now for call in calls), "keys": texts(keys)}
    row = db.execute(_LOOK, values).fetchone()
    assert row is not None
    return row[0], set(row[1])


_INSERT = """INSERT INTO gateway_messages
    (id, type, route, key, subject, received, content, checksum, attempts, due, state, owner, story,
    priority) SELECT * FROM unnest(%b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b)"""
_INSERT_AND_TELL = f"WITH inserted AS ({_INSERT}) {wake.NOTIFY}"
"""One statement, because a session that ends between two would store without notifying."""


def _insert_all(db: Database, rows: Sequence[tuple[Message, StoredState, str]], tells: bool) -> None:
    divided = list(portions(rows, lambda row: len(row[0].content)))
    for number, portion in enumerate(divided, 1):
        _insert(db, portion, tells=tells and number == len(divided))


def _insert(db: Database, rows: Sequence[tuple[Message, StoredState, str]], tells: bool) -> None:
    begun = story.line("attempt ").rstrip("\n")
    values = [message_values(replace(message, key=indexed(message.key))) for message, _, _ in rows]
    ids, types, routes, keys, subjects, received, contents, checksums, attempts, due = zip(*values, strict=True)
    running = [state == RUNNING for _, state, _ in rows]
    parameters = (
        *map(texts, (ids, types, routes, keys, subjects)),
        floats(received),
        blobs(contents),
        integers(checksums),
        integers([number + runs for number, runs in zip(attempts, running, strict=True)]),
        floats(due),
        integers([state for _, state, _ in rows]),
        integers([int(owner) if runs else 0 for (_, _, owner), runs in zip(rows, running, strict=True)]),
        texts([f"{begun}{number + 1}\n" if runs else "" for number, runs in zip(attempts, running, strict=True)]),
        integers([message.priority for message, _, _ in rows]),
    )
    try:
        if tells:
            db.execute(_INSERT_AND_TELL, (*parameters, wake.told(db, wake.MESSAGES)))
        else:
            db.execute(_INSERT, parameters)
    except errors.UniqueViolation as error:
        if error.diag.constraint_name != ONE_RUNNING:
            raise ValueError(f"not stored: {error.diag.message_detail or error}") from error
        raise
