"""Operations on claims; :mod:`gateway.store.operations` says what an operation is."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from gateway.store import story
from gateway.store.calls import Release, Request, Settled
from gateway.store.rows import checksum, claim_of, text
from gateway.store.sqlite.sql import outgoing
from gateway.store.sqlite.sql.many import MOST_ROWS, execute_values, insert_values
from gateway.store.sqlite.sql.rows import listed
from gateway.store.states import BUSY, DONE, FREE
from gateway.store.values import Claim, ClaimState

Database = sqlite3.Connection


def claim(db: Database, calls: Sequence[Request]) -> list[Claim]:
    """Claim new keys by one statement, and the others one by one."""
    if _are_new(db, calls):
        return [_ours(call) for call in calls]
    known = {key for (key,) in execute_values(db, _SEEN, [(text(call.key), text(call.failed_as)) for call in calls])}
    new = {key: call for call in calls if (key := text(call.key)) not in known}
    first = dict(zip(map(id, new.values()), _first(db, list(new.values())), strict=True))
    return [first.get(id(call)) or _claim(db, call) for call in calls]


def _are_new(db: Database, calls: Sequence[Request]) -> bool:
    """Claim all of ``calls`` if that can be done by one statement: the usual case. Return whether it was done."""
    if len(calls) > MOST_ROWS or len({text(call.key) for call in calls}) < len(calls):
        return False
    return insert_values(db, _ALL_NEW, _rows(calls)) > 0


_IS_SEEN = f"""EXISTS (SELECT 1 FROM claims WHERE claims.key = new.key) OR looks <> '' AND EXISTS
    (SELECT 1 FROM claims INDEXED BY claims_failed WHERE failed_as = looks AND failed_as <> '' AND state = {FREE})"""
"""Whether a key is in the table, or looks like a claim there that has failed."""
_SEEN = f"WITH new (key, looks) AS (VALUES) SELECT key FROM new WHERE {_IS_SEEN}"
_COLUMNS = "key, id, state, owner, attempts, received, expires, result, checksum, story, %s"
_ALL_NEW = f"""INSERT INTO claims ({_COLUMNS % "failed_as"}) WITH new ({_COLUMNS % "looks"}) AS (VALUES)
    SELECT * FROM new WHERE NOT EXISTS (SELECT 1 FROM new WHERE {_IS_SEEN})"""


def _claim(db: Database, call: Request) -> Claim:
    known = _known(db, call)
    if known is None:
        return _first(db, [call])[0]
    if known.state is ClaimState.OURS:
        sql = f"""UPDATE claims SET state = {BUSY}, owner = ?, attempts = ?, expires = ?, failed_as = ?,
            story = substr(story || ?, ?) WHERE key = ?"""
        step = story.line(f"attempt {known.attempts}")
        values = (call.owner, known.attempts, call.now + call.ttl, text(call.failed_as), step, -story.LONGEST)
        db.execute(sql, (*values, known.key))
    return known


_KNOWN = "SELECT key, id, received, result, checksum, state, attempts FROM claims WHERE"
_BY_KEY = f"{_KNOWN} key = ? AND (state = {BUSY} OR expires > ?)"
_FAILED = f"""{_KNOWN} failed_as = ? AND failed_as <> '' AND state = {FREE} AND expires > ? ORDER BY seq LIMIT 1"""


def _known(db: Database, call: Request) -> Claim | None:
    """What is known of the key, or of a claim that failed and looked the same. A damaged claim counts as unknown: a
    message that is handled twice is better than one that is answered wrongly."""
    row = db.execute(_BY_KEY, (text(call.key), call.now)).fetchone()
    if row is None and call.failed_as:
        row = db.execute(_FAILED, (text(call.failed_as), call.now)).fetchone()
    if row is None:
        return None
    if (known := claim_of(row)) is None:
        db.execute("DELETE FROM claims WHERE key = ?", [row[0]])
    return known


_FIRST = f"INSERT OR REPLACE INTO claims ({_COLUMNS % 'failed_as'}) VALUES"


def _first(db: Database, calls: Sequence[Request]) -> list[Claim]:
    execute_values(db, _FIRST, _rows(calls))
    return [_ours(call) for call in calls]


def _ours(call: Request) -> Claim:
    return Claim(call.id, ClaimState.OURS, 1, call.received, key=text(call.key))


def _rows(calls: Sequence[Request]) -> list[tuple[object, ...]]:
    step = story.line("attempt 1")
    return [_row(call, step) for call in calls]


def _row(call: Request, step: str) -> tuple[object, ...]:
    key, id_ = text(call.key), text(call.id)
    total = checksum(b"", key, id_, call.received)
    return (key, id_, BUSY, call.owner, 1, call.received, call.now + call.ttl, b"", total, step, text(call.failed_as))


def settle(db: Database, calls: Sequence[Settled]) -> list[None]:
    step = story.line("done")
    execute_values(db, _DONE, [_result(claim, result, step) for claim, result, _ in calls])
    outgoing.put(db, [item for _, _, items in calls for item in items])
    return [None] * len(calls)


def hand_over(db: Database, claims: Iterable[Claim], *, begun: bool) -> None:
    """Give the claimed message to the inbox, where it has a history of its own. The claim's history stays only if its
    handler was ``begun``."""
    execute_values(db, _DONE if begun else _NOT_BEGUN, [_result(claim, b"", "") for claim in claims])


_DONE = f"""UPDATE claims SET state = {DONE}, owner = '', result = new.column3, checksum = new.column4,
    story = story || new.column5 FROM (VALUES) AS new WHERE key = new.column1 AND id = new.column2"""
_NOT_BEGUN = _DONE.replace("story || ", "")


def _result(claim: Claim, result: bytes, step: str) -> tuple[object, ...]:
    """The columns of ``new``."""
    key, id_ = text(claim.key), text(claim.id)
    return key, id_, result, checksum(result, key, id_, claim.received), step


def give_back(db: Database, calls: Sequence[Claim]) -> list[None]:
    """Claimed for a caller that had gone: no attempt was begun."""
    ours = [each for each in calls if each.state is ClaimState.OURS]
    return release(db, [Release(each.key, "", "not begun", counted=False) for each in ours])


def release(db: Database, calls: Sequence[Release]) -> list[None]:
    sql = f"""UPDATE claims SET state = {FREE}, owner = '', story = substr(story || ?, ?), attempts = attempts - ?
        WHERE key = ? AND state = {BUSY}"""
    for call in calls:
        db.execute(sql, (story.failed(call.error), -story.LONGEST, not call.counted, text(call.key)))
    return [None] * len(calls)


def recover(db: Database, owners: Sequence[str]) -> int:
    sql = f"""UPDATE claims SET state = {FREE}, owner = '', story = story || ?
        WHERE state = {BUSY} AND owner IN (SELECT value FROM json_each(?))"""
    return db.execute(sql, (story.line("its process ended; given back"), listed(owners))).rowcount


def owners(db: Database) -> set[Any]:
    return {row[0] for row in db.execute(f"SELECT DISTINCT owner FROM claims WHERE state = {BUSY}")}


def purge(db: Database, now: float, limit: int) -> int:
    sql = f"""DELETE FROM claims WHERE seq IN
        (SELECT seq FROM claims WHERE state IN ({FREE}, {DONE}) AND expires < ? LIMIT ?)"""
    return db.execute(sql, (now, limit)).rowcount
