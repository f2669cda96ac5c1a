"""Operations on notes; :mod:`gateway.store.operations` says what an operation is."""

from collections.abc import Sequence

from gateway.store.calls import Swap
from gateway.store.postgresql.sql.rows import columns, indexed, unnested
from gateway.store.postgresql.sql.schema import Database
from gateway.store.rows import checksum

_PUT = f"""INSERT INTO gateway_notes (key, value, checksum, expires)
    SELECT key, value, checksum, expires FROM {unnested("text", "bytea", "bigint", "double precision")}
        AS new (key, value, checksum, expires, place) ORDER BY key
    ON CONFLICT (key) DO UPDATE SET value = excluded.value, checksum = excluded.checksum, expires = excluded.expires"""


def put(db: Database, calls: Sequence[tuple[str, bytes, float]]) -> list[None]:
    latest = {indexed(key): (value, float(expires)) for key, value, expires in calls}
    db.execute(_PUT, columns([(key, value, checksum(value, key), at) for key, (value, at) in latest.items()]))
    return [None] * len(calls)


_NEW = """INSERT INTO gateway_notes (key, value, checksum, expires)
    VALUES (%(key)s, %(value)s, %(checksum)s, %(expires)s)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value, checksum = excluded.checksum, expires = excluded.expires
    WHERE gateway_notes.expires <= %(now)s"""
_THERE = "WHERE key = %(key)s AND value = %(before)s AND expires > %(now)s"
_CHANGE = f"UPDATE gateway_notes SET value = %(value)s, checksum = %(checksum)s, expires = %(expires)s {_THERE}"
_REMOVE = f"DELETE FROM gateway_notes {_THERE}"


def swap(db: Database, calls: Sequence[Swap]) -> list[bool]:
    """In the order of their keys: two processes that swap the same notes do not wait for each other."""
    swapped = {}
    for at in sorted(range(len(calls)), key=lambda at: indexed(calls[at].key)):
        swapped[at] = _swap(db, calls[at])
    return [swapped[at] for at in range(len(calls))]


def _swap(db: Database, call: Swap) -> bool:
    key, value = indexed(call.key), call.value
    if call.before is None and value is None:
        return _get(db, [key], call.now) is None
    statement = _NEW if call.before is None else _REMOVE if value is None else _CHANGE
    given = {"key": key, "before": call.before, "value": value, "expires": float(call.expires), "now": call.now}
    return db.execute(statement, {**given, "checksum": checksum(value or b"", key)}).rowcount == 1


def get(db: Database, calls: Sequence[tuple[Sequence[str], float]]) -> list[bytes | None]:
    return [_get(db, list(map(indexed, keys)), now) for keys, now in calls]


def _get(db: Database, keys: list[str], now: float) -> bytes | None:
    """What is damaged counts as unknown."""
    sql = "SELECT key, value, checksum FROM gateway_notes WHERE key = ANY(%s) AND expires > %s"
    found = {key: value for key, value, total in db.execute(sql, (keys, now)) if checksum(value, key) == total}
    return next((found[key] for key in keys if key in found), None)
