"""Operations on notes; :mod:`gateway.store.operations` says what an operation is."""

from collections.abc import Sequence

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


def get(db: Database, calls: Sequence[tuple[Sequence[str], float]]) -> list[bytes | None]:
    return [_get(db, list(map(indexed, keys)), now) for keys, now in calls]


def _get(db: Database, keys: list[str], now: float) -> bytes | None:
    """What is damaged counts as unknown."""
    sql = "SELECT key, value, checksum FROM gateway_notes WHERE key = ANY(%s) AND expires > %s"
    found = {key: value for key, value, total in db.execute(sql, (keys, now)) if checksum(value, key) == total}
    return next((found[key] for key in keys if key in found), None)
