"""The values of all families at one time: plain data, which can be written as JSON and added to others."""

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gateway.metrics.family import Distribution, Family, Joined, Sample, Value

Snapshot = dict[str, list[tuple[list[str], Any]]]
"""The name of a family -> each of its series: the values of its labels, and its own value."""
MOST_SERIES = 5000
"""Series of one family; what goes beyond is added up in one whose labels are all ``other``."""
LONGEST_LABEL = 200
OTHER = "other"


_RULES: Mapping[Joined, Callable[[float, float], float]] = {"sum": operator.add, "min": min, "max": max}


class Series:
    """Values by family and labels. Those of the same labels become one, by the rule of their family."""

    def __init__(self) -> None:
        self._values: dict[str, dict[tuple[str, ...], Value]] = {}

    def expect(self, families: Iterable[Family]) -> None:
        """Let the snapshot have ``families``, even if there are no series."""
        for family in families:
            self._values.setdefault(family.name, {})

    def add(self, sample: Sample) -> None:
        family, labels, value = sample
        of_family = self._values.setdefault(family.name, {})
        labels = tuple([each[:LONGEST_LABEL] for each in labels])
        if labels not in of_family and len(of_family) >= MOST_SERIES:
            labels = (OTHER,) * len(labels)
        before = of_family.get(labels)
        of_family[labels] = value if before is None else _joined(family, before, value)

    def snapshot(self) -> Snapshot:
        return {
            name: [(list(labels), value) for labels, value in of_family.items()]
            for name, of_family in self._values.items()
        }


def join(families: Mapping[str, Family], snapshots: Iterable[Snapshot]) -> Snapshot:
    """Add up the snapshots of several processes. A family that is not among ``families`` is left out: another version
    may have written it."""
    series = Series()
    for snapshot in snapshots:
        known = {name: values for name, values in snapshot.items() if name in families}
        series.expect(families[name] for name in known)
        for name, values in known.items():
            for labels, value in values:
                if _fits(families[name], labels, value):
                    series.add(Sample(families[name], tuple(labels), value))
    return series.snapshot()


def cumulative(families: Mapping[str, Family], snapshot: Snapshot) -> Snapshot:
    """Return what of ``snapshot`` still counts when its process, or its gateway, has ended: counters and histograms."""
    return {name: values for name, values in snapshot.items() if name in families and families[name].is_cumulative}


def _joined(family: Family, one: Any, other: Any) -> Value:
    if family.kind == "histogram":
        counts = [a + b for a, b in zip(one["counts"], other["counts"], strict=True)]
        return Distribution(counts=counts, sum=one["sum"] + other["sum"])
    return _RULES[family.joined](one, other)


def _fits(family: Family, labels: list[str], value: Any) -> bool:
    """Return whether a series has the form of ``family`` here; in another version it may have another one."""
    if len(labels) != len(family.labels):
        return False
    return family.kind != "histogram" or len(value["counts"]) == len(family.bounds) + 1
