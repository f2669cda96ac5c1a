"""What this process knows of the accounts that things leave by, one for each lane: a login, a balance, a right."""

from collections import Counter

CERTAIN = 3
"""Refusals in a row after which it is the account. A provider may say of one text what others say of an account."""


class Accounts:
    """An account works when something has left by it, and is refused when nothing has since."""

    def __init__(self) -> None:
        self._working: set[str] = set()
        self._in_a_row: Counter[str] = Counter()
        self._told: set[str] = set()

    def left(self, lane: str) -> bool:
        """Something has left; whether the operator was told that nothing would."""
        self._working.add(lane)
        self._in_a_row.pop(lane, None)
        told = lane in self._told
        self._told.discard(lane)
        return told

    def refused(self, lane: str) -> bool:
        """Something was refused; whether it is the account."""
        self._in_a_row[lane] += 1
        if lane in self._working and self._in_a_row[lane] < CERTAIN:
            return False
        self._working.discard(lane)
        return True

    def tell(self, lane: str) -> bool:
        """Whether the operator is to be told: once, until something has left again."""
        first = lane not in self._told
        self._told.add(lane)
        return first
