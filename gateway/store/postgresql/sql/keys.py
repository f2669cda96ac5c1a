"""The order of messages of one key: the first waits in front, the others behind it.

A message that ends lets the next of its key wait in front. So what has to wait costs nothing, however much there is.
"""

from collections.abc import Iterable

from gateway.store.postgresql.sql import wake
from gateway.store.postgresql.sql.arrays import texts
from gateway.store.postgresql.sql.schema import BEHIND, KEYED, WAITING, Database

MOVE_ON = f"""UPDATE gateway_messages SET state = {WAITING} WHERE id IN (SELECT next.id
    FROM ended, LATERAL (SELECT m.id FROM gateway_messages AS m WHERE m.key = ended.key AND m.state = {BEHIND}
        AND m.key <> '' AND m.key <> m.id ORDER BY m.seq LIMIT 1) AS next
    WHERE ended.key <> '' AND ended.key <> ended.id AND NOT EXISTS (SELECT FROM gateway_messages AS m
        WHERE m.key = ended.key AND m.state < {BEHIND} AND m.key <> '' AND m.key <> m.id
        AND m.id NOT IN (SELECT id FROM ended))) AND state = {BEHIND}"""
"""Lets the next of each key wait in front, unless another is there, after the messages ``ended``."""
_MOVE_ON = f"WITH ended AS (SELECT '' AS id, key FROM unnest(%(keys)b) AS ended (key)) {MOVE_ON}"


def move_on(db: Database, keys: Iterable[str]) -> None:
    """Let the next of each key wait in front, unless another is there."""
    if ordered := sorted(keys):
        db.execute(_MOVE_ON, {"keys": texts(ordered)})


_HEADLESS = f"""WITH RECURSIVE keys(key) AS (
    (SELECT key FROM gateway_messages WHERE state = {BEHIND} AND {KEYED} ORDER BY key LIMIT 1)
    UNION ALL SELECT (SELECT m.key FROM gateway_messages AS m WHERE m.state = {BEHIND} AND m.key <> ''
        AND m.key <> m.id AND m.key > keys.key ORDER BY m.key LIMIT 1) FROM keys WHERE keys.key IS NOT NULL)
    SELECT key FROM keys WHERE key IS NOT NULL AND NOT EXISTS (SELECT FROM gateway_messages AS m
        WHERE m.key = keys.key AND m.state < {BEHIND} AND m.key <> '' AND m.key <> m.id)"""


def set_heads(db: Database) -> int:
    """Let the first of each key wait in front where none does: a put and a finish of two processes at one moment do
    not see each other. Returns how many keys there were."""
    keys = [key for (key,) in db.execute(_HEADLESS).fetchall()]
    move_on(db, keys)
    if keys:
        wake.wake(db, wake.MESSAGES)
    return len(keys)
