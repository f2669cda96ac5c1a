"""Histories; :mod:`gateway.store.story` says how they are written."""

from collections.abc import Mapping, Sequence

from gateway.store.postgresql.sql.rows import columns, unnested
from gateway.store.postgresql.sql.schema import Database
from gateway.store.rows import text
from gateway.store.story import LONGEST, told
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
