"""Deletes expired rows in batches. Several processes may do so at once."""

from gateway.store.postgresql.sql.schema import Database
from gateway.store.states import BUSY, GONE
from gateway.store.values import KEEP, KEEP_HISTORIES

BATCH = 5_000
"""The most rows of one table that one commit deletes, so that other calls do not wait long."""
_DELETE = """DELETE FROM {table} WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM {table} WHERE {where} LIMIT %(limit)s FOR UPDATE SKIP LOCKED))"""
_MESSAGES = _DELETE.format(
    table="gateway_messages",
    where=f"""state = {GONE} AND due < greatest(%(before)s, (SELECT due FROM gateway_messages
        WHERE state = {GONE} ORDER BY due DESC LIMIT 1 OFFSET %(keep)s))""",
)
_CLAIMS = _DELETE.format(table="gateway_claims", where=f"state > {BUSY} AND expires < %(now)s")
_NOTES = _DELETE.format(table="gateway_notes", where="expires < %(now)s")


def purge(db: Database, now: float) -> int:
    """Delete a batch of old histories, expired claims and expired notes. Return the number of rows."""
    values = {"now": now, "before": now - KEEP, "keep": KEEP_HISTORIES, "limit": BATCH}
    return sum(db.execute(sql, values).rowcount for sql in (_MESSAGES, _CLAIMS, _NOTES))
