"""Tells other processes that there is something in the store for them, with the commit of the present transaction.

PostgreSQL sends a notification once for each transaction, however often it is asked for. Commits that notify wait for
one another, in the whole server: so only what another process can take is told.
"""

from gateway.store.postgresql.sql.me import owner_of
from gateway.store.postgresql.sql.schema import Database

CHANNEL = "gateway_store"
MESSAGES, OUTGOING = "messages", "outgoing"
_NOTIFY = f"SELECT pg_notify('{CHANNEL}', %s)"


def wake(db: Database, what: str) -> None:
    """Tell of ``MESSAGES`` or ``OUTGOING``, and who has put it."""
    if getattr(db, "is_heard", True):
        db.execute(_NOTIFY, [f"{what} {owner_of(db)}"])


def wake_all(db: Database) -> None:
    for what in (MESSAGES, OUTGOING):
        wake(db, what)
