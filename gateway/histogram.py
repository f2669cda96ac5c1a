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

    def observe_all(self, values: Sequence[float]) -> None:
        """Observe ``values``. It is fast if most of them fall into the first bucket."""
        first = self.bounds[0]
        above = [value for value in values if value > first]
        self.counts[0] += len(values) - len(above)
        for value in above:
            self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += sum(values)

    def add(self, other: "Histogram") -> None:
        """Count the values of ``other``, which has the same bounds, too."""
        self.counts = [one + two for one, two in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum


def quantile(share: float, bounds: Sequence[float], counts: Sequence[int]) -> float | None:
    """Return the value below which ``share`` (0 to 1) of the counted values are; None if nothing was counted.

    Values are taken to lie evenly within their bucket, as by Prometheus' ``histogram_quantile``. Of those above all
    bounds only the last bound is known.
    """
    wanted = share * sum(counts)
    below = 0
    for bucket, count in enumerate(counts):
        if count and below + count >= wanted:
            if bucket == len(bounds):
                break
            least = bounds[bucket - 1] if bucket else 0.0
            return least + (bounds[bucket] - least) * (wanted - below) / count
        below += count
    return bounds[-1] if any(counts) else None
