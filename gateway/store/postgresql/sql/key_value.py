"""Operations on the state of servers; :mod:`gateway.store.operations` says what an operation is."""

from collections.abc import Sequence

from gateway.store.calls import Changes, Hold, NamespaceInUse, Save
from gateway.store.postgresql.sql.rows import columns, indexed, unnested
from gateway.store.postgresql.sql.schema import Database
from gateway.store.postgresql.sql.spaces import acquire, keep
from gateway.store.rows import checksum, sound_records, text


def load(db: Database, calls: Sequence[Hold]) -> list[dict[str, bytes]]:
    """Everything in a namespace, which is the caller's from now on. Raises NamespaceInUse."""
    return [_load(db, call) for call in calls]


def _load(db: Database, call: Hold) -> dict[str, bytes]:
    if not acquire(db, [call])[0]:
        raise NamespaceInUse(f"{call.name} is kept by another gateway that is running")
    space = indexed(call.name)
    rows = db.execute("SELECT key, value, checksum FROM gateway_kept WHERE space = %s", [space])
    return dict(sound_records(space, rows))


def save(db: Database, calls: Sequence[Save]) -> list[None]:
    """Raises NamespaceInUse if another process has the namespace by now, or had it meanwhile: an owner that was
    declared dead while it slept must not write there."""
    for call in calls:
        if not keep(db, call):
            raise NamespaceInUse(f"{call.namespace} was given to another gateway, which has declared this one dead")
        space = indexed(call.namespace)
        _remove(db, space, [key for key, value in call.changes.items() if value is None])
        _write(db, space, call.changes)
    return [None] * len(calls)


def _remove(db: Database, space: str, keys: Sequence[str]) -> None:
    if keys:
        sql = "DELETE FROM gateway_kept WHERE space = %s AND name = ANY(%s)"
        db.execute(sql, (space, list(map(indexed, keys))))


_WRITE = f"""INSERT INTO gateway_kept (space, name, key, value, checksum)
    SELECT space, name, key, value, checksum FROM {unnested("text", "text", "text", "bytea", "bigint")}
        AS new (space, name, key, value, checksum, place) ORDER BY name
    ON CONFLICT (space, name) DO UPDATE SET value = excluded.value, checksum = excluded.checksum"""


def _write(db: Database, space: str, changes: Changes) -> None:
    values = {text(key): value for key, value in changes.items() if value is not None}
    if values:
        rows = [(space, indexed(key), key, value, checksum(value, space, key)) for key, value in values.items()]
        db.execute(_WRITE, columns(rows))
