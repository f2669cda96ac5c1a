"""Finds snapshots that are held for minutes, in any database of the server, and prevent a vacuum.

Dead versions of rows then stay in front of the rows that are taken next, so that each take costs more.
"""

import logging
import time
from collections.abc import Callable, Mapping

from gateway.store.postgresql.sql.schema import Database

logger = logging.getLogger(__name__)

HELD = 300.0
"""Seconds after which a snapshot is logged."""
LOOK = 60.0
"""Seconds between two looks."""
_HOLDERS = """
    SELECT format('session %s of %s', pid, coalesce(usename, '?')), backend_xmin::text,
        format('SELECT pg_terminate_backend(%s)', pid)
    FROM pg_stat_activity WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid()
    UNION ALL SELECT format('replication slot %s', slot_name), coalesce(xmin, catalog_xmin)::text,
        format('SELECT pg_drop_replication_slot(%L)', slot_name)
    FROM pg_replication_slots WHERE xmin IS NOT NULL OR catalog_xmin IS NOT NULL
    UNION ALL SELECT format('prepared transaction %s of %s', gid, owner), transaction::text,
        format('ROLLBACK PREPARED %L', gid)
    FROM pg_prepared_xacts"""
"""The holder, its transaction, and the statement that ends it. Not every user may see when other sessions began."""


class Snapshots:
    """Logs each snapshot once that is held for too long. ``clock`` returns monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._look_at = clock() + LOOK
        self._since: Mapping[tuple[str, str], float] = {}
        self._told: set[tuple[str, str]] = set()

    def look(self, db: Database) -> None:
        """Look, if it is time to. Raises psycopg.Error."""
        now = self._clock()
        if now < self._look_at:
            return
        self._look_at = now + LOOK
        found = {(str(who), str(since)): str(remedy) for who, since, remedy in db.execute(_HOLDERS.encode())}
        self._since = {each: self._since.get(each, now) for each in found}
        self._told &= found.keys()
        for each, began in self._since.items():
            if now - began >= HELD and each not in self._told:
                self._told.add(each)
                logger.warning(_HELD, each[0], (now - began) / 60, found[each])


_HELD = (
    "the database cannot vacuum the store's tables: %s has held a snapshot for %.0f minutes, and taking messages "
    "becomes slower; end it: %s"
)
