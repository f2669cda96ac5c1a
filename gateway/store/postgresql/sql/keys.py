"""The order of messages of one key: the first waits in front, the others behind it.

A message that ends lets the next of its key wait in front. So what has to wait costs nothing, however much there is.
"""

from collections.abc import Iterable

from gateway.store.postgresql.sql import wake
from gateway.store.postgresql.sql.arrays import texts
from gateway.store.postgresql.sql.schema import KEYED, Database
from gateway.store.states import BEHIND, WAITING

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


AT_A_TIME = 5_000
"""Keys at which one statement looks. The owner's thread does not beat meanwhile."""
_HEADLESS = f"""WITH RECURSIVE keys(key, place) AS (
    (SELECT key, 1 FROM gateway_messages WHERE state = {BEHIND} AND {KEYED} AND key > %(after)s ORDER BY key LIMIT 1)
    UNION ALL SELECT (SELECT m.key FROM gateway_messages AS m WHERE m.state = {BEHIND} AND m.key <> ''
        AND m.key <> m.id AND m.key > keys.key ORDER BY m.key LIMIT 1), place + 1
        FROM keys WHERE keys.key IS NOT NULL AND place < %(limit)s)
    SELECT ARRAY(SELECT key FROM keys WHERE key IS NOT NULL AND NOT EXISTS (SELECT FROM gateway_messages AS m
        WHERE m.key = keys.key AND m.state < {BEHIND} AND m.key <> '' AND m.key <> m.id)),
        (SELECT key FROM keys WHERE place = %(limit)s)"""


def set_heads(db: Database, after: str = "") -> str:
    """Let the first of each key wait in front where none does: a put and a finish of two processes at one moment do
    not see each other. Looks at some of the keys that are greater than ``after``. Returns the last of those, or an
    empty text if there are no more."""
    row = db.execute(_HEADLESS, {"after": after, "limit": AT_A_TIME}).fetchone()
    headless, last = row or ([], None)
    move_on(db, headless)
    if headless:
        wake.wake(db, wake.MESSAGES)
    return last or ""
