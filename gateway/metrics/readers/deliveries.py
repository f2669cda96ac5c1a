"""Attempts at received messages in the store."""

from collections.abc import AsyncIterator

from gateway.counts import BOUNDS
from gateway.delivery.delivery_counters import ENDS
from gateway.metrics.family import Distribution, Sample, counter, histogram
from gateway.metrics.reader import Reader
from gateway.runtime.build import Gateway

DELIVERIES = counter(
    "gateway_deliveries_total",
    "Attempts at received messages in the store by their end: done, rejected, retried, dead.",
    *("type", "route", "verdict"),
)
DURATION = histogram(
    "gateway_delivery_duration_seconds",
    "How long those attempts took, from the scope to the end of the application.",
    *("type", "route"),
    bounds=BOUNDS,
)
NO_ROUTE = "none"


async def read(gateway: Gateway) -> AsyncIterator[Sample]:
    if gateway.dispatcher is None:
        return
    for kind, by_route in gateway.dispatcher.deliveries.ends.found.items():
        for label, durations in by_route.items():
            place = (kind, label or NO_ROUTE)
            for end in ENDS:
                yield DELIVERIES.sample(durations.number(end), *place, end)
            total = durations.together()
            yield DURATION.sample(Distribution(counts=total.counts, sum=total.sum), *place)


READER = Reader("deliveries", (DELIVERIES, DURATION), read)
