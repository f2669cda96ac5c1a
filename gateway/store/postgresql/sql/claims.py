"""Operations on claims; :mod:`gateway.store.operations` says what an operation is."""

from collections.abc import Iterable, Sequence

from gateway.store import story
from gateway.store.calls import Release, Request, Settled
from gateway.store.postgresql.sql import outgoing
from gateway.store.postgresql.sql.arrays import blobs, floats, integers, texts
from gateway.store.postgresql.sql.me import ME, GivenUp, owner_of
from gateway.store.postgresql.sql.rows import indexed
from gateway.store.postgresql.sql.schema import Database
from gateway.store.rows import checksum, claim_of, text
from gateway.store.states import BUSY, DONE, FREE
from gateway.store.values import Claim, ClaimState


def claim(db: Database, calls: Sequence[Request]) -> list[Claim]:
    """Claim new keys by one statement, and the others one by one, in the order of their keys, so that two processes
    cannot wait for each other's rows."""
    claimed: list[Claim | None] = []
    new = _insert(db, calls)
    for call in calls:
        is_new = (key := indexed(call.key)) in new
        new.discard(key)  # its repetition in the same commit is busy
        claimed.append(_ours(call) if is_new else None)
    known = [number for number, found in enumerate(claimed) if found is None]
    for number in sorted(known, key=lambda number: indexed(calls[number].key)):
        claimed[number] = _claim(db, calls[number])
    return [each for each in claimed if each is not None]


_COLUMNS = "key, id, state, owner, attempts, received, expires, result, checksum, story, failed_as"
_INSERT = f"""WITH {ME},
    new AS (SELECT * FROM unnest(%(keys)b, %(ids)b, %(received)b, %(expires)b, %(sums)b, %(looks)b) WITH ORDINALITY
        AS new (key, id, received, expires, checksum, looks, place)),
    first AS (SELECT DISTINCT ON (key) * FROM new WHERE NOT EXISTS (SELECT FROM gateway_claims AS c
        WHERE c.failed_as = looks AND c.failed_as <> '' AND c.state = {FREE}) ORDER BY key, place),
    inserted AS (INSERT INTO gateway_claims ({_COLUMNS})
        SELECT key, first.id, {BUSY}, %(owner)s, 1, received, expires, '', checksum, %(step)s, looks FROM first, me
        ORDER BY key ON CONFLICT (key) DO NOTHING RETURNING key)
    SELECT EXISTS (SELECT FROM me), ARRAY(SELECT key FROM inserted)"""


def _insert(db: Database, calls: Sequence[Request]) -> set[str]:
    """Claim new keys that look like no failed claim. Return the keys. Raises GivenUp."""
    keys, ids = [indexed(call.key) for call in calls], [text(call.id) for call in calls]
    values = {
        "owner": int(calls[0].owner),
        "step": story.line("attempt 1"),
        "keys": texts(keys),
        "ids": texts(ids),
        "received": floats([call.received for call in calls]),
        "expires": floats([call.now + call.ttl for call in calls]),
        "sums": integers([checksum(b"", *of) for of in zip(keys, ids, (call.received for call in calls), strict=True)]),
        "looks": texts([indexed(call.failed_as) for call in calls]),
    }
    row = db.execute(_INSERT, values).fetchone()
    if row is None or not row[0]:
        raise GivenUp
    return set(row[1])


def _ours(call: Request) -> Claim:
    return Claim(call.id, ClaimState.OURS, 1, call.received, key=indexed(call.key))


_AGAIN = f"""UPDATE gateway_claims SET state = {BUSY}, owner = %s, attempts = %s, expires = %s, failed_as = %s,
    story = right(story || %s, {story.LONGEST}) WHERE key = %s"""
_REPLACE = f"""INSERT INTO gateway_claims AS c ({_COLUMNS})
    VALUES (%(key)s, %(id)s, {BUSY}, %(owner)s, 1, %(received)s, %(expires)s, '', %(checksum)s, %(step)s, %(looks)s)
    ON CONFLICT (key) DO UPDATE SET id = excluded.id, state = excluded.state, owner = excluded.owner,
    attempts = excluded.attempts, received = excluded.received, expires = excluded.expires, result = excluded.result,
    checksum = excluded.checksum, story = excluded.story, failed_as = excluded.failed_as
    WHERE c.state <> {BUSY} AND c.expires <= %(now)s"""


def _claim(db: Database, call: Request) -> Claim:
    while (known := _known(db, call)) is None:
        key, id_ = indexed(call.key), text(call.id)
        values = {"key": key, "id": id_, "owner": int(call.owner), "received": call.received, "now": call.now}
        values |= {"expires": call.now + call.ttl, "checksum": checksum(b"", key, id_, call.received)}
        values |= {"step": story.line("attempt 1"), "looks": indexed(call.failed_as)}
        if db.execute(_REPLACE, values).rowcount:
            return _ours(call)
    if known.state is ClaimState.OURS:
        step = story.line(f"attempt {known.attempts}")
        again = (int(call.owner), known.attempts, call.now + call.ttl, indexed(call.failed_as), step, known.key)
        db.execute(_AGAIN, again)
    return known


