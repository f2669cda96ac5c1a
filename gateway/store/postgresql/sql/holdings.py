"""Counts what the store holds, along indexes. The only rows that are read are the oldest message and dead items."""

import time
from collections.abc import Sequence

from gateway.store.figures import Holdings
from gateway.store.postgresql.sql.schema import KEPT, Database
from gateway.store.postgresql.sql.tally import items_by_lane, messages_by_state
from gateway.store.states import BEHIND, DEAD, RUNNING, WAITING
from gateway.store.values import OutgoingState

_OLDEST = f"SELECT received FROM gateway_messages WHERE {KEPT} ORDER BY seq LIMIT 1"
_RESTING = "SELECT count(*) FROM gateway_resting"
_STATES: dict[int, OutgoingState] = {
    WAITING: OutgoingState.WAITING,
    RUNNING: OutgoingState.LEAVING,
    DEAD: OutgoingState.DEAD,
}


def holdings(db: Database, calls: Sequence[None]) -> list[tuple[Holdings, float]]:
    """Return what there is, and the seconds that it took to count it."""
    began = time.perf_counter()
    found = _count(db)
    return [(found, time.perf_counter() - began)] * len(calls)


def _count(db: Database) -> Holdings:
    number = messages_by_state(db)
    oldest = db.execute(_OLDEST).fetchone()
    return Holdings(
        waiting=number.get(WAITING, 0) + number.get(BEHIND, 0),
        running=number.get(RUNNING, 0),
        dead=number.get(DEAD, 0),
        oldest=None if oldest is None else float(oldest[0]),
        outgoing={(lane, _STATES[state]): count for (lane, state), count in items_by_lane(db).items()},
        resting=(db.execute(_RESTING).fetchone() or (0,))[0],
    )
