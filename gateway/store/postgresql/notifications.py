"""Finds that the server's queue of notifications is full, as :mod:`gateway.store.postgresql.sql.wake` explains it."""

import logging

from gateway.store.postgresql.sql.schema import Database
from gateway.store.postgresql.sql.wake import FULL

logger = logging.getLogger(__name__)


class Notifications:
    """Says once that the queue is full, and once that it is not any more."""

    def __init__(self) -> None:
        self._is_full = False

    def look(self, db: Database) -> None:
        """Raises psycopg.Error."""
        [is_full] = db.execute(f"SELECT {FULL}").fetchone() or [False]
        if is_full and not self._is_full:
            logger.warning(_FULL)
        elif self._is_full and not is_full:
            logger.info("the database server sends notifications again")
        self._is_full = bool(is_full)


_FULL = (
    "the database server's queue of notifications is full, so other processes look once a second for what is put into "
    "the store; a session that listens has been in a transaction for too long: the server's log names it, end it"
)