_STATE = 5
_KNOWN = "SELECT key, id, received, result, checksum, state, attempts FROM gateway_claims WHERE"
_BY_KEY = f"{_KNOWN} key = %s AND (state = {BUSY} OR expires > %s)"
_FAILED = f"""{_KNOWN} failed_as = %s AND failed_as <> '' AND state = {FREE} AND expires > %s
    ORDER BY seq LIMIT 1 FOR UPDATE SKIP LOCKED"""


def _known(db: Database, call: Request) -> Claim | None:
    """What is known of the key, or of a claim that failed and looked the same. A damaged claim counts as unknown: a
    message that is handled twice is better than one that is answered wrongly."""
    row = db.execute(_BY_KEY, (indexed(call.key), call.now)).fetchone()
    if row is not None and row[_STATE] != BUSY:  # a busy one may be locked by its handler for as long as that runs
        row = db.execute(f"{_BY_KEY} FOR UPDATE", (indexed(call.key), call.now)).fetchone()
    if row is None and call.failed_as:
        row = db.execute(_FAILED, (indexed(call.failed_as), call.now)).fetchone()
    if row is None:
        return None
    if (known := claim_of(row)) is None:
        db.execute("DELETE FROM gateway_claims WHERE key = %s", [row[0]])
    return known


_DONE = f"""UPDATE gateway_claims AS c SET state = {DONE}, owner = 0, result = new.result, checksum = new.checksum,
    story = right(c.story || new.step, {story.LONGEST})
    FROM unnest(%b, %b, %b, %b, %b) AS new (key, id, result, checksum, step) WHERE c.key = new.key AND c.id = new.id"""
_NOT_BEGUN = _DONE.replace("c.story || ", "")


def settle(db: Database, calls: Sequence[Settled]) -> list[None]:
    step = story.line("done")
    _end(db, _DONE, [(claim, result) for claim, result, _ in calls], step)
    outgoing.put(db, [item for _, _, items in calls for item in items])
    return [None] * len(calls)


def hand_over(db: Database, claims: Iterable[Claim], *, begun: bool) -> None:
    """Give the claimed message to the inbox, where it has a history of its own. The claim's history stays only if its
    handler was ``begun``."""
    _end(db, _DONE if begun else _NOT_BEGUN, [(claim, b"") for claim in claims], "")


def _end(db: Database, sql: str, ended: Sequence[tuple[Claim, bytes]], step: str) -> None:
    if not ended:
        return
    keys, ids = [indexed(claim.key) for claim, _ in ended], [text(claim.id) for claim, _ in ended]
    results, received = [result for _, result in ended], [claim.received for claim, _ in ended]
    sums = [checksum(*of) for of in zip(results, keys, ids, received, strict=True)]
    steps = [step] * len(ended)
    db.execute(sql, (texts(keys), texts(ids), blobs(results), integers(sums), texts(steps)))


def give_back(db: Database, calls: Sequence[Claim]) -> list[None]:
    """Claimed for a caller that had gone: no attempt was begun."""
    sql = f"""UPDATE gateway_claims SET state = {FREE}, owner = 0, attempts = attempts - 1,
        story = right(story || %s, {story.LONGEST}) WHERE key = %s AND attempts = %s
        AND state = {BUSY} AND owner = %s"""
    for call in calls:
        if call.state is ClaimState.OURS:
            db.execute(sql, (story.failed("not begun"), indexed(call.key), call.attempts, owner_of(db)))
    return [None] * len(calls)


def release(db: Database, calls: Sequence[Release]) -> list[None]:
    sql = f"""UPDATE gateway_claims SET state = {FREE}, owner = 0, story = right(story || %s, {story.LONGEST}),
        attempts = attempts - %s WHERE key = %s AND state = {BUSY} AND owner = %s"""
    for call in calls:
        db.execute(sql, (story.failed(call.error), int(not call.counted), indexed(call.key), int(call.owner)))
    return [None] * len(calls)


_RECOVER = f"""WITH had AS MATERIALIZED (SELECT key FROM gateway_claims
        WHERE state = {BUSY} AND owner = ANY(%(owners)b) FOR UPDATE SKIP LOCKED)
    UPDATE gateway_claims AS c SET state = {FREE}, owner = 0, story = c.story || %(step)s
    FROM had WHERE c.key = had.key"""


def recover(db: Database, owners: Sequence[str]) -> int:
    """Give back what ``owners`` had; how many. What a transaction has locked stays."""
    values = {"owners": integers(list(map(int, owners))), "step": story.line("its process ended; given back")}
    return db.execute(_RECOVER, values).rowcount
