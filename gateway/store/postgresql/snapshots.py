"""Finds what keeps the database from cleaning up: a snapshot that is held for minutes, in any database of the server.

Dead versions of rows then stay, in front of those that are taken next, and each take costs more than the one before.
"""

import logging
import time
from collections.abc import Callable, Mapping

from gateway.store.postgresql.sql.schema import Database

logger = logging.getLogger(__name__)

HELD = 300.0
"""Seconds after which it is told."""
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
"""What holds something, since which transaction, and what ends it. Others' times are not for every user to see."""


class Snapshots:
    """Tells once of each snapshot that is held for too long. ``clock`` gives seconds, and nobody sets it."""

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
    "the database cannot clean up behind the store: %s has held a snapshot for %.0f minutes, and to take a message "
    "costs more and more; end it: %s"
)
