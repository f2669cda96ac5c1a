"""Counts attempts at stored messages of one gateway: how they ended, and how long their handlers took."""

from gateway.counts import MOST_ROUTES, ByRoute, Durations
from gateway.delivery.route_table import RouteTable

ENDS = ("done", "rejected", "retried", "dead")
"""``rejected``: by its handler, after its sender was told that it was taken."""


def delivery_counters(table: RouteTable) -> ByRoute[Durations]:
    """Make the counters, by scope type and route. The routes of ``table`` have theirs from the start; an empty label is
    for messages of which no route is known any more."""

    def labels(kind: str) -> list[str]:
        return [label for of, label in table.routes if of == kind][:MOST_ROUTES]

    counters = ByRoute(Durations, labels)
    for kind in sorted({kind for kind, _ in table.routes}):
        for label in labels(kind):
            counters.of(kind, label)
    return counters
