"""Histories; :mod:`gateway.store.story` says how they are written."""

from collections.abc import Mapping, Sequence

from gateway.store.calls import Told
from gateway.store.postgresql.sql.rows import columns, indexed, unnested
from gateway.store.postgresql.sql.schema import Database
from gateway.store.rows import checksum, text
from gateway.store.states import DONE
from gateway.store.story import LONGEST, NOT_RECEIVED, line, told
from gateway.store.values import HistoryEntry

_READ = """SELECT received, story FROM (
    SELECT 0 AS place, received, story, seq FROM gateway_claims WHERE id = %(id)s
    UNION ALL SELECT 1, received, story, seq FROM gateway_messages WHERE id = %(id)s) AS found ORDER BY place, seq"""


def read(db: Database, calls: Sequence[str]) -> list[list[HistoryEntry]]:
    return [told(db.execute(_READ, {"id": text(event)}).fetchall()) for event in calls]


_NOTE = f"""WITH new AS MATERIALIZED (SELECT * FROM {unnested("text", "text")} AS new (id, step)),
    noted AS (UPDATE gateway_messages AS m SET story = right(story || step, {LONGEST}) FROM new WHERE m.id = new.id
        RETURNING m.id)
    UPDATE gateway_claims AS c SET story = right(story || step, {LONGEST}) FROM new
    WHERE c.id = new.id AND NOT EXISTS (SELECT 1 FROM noted WHERE noted.id = new.id)"""


def note(db: Database, steps: Mapping[str, str]) -> None:
    """Add steps, by the message, to its history, or to that of its claim: a message of the inbox has a claim, too."""
    if steps:
        db.execute(_NOTE, columns(sorted(steps.items())))


_BEGIN = f"""INSERT INTO gateway_claims (key, id, state, attempts, received, expires, result, checksum, story)
    SELECT %(key)s, %(id)s, {DONE}, 0, %(received)s, %(expires)s, '', %(checksum)s, %(step)s
    WHERE NOT EXISTS (SELECT FROM gateway_messages WHERE id = %(id)s)
    AND NOT EXISTS (SELECT FROM gateway_claims WHERE id = %(id)s) ON CONFLICT (key) DO NOTHING"""


def add(db: Database, calls: Sequence[Told]) -> list[None]:
    for call in calls:
        step = line(call.what)
        if not _begun(db, call, step):
            note(db, {text(call.event): step})
    return [None] * len(calls)


def _begun(db: Database, call: Told, step: str) -> bool:
    """Begin a history, and return whether there was none. It belongs to a message or a claim: this claim is settled
    from the start, and its key is never looked up."""
    key, id_ = indexed(f"sent:{call.event}"), text(call.event)
    values = {"key": key, "id": id_, "received": NOT_RECEIVED, "expires": call.expires, "step": step}
    total = checksum(b"", key, id_, NOT_RECEIVED)
    return bool(db.execute(_BEGIN, values | {"checksum": total}).rowcount)
