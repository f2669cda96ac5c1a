"""Whether an owner is one still, within the statement that takes something for it."""

from gateway.store.postgresql.sql.schema import Database
from gateway.store.values import StoreUnavailable

ME = "me AS MATERIALIZED (SELECT id FROM gateway_owners WHERE id = %(owner)s FOR KEY SHARE)"
"""An owner that was given up while it slept takes nothing, and none is given up while it takes."""


def owner_of(db: Database) -> int:
    """The owner that a session of a store works for; 0 if it is somebody else's session."""
    return int(getattr(db, "owner", "0"))


class GivenUp(StoreUnavailable):
    """Other processes have given this one up, and it is about to be an owner again."""

    def __init__(self) -> None:
        super().__init__("other processes have taken this one for dead; it begins again at once")
