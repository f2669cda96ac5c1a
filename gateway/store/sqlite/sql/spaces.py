"""Names that one process at a time has, among all that have the store open: namespaces of servers, and leases."""

import sqlite3
from collections.abc import Sequence

from gateway.store.calls import Hold
from gateway.store.rows import text
from gateway.store.values import LEASE

Database = sqlite3.Connection


def acquire(db: Database, calls: Sequence[Hold]) -> list[bool]:
    """Give each name to the owner that asks for it, unless another living owner has it. Return whether the caller has
    it."""
    return [_acquire(db, call) for call in calls]


def _acquire(db: Database, call: Hold) -> bool:
    owner = _owner(db, call.name)
    if owner == call.owner:
        return True
    if owner is not None and call.is_alive(owner):
        return False
    db.execute("INSERT OR REPLACE INTO spaces (space, owner) VALUES (?, ?)", (text(call.name), call.owner))
    return True


def is_taken(db: Database, calls: Sequence[Hold]) -> list[bool]:
    """Whether another living owner has the name. This changes nothing."""
    owners = [_owner(db, call.name) for call in calls]
    return [
        owner not in (None, call.owner) and call.is_alive(str(owner)) for owner, call in zip(owners, calls, strict=True)
    ]


def release(db: Database, calls: Sequence[tuple[str, str]]) -> list[None]:
    """Give up names, each if the owner beside it has it."""
    for name, owner in calls:
        db.execute("DELETE FROM spaces WHERE space = ? AND owner = ?", (text(name), owner))
    return [None] * len(calls)


def release_namespaces(db: Database, owners: Sequence[str]) -> list[None]:
    """Give up everything that the owners have, except their leases."""
    for owner in owners:
        db.execute("DELETE FROM spaces WHERE owner = ? AND substr(space, 1, ?) <> ?", (owner, len(LEASE), LEASE))
    return [None] * len(owners)


def _owner(db: Database, name: str) -> str | None:
    found = db.execute("SELECT owner FROM spaces WHERE space = ?", [text(name)]).fetchone()
    return None if found is None else str(found[0])
