"""Checks that an owner still exists, within the statement that takes something for it."""

from gateway.store.postgresql.sql.schema import Database
from gateway.store.values import StoreUnavailable

ME = "me AS MATERIALIZED (SELECT id FROM gateway_owners WHERE id = %(owner)s FOR KEY SHARE)"
"""An owner that was declared dead takes nothing, and no owner is declared dead while it takes."""


def owner_of(db: Database) -> int:
    """The owner that uses a session of a store; 0 for a connection of other code."""
    return int(getattr(db, "owner", "0"))


class GivenUp(StoreUnavailable):
    """Other processes have declared this one dead. It registers anew at once."""

    def __init__(self) -> None:
        super().__init__("other processes have declared this one dead; it registers anew at once")
