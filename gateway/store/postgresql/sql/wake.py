"""Tells other processes that there is something in the store for them, with the commit of the present transaction.

PostgreSQL sends a notification once for each transaction, however often it is asked for. Commits that notify wait for
one another, in the whole server: so only what another process can take is told.
"""

from gateway.store.postgresql.sql.me import owner_of
from gateway.store.postgresql.sql.schema import Database

CHANNEL = "gateway_store"
MESSAGES, OUTGOING = "messages", "outgoing"
NOTIFY = f"SELECT pg_notify('{CHANNEL}', %s)"


def wake(db: Database, what: str) -> None:
    """Tell of ``MESSAGES`` or ``OUTGOING``, and who has put it."""
    if is_heard(db):
        db.execute(NOTIFY, [told(db, what)])


def is_heard(db: Database) -> bool:
    """Whether there may be another process."""
    return bool(getattr(db, "is_heard", True))


def told(db: Database, what: str) -> str:
    """The parameter of ``NOTIFY``."""
    return f"{what} {owner_of(db)}"


def wake_all(db: Database) -> None:
    for what in (MESSAGES, OUTGOING):
        wake(db, what)
