"""What workers have counted, so that no counter goes back when one of them dies."""

from collections.abc import Mapping, Sequence
from typing import Any

Snapshot = dict[str, list[tuple[list[str], Any]]]
"""As :data:`gateway.metrics.snapshot.Snapshot`: plain data."""

DEATHS = "gateway_worker_deaths_total"
"""The family that the parent counts itself, as workers name it."""
DROPPED = "gateway_layer_messages_dropped_total"
"""The family, as workers name it, in which the parent counts what its relay has dropped, by reason."""


class Totals:
    """Remembers the last cumulative values of each worker, and the sum of those that have died."""

    def __init__(self) -> None:
        self._last: dict[int, Snapshot] = {}
        self._gone: dict[str, dict[tuple[str, ...], Any]] = {}

    def note(self, process: int, snapshot: Snapshot) -> None:
        self._last[process] = snapshot

    def last(self, process: int) -> Snapshot:
        """Return what a worker that does not answer has counted, as far as it is known."""
        return self._last.get(process, {})

    def end(self, process: int) -> None:
        """Add what a worker has counted that has died."""
        for name, series in self._last.pop(process, {}).items():
            of_family = self._gone.setdefault(name, {})
            for labels, value in series:
                key = tuple(labels)
                of_family[key] = _sum(of_family[key], value) if key in of_family else value

    def count_death(self) -> None:
        """A worker has died that served."""
        deaths = self._gone.setdefault(DEATHS, {})
        deaths[()] = deaths.get((), 0) + 1

    def gone(self, **dropped: int) -> Snapshot:
        """Return the sums of those that have died. ``dropped``: what the parent's relay has dropped, by reason."""
        found = {
            name: [(list(labels), value) for labels, value in of_family.items()]
            for name, of_family in self._gone.items()
        }
        if dropped:
            found.setdefault(DROPPED, []).extend(([reason], count) for reason, count in dropped.items())
        return found


def _sum(one: Any, other: Any) -> Any:
    if not isinstance(one, Mapping):
        return one + other
    if len(one["counts"]) != len(other["counts"]):  # another release has other buckets
        return other
    return {"counts": _sums(one["counts"], other["counts"]), "sum": one["sum"] + other["sum"]}


def _sums(one: Sequence[int], other: Sequence[int]) -> list[int]:
    return [a + b for a, b in zip(one, other, strict=True)]
