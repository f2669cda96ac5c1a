"""Tells other processes that there is something in the store for them, with the commit of the present transaction.

PostgreSQL sends a notification once for each transaction, however often it is asked for. Commits that notify wait for
one another, in the whole server: so only what another process can take is told.
"""

from typing import Any

import psycopg

CHANNEL = "gateway_store"
MESSAGES, OUTGOING = "messages", "outgoing"
_NOTIFY = f"SELECT pg_notify('{CHANNEL}', %s)"


def wake(db: "psycopg.Connection[Any]", what: str, owner: str = "") -> None:
    """Tell of ``MESSAGES`` or ``OUTGOING``. ``owner``: who has put it, and knows."""
    if getattr(db, "is_heard", True):
        db.execute(_NOTIFY, [f"{what} {owner}"])


def wake_all(db: "psycopg.Connection[Any]") -> None:
    for what in (MESSAGES, OUTGOING):
        wake(db, what)
