"""How often a value was in which range, and the sum of all: what Prometheus calls a histogram."""

from bisect import bisect_left
from collections.abc import Sequence


class Histogram:
    """Counts values. One thread observes; any thread may read."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        """``bounds`` are the upper bounds of the buckets, rising; one more bucket has all above them."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """Values in each bucket alone."""
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value
