"""The rows of owners: one for each open store. The column ``beat`` goes up while the owner lives.

An owner without a row is dead. It removes its row when it ends. Otherwise the first process that finds it silent for
too long removes the row, and gives back what the owner had in the same transaction.
"""

from typing import Any

import psycopg

from gateway.store.postgresql.sql import claims, messages, outgoing, spaces, wake
from gateway.store.postgresql.sql.schema import Database
from gateway.store.states import BUSY, RUNNING

Beats = dict[int, int]
"""How often each owner has beaten."""


def register(db: Database, host: str, pid: int) -> int:
    """Register a new owner. Return its id, which no other owner has ever had."""
    sql = "INSERT INTO gateway_owners (host, pid) VALUES (%s, %s) RETURNING id"
    return int(_one(db.execute(sql, (host, pid))))


def beat(db: Database, owner: int) -> bool:
    """Beat once. Return False if other processes have declared the owner dead."""
    return db.execute("UPDATE gateway_owners SET beat = beat + 1 WHERE id = %s", [owner]).rowcount == 1


def beats(db: Database) -> Beats:
    return dict(db.execute("SELECT id, beat FROM gateway_owners").fetchall())


def leave(db: Database, owner: int, *, is_alone: bool) -> None:
    """End an owner. Other processes get at once what it still has. If there is none, the next that opens the store
    gives it back, and says so."""
    with db.transaction():
        if is_alone:
            spaces.recover(db, [str(owner)])
        else:
            _give_back(db, [owner])
            wake.wake_all(db)
        _remove(db, owner)


def now(db: Database) -> float:
    """Unix time by the database's clock."""
    return float(_one(db.execute("SELECT extract(epoch FROM clock_timestamp())::double precision")))


def take_over(db: Database, owner: int, beat: int) -> int | None:
    """Give back what a dead owner has, and remove the owner. Return how much was given back; None if the owner has
    beaten since ``beat``, or another process takes it over.

    Locked rows stay, because a transaction of the owner is still open; :func:`give_back_orphans` gives them back later.
    The owner is removed all the same: it has to find out that it has lost its names.
    """
    with db.transaction():
        sql = "SELECT 1 FROM gateway_owners WHERE id = %s AND beat = %s FOR UPDATE SKIP LOCKED"
        if db.execute(sql, (owner, beat)).fetchone() is None:
            return None
        returned = _give_back(db, [owner])
        _remove(db, owner)
        wake.wake_all(db)
        return returned


def _remove(db: Database, owner: int) -> None:
    db.execute("DELETE FROM gateway_owners WHERE id = %s", [owner])


def give_back_orphans(db: Database) -> int:
    """Give back what owners without a row have. Return how much."""
    found = [owner for (owner,) in db.execute(_ORPHANS).fetchall()]
    return _give_back(db, found) if found else 0


_OWNERS = f"""SELECT owner FROM gateway_messages WHERE state = {RUNNING}
    UNION SELECT owner FROM gateway_claims WHERE state = {BUSY}
    UNION SELECT owner FROM gateway_outgoing WHERE state = {RUNNING}"""
_ORPHANS = f"SELECT owner FROM ({_OWNERS}) AS has WHERE NOT EXISTS (SELECT 1 FROM gateway_owners WHERE id = owner)"


def _give_back(db: Database, owners: list[int]) -> int:
    ids = list(map(str, owners))
    spaces.recover(db, ids)
    return sum(table.recover(db, ids) for table in (messages, claims, outgoing))


def _one(cursor: "psycopg.Cursor[Any]") -> Any:
    row = cursor.fetchone()
    assert row is not None  # the statement always returns one
    return row[0]
