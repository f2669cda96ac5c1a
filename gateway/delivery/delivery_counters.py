"""Counts attempts at stored messages of one gateway: how they ended, and how long their handlers took."""

from collections.abc import Mapping

from gateway.counts import MOST_ROUTES, ByRoute, Durations
from gateway.delivery.route_table import RouteTable

ENDS = ("done", "rejected", "retried", "dead")
"""``rejected``: by its handler, after its sender was told that it was taken."""


class DeliveryCounters:
    """Attempts by scope type, route and end. The routes of ``table`` are known from the start."""

    def __init__(self, table: RouteTable) -> None:
        self._table = table
        self._by_route = ByRoute(Durations, self._labels)
        for kind in sorted({kind for kind, _ in table.routes}):
            for label in self._labels(kind):
                self._by_route.of(kind, label)

    @property
    def found(self) -> Mapping[str, Mapping[str, Durations]]:
        """By scope type and label of the route. An empty label: its route is not known any more."""
        return self._by_route.found

    def add(self, kind: str, label: str, end: str, seconds: float) -> None:
        self._by_route.of(kind, label).add(end, seconds)

    def _labels(self, kind: str) -> list[str]:
        return [label for of, label in self._table.routes if of == kind][:MOST_ROUTES]
