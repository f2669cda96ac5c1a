"""Counts messages and items by state, each along the index of its state: what is gone is not read."""

from gateway.store.postgresql.sql.schema import KEYED, Database
from gateway.store.states import BEHIND, DEAD, RUNNING, WAITING

_WHERE = {
    WAITING: f"state = {WAITING}",
    RUNNING: f"state = {RUNNING}",
    BEHIND: f"state = {BEHIND} AND {KEYED}",
    DEAD: f"state = {DEAD}",
}
"""Only a message with a key waits behind another."""
_TALLY = " UNION ALL ".join(
    f"SELECT {state}, count(*) FROM gateway_messages WHERE {where}" for state, where in _WHERE.items()
)


_STATES = (WAITING, RUNNING, DEAD)
_ITEMS = " UNION ALL ".join(
    f"SELECT lane, {state}, count(*) FROM gateway_outgoing WHERE state = {state} GROUP BY lane" for state in _STATES
)


def messages_by_state(db: Database) -> dict[int, int]:
    return dict(db.execute(_TALLY.encode()).fetchall())


def items_by_lane(db: Database) -> dict[tuple[str, int], int]:
    """Return how many items there are, by lane and state."""
    return {(lane, state): count for lane, state, count in db.execute(_ITEMS.encode())}
