"""Tells other processes that there is something in the store for them, with the commit of the present transaction.

PostgreSQL sends a notification once for each transaction, however often it is asked for. Commits that notify wait for
one another, in the whole server: so only what another process can take is told.

The server keeps notifications in one queue for all of its databases. A session that listens and stays in a transaction
lets that queue grow, and a commit that notifies fails when it is full. So a queue that is nearly full gets no
notifications: the other processes poll.
"""

from gateway.store.postgresql.sql.me import owner_of
from gateway.store.postgresql.sql.schema import Database

CHANNEL = "gateway_store"
MESSAGES, OUTGOING = "messages", "outgoing"
FULL = "pg_notification_queue_usage() > 0.9"
"""Whether the queue of notifications is nearly full. It has 8 GB, unless the server is set up otherwise."""
NOTIFY = f"SELECT pg_notify('{CHANNEL}', %s) WHERE NOT {FULL}"


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
