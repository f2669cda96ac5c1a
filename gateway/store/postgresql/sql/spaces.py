"""Names that one process at a time has, among all that have the store open: namespaces of servers, and leases."""

from collections.abc import Sequence

from gateway.store.calls import Hold, Save
from gateway.store.postgresql.sql.rows import indexed
from gateway.store.postgresql.sql.schema import Database
from gateway.store.values import LEASE

_ACQUIRE = """INSERT INTO gateway_spaces (space, owner)
    SELECT %(space)s, id FROM gateway_owners WHERE id = %(owner)s FOR KEY SHARE
    ON CONFLICT (space) DO UPDATE SET owner = excluded.owner
    WHERE gateway_spaces.owner = excluded.owner OR gateway_spaces.owner = %(dead)s RETURNING owner"""
"""``dead``: the dead owner that had the name; a third process may have got it meanwhile. An owner without a row gets
nothing."""


def acquire(db: Database, calls: Sequence[Hold]) -> list[bool]:
    """Give each name to the owner that asks for it, unless another living owner has it. Return whether the caller has
    it."""
    return [_acquire(db, call) for call in calls]


def _acquire(db: Database, call: Hold) -> bool:
    owner, lives = _holder(db, call.name)
    if lives and owner != call.owner:
        return False
    values = {"space": indexed(call.name), "owner": int(call.owner or 0), "dead": int(owner or 0)}
    return db.execute(_ACQUIRE, values).fetchone() is not None


def is_taken(db: Database, calls: Sequence[Hold]) -> list[bool]:
    """Whether another living owner has the name. This changes nothing."""
    holders = [_holder(db, call.name) for call in calls]
    return [lives and owner != call.owner for (owner, lives), call in zip(holders, calls, strict=True)]


def release(db: Database, calls: Sequence[tuple[str, str]]) -> list[None]:
    """Give up names, each if the owner beside it has it."""
    for name, owner in calls:
        db.execute("DELETE FROM gateway_spaces WHERE space = %s AND owner = %s", (indexed(name), int(owner or 0)))
    return [None] * len(calls)


def release_namespaces(db: Database, owners: Sequence[str]) -> list[None]:
    """Give up everything that the owners have, except their leases."""
    sql = "DELETE FROM gateway_spaces WHERE owner = ANY(%s) AND NOT starts_with(space, %s)"
    db.execute(sql, ([int(owner or 0) for owner in owners], LEASE))
    return [None] * len(owners)


def recover(db: Database, owners: Sequence[str]) -> int:
    """Give up the leases that dead owners have. Their namespaces are free, too, but say who was the last to have them:
    a process that was declared dead by mistake may go on with what nobody has had since."""
    sql = "DELETE FROM gateway_spaces WHERE owner = ANY(%s) AND starts_with(space, %s)"
    return db.execute(sql, ([int(owner) for owner in owners], LEASE)).rowcount


def keep(db: Database, call: Save) -> bool:
    """Keep a namespace until the present transaction ends. Return False if another owner has it, or has had it since
    the caller did."""
    name = indexed(call.namespace)
    found = db.execute("SELECT owner FROM gateway_spaces WHERE space = %s FOR SHARE", [name]).fetchone()
    if found is None or not call.held:
        return not call.held and (found is None or str(found[0]) == call.owner)
    if (last := str(found[0])) == call.held != call.owner:
        sql = "UPDATE gateway_spaces SET owner = %s WHERE space = %s"
        db.execute(sql, (int(call.owner or 0), name))
    return last in (call.held, call.owner)


_HOLDER = "SELECT owner, EXISTS (SELECT FROM gateway_owners WHERE id = owner) FROM gateway_spaces"


def _holder(db: Database, name: str) -> tuple[str, bool]:
    """The owner that has the name, or an empty text, and whether the owner lives. The database is asked, because a
    process that has just connected has not watched the others yet."""
    found = db.execute(f"{_HOLDER} WHERE space = %s", [indexed(name)]).fetchone()
    return ("", False) if found is None else (str(found[0]), bool(found[1]))
