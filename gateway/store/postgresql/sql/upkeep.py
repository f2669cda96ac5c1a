"""What a running gateway does for the store itself; :mod:`gateway.store.operations` says what an operation is."""

from collections.abc import Sequence

from gateway.store.calls import IsAlive
from gateway.store.postgresql.sql import owners
from gateway.store.postgresql.sql.holdings import holdings
from gateway.store.postgresql.sql.purge import purge as forget
from gateway.store.postgresql.sql.schema import Database, check_writable

__all__ = ["holdings", "probe", "purge", "recover"]


def probe(db: Database, calls: Sequence[None]) -> list[None]:
    """Write something into the log of the database, which changes no row. Raises Unsuitable if a later release has
    changed the tables so that this one may write no more."""
    check_writable(db)
    db.execute("SELECT pg_logical_emit_message(true, 'gateway', '')")
    return [None] * len(calls)


def recover(db: Database, calls: Sequence[IsAlive]) -> list[int]:
    """Give back what ended owners have left. What dead ones had is given back by those that watch them."""
    returned = owners.give_back_orphans(db)
    return [returned, *[0] * (len(calls) - 1)]


def purge(db: Database, calls: Sequence[float]) -> list[int]:
    return [forget(db, now) for now in calls]
