"""Counts messages by state, each along the index of its state: no row is read, nor what is gone."""

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


def messages_by_state(db: Database) -> dict[int, int]:
    return dict(db.execute(_TALLY.encode()).fetchall())
