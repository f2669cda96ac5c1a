"""Whether the account of each outgoing lane works: its login, balance and permissions, as this process knows them."""

from collections import Counter

CERTAIN = 3
"""Refusals in a row after which the account counts as refused. Some providers refuse a single text with an answer that
others give for an account."""


class Accounts:
    """An account works once an item has left through it; then it takes ``CERTAIN`` refusals in a row to count as
    refused.

    An account through which nothing has left yet counts as refused at the first refusal.
    """

    def __init__(self) -> None:
        self._working: set[str] = set()
        self._in_a_row: Counter[str] = Counter()
        self._told: set[str] = set()

    def left(self, lane: str) -> bool:
        """Record that an item has left; return whether the operator had been told that the account is refused."""
        self._working.add(lane)
        self._in_a_row.pop(lane, None)
        told = lane in self._told
        self._told.discard(lane)
        return told

    def refused(self, lane: str) -> bool:
        """Record a refusal; return whether the account counts as refused now."""
        self._in_a_row[lane] += 1
        if lane in self._working and self._in_a_row[lane] < CERTAIN:
            return False
        self._working.discard(lane)
        return True

    def tell(self, lane: str) -> bool:
        """Whether to tell the operator now: only once until an item leaves again."""
        first = lane not in self._told
        self._told.add(lane)
        return first
