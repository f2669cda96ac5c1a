"""How the column ``due`` of a message says when it is due, and which of those that are due goes first.

A message that is due at once has no time there, but its rank: an index on ``due`` then has all messages in the order in
which they are taken, and a message without a priority, as most are, costs no more than before. A message of a priority
that is due later has a time until then, and its rank afterwards.
"""

FIRST_TIME = 1.0
"""What is smaller in ``due`` is a rank, and no time."""
LEAST, MOST = -1000, 1000
STEPS = 1024.0
"""A rank is the priority, the other way round, divided by this: smaller than a time, and exact."""


def rank(priority: int) -> float:
    """Return the rank: 0.0 at priority 0, less at a higher one. Raises ValueError."""
    if not LEAST <= priority <= MOST:
        raise ValueError(f"priority {priority} is not from {LEAST} to {MOST}")
    return -priority / STEPS


def due_or_rank(due: float, priority: int) -> float:
    """Return the value of the column."""
    return due if due >= FIRST_TIME else rank(priority)


def time_of(due: float) -> float:
    """Return the time that the column has; 0.0 if it has none."""
    return due if due >= FIRST_TIME else 0.0
