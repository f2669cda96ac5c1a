"""The column ``due`` of a message: when it is due, and which of the due messages goes first.

The column of a message that is due at once has a rank in place of a time. An index on ``due`` then has all messages in
the order in which they are taken, and a message without a priority costs nothing extra. The column of a message that is
due later has a time until then, and a rank afterwards.
"""

FIRST_TIME = 1.0
"""A smaller value of ``due`` is a rank, not a time."""
LEAST, MOST = -1000, 1000
STEPS = 1024.0
"""A rank is the negative priority divided by this, so that it is smaller than every time, and exact."""


def rank(priority: int) -> float:
    """Return the rank: 0.0 at priority 0, less at a higher one. Raises ValueError."""
    if not LEAST <= priority <= MOST:
        raise ValueError(f"priority {priority} is not from {LEAST} to {MOST}")
    return -priority / STEPS


def due_or_rank(due: float, priority: int) -> float:
    """Return the value of the column."""
    return due if due >= FIRST_TIME else rank(priority)


def time_of(due: float) -> float:
    """Return the time in the column; 0.0 if the column has a rank."""
    return due if due >= FIRST_TIME else 0.0
